//! The child's side: loads one model, and runs it as the parent says, until the parent is gone.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::{ffi::OsStrExt, net::UnixStream},
    },
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use crate::{
    engine::{
        Engine, LoadOptions, Session, Terminate,
        isolation::{
            segment::Segment,
            tensors,
            wire::{self, Failure, Frame, Load, Loaded, Places, Receiver},
        },
        run_memory::RunMemory,
    },
    error::{Error, Result},
    model::staged::StagedModel,
    tensor::tensor::Tensor,
};

/// Threads that take turns at reading: while one loads or runs the model, the other waits for `Terminate` and for the parent's
/// end. The one that reads `Run` runs it, so that no run waits for a thread to wake up.
const THREADS: usize = 2;

/// Serves the parent whose socket is stdin and whose shared memory is stdout, and ends the process with it. Returns only
/// where it cannot begin.
///
/// # Errors
/// `Internal` where stdin and stdout are not what a parent hands over.
pub fn serve(engine: &dyn Engine) -> Result<()> {
    let control = duplicate(io::stdin()).map(UnixStream::from).map_err(Error::internal)?;
    let segment = duplicate(io::stdout()).map(File::from).and_then(Segment::of).map_err(Error::internal)?;
    keep_stdout_and_signals_away().map_err(Error::internal)?;
    let child = Child {
        engine,
        receiver: Mutex::new(Receiver::new(control.try_clone().map_err(Error::internal)?)),
        runner: Mutex::new(Runner { session: None, segment }),
        terminator: OnceLock::new(),
        control,
    };
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                let _outcome = catch_unwind(AssertUnwindSafe(|| child.work()));
                exit();
            });
        }
    });
    Ok(())
}

struct Child<'a> {
    engine: &'a dyn Engine,
    receiver: Mutex<Receiver>,
    runner: Mutex<Runner>,
    /// Of the session, once it is loaded.
    terminator: OnceLock<Arc<dyn Terminate>>,
    control: UnixStream,
}

struct Runner {
    session: Option<Box<dyn Session>>,
    segment: Segment,
}

/// What takes long, and is answered.
enum Work {
    Load(Load),
    Run(Places),
}

impl Child<'_> {
    /// Does what frames say, until the parent is gone.
    fn work(&self) {
        while let Some(work) = self.next() {
            let mut runner = lock(&self.runner);
            let answer = match &work {
                Work::Load(request) => self.load(&mut runner, request).map(Frame::Loaded),
                Work::Run(inputs) => runner.run(inputs).map(Frame::Ran),
            };
            let answer = answer.unwrap_or_else(|error| Frame::Failed(Failure::new(&error)));
            if wire::send(&self.control, answer).is_err() {
                return;
            }
        }
    }

    fn next(&self) -> Option<Work> {
        let mut receiver = lock(&self.receiver);
        loop {
            match receiver.receive(|| {}) {
                Ok(Frame::Load(request)) => return Some(Work::Load(request)),
                Ok(Frame::Run(inputs)) => {
                    // Before the next frame is read, which may terminate this run.
                    self.terminator.get().inspect(|terminator| terminator.reset());
                    return Some(Work::Run(inputs));
                }
                Ok(Frame::Terminate(_)) => {
                    self.terminator.get().inspect(|terminator| terminator.terminate());
                }
                Ok(_) | Err(_) => return None,
            }
        }
    }

    fn load(&self, runner: &mut Runner, request: &Load) -> Result<Loaded> {
        let session = load(self.engine, request)?;
        let loaded = Loaded::new(session.signature());
        let _first = self.terminator.set(session.terminator());
        runner.session = Some(session);
        Ok(loaded)
    }
}

impl Runner {
    fn run(&mut self, inputs: &Places) -> Result<Places> {
        let session = self.session.as_mut().ok_or_else(|| Error::internal("a run came before the load"))?;
        let lend = |place| tensors::take(place, |offset, length| self.segment.lend(offset, length));
        let tensors = inputs.tensors.iter().map(lend).collect::<Result<Vec<Tensor>>>()?;
        let outputs = session.run(&tensors)?;
        tensors::put(&mut self.segment, &outputs, tensors::end_of(inputs))
    }
}

fn load(engine: &dyn Engine, request: &Load) -> Result<Box<dyn Session>> {
    let path = Path::new(OsStr::from_bytes(&request.path));
    let staged = StagedModel::open(path, u64::MAX)?;
    if staged.file.sha256 != request.sha256 {
        return Err(Error::invalid("its file has changed since it was loaded first"));
    }
    let intra_op_threads = usize::try_from(request.intra_op_threads).map_err(Error::internal)?;
    let run_memory = RunMemory::limited(usize::try_from(request.run_memory_bytes).map_err(Error::internal)?);
    let options = LoadOptions { instances: 1, intra_op_threads, file: &staged.file, run_memory, isolation: None };
    let sessions = engine.load(staged.path(), &options).map_err(|error| staged.without_copy(error));
    sessions?.pop().ok_or_else(|| Error::internal("the engine loaded nothing"))
}

fn duplicate(descriptor: impl AsFd) -> io::Result<OwnedFd> {
    descriptor.as_fd().try_clone_to_owned()
}

/// Lets what native code prints go to the log, and leaves signals to the parent, which ends its children when it has drained.
fn keep_stdout_and_signals_away() -> io::Result<()> {
    #[expect(unsafe_code, reason = "the standard library does not replace descriptors")]
    // SAFETY: both descriptors are open, and nothing else writes to stdout yet.
    let replaced = unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) };
    if replaced < 0 {
        return Err(io::Error::last_os_error());
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
        #[expect(unsafe_code, reason = "the standard library does not ignore signals")]
        // SAFETY: ignoring a signal runs no code in a handler.
        let _before = unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(())
}

/// Ends the process at once: another thread may be in a run that never ends, and destructors would wait for it.
fn exit() -> ! {
    #[expect(unsafe_code, reason = "the standard library's exit runs destructors of native libraries")]
    // SAFETY: the call does not return and runs nothing.
    unsafe {
        libc::_exit(0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
