//! Exit codes: one table, and the one place that gives every error its code and its advice.

use std::io;
use std::path::Path;

use anyhow::Error as AnyError;

use super::quoted;
use crate::client::{AddressError, Distrust};
use crate::error::Error;
use crate::options::OptionError;
use crate::session::SessionIdError;
use crate::store::directory::DirectoryError;
use crate::store::sqlite::OpenError;
use crate::wire::ProblemType;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or already so.
    Done,
    /// Unexpected failure.
    Failure,
    /// The command line is wrong.
    Usage,
    /// A session that must exist does not.
    Missing,
    /// Not authenticated or not allowed.
    Denied,
    /// Some done, some not.
    Partial,
    /// Refused by the state of things.
    Refused,
    /// The server is not there, or not one to trust.
    Unreachable,
    /// Not within the time.
    TimedOut,
    /// May have happened.
    Unknown,
    /// A check found something wrong.
    CheckFailed,
    /// The server cannot start as configured.
    Config,
    /// Ended by SIGINT.
    Interrupted,
    /// Ended by SIGTERM.
    Terminated,
}

/// Every exit code with its number and meaning, in the order of the numbers; `--help` prints it.
pub const EXIT_CODES: [(Exit, u8, &str); 14] = [
    (
        Exit::Done,
        0,
        "done, or already so (unknown UUID, already closed); stdout closed by its reader",
    ),
    (Exit::Failure, 1, "unexpected failure"),
    (
        Exit::Usage,
        2,
        "usage: bad flag or value, malformed UUID, confirmation needed (--yes)",
    ),
    (
        Exit::Missing,
        3,
        "the session does not exist (show, history show, or close and drop with --must-exist)",
    ),
    (Exit::Denied, 4, "not authenticated or not allowed"),
    (
        Exit::Partial,
        5,
        "partial: some done, some not; a list that broke off",
    ),
    (
        Exit::Refused,
        6,
        "refused by state: ignored in scalable mode, store in use or cut, limit reached",
    ),
    (
        Exit::Unreachable,
        7,
        "cannot reach the server, or cannot trust it (TLS)",
    ),
    (
        Exit::TimedOut,
        8,
        "timed out: the cookie is refused already, but the session has not finished within --wait",
    ),
    (
        Exit::Unknown,
        9,
        "outcome unknown: the connection broke after the request was sent, or the disk did not confirm",
    ),
    (
        Exit::CheckFailed,
        10,
        "a check found something wrong (ping, doctor, store check, audit verify)",
    ),
    (Exit::Config, 78, "serve cannot start as configured"),
    (Exit::Interrupted, 130, "SIGINT, after a summary"),
    (Exit::Terminated, 143, "SIGTERM, after a summary"),
];

impl Exit {
    /// The number that the shell sees.
    pub fn code(self) -> u8 {
        EXIT_CODES
            .iter()
            .find(|(exit, ..)| *exit == self)
            .map_or(1, |(_, code, _)| *code)
    }

    /// The code of many targets together: the common one, 5 if mixed; 9 beats 5.
    pub fn together(exits: &[Self]) -> Self {
        match exits {
            [] => Self::Done,
            _ if exits.contains(&Self::Unknown) => Self::Unknown,
            [first, rest @ ..] if rest.iter().all(|exit| exit == first) => *first,
            _ => Self::Partial,
        }
    }
}

/// The table as text.
pub(super) fn exit_code_table() -> String {
    let line = |(_, code, meaning): &(Exit, u8, &str)| format!("  {code:>3}  {meaning}\n");
    format!(
        "Exit codes:\n{}",
        EXIT_CODES.iter().map(line).collect::<String>()
    )
}

/// What to try.
#[derive(Debug)]
enum Advice {
    Words(String),
    /// The arguments of a command on the same target.
    Command(String),
    /// The same, of a command that a server whose store has stopped answers only after its restart.
    CommandAfterRestart(String),
}

/// A failure that the command line itself found, with what to try.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct Failure {
    exit: Exit,
    message: String,
    advice: Option<Advice>,
    #[source]
    source: Option<AnyError>,
}

impl Failure {
    /// A failure with this text.
    pub(super) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            advice: None,
            source: None,
        }
    }

    /// The same failure with another code.
    pub(super) fn with_exit(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Says what to try, in words.
    pub(super) fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(Advice::Words(advice.into()));
        self
    }

    /// Says what to try: a command with these arguments, on the same target, that can be pasted.
    pub(super) fn advise_command(mut self, arguments: impl Into<String>) -> Self {
        self.advice = Some(Advice::Command(arguments.into()));
        self
    }

    /// Says what to try after an error: a command with these arguments, on the same target, that looks what is there.
    pub(super) fn advise_look(mut self, after: &Error, arguments: impl Into<String>) -> Self {
        let arguments = arguments.into();
        self.advice = Some(match after {
            Error::Unconfirmed(_) | Error::Unavailable(_) => Advice::CommandAfterRestart(arguments),
            _ => Advice::Command(arguments),
        });
        self
    }

    /// Says what lies under it.
    pub(super) fn caused_by(mut self, source: impl Into<AnyError>) -> Self {
        self.source = Some(source.into());
        self
    }
}

