//! `sessionctl show`.

use std::time::Duration;

use anyhow::Result;
use clap::Args;

use super::exit::Exit;
use super::list::looked_at;
use super::output::{Format, Output};
use super::rows::Row as _;
use super::table::{Times, details, listed};
use super::target::{Access, Context, Operation};
use super::text::{counted, duration, or_dash, visible};
use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::context::Lock;
use crate::session::{NameAndSize, Process, Session, SessionId};
use crate::wire::SessionDetailsBody;

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl show UUID                      who it is, and what its processes hold
  sessionctl show UUID -o json              the same for a script";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The session, in any spelling of a UUID
    #[arg(value_name = "UUID")]
    uuid: String,
}

pub(super) struct Show {
    arguments: Arguments,
    id: Option<SessionId>,
}

impl Show {
    pub(super) fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            id: None,
        }
    }
}

impl Operation for Show {
    const ACCESS: Access = Access::Look;

    fn check(&mut self) -> Result<()> {
        self.id = Some(self.arguments.uuid.parse()?);
        Ok(())
    }

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let Some(id) = self.id else {
            return Ok(Exit::Usage);
        };
        let shown = admin.show(id).await?;
        let session = &shown.session;
        match output.format {
            Format::Table => {
                let times = Times::on(output);
                let mut pairs = session_pairs(session, times);
                for process in &shown.processes {
                    pairs.push(("", String::new()));
                    pairs.extend(process_pairs(process, times, looked_at(session)));
                }
                output.raw(&details(&pairs))?;
            }
            Format::Json | Format::Jsonl => output.json(&SessionDetailsBody::from(shown))?,
            Format::Csv => {
                output.line(Session::CSV_HEADER)?;
                output.line(&session.csv())?;
            }
            Format::Uuid => output.line(&session.id.to_string())?,
        }
        Ok(Exit::Done)
    }
}

fn session_pairs(session: &Session, times: Times) -> Vec<(&'static str, String)> {
    let instant = |instant: Timestamp| times.long(instant, looked_at(session));
    let expires = match session.expires_at {
        None => "60m after its last request (scalable mode)".into(),
        Some(Timestamp::EPOCH) => "its cookie is refused already".into(),
        Some(at) => instant(at),
    };
    vec![
        ("id", session.id.to_string()),
        ("user", or_dash(session.user.as_deref())),
        ("kind", session.kind.to_string()),
        ("mode", session.mode.to_string()),
        ("state", session.state.to_string()),
        (
            "ip",
            or_dash(session.ip.map(|ip| ip.to_string()).as_deref()),
        ),
        ("user agent", or_dash(session.user_agent.as_deref())),
        ("created", instant(session.created_at)),
        (
            "login",
            session.login_at.map_or_else(|| "-".into(), instant),
        ),
        ("last request", instant(session.last_request_at)),
        ("expires", expires),
        ("idle", duration(Duration::from_millis(session.idle_ms))),
        ("processes", session.process_count.to_string()),
        ("locks", session.lock_count.to_string()),
        ("seq", session.seq.to_string()),
    ]
}

/// A process with everything that it has, each thing on a line of its own.
fn process_pairs(process: &Process, times: Times, now: Timestamp) -> Vec<(&'static str, String)> {
    let sized = |named: &NameAndSize| {
        let bytes = counted(named.bytes as u64, "byte", "bytes");
        format!("{} ({bytes})", visible(named.name.as_str()))
    };
    let locked = |lock: &Lock| {
        format!(
            "{} since {}, fence {}",
            visible(&lock.target().to_string()),
            times.short(lock.since, now),
            lock.fence
        )
    };
    let mut pairs = vec![
        ("process", format!("{} ({})", process.number, process.state)),
        ("  started", times.long(process.started_at, now)),
    ];
    if let Some(until) = process.lease_until {
        pairs.push(("  lease until", times.long(until, now)));
    }
    pairs.extend(listed("  variables", process.variables.iter().map(sized)));
    pairs.extend(listed("  selections", process.selections.iter().map(sized)));
    pairs.extend(listed("  locks", process.locks.iter().map(locked)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::Name;
    use crate::session::{ProcessNumber, ProcessState};

    #[test]
    fn a_process_shows_what_it_has_on_narrow_terminals_too() {
        let name = |text: &str| Name::new(text).unwrap();
        let now = Timestamp::from_millis(1_764_000_300_000);
        let since = Timestamp::from_millis(1_764_000_000_000);
        let sized = |text: &str, bytes| NameAndSize {
            name: name(text),
            bytes,
        };
        let process = Process {
            number: ProcessNumber(4),
            state: ProcessState::Asked,
            started_at: since,
            lease_until: None,
            variables: vec![sized("cart", 12), sized("\u{202e}x", 1)],
            selections: Vec::new(),
            locks: vec![Lock {
                table: name("Invoices"),
                record: name("4711"),
                since,
                fence: 17,
            }],
        };
        let text = details(&process_pairs(&process, Times::Relative, now));
        assert!(text.lines().all(|line| line.chars().count() < 80), "{text}");
        for line in [
            "process      4 (asked)",
            "  variables  cart (12 bytes)",
            r"             \u{202e}x (1 byte)",
            "  locks      Invoices/4711 since 5m00s ago, fence 17",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
