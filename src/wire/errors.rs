//! Every error has its status and its stable problem type, in both directions.

use std::time::Duration;

use super::problem::{ClosedFields, LockFields, Problem};
use super::problem_types::{PREFIX, ProblemType};
use crate::context::ContextError;
use crate::error::{Error, Source};
use crate::session::{ClosedSession, HeldLock};

/// What a process may have nothing of under a name.
const THINGS: [&str; 2] = ["variable", "selection"];

impl From<&Error> for Problem {
    fn from(error: &Error) -> Self {
        let kind = ProblemType::of(error);
        let detail = match kind {
            // What went wrong inside is for the log.
            ProblemType::Internal => "the server's log has more".into(),
            _ => error.to_string(),
        };
        let mut problem = Self::new(kind, detail);
        problem.carry(error);
        problem
    }
}

impl ProblemType {
    /// The type of an error; one that only a client has would be an internal one of the server.
    pub fn of(error: &Error) -> Self {
        match error {
            Error::NotFound(_) => Self::NotFound,
            Error::Closed(_) => Self::Closed,
            Error::Closing(_) => Self::Closing,
            Error::NoProcess { .. } => Self::NoProcess,
            Error::ProcessClosing { .. } => Self::ProcessClosing,
            Error::HasProcess { .. } => Self::HasProcess,
            Error::NotSet { .. } => Self::NotSet,
            Error::LockHeld(_) => Self::LockHeld,
            Error::Context(ContextError::Large { .. }) => Self::ContextTooLarge,
            Error::Context(_) => Self::Context,
            Error::Rotated => Self::Rotated,
            Error::Invalid(_) => Self::Invalid,
            Error::Unauthenticated => Self::Unauthenticated,
            Error::Forbidden(_) => Self::Forbidden,
            Error::LimitReached { .. } => Self::LimitReached,
            Error::TooManyOpens { .. } => Self::TooManyOpens,
            Error::NoSessions => Self::NoSessions,
            Error::OtherAddress => Self::OtherAddress,
            Error::WouldEnd { .. } => Self::WouldEnd,
            Error::NoToken { .. } => Self::NoToken,
            Error::TokenExists { .. } => Self::TokenExists,
            Error::TooManyAttempts { .. } => Self::TooManyAttempts,
            Error::Busy { .. } => Self::Busy,
            Error::Unavailable(_) => Self::Unavailable,
            Error::Unconfirmed(_) => Self::Unconfirmed,
            Error::Internal(_)
            | Error::Unreachable { .. }
            | Error::Untrusted { .. }
            | Error::NoAnswer { .. }
            | Error::OutcomeUnknown { .. }
            | Error::Protocol { .. }
            | Error::Unsupported { .. } => Self::Internal,
            Error::Misdirected { .. } => Self::Misdirected,
        }
    }
}

impl Problem {
    /// Takes along what the error has besides its text.
    fn carry(&mut self, error: &Error) {
        match error {
            Error::NotFound(id) | Error::Closing(id) => self.id = Some(*id),
            Error::NoProcess { id, process }
            | Error::ProcessClosing { id, process }
            | Error::HasProcess { id, process } => {
                (self.id, self.process) = (Some(*id), Some(*process));
            }
            Error::Closed(closed) => self.carry_closed(closed),
            Error::LockHeld(held) => self.carry_lock(held),
            Error::NotSet { what } => self.what = Some((*what).into()),
            Error::NoToken { name } | Error::TokenExists { name } => self.what = Some(name.clone()),
            Error::Context(error) => self.carry_context(error),
            Error::LimitReached { limit, retry_after } => {
                self.limit = Some(*limit);
                self.retry_after = millis(retry_after);
            }
            Error::TooManyOpens { retry_after }
            | Error::TooManyAttempts { retry_after }
            | Error::Busy { retry_after } => {
                self.retry_after = millis(retry_after);
            }
            Error::WouldEnd { ends, strands } => {
                (self.ends, self.strands) = (Some(*ends), Some(*strands));
            }
            _ => {}
        }
    }

    fn carry_closed(&mut self, closed: &ClosedSession) {
        let ClosedSession {
            id,
            user,
            cause,
            closed_at,
            expires_at,
        } = closed.clone();
        self.id = Some(id);
        self.user = user;
        self.closed = Some(ClosedFields {
            cause,
            closed_at,
            expires_at,
        });
    }

    fn carry_lock(&mut self, held: &HeldLock) {
        let HeldLock {
            table,
            record,
            session,
            process,
            user,
            since,
            fence,
            waiting,
        } = held.clone();
        self.process = Some(process);
        self.user = user;
        self.lock = Some(LockFields {
            table,
            record,
            session,
            since,
            fence,
            waiting,
        });
    }