/// The code for an error.
pub(super) fn exit_of(error: &AnyError) -> Exit {
    if let Some(failure) = error.downcast_ref::<Failure>() {
        return failure.exit;
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return exit_of_session_error(error);
    }
    if is_closed_stdout(error) {
        return Exit::Done;
    }
    if error.is::<SessionIdError>() || error.is::<AddressError>() {
        return Exit::Usage;
    }
    if error.is::<OptionError>() {
        return Exit::Config;
    }
    let is_refused = is_others(error) || is_lost(error);
    if is_refused {
        Exit::Refused
    } else {
        Exit::Failure
    }
}

/// Whether a data directory is another's: its user's, or its server's.
pub(super) fn is_others(error: &AnyError) -> bool {
    matches!(
        directory_error(error),
        Some(DirectoryError::InUse { .. } | DirectoryError::NotOwner { .. })
    )
}

/// Whether what a data directory has is not what was acknowledged in it: only who restores it, or ends all sessions, goes on.
fn is_lost(error: &AnyError) -> bool {
    let of_directory = matches!(
        directory_error(error),
        Some(DirectoryError::Lost(_) | DirectoryError::HalfRestored(_))
    );
    let mut chain = error.chain();
    let of_store = chain.find_map(|error| error.downcast_ref::<OpenError>());
    of_directory
        || matches!(
            of_store,
            Some(OpenError::AnotherStore(_) | OpenError::LostChanges { .. })
        )
}

fn exit_of_session_error(error: &Error) -> Exit {
    match error {
        Error::Unreachable { .. } | Error::Untrusted { .. } | Error::NoAnswer { .. } => {
            Exit::Unreachable
        }
        Error::OutcomeUnknown { .. } => Exit::Unknown,
        error => exit_of_problem(ProblemType::of(error)),
    }
}

/// The code for what a server refuses.
pub(super) fn exit_of_problem(kind: ProblemType) -> Exit {
    match kind {
        ProblemType::NotFound
        | ProblemType::Closed
        | ProblemType::NoProcess
        | ProblemType::NotSet
        | ProblemType::NoToken => Exit::Missing,
        ProblemType::Invalid
        | ProblemType::Context
        | ProblemType::ContextTooLarge
        | ProblemType::WouldEnd => Exit::Usage,
        ProblemType::Unauthenticated
        | ProblemType::Forbidden
        | ProblemType::TooManyAttempts
        | ProblemType::Rotated => Exit::Denied,
        ProblemType::Closing
        | ProblemType::ProcessClosing
        | ProblemType::HasProcess
        | ProblemType::LockHeld
        | ProblemType::TokenExists
        | ProblemType::LimitReached
        | ProblemType::TooManyOpens
        | ProblemType::NoSessions
        | ProblemType::OtherAddress
        | ProblemType::Ignored
        | ProblemType::Busy
        | ProblemType::Unavailable => Exit::Refused,
        ProblemType::Unconfirmed => Exit::Unknown,
        // With `--insecure` a command may call a server by a name that is not its own.
        ProblemType::Misdirected => Exit::Unreachable,
        // No command asks in a way that a server of the same version refuses like this.
        ProblemType::UnknownRoute
        | ProblemType::Method
        | ProblemType::TooSlow
        | ProblemType::TooLarge
        | ProblemType::HeadTooLarge
        | ProblemType::TargetTooLong
        | ProblemType::Version
        | ProblemType::MediaType
        | ProblemType::Internal => Exit::Failure,
    }
}

/// Whether the reader of stdout went away; that is no failure of ours.
pub(super) fn is_closed_stdout(error: &AnyError) -> bool {
    let is_broken_pipe = |error: &io::Error| error.kind() == io::ErrorKind::BrokenPipe;
    error
        .downcast_ref::<io::Error>()
        .is_some_and(is_broken_pipe)
}

/// The admin address of the server that has the directory which an error is about.
pub(super) fn server_in_the_way(error: &AnyError) -> Option<&str> {
    match directory_error(error) {
        Some(DirectoryError::InUse { holder, .. }) => holder.admin.as_deref(),
        _ => None,
    }
}

/// How this program is called again for the same target, and whether that is a directory without a server.
#[derive(Clone, Copy)]
pub(super) struct Again<'a> {
    pub(super) program: &'a str,
    pub(super) is_local: bool,
}

