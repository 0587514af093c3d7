//! Finding the ONNX Runtime library: which of the candidates is there and works.

use std::{
    ffi::CStr,
    path::{Path, PathBuf},
};

use crate::{
    config::{LibraryCandidate, LibraryOrigin},
    error::{Error, Result},
};

/// The library that was found.
#[derive(Clone, Debug)]
pub struct Library {
    /// The file that was loaded.
    pub path: PathBuf,
    /// Why it was looked for there.
    pub origin: LibraryOrigin,
    pub version: String,
}

/// Returns the first candidate that is there and is an ONNX Runtime.
///
/// # Errors
/// `Unavailable`, in one line with the remedy, where none is.
pub fn find(candidates: &[LibraryCandidate]) -> Result<Library> {
    let mut tried = Vec::new();
    for candidate in candidates {
        let bare_name = candidate.path.parent().is_none_or(|parent| parent.as_os_str().is_empty());
        if !bare_name && !candidate.path.exists() {
            tried.push(format!("{} ({}: not there)", candidate.path.display(), candidate.origin));
        } else {
            match version_of(&candidate.path) {
                Ok(version) => {
                    return Ok(Library { path: candidate.path.clone(), origin: candidate.origin, version });
                }
                Err(reason) => tried.push(format!("{} ({}: {reason})", candidate.path.display(), candidate.origin)),
            }
        }
    }
    Err(Error::unavailable(format!(
        "no usable ONNX Runtime: run `make fetch` where onnxd was built, or set ORT_DYLIB_PATH to the library; looked at {}",
        tried.join(", ")
    )))
}

/// Loads the library and asks it for its version, as `ort` does, but without panicking.
#[expect(unsafe_code, reason = "a C library can be loaded and called in no other way")]
fn version_of(path: &Path) -> Result<String, String> {
    // SAFETY: loading runs the library's initialisers; the user chose the file, and ort would load it next anyway.
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| error.to_string().replace('\n', " "))?;
    // SAFETY: OrtGetApiBase has had this signature since ONNX Runtime 1.0 (onnxruntime_c_api.h).
    let get_api_base =
        unsafe { library.get::<unsafe extern "C" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase") }
            .map_err(|_| "it is not an ONNX Runtime: it exports no OrtGetApiBase".to_owned())?;
    // SAFETY: the function takes nothing and returns a pointer to a static table, or null.
    let Some(api_base) = (unsafe { get_api_base().as_ref() }) else {
        return Err("its OrtGetApiBase returned nothing".to_owned());
    };
    // SAFETY: GetVersionString returns a static, null-terminated string.
    let version = unsafe { CStr::from_ptr((api_base.GetVersionString)()) }.to_string_lossy().into_owned();
    let minor = version.split('.').nth(1).and_then(|minor| minor.parse::<u32>().ok());
    if minor.is_none_or(|minor| minor < ort::MINOR_VERSION) {
        return Err(format!("it is version {version}, expected 1.{} or later", ort::MINOR_VERSION));
    }
    Ok(version)
}
