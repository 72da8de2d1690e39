//! Runs the on-close method: a program started directly, within limits, that cannot outlive its run (C09, S39–S41).

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, ChildStdin, Command};

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
        let stdout = child.stdout.take();
        let stderr = child.stderr.take();
        let writing = tokio::spawn(feed(child.stdin.take(), document));
        let reading = tokio::spawn(first_of(stdout, ANSWER_LIMIT));
        let complaint = tokio::spawn(first_of(stderr, COMPLAINT_LIMIT));
        let end = end_of(&mut child, &group, limit, cancelled).await;
        // Whatever it has started ends with it.
        drop(group);
        writing.abort();
        let written = last_words(reading).await;
        let complaint = last_words(complaint).await;
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
            End::Cancelled => Ran::failed(MethodResult::Cancelled, "its session was dropped"),
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
    group.send(Signal::TERM);
    if tokio::time::timeout(TERM_BEFORE_KILL, child.wait())
        .await
        .is_err()
    {
        group.send(Signal::KILL);
        // What was killed is gone soon; nobody else reaps it.
        let _ = child.wait().await;
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

/// Reads to the end and keeps the first bytes: whoever writes more is not held up by it.
async fn first_of(output: Option<impl AsyncRead + Unpin>, limit: usize) -> Written {
    let mut written = Written::default();
    let Some(mut output) = output else {
        return written;
    };
    let mut buffer = vec![0; 8 * 1024];
    while let Ok(length @ 1..) = output.read(&mut buffer).await {
        let room = limit.saturating_sub(written.kept.len()).min(length);
        written.kept.extend_from_slice(&buffer[..room]);
        written.length += length;
    }
    written
}

/// What has arrived by now: somebody who left the group may hold the pipe open for ever.
async fn last_words(mut reading: tokio::task::JoinHandle<Written>) -> Written {
    let read = tokio::time::timeout(LAST_WORDS, &mut reading).await;
    reading.abort();
    read.ok().and_then(Result::ok).unwrap_or_default()
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
