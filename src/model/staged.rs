//! A model's files on their way into the runtime: what is checked, hashed and loaded are the same bytes.
//!
//! The runtime maps external data into memory for as long as the model lives. Whoever overwrites the file then changes the
//! answers, and truncating it ends the process. So a model with external data is loaded from a private copy, which is
//! removed once the model is loaded: what is mapped stays.

use std::{
    collections::BTreeSet,
    env,
    fmt::Write as _,
    fs::{self, DirBuilder, File},
    io::{self, Read, Write as _},
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use crate::{
    error::{Error, Result},
    model::{
        onnx_file::OnnxFile,
        regular_file::{check_length, open, read},
        repository::MODEL_FILE_NAME,
    },
};

/// The setting that limits a model's files.
const LIMIT: &str = "--max-model-bytes";
/// The runtime reads no larger file: protobuf counts its bytes in 31 bits. What is larger has external data.
const MAX_FILE_BYTES: u64 = i32::MAX as u64;
const CHUNK_BYTES: usize = 1 << 20;

#[derive(Debug)]
pub struct StagedModel {
    pub file: OnnxFile,
    path: PathBuf,
    copy: Option<PrivateFolder>,
}

impl StagedModel {
    /// Reads the model file at `path`, and copies it with its external data if it has any. Blocks on the disk.
    ///
    /// The digest of a model with external data is that of the model file and the data files, one after the other in the
    /// order of their paths.
    ///
    /// # Errors
    /// `InvalidArgument` where the file cannot be read, is not ONNX, refers to data outside its folder, or has more than
    /// `max_bytes` with its data; and where the copy cannot be written.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self> {
        let bytes = read(path, max_bytes.min(MAX_FILE_BYTES), LIMIT).map_err(|error| unreadable(path, &error))?;
        let bytes = Bytes::from(bytes);
        let mut file = OnnxFile::parse(&bytes).map_err(|error| error.context(path.display()))?;
        let mut digest = Sha256::new_with_prefix(&bytes);
        if file.external_data.is_empty() {
            file.sha256 = hexadecimal(&digest.finalize());
            return Ok(Self { file, path: path.to_owned(), copy: None });
        }
        let copy = PrivateFolder::create()?;
        fs::write(copy.model(), &bytes).map_err(|error| copy.cannot_be_written(&error))?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        for location in file.external_data.iter().map(|location| relative(location)).collect::<Result<BTreeSet<_>>>()? {
            let data = open_external(folder, &location).map_err(|error| error.context(path.display()))?;
            file.size_bytes += copy.add(&location, data, max_bytes.saturating_sub(file.size_bytes), &mut digest)?;
        }
        file.sha256 = hexadecimal(&digest.finalize());
        Ok(Self { file, path: copy.model(), copy: Some(copy) })
    }

    /// Returns where the runtime is to load it from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the copy; a model that is loaded needs it no more.
    pub fn into_file(self) -> OnnxFile {
        self.file
    }

    /// Takes the folder of the copy out of an error: it is nothing to those who put the model where it is.
    pub fn without_copy(&self, error: Error) -> Error {
        match self.copy.as_ref().and_then(|copy| copy.0.to_str()) {
            Some(folder) if error.message().contains(folder) => {
                Error::new(error.kind(), error.message().replace(&format!("{folder}/"), ""))
            }
            _ => error,
        }
    }
}

/// A folder of this process alone, removed with all that is in it when dropped.
#[derive(Debug)]
struct PrivateFolder(PathBuf);

impl PrivateFolder {
    fn create() -> Result<Self> {
        let folder = Self(env::temp_dir().join(format!("onnxd-{:016x}", fastrand::u64(..))));
        let mut builder = DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        // Fails if it is there already.
        match builder.create(&folder.0) {
            Ok(()) => Ok(folder),
            Err(error) => {
                let failure = folder.cannot_be_written(&error);
                std::mem::forget(folder);
                Err(failure)
            }
        }
    }

    fn model(&self) -> PathBuf {
        self.0.join(MODEL_FILE_NAME)
    }

    /// Copies a data file of at most `max_bytes` to `location`, adds it to the digest, and returns its length.
    fn add(&self, location: &Path, mut data: File, max_bytes: u64, digest: &mut Sha256) -> Result<u64> {
        let length = data.metadata().map_err(|error| unreadable(location, &error))?.len();
        check_length(length, max_bytes, LIMIT).map_err(|error| unreadable(location, &error))?;
        let target = self.0.join(location);
        let target = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| File::create(&target));
        let mut target = target.map_err(|error| self.cannot_be_written(&error))?;
        let mut chunk = vec![0; CHUNK_BYTES];
        let mut copied = 0;
        while copied < length {
            let most = usize::try_from(length - copied).unwrap_or(CHUNK_BYTES).min(CHUNK_BYTES);
            let got = match data.read(&mut chunk[..most]) {
                Ok(0) => return Err(Error::invalid(format!("{} was cut off while it was read", location.display()))),
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreadable(location, &error)),
            };
            digest.update(&chunk[..got]);
            target.write_all(&chunk[..got]).map_err(|error| self.cannot_be_written(&error))?;
            copied += got as u64;
        }
        Ok(length)
    }

    fn cannot_be_written(&self, error: &io::Error) -> Error {
        Error::invalid(format!(
            "cannot copy the model with its external data to {}: {error}; set TMPDIR to a folder with room for it",
            self.0.display()
        ))
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::invalid(format!("cannot read {}: {error}", path.display()))
}

