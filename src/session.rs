//! What a session is to those who look at it: its id, its states, its processes, why it ended. Pure values; nothing here
//! knows a secret.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::context::{Lock, Name};
use crate::token::looks_like_secret;

/// The UUID that operators see, type and paste into tickets. A handle, never a credential (S01).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SessionId(Uuid);

impl SessionId {
    /// A fresh random id (UUIDv4).
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The 16 bytes, for a store.
    pub fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }

    /// The id with these 16 bytes; `None` for nil and max, which name no session.
    pub fn from_bytes(bytes: [u8; 16]) -> Option<Self> {
        let uuid = Uuid::from_bytes(bytes);
        (!uuid.is_nil() && !uuid.is_max()).then_some(Self(uuid))
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Why a text is no session id. No variant repeats the text: it may be a secret that was pasted by mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SessionIdError {
    /// The text has the form of a cookie value, which is a secret.
    #[error(
        "this is a cookie value, not a session UUID; it is a secret, so it is not repeated here"
    )]
    Secret,
    /// The text has the wrong number of hexadecimal digits.
    #[error("a session UUID has 32 hexadecimal digits, this has {0}")]
    Digits(usize),
    /// The text has a character that no spelling of a UUID has.
    #[error("a session UUID has only hexadecimal digits and hyphens, this has other characters")]
    Characters,
    /// The digits are there, but grouped as in none of the four spellings.
    #[error("the hyphens, braces or prefix are not where a UUID has them")]
    Grouping,
    /// Nil or max: UUIDs that name nothing (RFC 9562, 5.9 and 5.10).
    #[error("the nil UUID and the max UUID name no session")]
    Reserved,
}

impl FromStr for SessionId {
    type Err = SessionIdError;

    /// Reads the four spellings (hyphenated, 32 digits, `urn:uuid:`, braced) in any case, of any 128 bits but nil and max.
    fn from_str(text: &str) -> Result<Self, SessionIdError> {
        match Uuid::try_parse(text) {
            Ok(uuid) => Self::from_bytes(uuid.into_bytes()).ok_or(SessionIdError::Reserved),
            Err(_) if looks_like_secret(text) => Err(SessionIdError::Secret),
            Err(_) => Err(explain(text)),
        }
    }
}

fn explain(text: &str) -> SessionIdError {
    let bare = text.strip_prefix("urn:uuid:").unwrap_or(text);
    let bare = bare
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(bare);
    if !bare.chars().all(|c| c.is_ascii_hexdigit() || c == '-') {
        return SessionIdError::Characters;
    }
    match bare.chars().filter(char::is_ascii_hexdigit).count() {
        32 => SessionIdError::Grouping,
        digits => SessionIdError::Digits(digits),
    }
}

impl TryFrom<String> for SessionId {
    type Error = SessionIdError;

    fn try_from(text: String) -> Result<Self, SessionIdError> {
        text.parse()
    }
}

impl From<SessionId> for String {
    fn from(id: SessionId) -> Self {
        id.to_string()
    }
}

/// A number that only grows; it orders every change, and a session carries that of its opening.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(transparent)]
pub struct Seq(pub u64);

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Declares an enum of fixed words: the same word in JSON, in the store, in a table and in a filter.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema,
        )]
        #[serde(rename_all = "snake_case")]
        #[non_exhaustive]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// The word for it in JSON, in the store and on the terminal.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The value that `word` stands for.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What kind of client a session serves.
    Kind {
        /// A browser or another client with one cookie and one process; none while it is suspended.
        Web = "web",
        /// A client whose requests are served by several processes, any number of them (C08).
        Mobile = "mobile",
    }
}

words! {
    /// How a server manages the sessions that it opens; a session keeps the mode that it was opened in (C14).
    Mode {
        /// 4D's single-process web sessions: `close-session` acts on them.
        Legacy = "legacy",
        /// 4D's multi-process sessions: `close-session` ignores them (C02).
        Scalable = "scalable",
        /// None are opened. A server has this mode, never a session.
        None = "none",
    }
}

words! {
    /// Where a session stands in its life.
    State {
        /// Its cookie is accepted.
        Active = "active",
        /// Its cookie is accepted, its process has ended: the next request gets a fresh one (C11).
        Suspended = "suspended",
        /// Its cookie's time is over (C12) and the sweep has not begun its closing yet: it is refused already.
        Expired = "expired",
        /// Its cookie is refused for good, its closing is under way.
        Closing = "closing",
    }
}

words! {
    /// Where a process stands; one that has ended is not there any more.
    ProcessState {
        /// It works.
        Running = "running",
        /// It is asked to finish, because its session is closing (C08).
        Asked = "asked",
        /// Its on-close method is pending or runs, with its context still valid (C05).
        Closing = "closing",
    }
}

/// The number of a process in its session: from 1 on, none is given twice.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProcessNumber(pub u32);

impl fmt::Display for ProcessNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why a text is no process number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a process number is a whole number from 1 to 4294967295")]
pub struct ProcessNumberError;

impl FromStr for ProcessNumber {
    type Err = ProcessNumberError;

    fn from_str(text: &str) -> Result<Self, ProcessNumberError> {
        // The standard library would take a sign as well.
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ProcessNumberError);
        }
        match text.parse::<u32>() {
            Ok(0) | Err(_) => Err(ProcessNumberError),
            Ok(number) => Ok(Self(number)),
        }
    }
}

words! {
    /// Why a session ended.
    Cause {
        /// `close-session`.
        Command = "command",
        /// The client closed its own session.
        Logout = "logout",
        /// No request came in time (C12).
        Inactive = "inactive",
        /// A newcomer needed its place (C10).
        Evicted = "evicted",
        /// `drop-session`.
        Dropped = "dropped",
        /// A backup was brought back, or all sessions were ended at a start of the server.
        Restored = "restored",
    }
}

