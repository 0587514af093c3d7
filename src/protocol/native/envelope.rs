//! What a native body and its answer are, before any row: the envelope's key, and one or many.

use crate::{
    json::{fault::Fault, reader::Reader, string::RawString},
    protocol::native::decode_messages,
};

/// Whether an answer is an object or a list: one row in, one object out; rows in, a list out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One row: the prediction's keys stand in the answer itself.
    One,
    /// Rows, or raw tensors: a list of predictions.
    Many,
}

/// The keys that hold everything else.
#[derive(Clone, Copy)]
pub(super) enum Envelope {
    Features,
    Instances,
    Inputs,
}

impl Envelope {
    pub(super) fn of(key: &RawString<'_>) -> Option<Self> {
        [("features", Self::Features), ("instances", Self::Instances), ("inputs", Self::Inputs)]
            .into_iter()
            .find_map(|(name, envelope)| key.is(name).then_some(envelope))
    }
}

/// Tells whether a key is that of an envelope, unless a feature has that name.
pub(super) fn is_envelope(key: &RawString<'_>) -> bool {
    Envelope::of(key).is_some()
}

/// Checks that nothing stands beside the envelope that has just been read.
pub(super) fn close_envelope(reader: &mut Reader<'_>, name: &str) -> Result<(), Fault> {
    if !reader.more_members()? {
        return Ok(());
    }
    let key = reader.key()?;
    Err(match key.is(name) {
        true => Fault::value(format!("duplicate key {name:?}")),
        false => Fault::value(format!(
            "unexpected key {} beside {name:?}, which must stand alone",
            decode_messages::quoted(&key.decode()?)
        )),
    })
}