impl Again<'_> {
    fn command(self, arguments: &str) -> String {
        format!("{} {arguments}", self.program)
    }

    /// Every command reads a directory anew; a server does so at its start only.
    fn command_after_restart(self, arguments: &str) -> String {
        let command = self.command(arguments);
        match self.is_local {
            true => command,
            false => format!("restart the server, then: {command}"),
        }
    }
}

/// What to try after an error.
pub(super) fn advice(error: &AnyError, again: Again<'_>) -> Option<String> {
    let program = again.program;
    let failure = error.downcast_ref::<Failure>();
    if let Some(advice) = failure.and_then(|failure| failure.advice.as_ref()) {
        return Some(match advice {
            Advice::Words(words) => words.clone(),
            Advice::Command(arguments) => again.command(arguments),
            Advice::CommandAfterRestart(arguments) => again.command_after_restart(arguments),
        });
    }
    let mut chain = error.chain();
    if let Some(error) = chain.find_map(|error| error.downcast_ref::<OpenError>()) {
        return advice_for_store(error);
    }
    if error.is::<SessionIdError>() {
        return Some(format!(
            "give a UUID such as 5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11; `{program} list -o uuid` shows them"
        ));
    }
    if let Some(error) = error.downcast_ref::<Error>() {
        return advice_for_session_error(error, again);
    }
    directory_error(error).and_then(advice_for_directory)
}

fn advice_for_session_error(error: &Error, again: Again<'_>) -> Option<String> {
    let program = again.program;
    let words = match error {
        Error::Closed(closed) => return Some(format!("{program} history show {}", closed.id)),
        Error::NotFound(_) => return Some(format!("{program} list")),
        Error::LimitReached { .. } => {
            return Some(format!(
                "close sessions, or {program} options set max_sessions N"
            ));
        }
        Error::NoSessions => return Some(format!("{program} options set mode legacy")),
        Error::Unconfirmed(_) => return Some(again.command_after_restart("list")),
        Error::OutcomeUnknown { .. } => {
            return Some(format!("`{program} list` tells whether it took effect"));
        }
        Error::Unauthenticated | Error::TooManyAttempts { .. } => {
            "--token-file FILE with a token that is good: the one that `serve --admin-token-file` wrote, or one of `sessionctl token create`"
        }
        Error::NoToken { .. } => return Some(format!("{program} token list")),
        Error::TokenExists { name } => {
            return Some(format!(
                "another name, or first {program} token revoke {name}"
            ));
        }
        Error::Unavailable(_) => {
            "look into the server's log for the disk error, mend it, restart the server"
        }
        Error::Busy { .. } | Error::TooManyOpens { .. } => "the same command again in a moment",
        Error::Unreachable { .. } => {
            "start it with `sessionctl serve`, or name another with --server"
        }
        Error::Untrusted { source, .. } => advice_for_distrust(source.downcast_ref()),
        Error::Misdirected { .. } => {
            "call it by a name that its certificate is for, or give it one for this name; --insecure does not help against that"
        }
        Error::NoAnswer { .. } => {
            "see whether the server hangs: it took the connection and stays silent"
        }
        Error::Protocol { .. } => {
            "check that --server names the admin address of a sessionctl server"
        }
        Error::Unsupported { .. } => {
            "compare the versions: `sessionctl --version`, and what the server's log says of its start"
        }
        _ => return None,
    };
    Some(words.into())
}

fn advice_for_distrust(distrust: Option<&Distrust>) -> &'static str {
    match distrust {
        Some(Distrust::Name(_)) => {
            "name the server as its certificate does, or give it one for this name"
        }
        Some(Distrust::Expired(_) | Distrust::NotYetValid(_)) => {
            "give the server a valid certificate, then reload it: kill -HUP; or set this machine's clock right"
        }
        Some(Distrust::Authority) => {
            "give the server a certificate of its own; made with openssl: -addext basicConstraints=critical,CA:FALSE"
        }
        Some(Distrust::NotTls(_)) => {
            "check that --server names the admin address that `serve` printed, https or http; nothing is sent without TLS"
        }
        Some(Distrust::Version(_)) => "let the server speak TLS 1.2 or 1.3",
        _ => "--cacert FILE with the certificate of who issued the server's",
    }
}

