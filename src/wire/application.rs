//! What an application sends: bodies and queries.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{BODY_LIMIT, SCHEMA};
use crate::admin::USER_LIMIT;
use crate::application::{LONGEST_LEASE, LONGEST_POLL, SHORTEST_LEASE, Saved, SavedInformation};
use crate::context::{ContextError, LARGEST_CONTEXT, Name, Selection};
use crate::session::SessionId;

/// Bytes that the body of a variable or a selection may have: the largest context, and what JSON may write around it.
pub const CONTEXT_BODY_LIMIT: usize = LARGEST_CONTEXT + BODY_LIMIT;

/// The body of a log-in.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginBody {
    /// Who it is.
    #[schemars(length(min = 1, max = USER_LIMIT))]
    pub user: String,
}

/// The body of the start of a process.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StartBody {
    /// Milliseconds that the process lives unless it is named again (C18); without a lease when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = SHORTEST_LEASE.as_millis() as u64, max = LONGEST_LEASE.as_millis() as u64))]
    pub lease: Option<u64>,
}

impl StartBody {
    /// The lease.
    pub fn lease(&self) -> Option<Duration> {
        self.lease.map(Duration::from_millis)
    }
}

/// The body of a selection; its names are still to be checked.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SelectionBody {
    /// The table.
    #[schemars(with = "Name")]
    pub table: String,
    /// The records, in order.
    #[schemars(with = "Vec<Name>")]
    pub records: Vec<String>,
}

impl SelectionBody {
    /// The selection.
    ///
    /// # Errors
    /// When the table or a record is no name.
    pub fn selection(&self) -> Result<Selection, ContextError> {
        let records = self.records.iter().map(|record| Name::new(record));
        Ok(Selection {
            table: Name::new(&self.table)?,
            records: records.collect::<Result<_, _>>()?,
        })
    }
}

/// How long a long poll, or a request for a lock, waits.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitQuery {
    /// A duration such as `30s`, at most [`LONGEST_POLL`]; not at all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<String>,
}

impl WaitQuery {
    /// The time to wait.
    ///
    /// # Errors
    /// A text that says what a wait is.
    pub fn duration(&self) -> Result<Duration, String> {
        let Some(text) = &self.wait else {
            return Ok(Duration::ZERO);
        };
        match humantime::parse_duration(text) {
            Ok(wait) if wait <= LONGEST_POLL => Ok(wait),
            Ok(_) | Err(_) => Err(format!(
                "a wait is a duration such as 30s, at most {}s",
                LONGEST_POLL.as_secs()
            )),
        }
    }
}

/// Whether what the on-close method left is handed out.
#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SavedQuery {
    /// 1, and when absent: it is handed out, once (C05). 0: only looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 1))]
    pub take: Option<u8>,
}

impl SavedQuery {
    /// Whether it is handed out.
    ///
    /// # Errors
    /// A text that says what it can be.
    pub fn takes(&self) -> Result<bool, String> {
        match self.take {
            None | Some(1) => Ok(true),
            Some(0) => Ok(false),
            Some(_) => Err("take is 1 or 0".into()),
        }
    }
}

/// What the on-close method left.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct SavedBody {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The session that the client had before, if it may inherit from it.
    pub previous: Option<SessionId>,
    /// What was left, by session and process.
    pub items: Vec<SavedInformation>,
}

impl From<Saved> for SavedBody {
    fn from(saved: Saved) -> Self {
        let Saved { previous, items } = saved;
        Self {
            schema: SCHEMA,
            previous,
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_has_a_unit_and_an_end() {
        let wait = |text: &str| {
            let wait = Some(text.into());
            WaitQuery { wait }.duration().ok()
        };
        assert_eq!(WaitQuery::default().duration(), Ok(Duration::ZERO));
        for (text, seconds) in [("0", 0), ("0s", 0), ("30s", 30), ("1m", 60), ("60s", 60)] {
            assert_eq!(wait(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "-1s", "61s", "60001ms", "1h", "soon", "30s 30"] {
            assert_eq!(wait(text), None, "{text}");
        }
    }

    #[test]
    fn a_selection_has_names() {
        let selection = |table: &str, record: &str| {
            let (table, records) = (table.into(), vec![record.into()]);
            SelectionBody { table, records }.selection()
        };
        assert!(selection("Invoices", "47/11").is_ok());
        assert_eq!(selection("Invoices", "a\0b"), Err(ContextError::Control));
        assert_eq!(selection("", "1"), Err(ContextError::Empty));
    }
}