    fn carry_context(&mut self, error: &ContextError) {
        let what = match error {
            ContextError::Empty => "empty",
            ContextError::Control => "control",
            ContextError::Dots => "dots",
            ContextError::Long { limit, found } => {
                (self.limit, self.found) = (Some(*limit), Some(*found));
                "long"
            }
            ContextError::Json(syntax) => {
                self.syntax = Some(syntax.clone());
                "json"
            }
            // It has a type of its own.
            ContextError::Large { limit, found } => {
                (self.limit, self.found) = (Some(*limit), Some(*found));
                return;
            }
        };
        self.what = Some(what.into());
    }

    /// What a client makes of a problem from `server`.
    pub fn into_error(self, server: &str) -> Error {
        let what = format!("{} {}", self.status, self.title);
        let not_ours = Error::Protocol {
            server: server.into(),
            what,
        };
        self.known(server).unwrap_or(not_ours)
    }

    /// The error of the problem's type; `None` for a type that is not ours, or that lacks what belongs to it.
    fn known(self, server: &str) -> Option<Error> {
        let retry_after = Duration::from_millis(self.retry_after.unwrap_or(1_000));
        let Some(kind) = ProblemType::of_uri(&self.kind) else {
            // A server of a later version has more types than this one knows.
            return self
                .kind
                .starts_with(PREFIX)
                .then(|| self.unsupported(server));
        };
        let says_so = || Source::from(format!("{server} says so"));
        Some(match kind {
            ProblemType::NotFound => Error::NotFound(self.id?),
            ProblemType::Closed => Error::Closed(Box::new(self.closed_session()?)),
            ProblemType::Closing => Error::Closing(self.id?),
            ProblemType::NoProcess | ProblemType::ProcessClosing | ProblemType::HasProcess => {
                self.process_error(kind)?
            }
            ProblemType::NotSet => {
                let what = self.what?;
                let what = THINGS.into_iter().find(|thing| *thing == what)?;
                Error::NotSet { what }
            }
            ProblemType::LockHeld => Error::LockHeld(Box::new(self.held_lock()?)),
            ProblemType::Context | ProblemType::ContextTooLarge => {
                Error::Context(self.context_error()?)
            }
            ProblemType::Rotated => Error::Rotated,
            ProblemType::Invalid => Error::Invalid(self.detail),
            ProblemType::Unauthenticated => Error::Unauthenticated,
            ProblemType::Forbidden => Error::Forbidden(self.detail),
            ProblemType::LimitReached => Error::LimitReached {
                limit: self.limit.unwrap_or_default(),
                retry_after,
            },
            ProblemType::TooManyOpens => Error::TooManyOpens { retry_after },
            ProblemType::NoSessions => Error::NoSessions,
            ProblemType::OtherAddress => Error::OtherAddress,
            ProblemType::WouldEnd => Error::WouldEnd {
                ends: self.ends.unwrap_or_default(),
                strands: self.strands.unwrap_or_default(),
            },
            ProblemType::NoToken => Error::NoToken { name: self.what? },
            ProblemType::TokenExists => Error::TokenExists { name: self.what? },
            ProblemType::TooManyAttempts => Error::TooManyAttempts { retry_after },
            ProblemType::Busy => Error::Busy { retry_after },
            ProblemType::Unavailable => Error::Unavailable(says_so()),
            ProblemType::Unconfirmed => Error::Unconfirmed(says_so()),
            ProblemType::Internal => {
                Error::Internal(format!("{server} says so; its log has more").into())
            }
            // A close that is ignored arrives as its outcome.
            ProblemType::Ignored
            | ProblemType::UnknownRoute
            | ProblemType::Method
            | ProblemType::TooSlow
            | ProblemType::TooLarge
            | ProblemType::HeadTooLarge
            | ProblemType::TargetTooLong
            | ProblemType::Version
            | ProblemType::MediaType => self.unsupported(server),
            ProblemType::Misdirected => misdirected(server),
        })
    }

    fn process_error(&self, kind: ProblemType) -> Option<Error> {
        let (id, process) = (self.id?, self.process?);
        Some(match kind {
            ProblemType::ProcessClosing => Error::ProcessClosing { id, process },
            ProblemType::HasProcess => Error::HasProcess { id, process },
            _ => Error::NoProcess { id, process },
        })
    }

    fn unsupported(&self, server: &str) -> Error {
        Error::Unsupported {
            server: server.into(),
            what: format!("{} {}", self.status, self.title),
        }
    }