/// Returns the path of `location` below the model's folder.
fn relative(location: &str) -> Result<PathBuf> {
    let parts = Path::new(location).components();
    let parts = parts.filter(|part| !matches!(part, Component::CurDir)).map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let outside = || Error::invalid(format!("external data {location:?} is outside the model's folder"));
    parts.collect::<Option<PathBuf>>().filter(|path| !path.as_os_str().is_empty()).ok_or_else(outside)
}

/// Opens the file at `location`, and checks that what was opened lies in `folder`: a link may lead out, also one that is put
/// there at the last moment. A hard link is refused because nothing tells where else the same file lies.
fn open_external(folder: &Path, location: &Path) -> Result<File> {
    let refuse = |why: &str| Error::invalid(format!("external data {location:?} {why}"));
    let file = open(&folder.join(location)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => refuse("is not there"),
        _ => refuse(&format!("cannot be read: {error}")),
    })?;
    let (folder, opened) = (folder.canonicalize().map_err(Error::internal)?, path_of(&file, &folder.join(location)));
    if !opened.map_err(Error::internal)?.starts_with(folder) {
        return Err(refuse("is a link out of the model's folder"));
    }
    #[cfg(unix)]
    if std::os::unix::fs::MetadataExt::nlink(&file.metadata().map_err(Error::internal)?) > 1 {
        return Err(refuse("is a hard link"));
    }
    Ok(file)
}

/// Returns the path of an open file, without links.
#[cfg(target_os = "linux")]
fn path_of(file: &File, _opened_as: &Path) -> io::Result<PathBuf> {
    use std::os::fd::AsRawFd as _;
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Returns the path of a file that was just opened, without links. A link that changes meanwhile is not seen.
#[cfg(not(target_os = "linux"))]
fn path_of(_file: &File, opened_as: &Path) -> io::Result<PathBuf> {
    opened_as.canonicalize()
}

fn hexadecimal(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn external_data_must_lie_in_the_models_folder() {
        let outside = tempfile::tempdir().unwrap();
        let folder = outside.path().join("model");
        fs::create_dir(&folder).unwrap();
        fs::write(outside.path().join("secret"), "x").unwrap();
        fs::write(folder.join("weights"), "x").unwrap();
        std::os::unix::fs::symlink("weights", folder.join("inside")).unwrap();
        std::os::unix::fs::symlink("../secret", folder.join("soft")).unwrap();
        fs::hard_link(outside.path().join("secret"), folder.join("hard")).unwrap();

        let open = |location: &str| relative(location).and_then(|location| open_external(&folder, &location));
        for location in ["weights", "./weights", "inside"] {
            open(location).unwrap();
        }
        let absolute = outside.path().join("secret");
        for (location, why) in [
            ("../secret", "is outside"),
            (absolute.to_str().unwrap(), "is outside"),
            (".", "is outside"),
            ("soft", "is a link out"),
            ("hard", "is a hard link"),
            ("absent", "is not there"),
        ] {
            let error = open(location).unwrap_err();
            assert!(error.message().contains(why), "{location}: {error}");
        }
    }

    #[test]
    fn copies_are_removed_and_only_their_owner_may_see_them() {
        let copy = PrivateFolder::create().unwrap();
        let path = copy.0.clone();
        let source = tempfile::tempdir().unwrap().keep();
        fs::write(source.join("weights"), "abc").unwrap();
        let open_weights = || File::open(source.join("weights")).unwrap();
        let mut digest = Sha256::new();
        let location = Path::new("deep/weights");
        assert_eq!(copy.add(location, open_weights(), 3, &mut digest).unwrap(), 3);
        assert_eq!(fs::read(path.join(location)).unwrap(), b"abc");
        // As `sha256sum` has it.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hexadecimal(&digest.clone().finalize()), abc);
        let error = copy.add(location, open_weights(), 2, &mut digest).unwrap_err();
        assert!(error.message().ends_with("expected at most 2 bytes (--max-model-bytes), but got 3 bytes"), "{error}");
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions()) & 0o777, 0o700);
        drop(copy);
        assert!(!path.exists());
        fs::remove_dir_all(source).unwrap();
    }
}
