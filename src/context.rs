//! What a process works with: variables, current selections, record locks; and the limits of their names and sizes (C05, C06).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

use crate::clock::Timestamp;
use crate::json;

/// Characters that a name may have, whatever `context_name_limit` says.
pub const LONGEST_NAME: usize = 1_024;

/// Bytes that a context may have, whatever `context_limit` says: a value comes in the body of a request.
pub const LARGEST_CONTEXT: usize = 1024 * 1024;

/// The name of a variable, a selection, a table or a record. Any text but an empty one, one with control characters, and
/// `.` and `..`, which no path of a URL can name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Why a text is no name, a value no JSON, or a context too large.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ContextError {
    /// The name is empty.
    #[error("a name has at least one character")]
    Empty,
    /// The name has characters that nobody sees.
    #[error("a name has no control characters")]
    Control,
    /// A path cannot name it.
    #[error("a name is not `.` or `..`")]
    Dots,
    /// The name is too long.
    #[error("a name has at most {limit} characters, this has {found}")]
    Long {
        /// The limit.
        limit: usize,
        /// The characters that it has.
        found: usize,
    },
    /// The value is not JSON, or nested deeper than 128 levels.
    #[error("the value is not JSON: {0}")]
    Json(String),
    /// The context would be too large.
    #[error("the context of a process has at most {limit} bytes, with this it would have {found}")]
    Large {
        /// The limit: `context_limit`.
        limit: usize,
        /// The bytes that it would have.
        found: usize,
    },
}

impl Name {
    /// The name, if a text is one.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, ContextError> {
        match text {
            "" => return Err(ContextError::Empty),
            "." | ".." => return Err(ContextError::Dots),
            _ => {}
        }
        if text.chars().any(char::is_control) {
            return Err(ContextError::Control);
        }
        let name = Self(text.into());
        name.check(LONGEST_NAME).map(|()| name)
    }

    /// Refuses a name of more characters than that.
    ///
    /// # Errors
    /// [`ContextError::Long`].
    pub fn check(&self, limit: usize) -> Result<(), ContextError> {
        match self.0.chars().count() {
            found if found > limit => Err(ContextError::Long { limit, found }),
            _ => Ok(()),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Name {
    type Error = ContextError;

    fn try_from(text: String) -> Result<Self, ContextError> {
        Self::new(&text)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().into()
    }
}

/// A JSON value as it was written: numbers keep their digits, objects their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(Arc<str>);

impl Json {
    /// The value, if a text is one.
    ///
    /// # Errors
    /// [`ContextError::Json`] where the text is none, is nested too deeply for whoever reads it later, or is read by different
    /// programs in different ways: an object has the same name twice (S37).
    pub fn new(text: &str) -> Result<Self, ContextError> {
        match json::check(text.as_bytes()) {
            Ok(()) => Ok(Self(text.trim().into())),
            Err(error) => Err(ContextError::Json(error.to_string())),
        }
    }

    /// A value that was taken before, also by an earlier version, which did not look for names that are there twice.
    pub(crate) fn kept(text: &str) -> Result<Self, ContextError> {
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(_) => Ok(Self(text.trim().into())),
            Err(error) => Err(ContextError::Json(error.to_string())),
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        // Also what a store or another server has; what an application sends goes through `new`.
        Self::kept(raw.get()).map_err(D::Error::custom)
    }
}

/// The current selection of a table: which of its records a process works with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The table.
    pub table: Name,
    /// The records, in order.
    pub records: Vec<Name>,
}

impl Selection {
    /// Bytes that it counts for.
    pub fn bytes(&self) -> usize {
        let records = self.records.iter().map(|record| record.0.len() + 3);
        self.table.0.len() + records.sum::<usize>()
    }
}

/// A record of the application's database: what is locked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Record {
    /// Its table.
    pub table: Name,
    /// Which one of it.
    pub record: Name,
}

impl Record {
    fn bytes(&self) -> usize {
        self.table.0.len() + self.record.0.len()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.table, self.record)
    }
}

/// A record lock as its holder has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lock {
    /// The table.
    pub table: Name,
    /// The record.
    pub record: Name,
    /// Since when it is locked.
    pub since: Timestamp,
    /// A number that only grows: whoever writes to the record refuses a smaller one than it has seen (C17).
    pub fence: u64,
}

impl Lock {
    /// What it locks.
    pub fn target(&self) -> Record {
        Record {
            table: self.table.clone(),
            record: self.record.clone(),
        }
    }
}

/// The context of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Context {
    /// Process variables.
    pub variables: BTreeMap<Name, Json>,
    /// Current selections.
    pub selections: BTreeMap<Name, Selection>,
    /// Record locks.
    pub locks: Vec<Lock>,
}