    fn closed_session(&self) -> Option<ClosedSession> {
        let ClosedFields {
            cause,
            closed_at,
            expires_at,
        } = self.closed.clone()?;
        Some(ClosedSession {
            id: self.id?,
            user: self.user.clone(),
            cause,
            closed_at,
            expires_at,
        })
    }

    fn held_lock(&self) -> Option<HeldLock> {
        let LockFields {
            table,
            record,
            session,
            since,
            fence,
            waiting,
        } = self.lock.clone()?;
        Some(HeldLock {
            table,
            record,
            session,
            process: self.process?,
            user: self.user.clone(),
            since,
            fence,
            waiting,
        })
    }

    fn context_error(&self) -> Option<ContextError> {
        Some(match self.what.as_deref() {
            Some("empty") => ContextError::Empty,
            Some("control") => ContextError::Control,
            Some("dots") => ContextError::Dots,
            Some("json") => ContextError::Json(self.syntax.clone()?),
            Some("long") => ContextError::Long {
                limit: self.limit?,
                found: self.found?,
            },
            Some(_) => return None,
            None => ContextError::Large {
                limit: self.limit?,
                found: self.found?,
            },
        })
    }
}

fn misdirected(server: &str) -> Error {
    Error::Misdirected {
        server: server.into(),
    }
}