fn advice_for_store(error: &OpenError) -> Option<String> {
    let command = |path: &Path, rest: &str| {
        let directory = path.parent().unwrap_or(path).to_string_lossy();
        format!("sessionctl --local {} {rest}", quoted(&directory))
    };
    match error {
        OpenError::Directory(error) => advice_for_directory(error),
        error if error.is_in_use() => {
            Some("end the program that reads the database, then the same command again".into())
        }
        error if error.is_disk_full() => {
            Some("make room on the disk, then the same command again".into())
        }
        OpenError::Sqlite { path, .. } | OpenError::Damaged { path, .. } => {
            Some(command(path, "store check"))
        }
        OpenError::Backup(_) => Some(
            "put it elsewhere, and bring it back with `sessionctl --local DIR store restore FILE`"
                .into(),
        ),
        OpenError::AnotherStore(path) | OpenError::LostChanges { path, .. } => Some(format!(
            "`{}`, or start once with `sessionctl serve --end-all-sessions`: everybody signs in anew",
            command(path, "store restore BACKUP")
        )),
        OpenError::NotAStore(path) => Some(command(path, "store restore BACKUP")),
        OpenError::NewerSchema { .. } => Some("run it with the sessionctl that wrote it".into()),
        _ => None,
    }
}

fn advice_for_directory(error: &DirectoryError) -> Option<String> {
    match error {
        DirectoryError::Missing(path) => {
            let path = path.to_string_lossy();
            let path = quoted(&path);
            Some(format!(
                "`sessionctl --local {path} open-session` or `sessionctl serve --data {path}` makes one"
            ))
        }
        DirectoryError::Foreign(_) => {
            Some("name an empty directory, or one that does not exist yet".into())
        }
        DirectoryError::Lost(path) | DirectoryError::HalfRestored(path) => Some(format!(
            "sessionctl --local {} store restore BACKUP",
            quoted(&path.to_string_lossy())
        )),
        DirectoryError::NotOwner { owner, .. } => Some(format!("run the command as uid {owner}")),
        DirectoryError::InUse { holder, .. } => match &holder.admin {
            Some(admin) => Some(format!(
                "ask that server: sessionctl --server {} list",
                quoted(admin)
            )),
            None => Some("the same command again when that one has ended".into()),
        },
        DirectoryError::Io { .. } => None,
    }
}

fn directory_error(error: &AnyError) -> Option<&DirectoryError> {
    error
        .chain()
        .find_map(|error| match error.downcast_ref::<OpenError>() {
            Some(OpenError::Directory(error)) => Some(error),
            _ => error.downcast_ref::<DirectoryError>(),
        })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::wire::errors::tests::{every_error_of_a_server, every_fault};
    use crate::wire::{Fault, Problem};

    #[test]
    fn codes_are_those_of_the_design() {
        let codes: Vec<u8> = EXIT_CODES
            .iter()
            .map(|(exit, code, _)| (exit.code() == *code).then_some(*code).unwrap())
            .collect();
        assert_eq!(codes, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 78, 130, 143]);
    }

    /// What a server refuses ends a command with the same code as what a directory refuses.
    #[test]
    fn what_crosses_the_wire_keeps_its_code() {
        let mut told = BTreeSet::new();
        let of_errors = every_error_of_a_server();
        let problems = of_errors.iter().map(Problem::from);
        for problem in problems.chain(every_fault().map(Fault::problem)) {
            let kind = ProblemType::of_uri(&problem.kind).unwrap();
            let arrived = serde_json::to_value(problem).unwrap();
            let arrived: Problem = serde_json::from_value(arrived).unwrap();
            let exit = exit_of(&arrived.into_error("unix:/x").into());
            assert_eq!(exit, exit_of_problem(kind), "{kind:?}");
            told.insert(kind);
        }
        // It comes as an outcome.
        told.insert(ProblemType::Ignored);
        assert_eq!(told, ProblemType::ALL.iter().copied().collect());
        // And the same errors have the same code in a directory, where none is a problem.
        for error in of_errors {
            let kind = ProblemType::of(&error);
            assert_eq!(exit_of(&error.into()), exit_of_problem(kind), "{kind:?}");
        }
    }

    #[test]
    fn what_was_not_confirmed_is_looked_at_after_a_restart_of_the_server_that_has_it() {
        let unconfirmed = || AnyError::from(Error::Unconfirmed("the disk is gone".into()));
        let failure = Failure::new(Exit::Unknown, "unknown");
        let failure = failure.advise_look(&Error::Unconfirmed("the disk is gone".into()), "list");
        for error in [unconfirmed(), failure.into()] {
            let told = [("sessionctl", false), ("sessionctl --local x", true)]
                .map(|(program, is_local)| advice(&error, Again { program, is_local }).unwrap());
            assert_eq!(
                told,
                [
                    "restart the server, then: sessionctl list",
                    "sessionctl --local x list"
                ]
            );
        }
    }

    #[test]
    fn many_targets_have_one_code() {
        assert_eq!(Exit::together(&[]), Exit::Done);
        assert_eq!(
            Exit::together(&[Exit::Missing, Exit::Missing]),
            Exit::Missing
        );
        assert_eq!(Exit::together(&[Exit::Done, Exit::Missing]), Exit::Partial);
        assert_eq!(
            Exit::together(&[Exit::Done, Exit::Unknown, Exit::Missing]),
            Exit::Unknown
        );
    }
}
