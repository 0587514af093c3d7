//! The child as the parent's operating system has it: start, signals, end.

use std::{
    fmt, io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::engine::isolation::{
    segment::Segment,
    wire::{self, Frame, Receiver},
};

/// How often a wait for the child's answer looks whether the child must be killed.
const LOOK: Duration = Duration::from_millis(100);
/// The longest that a write to the child may take. Its socket holds every frame, unless the child has stopped reading.
const WRITE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Process {
    child: Mutex<Child>,
    id: u32,
    control: UnixStream,
}

/// What the parent starts a child with and keeps of it.
pub(super) struct Started {
    pub(super) process: Process,
    pub(super) receiver: Receiver,
    pub(super) segment: Segment,
    /// What the child and its libraries write to stderr.
    pub(super) log: UnixStream,
}

impl Process {
    /// Starts `program` as the child for `model`, whose name is there for people who list processes.
    pub(super) fn start(program: &Path, library: &Path, model: &str) -> io::Result<Started> {
        let (control, childs_control) = UnixStream::pair()?;
        let (log, childs_log) = UnixStream::pair()?;
        control.set_read_timeout(Some(LOOK))?;
        control.set_write_timeout(Some(WRITE))?;
        let segment = Segment::create()?;
        let child = Command::new(program)
            .args(["isolated-session", model, "--onnxruntime"])
            .arg(library)
            .stdin(OwnedFd::from(childs_control))
            .stdout(segment.descriptor().try_clone_to_owned()?)
            .stderr(Stdio::from(OwnedFd::from(childs_log)))
            // Signals of the terminal are for the parent, which ends the child once it has drained.
            .process_group(0)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", program.display())))?;
        let receiver = Receiver::new(control.try_clone()?);
        let process = Self { id: child.id(), child: Mutex::new(child), control };
        Ok(Started { process, receiver, segment, log })
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Callers take turns: frames of two threads must not mix.
    pub(super) fn send(&self, frame: Frame) -> io::Result<()> {
        wire::send(&self.control, frame)
    }

    /// Closes the control socket: the child exits, and callers that wait for it get an error.
    pub(super) fn hang_up(&self) {
        // It fails only where the child has closed it already.
        let _closed = self.control.shutdown(std::net::Shutdown::Both);
    }

    pub(super) fn kill(&self) {
        // A child that was waited for is not signalled, so that no other process with its id is hit.
        let _ended = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
    }

    /// Waits until the child has ended.
    pub(super) fn wait(&self) -> io::Result<End> {
        self.wait_without_reaping()?;
        self.child.lock().unwrap_or_else(PoisonError::into_inner).wait().map(End)
    }

    /// Waits without the lock, which [`Self::kill`] needs; the id stays taken until the child is reaped.
    fn wait_without_reaping(&self) -> io::Result<()> {
        loop {
            #[expect(unsafe_code, reason = "the standard library's wait reaps the child")]
            // SAFETY: all zeros are a valid `siginfo_t`, and the call writes only there.
            let outcome = unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, self.id, &raw mut info, libc::WEXITED | libc::WNOWAIT)
            };
            let error = io::Error::last_os_error();
            match outcome {
                0 => return Ok(()),
                _ if error.kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(error),
            }
        }
    }
}

/// How a child ended; displays as `signal SIGSEGV` or `exit code 1`.
#[derive(Clone, Copy, Debug)]
pub(super) struct End(ExitStatus);

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |signal| match signal {
            libc::SIGABRT => Some("SIGABRT"),
            libc::SIGBUS => Some("SIGBUS"),
            libc::SIGFPE => Some("SIGFPE"),
            libc::SIGILL => Some("SIGILL"),
            libc::SIGKILL => Some("SIGKILL"),
            libc::SIGSEGV => Some("SIGSEGV"),
            libc::SIGTRAP => Some("SIGTRAP"),
            _ => None,
        };
        match (self.0.signal(), self.0.code()) {
            (Some(signal), _) => match name(signal) {
                Some(name) => write!(f, "signal {name}"),
                None => write!(f, "signal {signal}"),
            },
            (None, Some(code)) => write!(f, "exit code {code}"),
            (None, None) => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_named() {
        for (status, name) in [(libc::SIGFPE, "signal SIGFPE"), (64, "signal 64"), (3 << 8, "exit code 3")] {
            assert_eq!(End(ExitStatus::from_raw(status)).to_string(), name);
        }
    }
}
