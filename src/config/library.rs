//! Where the ONNX Runtime library may be.

use std::{
    env, fmt,
    path::{Path, PathBuf},
};

use crate::config::settings::{LibraryCandidate, LibraryOrigin, RuntimeSettings};

/// The file name of the ONNX Runtime library on this platform.
const LIBRARY_FILE_NAME: &str = if cfg!(windows) {
    "onnxruntime.dll"
} else if cfg!(target_vendor = "apple") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

impl RuntimeSettings {
    /// Lists where the library may be, most wanted first; whether it is there, the engine finds out.
    ///
    /// A library that was named is the only candidate: another in its place would be a surprise.
    pub fn library_candidates(&self) -> Vec<LibraryCandidate> {
        if let Some(path) = &self.onnxruntime {
            return vec![LibraryCandidate { path: path.clone(), origin: LibraryOrigin::Setting }];
        }
        let executable = env::current_exe().ok();
        let folder = executable.as_deref().and_then(Path::parent);
        let beside = folder.map(|folder| (folder.to_owned(), LibraryOrigin::BesideExecutable));
        let lib = folder.and_then(Path::parent).map(|parent| (parent.join("lib"), LibraryOrigin::LibFolder));
        let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join(".onnxruntime");
        [beside, lib, Some((fetched, LibraryOrigin::FetchFolder))]
            .into_iter()
            .flatten()
            // A bare file name makes the loader search its own path.
            .chain([(PathBuf::new(), LibraryOrigin::SystemLoader)])
            .map(|(folder, origin)| LibraryCandidate { path: folder.join(LIBRARY_FILE_NAME), origin })
            .collect()
    }
}

impl fmt::Display for LibraryOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Setting => "--onnxruntime or ORT_DYLIB_PATH",
            Self::BesideExecutable => "beside the onnxd executable",
            Self::LibFolder => "../lib of the onnxd executable",
            Self::FetchFolder => "fetched by make fetch",
            Self::SystemLoader => "the system's library path",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_library_is_the_only_candidate() {
        let named = RuntimeSettings { onnxruntime: Some("/opt/ort.so".into()) };
        let setting = LibraryCandidate { path: "/opt/ort.so".into(), origin: LibraryOrigin::Setting };
        assert_eq!(named.library_candidates(), [setting]);

        let origins: Vec<_> =
            RuntimeSettings::default().library_candidates().into_iter().map(|candidate| candidate.origin).collect();
        use LibraryOrigin::{BesideExecutable, FetchFolder, LibFolder, SystemLoader};
        assert_eq!(origins, [BesideExecutable, LibFolder, FetchFolder, SystemLoader]);
    }
}
