//! Looks at a server, as whoever asks may.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::Instant;

use super::super::exit::{Again, Exit};
use super::super::findings::Findings;
use super::super::output::Output;
use super::super::target::{Access, Context, Operation, Target};
use super::super::text::counted;
use super::super::{Environment, one_thread};
use crate::access::AdminToken;
use crate::admin::{Admin, ListQuery, Stats};
use crate::audit::Verdict;
use crate::clock::{Clock, Timestamp};
use crate::error::Error;
use crate::options::{OptionState, Value};

/// A server is only asked whether it has stopped: no change is made to see one acknowledged.
const ACKNOWLEDGES: &str = "it has not stopped acknowledging changes";

/// How long before its end a token is told of: long enough to make another one in time.
const SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

pub(super) fn look(
    target: &Target,
    environment: &Environment,
    clock: Arc<dyn Clock>,
    findings: &mut Findings,
    output: &mut Output,
) -> Result<()> {
    let look = Look(findings);
    let looked = one_thread()?.block_on(target.perform(look, output, environment, clock));
    looked.map(drop)
}

/// Looks at a server.
struct Look<'a>(&'a mut Findings);

impl Operation for Look<'_> {
    const ACCESS: Access = Access::ServerOnly;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let findings = self.0;
        let started = Instant::now();
        let none = ListQuery {
            limit: Some(0),
            ..ListQuery::default()
        };
        let ready = admin.ready().await;
        let answers = format!("the server at {} answers", context.name);
        match &ready {
            Ok(()) | Err(Error::Unavailable(_) | Error::Busy { .. }) => {
                findings.ok(answers.as_str())
            }
            Err(_) => {}
        }
        match ready {
            Ok(()) => {}
            Err(error @ (Error::Unavailable(_) | Error::Busy { .. })) => {
                findings.fail(
                    ACKNOWLEDGES,
                    error.to_string(),
                    Some(
                        "look into its log for the disk error, mend it, restart the server".into(),
                    ),
                );
                return Ok(Exit::Done);
            }
            Err(error) => {
                findings.fault(answers, error, output.again());
                return Ok(Exit::Done);
            }
        }
        // Ready is what any server may call itself; only a session server's admin API has a list.
        if let Err(error) = admin.list(none).await {
            findings.fault("it lets you in", error, output.again());
            return Ok(Exit::Done);
        }
        let milliseconds = started.elapsed().as_secs_f64() * 1000.0;
        findings.ok(format!("{ACKNOWLEDGES} ({milliseconds:.1} ms)"));
        if let Ok(stats) = admin.stats().await {
            look_at_stats(findings, &stats);
        }
        if let Ok(options) = admin.options().await {
            look_at_options(findings, &options);
        }
        look_at_access(admin, findings, output.again(), context.now).await;
        Ok(Exit::Done)
    }
}

/// What only an admin sees.
async fn look_at_access<A: Admin>(
    admin: &A,
    findings: &mut Findings,
    again: Again<'_>,
    now: Timestamp,
) {
    match admin.tokens().await {
        Ok(tokens) => look_at_tokens(findings, &tokens, now),
        // Whoever may not look is no worse off for it.
        Err(Error::Forbidden(_)) => {
            findings.ok("your role is not an admin's: tokens and audit record are not looked at");
            return;
        }
        Err(error) => findings.fault("its tokens can be looked at", error, again),
    }
    match admin.verify_audit().await {
        Ok(verdict) => look_at_audit(findings, &verdict),
        Err(error) => findings.fault("its audit record can be looked at", error, again),
    }
}

fn look_at_stats(findings: &mut Findings, stats: &Stats) {
    let Stats {
        counted,
        max_sessions,
        ..
    } = *stats;
    let check = format!("there is room for sessions ({counted} of {max_sessions})");
    if counted >= max_sessions {
        findings.warn(
            check,
            "the next newcomer ends who is idle, or is refused",
            "sessionctl options set max_sessions N",
        );
    } else {
        findings.ok(check);
    }
    if stats.late > 0 {
        findings.warn(
            "on-close methods run in time",
            format!(
                "{} have not run before their closing had to end",
                stats.late
            ),
            "look into the server's log for methods that are slow or fail",
        );
    }
}

/// What lets clients of the web do more than they should.
fn look_at_options(findings: &mut Findings, options: &[OptionState]) {
    let is = |name: &str, value: &Value| {
        let mut named = options.iter().filter(|state| state.name == name);
        named.any(|state| state.value == *value)
    };
    let off = Value::Switch(false);
    if is("cookie_secure", &off) {
        findings.warn(
            "cookies go over https alone",
            "cookie_secure is off: whoever listens on the way has them",
            "sessionctl options reset cookie_secure",
        );
    } else {
        findings.ok("cookies go over https alone");
    }
    if is("open_rate", &Value::Text("off".into())) {
        findings.warn(
            "one address opens only so many sessions",
            "open_rate is off: one client can fill the server",
            "sessionctl options reset open_rate",
        );
    } else {
        findings.ok("one address opens only so many sessions");
    }
}

fn look_at_tokens(findings: &mut Findings, tokens: &[AdminToken], now: Timestamp) {
    let check = "no token is over, or nearly";
    let mut is_well = true;
    for token in tokens {
        let AdminToken {
            name, expires_at, ..
        } = token;
        let Some(end) = expires_at else {
            continue;
        };
        let (detail, fix) = if token.is_expired(now) {
            let fix = format!("sessionctl token revoke {name}, and make another if it is missed");
            (format!("{name} is refused since {end}"), fix)
        } else if now.plus(SOON) >= *end {
            let fix = "make another under another name, and revoke this one when it is in use";
            (format!("{name} is good until {end}"), fix.into())
        } else {
            continue;
        };
        is_well = false;
        findings.warn(check, detail, fix);
    }
    if is_well {
        findings.ok(check);
    }
    let endless: Vec<&str> = tokens
        .iter()
        .filter(|token| token.expires_at.is_none())
        .map(|token| token.name.as_str())
        .collect();
    if !endless.is_empty() {
        findings.warn(
            "every token has an end",
            format!("{} has none", endless.join(", ")),
            "make another with --expires, and revoke this one when it is in use",
        );
    }
}

fn look_at_audit(findings: &mut Findings, verdict: &Verdict) {
    let records = counted(verdict.records, "record", "records");
    let check = format!("the audit record is what was written ({records})");
    match verdict.broken_at {
        None => findings.ok(check),
        Some(seq) => findings.fail(
            check,
            format!("record {seq} was changed, or one before it is missing"),
            Some("compare it with a backup of the store".into()),
        ),
    }
}