/// A session that is not closed, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Session {
    /// The handle.
    pub id: SessionId,
    /// What kind of client it serves.
    pub kind: Kind,
    /// The mode that it was opened in.
    pub mode: Mode,
    /// Where it stands.
    pub state: State,
    /// Who is signed in; `None` for a guest. Untrusted text.
    pub user: Option<String>,
    /// The client's address at opening.
    pub ip: Option<IpAddr>,
    /// What the client said it was at opening. Untrusted text.
    pub user_agent: Option<String>,
    /// When it was opened.
    pub created_at: Timestamp,
    /// When the user signed in; `None` for a guest.
    pub login_at: Option<Timestamp>,
    /// When the last request came.
    pub last_request_at: Timestamp,
    /// From when on its cookie is refused; 1970-01-01T00:00:00Z once its closing began (C03); `None` in scalable mode (C02).
    pub expires_at: Option<Timestamp>,
    /// Milliseconds since the last request.
    pub idle_ms: u64,
    /// Processes that have not ended.
    #[serde(default)]
    pub process_count: u32,
    /// Record locks that they hold.
    #[serde(default)]
    pub lock_count: u32,
    /// Its place in the order of opening.
    pub seq: Seq,
}

/// A session with its processes and what they hold: names and sizes, not the values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SessionDetails {
    /// The session.
    #[serde(flatten)]
    pub session: Session,
    /// Its processes, by number.
    pub processes: Vec<Process>,
}

/// A process of a session, as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its number.
    pub number: ProcessNumber,
    /// Where it stands.
    pub state: ProcessState,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ends unless it is named before (C18); `None` without a lease.
    pub lease_until: Option<Timestamp>,
    /// Its variables.
    pub variables: Vec<NameAndSize>,
    /// Its current selections.
    pub selections: Vec<NameAndSize>,
    /// The records that it has locked.
    pub locks: Vec<Lock>,
}

/// A record lock, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeldLock {
    /// The table.
    pub table: Name,
    /// The record.
    pub record: Name,
    /// The session whose process holds it.
    pub session: SessionId,
    /// The process.
    pub process: ProcessNumber,
    /// Who is signed in there. Untrusted text.
    pub user: Option<String>,
    /// Since when.
    pub since: Timestamp,
    /// The number that only grows.
    pub fence: u64,
    /// How many wait for it.
    pub waiting: u32,
}

/// The name of something in a context, and how large it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NameAndSize {
    /// Its name. Untrusted text.
    pub name: Name,
    /// Bytes of its value as JSON.
    pub bytes: usize,
}

/// What is known of a session that is closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedSession {
    /// The handle that it had.
    pub id: SessionId,
    /// Who was signed in. Untrusted text.
    pub user: Option<String>,
    /// Why it ended.
    pub cause: Cause,
    /// When it ended.
    pub closed_at: Timestamp,
    /// Always 1970-01-01T00:00:00Z (C03).
    pub expires_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "5f0c6a52-93c1-4d55-8a3b-0c2f9f5d7e11";

    #[test]
    fn reads_four_spellings_and_writes_one() {
        let simple = ID.replace('-', "");
        let spellings = [
            ID.into(),
            simple.clone(),
            simple.to_uppercase(),
            format!("urn:uuid:{ID}"),
            format!("{{{ID}}}"),
            ID.to_uppercase(),
        ];
        for text in spellings {
            assert_eq!(
                text.parse::<SessionId>().map(|id| id.to_string()),
                Ok(ID.into()),
                "{text}"
            );
        }
    }

    #[test]
    fn reads_ids_of_any_version() {
        assert!(
            "5f0c6a5293c1fd55ca3b0c2f9f5d7e11"
                .parse::<SessionId>()
                .is_ok()
        );
    }

    #[test]
    fn says_what_is_wrong_with_other_texts() {
        let cases = [
            ("", SessionIdError::Digits(0)),
            (&ID[..35], SessionIdError::Digits(31)),
            (&format!("{ID}0"), SessionIdError::Digits(33)),
            (&ID.replace("93c1", "93 c1"), SessionIdError::Characters),
            (&format!("{ID}\n"), SessionIdError::Characters),
            (&format!(" {ID}"), SessionIdError::Characters),
            (&ID.replace('5', "５"), SessionIdError::Characters),
            (&ID.replacen('-', "", 1), SessionIdError::Grouping),
            (
                "00000000-0000-0000-0000-000000000000",
                SessionIdError::Reserved,
            ),
            (
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
                SessionIdError::Reserved,
            ),
            (
                "mFz3J1bq0uWc8yXo5Rk2T7d9LsA4GhVnEtPiQwZxCvB",
                SessionIdError::Secret,
            ),
            (
                "__Host-4DSID=mFz3J1bq0uWc8yXo5Rk2T7d9LsA4GhVnEtPiQwZxCvB",
                SessionIdError::Secret,
            ),
        ];
        for (text, error) in cases {
            assert_eq!(text.parse::<SessionId>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_process_number_is_digits_from_1_on() {
        assert_eq!("1".parse(), Ok(ProcessNumber(1)));
        assert_eq!("4294967295".parse(), Ok(ProcessNumber(u32::MAX)));
        for text in ["", "0", "+1", "-1", " 1", "1.0", "x", "１", "4294967296"] {
            assert_eq!(
                text.parse::<ProcessNumber>(),
                Err(ProcessNumberError),
                "{text:?}"
            );
        }
    }
}