fn millis(duration: &Duration) -> Option<u64> {
    u64::try_from(duration.as_millis()).ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::clock::Timestamp;
    use crate::context::{Json, Name};
    use crate::session::{Cause, ProcessNumber, SessionId};
    use crate::wire::Fault;

    /// Without those that only a client has: no server sends them.
    pub(crate) fn every_error_of_a_server() -> Vec<Error> {
        let (id, process) = (SessionId::random(), ProcessNumber(7));
        let since = Timestamp::from_millis(1_764_000_000_001);
        let closed = |user: Option<&str>| ClosedSession {
            id,
            user: user.map(Into::into),
            cause: Cause::Command,
            closed_at: since,
            expires_at: Timestamp::EPOCH,
        };
        let held = |user: Option<&str>| HeldLock {
            table: Name::new("Invoices/2024").unwrap(),
            record: Name::new("\"47\" 11 🔑").unwrap(),
            session: id,
            process,
            user: user.map(Into::into),
            since,
            fence: u64::MAX,
            waiting: 3,
        };
        let (ends, strands) = (2, 3);
        let limit = 100;
        let retry_after = Duration::from_millis(1_500);
        let mut errors = vec![
            Error::NotFound(id),
            Error::Closed(Box::new(closed(Some("ana")))),
            Error::Closed(Box::new(closed(None))),
            Error::Closing(id),
            Error::NoProcess { id, process },
            Error::ProcessClosing { id, process },
            Error::HasProcess { id, process },
            Error::LockHeld(Box::new(held(Some("ana")))),
            Error::LockHeld(Box::new(held(None))),
            Error::Rotated,
            Error::Invalid("what was wrong".into()),
            Error::Unauthenticated,
            Error::Forbidden("not you".into()),
            Error::LimitReached { limit, retry_after },
            Error::TooManyOpens { retry_after },
            Error::NoSessions,
            Error::OtherAddress,
            Error::WouldEnd { ends, strands },
            Error::WouldEnd { ends, strands: 0 },
            Error::NoToken { name: "ci".into() },
            Error::TokenExists { name: "ci".into() },
            Error::TooManyAttempts { retry_after },
            Error::Busy { retry_after },
            Error::Unavailable("disk".into()),
            Error::Unconfirmed("disk".into()),
            Error::Internal("bug".into()),
        ];
        errors.extend(every_error_of_a_context().map(Error::Context));
        errors.extend(THINGS.map(|what| Error::NotSet { what }));
        errors
    }

    fn every_error_of_a_context() -> [ContextError; 6] {
        let (limit, found) = (100, 101);
        let json = Json::new("[1,").unwrap_err();
        [
            ContextError::Empty,
            ContextError::Control,
            ContextError::Dots,
            ContextError::Long { limit, found },
            ContextError::Large { limit, found },
            json,
        ]
    }

    /// Every error that can cross the wire arrives as the same error.
    #[test]
    fn errors_survive_the_wire() {
        for error in every_error_of_a_server() {
            let text = serde_json::to_string(&Problem::from(&error)).unwrap();
            let problem: Problem = serde_json::from_str(&text).unwrap();
            assert!((400..600).contains(&problem.status), "{text}");
            let arrived = problem.into_error("unix:/x");
            assert_eq!(
                std::mem::discriminant(&arrived),
                std::mem::discriminant(&error),
                "{text}"
            );
            assert_eq!(arrived.to_string(), error.to_string());
            match (&arrived, &error) {
                (Error::LockHeld(arrived), Error::LockHeld(sent)) => assert_eq!(arrived, sent),
                (Error::Closed(arrived), Error::Closed(sent)) => assert_eq!(arrived, sent),
                (Error::Context(arrived), Error::Context(sent)) => assert_eq!(arrived, sent),
                _ => {}
            }
        }
    }

    /// S33: a type that nothing has is none, and what is refused without a session has one as well.
    #[test]
    fn s33_every_type_of_the_table_is_used() {
        let of_errors = every_error_of_a_server().into_iter().map(|error| {
            let kind = ProblemType::of(&error);
            assert_eq!(kind.uri(), Problem::from(&error).kind);
            kind
        });
        let of_faults = every_fault().map(|fault| {
            let problem = fault.problem();
            let kind = ProblemType::of_uri(&problem.kind).unwrap();
            assert_eq!(
                (problem.status, problem.title.as_str()),
                (kind.status(), kind.title())
            );
            kind
        });
        let used: BTreeSet<_> = of_errors
            .chain(of_faults)
            .chain([ProblemType::Ignored])
            .collect();
        assert_eq!(used, ProblemType::ALL.iter().copied().collect());
    }

    pub(crate) fn every_fault() -> [Fault; 10] {
        let faults = [
            Fault::Route,
            Fault::Method,
            Fault::Size(1024),
            Fault::Time,
            Fault::MediaType,
            Fault::Misdirected,
            Fault::Head("what was wrong"),
            Fault::HeadSize,
            Fault::Target,
            Fault::Version,
        ];
        for fault in faults {
            // A new one belongs into the list above.
            match fault {
                Fault::Route
                | Fault::Method
                | Fault::Size(_)
                | Fault::Time
                | Fault::MediaType
                | Fault::Misdirected
                | Fault::Head(_)
                | Fault::HeadSize
                | Fault::Target
                | Fault::Version => {}
            }
        }
        faults
    }

    /// Who is refused a lock reads who has it, without knowing this program's types.
    #[test]
    fn a_lock_that_is_held_says_by_whom() {
        let held = every_error_of_a_server()
            .into_iter()
            .find(|error| matches!(error, Error::LockHeld(_)))
            .unwrap();
        let problem = serde_json::to_value(Problem::from(&held)).unwrap();
        assert_eq!(problem["type"], "urn:sessionctl:problem:lock-held");
        assert_eq!(problem["status"], 409);
        for member in [
            "table", "record", "session", "process", "user", "since", "fence", "waiting",
        ] {
            assert!(!problem[member].is_null(), "{problem}");
        }
    }

    #[test]
    fn what_a_problem_lacks_is_not_made_up() {
        for kind in [
            ProblemType::NotFound,
            ProblemType::Closed,
            ProblemType::LockHeld,
            ProblemType::NotSet,
            ProblemType::Context,
        ] {
            let error = Problem::new(kind, "detail").into_error("unix:/x");
            assert!(matches!(error, Error::Protocol { .. }), "{kind:?}: {error}");
        }
        let problem = Problem {
            kind: "about:blank".into(),
            ..Problem::new(ProblemType::NotFound, "detail")
        };
        let error = problem.into_error("unix:/x");
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }

    /// A server of another version has routes that this one lacks, and the other way round.
    #[test]
    fn what_is_refused_for_an_unknown_reason_is_our_own_servers() {
        let unknown = Problem {
            kind: format!("{PREFIX}of-next-year"),
            title: "the session is frozen".into(),
            ..Problem::new(ProblemType::Closing, "detail")
        };
        let faults = [Fault::Route, Fault::Method, Fault::Size(1), Fault::Time];
        let refused: Vec<String> = std::iter::once(unknown)
            .chain(faults.map(Fault::problem))
            .map(|problem| problem.into_error("unix:/x").to_string())
            .collect();
        assert_eq!(
            refused,
            [
                "unix:/x does not take this request: 409 the session is frozen",
                "unix:/x does not take this request: 404 no such route",
                "unix:/x does not take this request: 405 method not allowed",
                "unix:/x does not take this request: 413 body too large",
                "unix:/x does not take this request: 408 body too slow",
            ]
        );
    }

    #[test]
    fn no_problem_tells_internals() {
        for error in [
            Error::Unavailable("/var/lib/secret".into()),
            Error::Internal("/var/lib/secret".into()),
        ] {
            assert!(
                !serde_json::to_string(&Problem::from(&error))
                    .unwrap()
                    .contains("secret")
            );
        }
    }
}
