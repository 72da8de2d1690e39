//! The audit record: who ordered what. Each record has a hash of itself and of the one before, so that one that was changed,
//! or taken out of the middle, is found (S32).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::session::{Seq, SessionId, words};

words! {
    /// What was ordered.
    Action {
        /// A session was opened on a client's behalf.
        OpenSession = "open_session",
        /// The closing of a session was begun.
        CloseSession = "close_session",
        /// A session was dropped.
        DropSession = "drop_session",
        /// Options were set or reset at run time.
        SetOptions = "set_options",
        /// A backup was brought back.
        RestoreStore = "restore_store",
        /// Every session was ended at a start of the server.
        EndAllSessions = "end_all_sessions",
        /// An admin token was made.
        CreateToken = "create_token",
        /// An admin token was revoked.
        RevokeToken = "revoke_token",
        /// An operator worked with what is an application's: read values, changed them, ended a process, signed a user in.
        ActAsApplication = "act_as_application",
        /// Requests of the admin API were refused.
        RefuseAccess = "refuse_access",
        /// A record that no version of this program writes: it was changed.
        Unreadable = "unreadable",
    }
}

/// What the name of somebody begins with whom nobody knows.
const UNKNOWN: &str = "address:";

/// Who acts, for the record: `uid:1000`, `token:admin`, `client`, `server`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    name: String,
    /// The way that the request came, if it came by one: `unix`, `tcp 192.0.2.7`.
    via: Option<String>,
}

impl Actor {
    /// A user of this machine.
    pub fn user(uid: u32) -> Self {
        Self::named(format!("uid:{uid}"))
    }

    /// The holder of an admin token.
    pub fn token(name: &str) -> Self {
        Self::named(format!("token:{name}"))
    }

    /// The client whose session it is.
    pub fn client() -> Self {
        Self::named("client".into())
    }

    /// The server itself, on time.
    pub fn server() -> Self {
        Self::named("server".into())
    }

    /// Somebody nobody knows, at an address.
    pub fn unknown(address: &str) -> Self {
        Self::named(format!("{UNKNOWN}{address}"))
    }

    /// Whether nobody knows who it is.
    pub fn is_unknown(&self) -> bool {
        self.name.starts_with(UNKNOWN)
    }

    fn named(name: String) -> Self {
        Self { name, via: None }
    }

    /// The same, who came this way.
    #[must_use]
    pub fn coming(self, via: impl Into<String>) -> Self {
        Self {
            via: Some(via.into()),
            ..self
        }
    }

    /// The name, as it stands in the record.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// The way that the request came: for the audit record (S32).
    pub fn via(&self) -> Option<&str> {
        self.via.as_deref()
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

/// What somebody ordered, and what was done: it is on disk with what it tells of, in the same commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Order {
    /// When.
    pub at: Timestamp,
    /// Who: `uid:1000`, `token:admin`.
    pub actor: String,
    /// The way that the request came: `unix`, `tcp 192.0.2.7`; `None` for a command without a server, and for what earlier
    /// versions wrote.
    #[serde(default)]
    pub via: Option<String>,
    /// What.
    pub action: Action,
    /// The session that it is about.
    pub session: Option<SessionId>,
    /// Who was signed in there. Untrusted text.
    pub user: Option<String>,
    /// The operator's reason, or the options with their values. Untrusted text.
    pub detail: Option<String>,
    /// The id of the request.
    pub request_id: Option<Uuid>,
}

/// A record, in its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRecord {
    /// The number of the change.
    pub seq: Seq,
    /// What it tells.
    #[serde(flatten)]
    pub order: Order,
    /// What follows from it and from all records before it.
    pub hash: ChainHash,
}

impl Order {
    /// An order of somebody's that is about no session.
    pub fn by(actor: &Actor, action: Action, detail: String, at: Timestamp) -> Self {
        Self {
            at,
            actor: actor.to_string(),
            via: actor.via().map(str::to_owned),
            action,
            session: None,
            user: None,
            detail: Some(detail),
            request_id: None,
        }
    }
}

impl AuditRecord {
    /// The record that comes after the one with this hash, or the first.
    pub fn following(previous: Option<ChainHash>, seq: Seq, order: Order) -> Self {
        let hash = hash_of(previous, seq, &order);
        Self { seq, order, hash }
    }
}

