//! Reading files that anyone may have put there: never waits for a pipe, and never reads more than a limit.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    path::Path,
};

use crate::error::size;

/// Opens a regular file. Returns at once whatever is there.
///
/// # Errors
/// `InvalidInput` for a pipe, a socket, a device or a folder; otherwise what the system says.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    // Without this, opening a pipe waits for its writer.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK);
    let file = options.open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "expected a regular file")),
    }
}

/// Reads a regular file of at most `max_bytes`. `limit` names the setting that says so; empty where none does.
///
/// # Errors
/// `FileTooLarge` where it has more; those of [`open`].
pub fn read(path: &Path, max_bytes: u64, limit: &str) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let length = file.metadata()?.len();
    check_length(length, max_bytes, limit)?;
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0));
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    // It may have grown.
    check_length(bytes.len() as u64, max_bytes, limit)?;
    Ok(bytes)
}

/// Reads a regular file of text, as [`read`] does.
///
/// # Errors
/// `InvalidData` where it is not UTF-8; those of [`read`].
pub fn read_text(path: &Path, max_bytes: u64) -> io::Result<String> {
    let bytes = read(path, max_bytes, "")?;
    String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.utf8_error()))
}

/// Checks a length against a limit, as [`read`] does.
///
/// # Errors
/// `FileTooLarge` where it is more.
pub fn check_length(length: u64, max_bytes: u64, limit: &str) -> io::Result<()> {
    if length <= max_bytes {
        return Ok(());
    }
    let setting = if limit.is_empty() { String::new() } else { format!(" ({limit})") };
    let message = format!("expected at most {}{setting}, but got {}", size(max_bytes), size(length));
    Err(io::Error::new(io::ErrorKind::FileTooLarge, message))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn files_are_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5, "").unwrap(), b"12345");
        let error = read(&path, 4, "--limit").unwrap_err();
        assert_eq!(error.to_string(), "expected at most 4 bytes (--limit), but got 5 bytes");
        // Nothing is asked of the system for what a sparse file pretends to have.
        File::create(&path).unwrap().set_len(20 << 30).unwrap();
        assert_eq!(read_text(&path, 1 << 20).unwrap_err().to_string(), "expected at most 1 MiB, but got 20 GiB");
    }

    #[test]
    #[cfg(unix)]
    fn what_is_no_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        for path in [&pipe, folder.path(), Path::new("/dev/zero")] {
            assert_eq!(open(path).unwrap_err().to_string(), "expected a regular file", "{}", path.display());
        }
    }
}
