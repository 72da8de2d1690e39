//! The values of options: how they are typed, which there are, and what JSON makes of them.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

/// The longest name or domain of a cookie, and the longest path.
const TEXT_LIMIT: usize = 255;

/// The most that `open_rate` allows besides `off`.
pub(crate) const HIGHEST_RATE: u64 = 1_000_000;

/// The value of an option. Durations are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Value {
    /// On or off.
    Switch(bool),
    /// A count, or milliseconds.
    Number(u64),
    /// A word or a text.
    Text(String),
}

/// Why a value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{name} cannot be {}: {why}", quoted(.given))]
pub struct OptionError {
    /// The option.
    pub name: &'static str,
    given: String,
    why: String,
}

impl OptionError {
    pub(super) fn new(
        name: &'static str,
        given: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self {
            name,
            given: given.into(),
            why: why.into(),
        }
    }
}

fn quoted(text: &str) -> String {
    let is_plain = !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic());
    if is_plain {
        text.into()
    } else {
        format!("{text:?}")
    }
}

/// How the values of an option are written, and which there are.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    /// A whole number.
    Count {
        /// The least.
        least: u64,
        /// The greatest.
        most: u64,
        /// Of what.
        unit: &'static str,
        /// Whether 0 stands for the default (C14).
        zero_restores: bool,
    },
    /// A number for each minute, or `off`.
    Rate,
    /// A time, such as `15s`, `30m`, `8h`, `2d`.
    Duration {
        /// The least.
        least: Duration,
        /// The greatest.
        most: Duration,
        /// Whether 0 stands for the default (C14).
        zero_restores: bool,
    },
    /// `on` or `off`; 1 and 0, true and false are read as well.
    Switch,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a cookie; the empty text stands for the default (C14).
    CookieName,
    /// A domain, or nothing.
    CookieDomain,
    /// A path.
    CookiePath,
}

impl Form {
    /// The values that there are, with their unit.
    pub fn range(&self) -> String {
        match self {
            Self::Count {
                least,
                most,
                unit,
                zero_restores,
            } => {
                format!("{least} to {most} {unit}{}", restores(*zero_restores))
            }
            Self::Rate => format!("1 to {HIGHEST_RATE} a minute, or off"),
            Self::Duration {
                least,
                most,
                zero_restores,
            } => {
                let (least, most) = (show_duration(*least), show_duration(*most));
                format!("{least} to {most}{}", restores(*zero_restores))
            }
            Self::Switch => "on, off".into(),
            Self::Word(words) => words.join(", "),
            Self::CookieName => "letters, digits, - _ . and the like; empty for the default".into(),
            Self::CookieDomain => "a domain name, or empty".into(),
            Self::CookiePath => "a path that begins with /".into(),
        }
    }

    pub(super) fn parse(
        &self,
        name: &'static str,
        text: &str,
    ) -> Result<Option<Value>, OptionError> {
        let text = text.trim();
        let value = match self {
            Self::Count { .. } => text.parse().ok().map(Value::Number),
            Self::Rate if text == "off" => Some(Value::word(text)),
            Self::Rate => text.parse().ok().map(Value::Number),
            Self::Duration { .. } => return self.parse_duration(name, text),
            Self::Switch => match text {
                "on" | "true" | "1" => Some(Value::Switch(true)),
                "off" | "false" | "0" => Some(Value::Switch(false)),
                _ => None,
            },
            Self::Word(_) | Self::CookieName | Self::CookieDomain | Self::CookiePath => {
                Some(Value::word(text))
            }
        };
        match value {
            Some(value) => self.check(name, value),
            None => Err(self.refuse(name, text)),
        }
    }

    fn parse_duration(&self, name: &'static str, text: &str) -> Result<Option<Value>, OptionError> {
        if text != "0" && !text.is_empty() && text.chars().all(|c| c.is_ascii_digit()) {
            let why = format!("it has no unit; 4D counts minutes, that is {text}m");
            return Err(OptionError::new(name, text, why));
        }
        match humantime::parse_duration(text) {
            Ok(duration) => self.check(name, Value::duration(duration)),
            Err(_) => Err(self.refuse(name, text)),
        }
    }

    pub(super) fn check(
        &self,
        name: &'static str,
        value: Value,
    ) -> Result<Option<Value>, OptionError> {
        let is_in_range = match (self, &value) {
            (
                Self::Count {
                    zero_restores: true,
                    ..
                }
                | Self::Duration {
                    zero_restores: true,
                    ..
                },
                Value::Number(0),
            ) => return Ok(None),
            (Self::CookieName, Value::Text(text)) if text.is_empty() => return Ok(None),
            (Self::Count { least, most, .. }, Value::Number(number)) => {
                (*least..=*most).contains(number)
            }
            (Self::Rate, Value::Number(number)) => (1..=HIGHEST_RATE).contains(number),
            (Self::Rate, Value::Text(text)) => text == "off",
            (Self::Duration { least, most, .. }, Value::Number(millis)) => {
                (*least..=*most).contains(&Duration::from_millis(*millis))
            }
            (Self::Switch, Value::Switch(_)) => true,
            (Self::Word(words), Value::Text(text)) => words.contains(&text.as_str()),
            (Self::CookieName, Value::Text(text)) => return cookie_name(name, text).map(Some),
            (Self::CookieDomain, Value::Text(text)) => text.is_empty() || is_domain(text),
            (Self::CookiePath, Value::Text(text)) => is_path(text),
            _ => false,
        };
        if is_in_range {
            Ok(Some(value))
        } else {
            Err(self.refuse(name, &self.show(&value)))
        }
    }

