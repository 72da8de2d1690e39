//! The options that a server is started with: defaults, ranges, and the expiration that follows from them (C10, C12, S20).

use std::time::Duration;

use thiserror::Error;

use crate::clock::Timestamp;

/// Sessions that one server holds at most, whatever `max_sessions` says (C14).
pub const HARD_SESSION_LIMIT: usize = 1_000_000;

/// The longest time-out: browsers keep no cookie for longer than 400 days (RFC 6265bis, 5.5; S20).
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(400 * 24 * 3600);

/// What the operator can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Sessions that may be live at once (4D: Max sessions; C10).
    pub max_sessions: usize,
    /// Time without a request after which a session ends (4D: Inactive session timeout; C12).
    pub inactive_session_timeout: Duration,
    /// Time from opening or login after which a session ends, however busy it is (C12; 4D has none).
    pub absolute_session_timeout: Duration,
    /// Whether the cookie is for `https` only and carries the `__Host-` prefix (S18).
    pub secure_cookie: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_sessions: 100,
            inactive_session_timeout: Duration::from_secs(480 * 60),
            absolute_session_timeout: Duration::from_secs(30 * 24 * 3600),
            secure_cookie: true,
        }
    }
}

/// Why an option's value is refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OptionError {
    /// The limit is zero or above the hard limit.
    #[error("max_sessions is {0}; it must be from 1 to {HARD_SESSION_LIMIT}")]
    MaxSessions(usize),
    /// A time-out is under a second or above 400 days.
    #[error("{name} is {}; it must be from 1s to 400d", humantime::format_duration(*.value))]
    Timeout {
        /// The option's name.
        name: &'static str,
        /// The refused value.
        value: Duration,
    },
}

impl Options {
    /// Refuses values outside their range.
    ///
    /// # Errors
    /// The first option that is out of range.
    pub fn validate(&self) -> Result<(), OptionError> {
        if !(1..=HARD_SESSION_LIMIT).contains(&self.max_sessions) {
            return Err(OptionError::MaxSessions(self.max_sessions));
        }
        for (name, value) in [
            ("inactive_session_timeout", self.inactive_session_timeout),
            ("absolute_session_timeout", self.absolute_session_timeout),
        ] {
            if !(Duration::from_secs(1)..=LONGEST_TIMEOUT).contains(&value) {
                return Err(OptionError::Timeout { name, value });
            }
        }
        Ok(())
    }

    /// Every option by its name, durations in milliseconds, switches as 0 and 1: the form that a store keeps.
    pub fn as_numbers(&self) -> [(&'static str, i64); 4] {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        [
            (
                "max_sessions",
                i64::try_from(self.max_sessions).unwrap_or(i64::MAX),
            ),
            (
                "inactive_session_timeout",
                millis(self.inactive_session_timeout),
            ),
            (
                "absolute_session_timeout",
                millis(self.absolute_session_timeout),
            ),
            ("secure_cookie", self.secure_cookie.into()),
        ]
    }

    /// Takes one option back from that form; a name that this version does not know changes nothing.
    pub fn set_number(&mut self, name: &str, value: i64) {
        let positive = u64::try_from(value).unwrap_or_default();
        match name {
            "max_sessions" => self.max_sessions = usize::try_from(positive).unwrap_or(usize::MAX),
            "inactive_session_timeout" => {
                self.inactive_session_timeout = Duration::from_millis(positive)
            }
            "absolute_session_timeout" => {
                self.absolute_session_timeout = Duration::from_millis(positive)
            }
            "secure_cookie" => self.secure_cookie = value != 0,
            _ => {}
        }
    }

    /// When a session expires whose last request came at `last_request_at` and that was opened, or signed in, at `since` (C12).
    pub fn expires_at(&self, since: Timestamp, last_request_at: Timestamp) -> Timestamp {
        let idle = last_request_at.plus(self.inactive_session_timeout);
        idle.min(since.plus(self.absolute_session_timeout))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_in_range() {
        assert_eq!(Options::default().validate(), Ok(()));
    }

    #[test]
    fn options_survive_being_kept() {
        let options = Options {
            max_sessions: 7,
            inactive_session_timeout: Duration::from_millis(1_500),
            absolute_session_timeout: Duration::from_secs(9),
            secure_cookie: false,
        };
        let mut kept = Options::default();
        for (name, value) in options.as_numbers() {
            kept.set_number(name, value);
        }
        assert_eq!(kept, options);
    }

    #[test]
    fn s20_absurd_values_are_refused() {
        for seconds in [0, 500 * 24 * 3600, u64::MAX] {
            let timeout = Duration::from_secs(seconds);
            let idle = Options {
                inactive_session_timeout: timeout,
                ..Options::default()
            };
            let absolute = Options {
                absolute_session_timeout: timeout,
                ..Options::default()
            };
            assert!(
                idle.validate().is_err() && absolute.validate().is_err(),
                "{seconds}"
            );
        }
        for max_sessions in [0, HARD_SESSION_LIMIT + 1, usize::MAX] {
            assert!(
                Options {
                    max_sessions,
                    ..Options::default()
                }
                .validate()
                .is_err()
            );
        }
    }
}
