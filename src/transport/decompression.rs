//! Compressed bodies and messages: gzip, deflate and zstd, decompressed in small pieces.

use std::{io, pin::Pin};

use async_compression::{
    tokio::bufread::{GzipDecoder, ZlibDecoder, ZstdDecoder},
    zstd::DParameter,
};
use axum::body::Bytes;
use futures_util::{Stream, StreamExt as _};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

/// The most bytes of a piece.
const PIECE_BYTES: usize = 32 * 1024;
/// The largest window of zstd, as a power of two: 8 MiB, which RFC 9659 sets for HTTP. The frame chooses it, and the
/// decoder allocates it.
const ZSTD_WINDOW_LOG: u32 = 23;

/// How a body is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// RFC 1952; one member or several.
    Gzip,
    /// RFC 1950, which HTTP and gRPC call deflate.
    Deflate,
    /// RFC 8878; one frame or several.
    Zstd,
}

pub type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Coding {
    /// Finds a coding by its name in lower case.
    pub fn named(name: &[u8]) -> Option<Self> {
        match name {
            b"gzip" => Some(Self::Gzip),
            b"deflate" => Some(Self::Deflate),
            b"zstd" => Some(Self::Zstd),
            _ => None,
        }
    }

    /// Decompresses to the end of `compressed`. An item is an error where the bytes break off, are malformed, or where
    /// something else follows them.
    pub fn decompress(self, compressed: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Pieces {
        macro_rules! all_members {
            ($decoder:expr) => {{
                let mut decoder = $decoder;
                decoder.multiple_members(true);
                Box::pin(decoder)
            }};
        }
        let compressed = StreamReader::new(compressed);
        let decoder: Pin<Box<dyn AsyncRead + Send>> = match self {
            Self::Gzip => all_members!(GzipDecoder::new(compressed)),
            Self::Deflate => all_members!(ZlibDecoder::new(compressed)),
            Self::Zstd => {
                let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
                all_members!(ZstdDecoder::with_params(compressed, &window))
            }
        };
        let mut length = 0;
        Box::pin(ReaderStream::with_capacity(decoder, PIECE_BYTES).map(move |piece| match piece {
            Ok(piece) => {
                length += piece.len();
                Ok(piece)
            }
            Err(error) => Err(io::Error::new(error.kind(), self.describe(&error, length))),
        }))
    }

    fn describe(self, error: &io::Error, length: usize) -> String {
        let name = match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Zstd => "zstd",
        };
        format!("expected {name} data to its end, but after {length} decompressed bytes came: {error}")
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::{
        Compression,
        write::{GzEncoder, ZlibEncoder},
    };
    use futures_util::{TryStreamExt as _, stream};

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 3).unwrap()
    }

    /// Decompresses bytes that arrive in frames of `frame_bytes`.
    async fn decompress(coding: Coding, compressed: &[u8], frame_bytes: usize) -> Result<Vec<u8>, String> {
        let frames: Vec<_> = compressed.chunks(frame_bytes).map(|frame| Ok(Bytes::copy_from_slice(frame))).collect();
        let pieces: Result<Vec<_>, _> = coding.decompress(stream::iter(frames)).try_collect().await;
        pieces.map(|pieces| pieces.concat()).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn all_members_are_decompressed_wherever_frames_end() {
        for (coding, one, other) in
            [(Coding::Gzip, gzip(b"one,"), gzip(b"other")), (Coding::Zstd, zstd(b"one,"), zstd(b"other"))]
        {
            let both = [one.as_slice(), &other].concat();
            for frame_bytes in [1, 7, one.len(), both.len()] {
                assert_eq!(
                    decompress(coding, &both, frame_bytes).await.as_deref(),
                    Ok(&b"one,other"[..]),
                    "{coding:?}"
                );
            }
            let empty_first = [&gzip(b"")[..], &gzip(b"x"), &gzip(b"")].concat();
            assert_eq!(decompress(Coding::Gzip, &empty_first, 9).await.as_deref(), Ok(&b"x"[..]));
        }
    }

    #[tokio::test]
    async fn what_follows_the_last_member_is_an_error_that_says_where() {
        for (coding, whole) in
            [(Coding::Gzip, gzip(b"text")), (Coding::Deflate, zlib(b"text")), (Coding::Zstd, zstd(b"text"))]
        {
            assert_eq!(decompress(coding, &whole, 5).await.as_deref(), Ok(&b"text"[..]));
            let error = decompress(coding, &[&whole[..], b"garbage, and more of it"].concat(), 5).await.unwrap_err();
            assert!(error.contains("after 4 decompressed bytes"), "{coding:?}: {error}");
            let error = decompress(coding, &whole[..whole.len() - 1], 5).await.unwrap_err();
            assert!(error.contains("decompressed bytes"), "{coding:?}: {error}");
        }
    }

    #[tokio::test]
    async fn zstd_frame_with_a_larger_window_is_refused() {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(ZSTD_WINDOW_LOG + 1).unwrap();
        encoder.write_all(&[b' '; 100_000]).unwrap();
        let error = decompress(Coding::Zstd, &encoder.finish().unwrap(), 4096).await.unwrap_err();
        assert!(error.contains("memory"), "{error}");
    }
}
