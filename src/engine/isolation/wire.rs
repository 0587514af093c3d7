//! The frames between parent and child: a length of four bytes, then a message. Without a version: both are one binary.

use std::{
    io::{self, ErrorKind as IoErrorKind, Read, Write},
    os::unix::{ffi::OsStrExt, net::UnixStream},
    path::Path,
};

use prost::Message;

use crate::{
    engine::LoadOptions,
    error::{Error, ErrorKind, Result},
    model::signature::{ClassLabel, Dim, OutputSpec, Signature, TensorSpec},
    tensor::data_type::DataType,
};

/// The longest frame, in bytes. A signature with the labels of a million classes is shorter.
const MAX_FRAME: usize = 64 << 20;
/// How many bytes one read asks for.
const READ: usize = 16 << 10;

/// The kinds of errors that a session returns. The wire has their index here.
const KINDS: [ErrorKind; 4] =
    [ErrorKind::Internal, ErrorKind::InvalidArgument, ErrorKind::Unavailable, ErrorKind::Overloaded];

#[derive(Clone, PartialEq, prost::Message)]
struct Envelope {
    #[prost(oneof = "Frame", tags = "1, 2, 3, 4, 5, 6")]
    frame: Option<Frame>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Frame {
    /// To the child, first: load this model.
    #[prost(message, tag = "1")]
    Load(Load),
    /// From the child: the model is loaded.
    #[prost(message, tag = "2")]
    Loaded(Loaded),
    /// To the child: run on these inputs.
    #[prost(message, tag = "3")]
    Run(Places),
    /// From the child: the outputs of the run.
    #[prost(message, tag = "4")]
    Ran(Places),
    /// From the child: the load or the run failed.
    #[prost(message, tag = "5")]
    Failed(Failure),
    /// To the child: end the run that is on. Not answered.
    #[prost(message, tag = "6")]
    Terminate(Terminate),
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Load {
    /// The path of the file, as the system's bytes.
    #[prost(bytes = "vec", tag = "1")]
    pub(super) path: Vec<u8>,
    /// The file must have this digest: after a restart the model is still the one that was loaded first.
    #[prost(string, tag = "2")]
    pub(super) sha256: String,
    #[prost(uint64, tag = "3")]
    pub(super) intra_op_threads: u64,
    /// What the runs of this process may hold.
    #[prost(uint64, tag = "4")]
    pub(super) run_memory_bytes: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Loaded {
    #[prost(message, repeated, tag = "1")]
    inputs: Vec<Spec>,
    #[prost(message, repeated, tag = "2")]
    outputs: Vec<Spec>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Places {
    #[prost(message, repeated, tag = "1")]
    pub(super) tensors: Vec<Place>,
}

/// A tensor in the shared memory.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Place {
    #[prost(uint32, tag = "1")]
    pub(super) data_type: u32,
    #[prost(uint64, repeated, tag = "2")]
    pub(super) dims: Vec<u64>,
    #[prost(uint64, tag = "3")]
    pub(super) offset: u64,
    /// The length in bytes.
    #[prost(uint64, tag = "4")]
    pub(super) length: u64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Failure {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(string, optional, tag = "3")]
    cause: Option<String>,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Terminate {}

#[derive(Clone, PartialEq, prost::Message)]
struct Spec {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    data_type: u32,
    #[prost(bool, tag = "3")]
    has_rank: bool,
    #[prost(message, repeated, tag = "4")]
    dims: Vec<Dimension>,
    /// Of an output that is a sequence of maps: its keys.
    #[prost(message, optional, tag = "5")]
    map_keys: Option<Keys>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Dimension {
    #[prost(uint64, optional, tag = "1")]
    size: Option<u64>,
    #[prost(string, optional, tag = "2")]
    symbol: Option<String>,
}

/// Integers or texts; never both.
#[derive(Clone, PartialEq, prost::Message)]
struct Keys {
    #[prost(int64, repeated, tag = "1")]
    integers: Vec<i64>,
    #[prost(string, repeated, tag = "2")]
    texts: Vec<String>,
}

impl Load {
    /// # Errors
    /// `InvalidArgument` where the path cannot be made absolute.
    pub(super) fn new(path: &Path, options: &LoadOptions<'_>) -> Result<Self> {
        let path = std::path::absolute(path).map_err(|error| Error::invalid(format!("{}: {error}", path.display())))?;
        Ok(Self {
            path: path.as_os_str().as_bytes().to_vec(),
            sha256: options.file.sha256.clone(),
            intra_op_threads: options.intra_op_threads as u64,
            run_memory_bytes: options.run_memory.limit_bytes() as u64,
        })
    }
}

impl Failure {
    pub(super) fn new(error: &Error) -> Self {
        let kind = KINDS.iter().position(|kind| *kind == error.kind()).unwrap_or(0);
        let cause = std::error::Error::source(error).map(ToString::to_string);
        Self { kind: u32::try_from(kind).unwrap_or(0), message: error.message().to_owned(), cause }
    }

    pub(super) fn into_error(self) -> Error {
        let kind = KINDS.get(self.kind as usize).copied().unwrap_or(ErrorKind::Internal);
        let error = Error::new(kind, self.message);
        match self.cause {
            Some(cause) => error.with_source(cause),
            None => error,
        }
    }
}

impl Loaded {
    pub(super) fn new(signature: &Signature) -> Self {
        Self {
            inputs: signature.inputs.iter().map(|input| Spec::new(input, None)).collect(),
            outputs: signature
                .outputs
                .iter()
                .map(|output| Spec::new(&output.tensor, output.map_keys.as_deref()))
                .collect(),
        }
    }

    /// # Errors
    /// `Internal` where an element type is none of ours.
    pub(super) fn into_signature(self) -> Result<Signature> {
        Ok(Signature {
            inputs: self
                .inputs
                .into_iter()
                .map(|spec| spec.into_output().map(|output| output.tensor))
                .collect::<Result<_>>()?,
            outputs: self.outputs.into_iter().map(Spec::into_output).collect::<Result<_>>()?,
        })
    }
}

impl Spec {
    fn new(tensor: &TensorSpec, map_keys: Option<&[ClassLabel]>) -> Self {
        let dimension = |dim: &Dim| match dim {
            Dim::Fixed(size) => Dimension { size: Some(*size as u64), symbol: None },
            Dim::Dynamic(symbol) => Dimension { size: None, symbol: symbol.as_deref().map(str::to_owned) },
        };
        Self {
            name: tensor.name.to_string(),
            data_type: index_of(tensor.data_type),
            has_rank: tensor.dims.is_some(),
            dims: tensor.dims.iter().flatten().map(dimension).collect(),
            map_keys: map_keys.map(Keys::new),
        }
    }

    fn into_output(self) -> Result<OutputSpec> {
        let dim = |dim: Dimension| match dim.size.map(usize::try_from) {
            Some(Ok(size)) => Dim::Fixed(size),
            Some(Err(_)) | None => Dim::Dynamic(dim.symbol.map(Into::into)),
        };
        let dims = self.has_rank.then(|| self.dims.into_iter().map(dim).collect());
        let tensor = TensorSpec { name: self.name.into(), data_type: data_type_of(self.data_type)?, dims };
        Ok(OutputSpec { tensor, map_keys: self.map_keys.map(Keys::into_labels) })
    }
}

impl Keys {
    fn new(labels: &[ClassLabel]) -> Self {
        let mut keys = Self::default();
        for label in labels {
            match label {
                ClassLabel::Integer(integer) => keys.integers.push(*integer),
                ClassLabel::Text(text) => keys.texts.push(text.to_string()),
            }
        }
        keys
    }

    fn into_labels(self) -> Vec<ClassLabel> {
        let integers = self.integers.into_iter().map(ClassLabel::Integer);
        integers.chain(self.texts.into_iter().map(|text| ClassLabel::Text(text.into()))).collect()
    }
}

/// Returns the number of an element type on the wire.
pub(super) fn index_of(data_type: DataType) -> u32 {
    let index = DataType::ALL.iter().position(|known| *known == data_type);
    index.and_then(|index| u32::try_from(index).ok()).unwrap_or(u32::MAX)
}

/// # Errors
/// `Internal` where no element type has this number.
pub(super) fn data_type_of(index: u32) -> Result<DataType> {
    let data_type = DataType::ALL.get(index as usize).copied();
    data_type.ok_or_else(|| Error::internal(format!("no element type has the number {index}")))
}

/// Writes one frame in one piece.
pub(super) fn send(mut stream: &UnixStream, frame: Frame) -> io::Result<()> {
    let envelope = Envelope { frame: Some(frame) };
    let length = envelope.encoded_len();
    let mut bytes = Vec::with_capacity(4 + length);
    bytes.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    envelope.encode_raw(&mut bytes);
    stream.write_all(&bytes)
}

pub(super) struct Receiver {
    stream: UnixStream,
    buffer: Vec<u8>,
}

impl Receiver {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Waits for the next frame. Calls `on_timeout` each time that the stream's read timeout passes.
    ///
    /// # Errors
    /// `UnexpectedEof` where the other side is gone; `InvalidData` where the bytes are no frame.
    pub(super) fn receive(&mut self, mut on_timeout: impl FnMut()) -> io::Result<Frame> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            let filled = self.buffer.len();
            self.buffer.resize(filled + READ, 0);
            let outcome = (&self.stream).read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *outcome.as_ref().unwrap_or(&0));
            match outcome {
                Ok(0) => return Err(IoErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if matches!(error.kind(), IoErrorKind::WouldBlock | IoErrorKind::TimedOut) => on_timeout(),
                Err(error) if error.kind() == IoErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&mut self) -> io::Result<Option<Frame>> {
        let invalid = |what: String| io::Error::new(IoErrorKind::InvalidData, what);
        let Some((length, rest)) = self.buffer.split_first_chunk() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME {
            return Err(invalid(format!("a frame of {length} bytes: expected at most {MAX_FRAME}")));
        }
        let Some(bytes) = rest.get(..length) else { return Ok(None) };
        let envelope = Envelope::decode(bytes).map_err(|error| invalid(error.to_string()))?;
        self.buffer.drain(..4 + length);
        envelope.frame.map(Some).ok_or_else(|| invalid("a frame without content".to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_arrive_as_they_were_sent() {
        let tensor = |name: &str, dims| TensorSpec { name: name.into(), data_type: DataType::Bf16, dims };
        let labels = |text: bool| match text {
            true => vec![ClassLabel::Text("a".into()), ClassLabel::Text("b".into())],
            false => vec![ClassLabel::Integer(3), ClassLabel::Integer(-1)],
        };
        let dims = vec![Dim::Dynamic(Some("N".into())), Dim::Dynamic(None), Dim::Fixed(0)];
        let output = |map_keys| OutputSpec { tensor: tensor("y", None), map_keys };
        let signature = Signature {
            inputs: vec![tensor("x", Some(dims)), tensor("scalar", Some(Vec::new())), tensor("any", None)],
            outputs: vec![output(None), output(Some(labels(true))), output(Some(labels(false)))],
        };
        assert_eq!(Loaded::new(&signature).into_signature().unwrap(), signature);
    }

    #[test]
    fn frames_arrive_in_order_and_a_closed_stream_is_an_error() {
        let (parent, child) = UnixStream::pair().unwrap();
        let place = Place { data_type: 3, dims: vec![1 << 40, 0], offset: 7, length: u64::MAX };
        let frames = [
            Frame::Run(Places { tensors: vec![place; 1000] }),
            Frame::Terminate(Terminate {}),
            Frame::Failed(Failure::new(&Error::invalid("no").with_source("why"))),
        ];
        frames.iter().for_each(|frame| send(&parent, frame.clone()).unwrap());
        drop(parent);
        let mut receiver = Receiver::new(child);
        for frame in frames {
            assert_eq!(receiver.receive(|| {}).unwrap(), frame);
        }
        assert_eq!(receiver.receive(|| {}).unwrap_err().kind(), IoErrorKind::UnexpectedEof);
    }

    #[test]
    fn bytes_that_are_no_frame_are_an_error() {
        for bytes in [&[255; 4][..], &[2, 0, 0, 0, 255, 255], &[0; 4]] {
            let (mut parent, child) = UnixStream::pair().unwrap();
            parent.write_all(bytes).unwrap();
            assert_eq!(Receiver::new(child).receive(|| {}).unwrap_err().kind(), IoErrorKind::InvalidData, "{bytes:?}");
        }
    }

    #[test]
    fn errors_keep_kind_message_and_cause() {
        let error = Failure::new(&Error::internal("ran out of memory")).into_error();
        assert_eq!(
            (error.kind(), error.to_string()),
            (ErrorKind::Internal, "internal error: ran out of memory".to_owned())
        );
        assert_eq!(Failure::new(&Error::invalid("bad")).into_error().kind(), ErrorKind::InvalidArgument);
    }
}
