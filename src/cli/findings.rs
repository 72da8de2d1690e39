//! What checks have found: each line ok, warn or fail, with what to do about it.

use anyhow::{Error as AnyError, Result};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::exit::{Again, Exit, advice};
use super::output::{Format, Output};
use super::text::visible;
use crate::wire::SCHEMA;

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
}

/// One check.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: String,
    status: Status,
    detail: Option<String>,
    #[serde(rename = "try")]
    fix: Option<String>,
}

/// All of them, in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

impl Findings {
    pub(super) fn ok(&mut self, check: impl Into<String>) {
        self.add(check, Status::Ok, None, None);
    }

    pub(super) fn warn(
        &mut self,
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.add(check, Status::Warn, Some(detail.into()), Some(fix.into()));
    }

    pub(super) fn fail(
        &mut self,
        check: impl Into<String>,
        detail: impl Into<String>,
        fix: Option<String>,
    ) {
        self.add(check, Status::Fail, Some(detail.into()), fix);
    }

    /// Adds a check that failed with an error: why, and what to try.
    pub(super) fn fault(
        &mut self,
        check: impl Into<String>,
        error: impl Into<AnyError>,
        again: Again<'_>,
    ) {
        let error = error.into();
        let mut told: Vec<String> = Vec::new();
        for cause in error.chain().map(ToString::to_string) {
            // Some errors repeat what lies under them.
            if !told.iter().any(|above| above.contains(&cause)) {
                told.push(cause);
            }
        }
        self.fail(check, told.join(": "), advice(&error, again));
    }

    fn add(
        &mut self,
        check: impl Into<String>,
        status: Status,
        detail: Option<String>,
        fix: Option<String>,
    ) {
        self.0.push(Finding {
            check: check.into(),
            status,
            detail,
            fix,
        });
    }

    /// Writes them, as JSON with what else is to be said; answers 10 if a check failed.
    pub(super) fn write(self, output: &mut Output, more: Map<String, Value>) -> Result<Exit> {
        let has_failed = self.0.iter().any(|finding| finding.status == Status::Fail);
        match output.format {
            Format::Json | Format::Jsonl => {
                let mut whole = json!({"schema": SCHEMA, "ok": !has_failed, "checks": self.0});
                if let Some(whole) = whole.as_object_mut() {
                    whole.extend(more);
                }
                output.json(&whole)?;
            }
            Format::Table | Format::Csv | Format::Uuid => {
                for finding in &self.0 {
                    write_line(finding, output)?;
                }
            }
        }
        Ok(if has_failed {
            Exit::CheckFailed
        } else {
            Exit::Done
        })
    }
}

fn write_line(finding: &Finding, output: &mut Output) -> Result<()> {
    let Finding {
        check,
        status,
        detail,
        fix,
    } = finding;
    let word = match status {
        Status::Ok if output.quiet => return Ok(()),
        Status::Ok => "ok  ",
        Status::Warn => "warn",
        Status::Fail => "fail",
    };
    let detail = detail
        .as_deref()
        .map(|detail| format!(": {}", visible(detail)))
        .unwrap_or_default();
    output.line(&format!("{word}  {}{detail}", visible(check)))?;
    if let Some(fix) = fix {
        output.line(&format!("      try: {}", visible(fix)))?;
    }
    Ok(())
}
