//! Runs the on-close method: a program started directly, within limits, that cannot outlive its run (C09, S39–S41).

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

use crate::context::Json;
use crate::on_close::{ANSWER_LIMIT, Invocation, Method, MethodResult};

/// Tells a method, and the commands that it calls, which run they belong to: such commands never wait (C09).
pub const ON_CLOSE_VARIABLE: &str = "SESSIONCTL_ON_CLOSE";

/// Time between TERM and KILL.
const TERM_BEFORE_KILL: Duration = Duration::from_secs(1);

/// Time for what a method has written to arrive once it has ended.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Bytes of what a method says on stderr that go to the log.
const COMPLAINT_LIMIT: usize = 1_024;

/// What is called for each process that closes.
#[derive(Clone, Debug, Default)]
pub struct OnClose {
    /// The method.
    pub method: Method,
    /// All of a program's environment, besides `SESSIONCTL_ON_CLOSE`. It holds no secret (S40).
    pub environment: Vec<(OsString, OsString)>,
}

/// What a run came to.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) result: MethodResult,
    pub(super) detail: Option<String>,
    pub(super) saved: Option<Json>,
}

impl Ran {
    fn failed(result: MethodResult, detail: impl Into<String>) -> Self {
        Self {
            result,
            detail: Some(detail.into()),
            saved: None,
        }
    }

    /// Its session was dropped before it could start.
    pub(super) fn struck() -> Self {
        Self {
            result: MethodResult::Struck,
            detail: None,
            saved: None,
        }
    }

    fn cancelled() -> Self {
        Self::failed(MethodResult::Cancelled, "its session was dropped")
    }

    fn well(saved: Option<Json>) -> Self {
        Self {
            result: MethodResult::Succeeded,
            detail: None,
            saved,
        }
    }
}

impl OnClose {
    pub(super) fn has_method(&self) -> bool {
        self.method != Method::None
    }

    /// Runs the method for one process; `cancelled` ends it early.
    pub(super) async fn run(
        &self,
        invocation: &Invocation,
        limit: Duration,
        cancelled: impl Future<Output = ()>,
    ) -> Ran {
        match &self.method {
            Method::None => Ran::well(None),
            Method::Save => match serde_json::to_string(&invocation.context) {
                Ok(text) => answer(text.as_bytes()),
                Err(error) => Ran::failed(MethodResult::BadAnswer, error.to_string()),
            },
            Method::Program { path, arguments } => {
                let mut command = Command::new(path);
                command.args(arguments);
                self.run_program(command, invocation, limit, cancelled)
                    .await
            }
        }
    }

    async fn run_program(
        &self,
        mut command: Command,
        invocation: &Invocation,
        limit: Duration,
        cancelled: impl Future<Output = ()>,
    ) -> Ran {
        let document = match serde_json::to_vec(invocation) {
            Ok(document) => document,
            Err(error) => return Ran::failed(MethodResult::NotStarted, error.to_string()),
        };
        command
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env(ON_CLOSE_VARIABLE, &invocation.key)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let detail = format!("cannot be started: {error}");
                return Ran::failed(MethodResult::NotStarted, detail);
            }
        };
        let group = Group::of(&child);
        let writing = tokio::spawn(feed(child.stdin.take(), document));
        let answer = Reading::of(child.stdout.take(), ANSWER_LIMIT);
        let complaint = Reading::of(child.stderr.take(), COMPLAINT_LIMIT);
        let end = end_of(&mut child, &group, limit, cancelled).await;
        // Whatever it has started ends with it.
        drop(group);
        writing.abort();
        let (written, complaint) = tokio::join!(answer.last_words(), complaint.last_words());
        if !complaint.kept.is_empty() {
            let said = String::from_utf8_lossy(&complaint.kept);
            tracing::warn!(key = %invocation.key, said = ?said.trim_end(), "the on-close method complained");
        }
        match end {
            End::Exited(Ok(status)) if status.success() => written.answer(),
            End::Exited(Ok(status)) => Ran::failed(MethodResult::Failed, described(status)),
            End::Exited(Err(error)) => Ran::failed(MethodResult::Failed, error.to_string()),
            End::TimedOut => {
                let limit = humantime::format_duration(limit);
                Ran::failed(
                    MethodResult::TimedOut,
                    format!("did not end within {limit}"),
                )
            }
            End::Cancelled => Ran::cancelled(),
        }
    }
}

/// How a program ended.
enum End {
    Exited(io::Result<ExitStatus>),
    TimedOut,
    Cancelled,
}

/// Waits for a program, and ends it when its time is over.
async fn end_of(
    child: &mut Child,
    group: &Group,
    limit: Duration,
    cancelled: impl Future<Output = ()>,
) -> End {
    let end = tokio::select! {
        status = child.wait() => return End::Exited(status),
        () = tokio::time::sleep(limit) => End::TimedOut,
        () = cancelled => End::Cancelled,
    };
    for signal in [Signal::TERM, Signal::KILL] {
        group.send(signal);
        // One that has become somebody else's cannot be killed: it is not to keep its slot for that.
        if tokio::time::timeout(TERM_BEFORE_KILL, child.wait())
            .await
            .is_ok()
        {
            break;
        }
    }
    end
}

/// A program and what it has started, as long as nobody left the group. Dropping it kills them all.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.and_then(Pid::from_raw))
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // It fails only if nobody is left.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.send(Signal::KILL);
    }
}

/// Writes the document. A method that does not read it is not to blame for that.
async fn feed(stdin: Option<ChildStdin>, document: Vec<u8>) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(&document).await;
    }
}

/// What was read of an output.
#[derive(Default)]
struct Written {
    kept: Vec<u8>,
    /// Bytes in all.
    length: usize,
}

impl Written {
    fn answer(self) -> Ran {
        if self.length > ANSWER_LIMIT {
            let detail = format!("answered {} bytes, more than {ANSWER_LIMIT}", self.length);
            return Ran::failed(MethodResult::BadAnswer, detail);
        }
        answer(&self.kept)
    }
}

/// An output that is read to its end: whoever writes more than is kept is not held up by it.
struct Reading {
    written: Arc<Mutex<Written>>,
    task: JoinHandle<()>,
}

impl Reading {
    fn of(output: Option<impl AsyncRead + Unpin + Send + 'static>, limit: usize) -> Self {
        let written = Arc::new(Mutex::default());
        let task = tokio::spawn(keep_first(output, limit, Arc::clone(&written)));
        Self { written, task }
    }

    /// What has arrived by now: somebody who left the group may hold the pipe open for ever.
    async fn last_words(mut self) -> Written {
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.task).await;
        self.task.abort();
        std::mem::take(&mut self.written.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn keep_first(
    output: Option<impl AsyncRead + Unpin>,
    limit: usize,
    written: Arc<Mutex<Written>>,
) {
    let Some(mut output) = output else {
        return;
    };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        let mut written = written.lock().unwrap_or_else(PoisonError::into_inner);
        let room = limit.saturating_sub(written.kept.len()).min(length);
        written.kept.extend_from_slice(&buffer[..room]);
        written.length += length;
    }
}

/// The saved information that a method has answered; nothing if it was silent.
fn answer(bytes: &[u8]) -> Ran {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text.trim(),
        Err(_) => return Ran::failed(MethodResult::BadAnswer, "the answer is not UTF-8"),
    };
    if text.is_empty() {
        return Ran::well(None);
    }
    match Json::new(text) {
        Ok(saved) => Ran::well(Some(saved)),
        Err(error) => Ran::failed(MethodResult::BadAnswer, error.to_string()),
    }
}

fn described(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => "ended in an unknown way".into(),
    }
}