impl Context {
    /// Bytes that count against `context_limit`: names and values, and the records that are locked.
    pub fn bytes(&self) -> usize {
        let variables = self
            .variables
            .iter()
            .map(|(name, value)| name.0.len() + value.0.len());
        let selections = self
            .selections
            .iter()
            .map(|(name, selection)| name.0.len() + selection.bytes());
        let locks = self
            .locks
            .iter()
            .map(|lock| lock.table.0.len() + lock.record.0.len());
        variables.chain(selections).chain(locks).sum()
    }

    /// Sets a variable, or takes it away; refuses what would make the context too large.
    ///
    /// # Errors
    /// [`ContextError::Large`]; nothing was changed.
    pub fn set_variable(
        &mut self,
        name: &Name,
        value: Option<&Json>,
        limit: usize,
    ) -> Result<(), ContextError> {
        let Some(value) = value else {
            self.variables.remove(name);
            return Ok(());
        };
        let old = self.variables.get(name);
        let old = old.map_or(0, |old| name.0.len() + old.0.len());
        self.check_growth(old, name.0.len() + value.0.len(), limit)?;
        self.variables.insert(name.clone(), value.clone());
        Ok(())
    }

    /// Sets a selection, or takes it away.
    ///
    /// # Errors
    /// [`ContextError::Large`]; nothing was changed.
    pub fn set_selection(
        &mut self,
        name: &Name,
        selection: Option<&Selection>,
        limit: usize,
    ) -> Result<(), ContextError> {
        let Some(selection) = selection else {
            self.selections.remove(name);
            return Ok(());
        };
        let old = self.selections.get(name);
        let old = old.map_or(0, |old| name.0.len() + old.bytes());
        self.check_growth(old, name.0.len() + selection.bytes(), limit)?;
        self.selections.insert(name.clone(), selection.clone());
        Ok(())
    }

    /// Whether there is room for one more lock.
    ///
    /// # Errors
    /// [`ContextError::Large`].
    pub fn check_lock(&self, record: &Record, limit: usize) -> Result<(), ContextError> {
        self.check_growth(0, record.bytes(), limit)
    }

    fn check_growth(&self, old: usize, new: usize, limit: usize) -> Result<(), ContextError> {
        // What a lower limit has made too large may still shrink.
        let found = (self.bytes() + new).saturating_sub(old);
        if new > old && found > limit {
            return Err(ContextError::Large { limit, found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn names_are_any_text_that_can_be_seen_and_named() {
        for text in [
            "a",
            "a/b",
            "a\"b",
            "🔑",
            "a b",
            "...",
            "%2F",
            &"é".repeat(LONGEST_NAME),
        ] {
            assert!(Name::new(text).is_ok(), "{text}");
        }
        for (text, error) in [
            ("", ContextError::Empty),
            (".", ContextError::Dots),
            ("..", ContextError::Dots),
            ("a\0b", ContextError::Control),
            ("a\nb", ContextError::Control),
            (
                &"é".repeat(LONGEST_NAME + 1),
                ContextError::Long {
                    limit: LONGEST_NAME,
                    found: LONGEST_NAME + 1,
                },
            ),
        ] {
            assert_eq!(Name::new(text), Err(error), "{text:?}");
        }
    }

    #[test]
    fn values_stay_as_they_were_written() {
        let text = r#"{"b": 1e2, "a": 12345678901234567890123}"#;
        assert_eq!(
            serde_json::to_string(&Json::new(text).unwrap()).unwrap(),
            text
        );
        for text in ["", "{", "nul", "1 2", &"[".repeat(1000)] {
            assert!(Json::new(text).is_err(), "{text}");
        }
        let twice = r#"{"a": 1, "a": 2}"#;
        assert!(Json::new(twice).is_err());
        // An earlier version took it, and its stores are still to be read.
        let kept: Json = serde_json::from_str(twice).unwrap();
        assert_eq!(kept.as_str(), twice);
    }

    #[test]
    fn a_context_at_its_limit_refuses_more_and_lets_go() {
        let mut context = Context::default();
        let json = |text: &str| Json::new(text).unwrap();
        context
            .set_variable(&name("a"), Some(&json("1234")), 10)
            .unwrap();
        context
            .set_variable(&name("b"), Some(&json("1234")), 10)
            .unwrap();
        assert_eq!(context.bytes(), 10);
        let more = context.set_variable(&name("a"), Some(&json("12345")), 10);
        assert_eq!(
            more,
            Err(ContextError::Large {
                limit: 10,
                found: 11
            })
        );
        context
            .set_variable(&name("a"), Some(&json("12")), 5)
            .unwrap();
        context.set_variable(&name("b"), None, 5).unwrap();
        assert_eq!(context.bytes(), 3);
        let selection = Selection {
            table: name("T"),
            records: vec![name("1"); 3],
        };
        assert!(
            context
                .set_selection(&name("s"), Some(&selection), 12)
                .is_err()
        );
        context
            .set_selection(&name("s"), Some(&selection), 100)
            .unwrap();
        assert_eq!(context.bytes(), 17);
    }
}
