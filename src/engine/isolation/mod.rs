//! Sessions in a process of their own: a crash of native code ends that process and no other.
//!
//! Parent and child are the same binary. The parent starts `onnxd isolated-session` with three descriptors: stdin is the
//! control socket, stdout the shared memory, stderr a socket for log lines. Frames on the control socket (`wire`) say where
//! in the shared memory (`segment`) the tensors are. The two sides take turns: the parent writes inputs and sends `Run`, the
//! child writes outputs and sends `Ran`; only `Terminate` may come in between. When the control socket closes, the child
//! exits, so that it never outlives its parent.

pub mod child;
mod log;
mod process;
mod segment;
mod session;
mod supervisor;
mod tensors;
mod wire;

use std::path::Path;

use crate::{
    engine::{Isolation, LoadOptions, Session},
    error::Result,
};

use self::{
    session::IsolatedSession,
    supervisor::{Supervisor, Task},
};

/// Starts one process for each instance of the model at `path`. `program` is onnxd itself, `library` the ONNX Runtime that
/// the processes load. Blocks until all have loaded the model.
///
/// # Errors
/// `InvalidArgument` where a process cannot load the model or ends while it does; `Internal` where the system gives no process.
pub(super) fn load(
    program: &Path,
    library: &Path,
    path: &Path,
    options: &LoadOptions<'_>,
    isolation: &Isolation,
) -> Result<Vec<Box<dyn Session>>> {
    let session = |_| {
        let task = Task {
            program: program.to_owned(),
            library: library.to_owned(),
            isolation: isolation.clone(),
            load: wire::Load::new(path, options)?,
        };
        let (supervisor, signature) = Supervisor::start(task)?;
        Ok(Box::new(IsolatedSession::new(supervisor, signature)) as Box<dyn Session>)
    };
    (0..options.instances).map(session).collect()
}