    pub(super) fn show(&self, value: &Value) -> String {
        match (self, value) {
            (Self::Duration { .. }, Value::Number(millis)) => {
                show_duration(Duration::from_millis(*millis))
            }
            (_, Value::Switch(true)) => "on".into(),
            (_, Value::Switch(false)) => "off".into(),
            (_, Value::Number(number)) => number.to_string(),
            (_, Value::Text(text)) => text.clone(),
        }
    }

    fn refuse(&self, name: &'static str, given: &str) -> OptionError {
        let range = self.range();
        let why = match self {
            Self::Count { .. } | Self::Rate => format!("it is a number, {range}"),
            Self::Duration { .. } => {
                format!("it is a duration such as 15s, 30m, 8h or 2d, {range}")
            }
            Self::Switch | Self::Word(_) => format!("it is one of {range}"),
            Self::CookieName | Self::CookieDomain | Self::CookiePath => format!("it is {range}"),
        };
        OptionError::new(name, given, why)
    }
}

fn restores(zero_restores: bool) -> &'static str {
    if zero_restores {
        "; 0 for the default"
    } else {
        ""
    }
}

/// A token of RFC 9110 without a prefix of RFC 6265bis, which is put before it when the other options allow it.
fn cookie_name(name: &'static str, text: &str) -> Result<Value, OptionError> {
    let lower = text.to_ascii_lowercase();
    if lower.starts_with("__host-")
        || lower.starts_with("__secure-")
        || lower.starts_with("__http-")
    {
        let why = "the prefix is put before it by itself, as cookie_secure, cookie_domain and cookie_path allow";
        return Err(OptionError::new(name, text, why));
    }
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if text.len() <= TEXT_LIMIT && text.chars().all(is_token) {
        Ok(Value::word(text))
    } else {
        Err(Form::CookieName.refuse(name, text))
    }
}

fn is_domain(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= TEXT_LIMIT && text.split('.').all(is_label)
}

fn is_path(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_graphic() && c != ';' && c != ',';
    text.starts_with('/') && text.len() <= TEXT_LIMIT && text.chars().all(is_plain)
}

/// A duration in the greatest unit that leaves no rest: `8h`, `90m`, `30d`.
pub fn show_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let units = [
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1_000),
    ];
    if millis == 0 {
        return "0s".into();
    }
    let unit = units
        .iter()
        .find(|(_, length)| millis.is_multiple_of(*length));
    unit.map_or_else(
        || format!("{millis}ms"),
        |(unit, length)| format!("{}{unit}", millis / length),
    )
}

impl Value {
    pub(super) fn word(text: &str) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn duration(duration: Duration) -> Self {
        Self::Number(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    }

    // The setters take values that `Form::check` let through; another type changes nothing.

    pub(super) fn as_number<T: TryFrom<u64>>(&self, into: &mut T) {
        if let Self::Number(number) = self
            && let Ok(number) = T::try_from(*number)
        {
            *into = number;
        }
    }

    pub(super) fn as_duration(&self, into: &mut Duration) {
        if let Self::Number(millis) = self {
            *into = Duration::from_millis(*millis);
        }
    }

    pub(super) fn as_switch(&self, into: &mut bool) {
        if let Self::Switch(on) = self {
            *into = *on;
        }
    }

    pub(super) fn as_text(&self, into: &mut String) {
        if let Self::Text(text) = self {
            into.clone_from(text);
        }
    }

    pub(super) fn as_word<T>(&self, read: fn(&str) -> Option<T>, into: &mut T) {
        if let Self::Text(text) = self
            && let Some(word) = read(text)
        {
            *into = word;
        }
    }

    pub(super) fn as_rate(&self, into: &mut Option<u32>) {
        *into = match self {
            Self::Number(number) => u32::try_from(*number).ok(),
            Self::Switch(_) | Self::Text(_) => None,
        };
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number (durations in milliseconds), true or false, or a text")
    }

    fn visit_bool<E>(self, on: bool) -> Result<Value, E> {
        Ok(Value::Switch(on))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Number(number))
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<Value, E> {
        u64::try_from(number)
            .map(Value::Number)
            .map_err(|_| E::custom("a number below zero"))
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Value, E> {
        if text.len() > TEXT_LIMIT {
            return Err(E::custom(format!("a text of more than {TEXT_LIMIT} bytes")));
        }
        Ok(Value::word(text))
    }
}