fn hash_of(previous: Option<ChainHash>, seq: Seq, order: &Order) -> ChainHash {
    let Order {
        at,
        actor,
        via,
        action,
        session,
        user,
        detail,
        request_id,
    } = order;
    let text = (
        seq.0,
        at.as_millis(),
        actor,
        action.as_str(),
        session.map(|id| id.to_string()),
        user,
        detail,
        request_id.map(|id| id.to_string()),
    );
    let mut hash = Sha256::new();
    hash.update(previous.map_or([0; 32], |previous| previous.0));
    // Plain texts and numbers are always JSON.
    let text = match via {
        // As it was before there was a way to tell.
        None => serde_json::to_vec(&text),
        Some(via) => serde_json::to_vec(&(text, via)),
    };
    hash.update(text.unwrap_or_default());
    ChainHash(hash.finalize().into())
}

/// The hash of a record and of all before it.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ChainHash([u8; 32]);

impl ChainHash {
    /// The hash from what a store kept.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What a store keeps.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<ChainHash> for String {
    fn from(hash: ChainHash) -> Self {
        hash.to_string()
    }
}

impl TryFrom<String> for ChainHash {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let mut bytes = [0; 32];
        let is_hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex {
            return Err("not a hash of 64 hexadecimal digits");
        }
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let digits = std::str::from_utf8(digits).unwrap_or_default();
            *byte = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
        Ok(Self(bytes))
    }
}

/// Goes over the chain from its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// How many records there are.
    pub records: u64,
    /// The first record that is not what was written.
    pub broken_at: Option<Seq>,
    /// The hash of the last record: whoever notes it elsewhere sees that none was taken from the end.
    pub last: Option<ChainHash>,
}

impl Verdict {
    /// Adds a record that cannot be read.
    pub fn add_unreadable(&mut self, seq: Seq) {
        self.records += 1;
        self.broken_at.get_or_insert(seq);
    }

    /// Adds the next record.
    pub fn add(&mut self, record: &AuditRecord) {
        let expected = hash_of(self.last, record.seq, &record.order);
        if expected != record.hash && self.broken_at.is_none() {
            self.broken_at = Some(record.seq);
        }
        self.records += 1;
        self.last = Some(record.hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> Vec<AuditRecord> {
        let mut last = None;
        let mut record = |number: u64| {
            let order = Order {
                at: Timestamp::from_millis(1_800_000_000_000),
                actor: "uid:0".into(),
                via: Some("unix".into()),
                action: Action::CloseSession,
                session: Some(SessionId::random()),
                user: Some("ana".into()),
                detail: None,
                request_id: None,
            };
            let record = AuditRecord::following(last, Seq(number * 2), order);
            last = Some(record.hash);
            record
        };
        (1..=5).map(&mut record).collect()
    }

    fn verdict(records: &[AuditRecord]) -> Verdict {
        let mut verdict = Verdict::default();
        records.iter().for_each(|record| verdict.add(record));
        verdict
    }

    #[test]
    fn s32_a_changed_record_is_found() {
        let whole = chain();
        assert_eq!(verdict(&whole).broken_at, None);
        assert_eq!(verdict(&whole).last, Some(whole[4].hash));
        let changes: [fn(&mut Order); 7] = [
            |order| order.actor = "uid:1".into(),
            |order| order.via = None,
            |order| order.via = Some("tcp 127.0.0.1".into()),
            |order| order.at = Timestamp::EPOCH,
            |order| order.user = None,
            |order| order.detail = Some("ticket".into()),
            |order| order.session = None,
        ];
        for change in changes {
            let mut records = whole.clone();
            change(&mut records[2].order);
            assert_eq!(verdict(&records).broken_at, Some(Seq(6)));
        }
        let mut records = whole.clone();
        records.remove(1);
        assert_eq!(verdict(&records).broken_at, Some(Seq(6)), "one is missing");
        let mut records = whole.clone();
        records.swap(1, 2);
        assert_eq!(verdict(&records).broken_at, Some(Seq(6)));
        // Only who noted the last hash knows that one is missing at the end.
        assert_ne!(verdict(&whole[..4]).last, verdict(&whole).last);
    }

    /// What versions wrote that knew of no way is verified as it was written.
    #[test]
    fn s32_older_records_stay_what_they_were() {
        let order = Order {
            at: Timestamp::from_millis(1_800_000_000_000),
            actor: "uid:0".into(),
            via: None,
            action: Action::CloseSession,
            session: None,
            user: Some("ana".into()),
            detail: Some("ticket".into()),
            request_id: None,
        };
        let record = AuditRecord::following(None, Seq(7), order);
        let expected = "ba07059df3ee7f0f4d93305ade35a108001dc60989756ad822fa4559adaf06a6";
        assert_eq!(record.hash.to_string(), expected);
    }

    #[test]
    fn a_record_crosses_the_wire_as_it_is() {
        for record in chain() {
            let text = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<AuditRecord>(&text).unwrap(), record);
        }
    }
}
