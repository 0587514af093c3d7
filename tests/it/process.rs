//! The real program as a child process: its address, its log, its exit code. Killed when the test is done with it.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread::{Builder, JoinHandle},
};

use reqwest::Response;
use tokio::sync::watch;

use crate::harness::{PATIENCE, until, within_patience};

/// Variables that would change what the program does, or what ONNX Runtime does in it.
const INHERITED_BY_ACCIDENT: &[&str] =
    &["MODEL_PATH", "HOST", "PORT", "LOG_LEVEL", "CI", "ORT_RUNNING_UNIT_TESTS", "ORT_DISABLE_TELEMETRY"];

/// Returns the command `onnxd` with these arguments, and with nothing in its environment that changes what it does.
pub fn onnxd<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = without_accidents(Command::new(env!("CARGO_BIN_EXE_onnxd")));
    command.args(arguments);
    command
}

/// Returns a shell in `folder` that runs `script`; `onnxd` in it is the program under test.
pub fn shell(folder: &Path, script: &str) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_onnxd"));
    let mut path = program.parent().expect("the program lies in a folder").as_os_str().to_owned();
    path.push(":");
    #[expect(clippy::disallowed_methods, reason = "the search path of the one who runs the tests")]
    path.push(std::env::var_os("PATH").unwrap_or_default());
    let mut command = without_accidents(Command::new("sh"));
    command.args(["-c", script]).current_dir(folder).env("PATH", path);
    command
}

fn without_accidents(mut command: Command) -> Command {
    // The default port is one that tests would take from each other.
    command.env("ONNXD_GRPC_PORT", "0");
    for variable in INHERITED_BY_ACCIDENT {
        command.env_remove(variable);
    }
    command
}

/// Returns the command that serves `path` on a free port, with these arguments in addition.
pub fn onnxd_serve(path: &Path, arguments: &[&str]) -> Command {
    let mut command = onnxd(["serve"]);
    command.arg(path).args(["--host", "127.0.0.1", "--port", "0", "--log-format", "json"]).args(arguments);
    command
}

/// A child process that runs until it ends by itself or the test drops it.
pub struct Process {
    child: Child,
    stdout: Collected,
    stderr: Collected,
}

/// How a process ended, and all that it wrote.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; none after a signal that killed it.
    pub code: Option<i32>,
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
}

impl Process {
    /// Starts a command.
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program is there");
        let stdout = Collected::from(child.stdout.take().expect("stdout is piped"));
        let stderr = Collected::from(child.stderr.take().expect("stderr is piped"));
        Self { child, stdout, stderr }
    }

    /// Runs a command to its end.
    pub async fn run(command: Command) -> Ended {
        Self::start(command).ended().await
    }

    /// Returns the process's id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on stderr that contains `part`, and returns it.
    pub async fn log_line(&self, part: &str) -> String {
        let mut lines = self.stderr.lines.subscribe();
        let has = |lines: &Lines| lines.ended || lines.texts.iter().any(|line| line.contains(part));
        let lines = within_patience(lines.wait_for(has)).await.expect("the reader keeps its sender");
        let line = lines.texts.iter().find(|line| line.contains(part));
        line.unwrap_or_else(|| panic!("stderr ended without {part:?}: {:#?}", lines.texts)).clone()
    }

    /// Sends a signal, by its name as `kill` takes it.
    pub fn signal(&self, name: &str) {
        signal(self.id(), name);
    }

    /// Waits until the process has ended.
    pub async fn ended(mut self) -> Ended {
        // The pipes close when the process ends: that can be waited for, and then there is nothing left to wait for.
        let stdout = self.stdout.whole().await;
        let stderr = self.stderr.whole().await;
        let status = self.child.wait().expect("it is our child");
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
        self.stdout.join();
        self.stderr.join();
    }
}

/// Sends a signal to a process that was not waited for yet.
pub fn signal(id: u32, name: &str) {
    let kill = format!("kill -{name} {id}");
    let status = Command::new("sh").args(["-c", &kill]).status().expect("there is a shell");
    assert!(status.success(), "{kill}: {status}");
}

/// The lines of a stream so far.
#[derive(Debug, Default)]
struct Lines {
    texts: Vec<String>,
    ended: bool,
}

struct Collected {
    lines: watch::Sender<Lines>,
    reader: Option<JoinHandle<()>>,
}

impl Collected {
    fn from(stream: impl Read + Send + 'static) -> Self {
        let lines = watch::Sender::new(Lines::default());
        let collected = lines.clone();
        let read = move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
                collected.send_modify(|lines| lines.texts.push(text));
                line.clear();
            }
            collected.send_modify(|lines| lines.ended = true);
        };
        let reader = Builder::new().name("stream".to_owned()).spawn(read).expect("the system has threads");
        Self { lines, reader: Some(reader) }
    }

    async fn whole(&self) -> String {
        let mut lines = self.lines.subscribe();
        let lines = within_patience(lines.wait_for(|lines| lines.ended)).await.expect("the reader keeps its sender");
        lines.texts.iter().flat_map(|line| [line, "\n"]).collect()
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("the reader does not panic");
        }
    }
}

/// A process that serves.
pub struct ServingProcess {
    /// The process.
    pub process: Process,
    /// Where it listens.
    pub address: SocketAddr,
    client: reqwest::Client,
}

impl ServingProcess {
    /// Serves `path` on a free port, and returns when it is ready.
    pub async fn start(path: &Path, arguments: &[&str]) -> Self {
        Self::start_command(onnxd_serve(path, arguments)).await
    }

    /// Runs a command that serves, and returns when it is ready.
    pub async fn start_command(command: Command) -> Self {
        let serving = Self::start_listening(command).await;
        until(async || serving.get("/health/ready").await.status() == 200).await;
        serving
    }

    /// Runs a command that serves, and returns when it listens, ready or not.
    pub async fn start_listening(command: Command) -> Self {
        let process = Process::start(command);
        let line = process.log_line("listening on http://").await;
        let (_, address) = line.split_once("listening on http://").expect("the line was chosen for it");
        let end = address.find(|c: char| !c.is_ascii_hexdigit() && !"[].:".contains(c)).unwrap_or(address.len());
        let address = address[..end].parse().unwrap_or_else(|error| panic!("{line}: {error}"));
        let client =
            reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("the client's settings are right");
        Self { process, address, client }
    }

    /// Sends `GET path`.
    pub async fn get(&self, path: &str) -> Response {
        self.client.get(format!("http://{}{path}", self.address)).send().await.expect("the server answers")
    }

    /// Sends `POST path` with this body.
    pub async fn post(&self, path: &str, body: &str) -> Response {
        let request = self.client.post(format!("http://{}{path}", self.address)).body(body.to_owned());
        request.send().await.expect("the server answers")
    }

    /// Asks it to stop, and waits until it has.
    pub async fn stop(self) -> Ended {
        self.process.signal("TERM");
        drop(self.client);
        self.process.ended().await
    }
}
