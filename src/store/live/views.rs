//! What is told of the live set: to a client, to an operator, to whoever made a change.

use std::net::IpAddr;

use super::{Answer, Entry, LiveSet, Phase, Told};
use crate::admin::{ListQuery, Page};
use crate::clock::Timestamp;
use crate::session::{Mode, Seq, Session, SessionId, State};
use crate::sessions::Visit;
use crate::store::{Applied, Census, Found, Part, Seen, Use};
use crate::token::TokenHash;

impl LiveSet {
    pub(in crate::store) fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Told<Seen> {
        let Some(entry) = self.by_token.get(token).map(|slot| &self.entries[*slot]) else {
            return Told::at_once(Seen::Nobody);
        };
        if !entry.phase.is_live() || now >= self.expires_at(entry) {
            return Told {
                what: Seen::Nobody,
                durable: entry.phase.told_at(),
            };
        }
        if self.is_other_address(entry, from) {
            return Told::at_once(Seen::OtherAddress);
        }
        let is_suspended =
            !matches!(entry.phase, Phase::Active) || self.is_process_over(entry, now);
        match usage {
            Use::Request if is_suspended => return Told::at_once(Seen::Suspended(entry.record.id)),
            Use::Request => self.touch(entry, now),
            Use::Look => {}
        }
        Told::at_once(Seen::Live(self.seen(entry, now)))
    }

    /// Whether a request comes from another address than the session's (C13). A session without an address has none.
    fn is_other_address(&self, entry: &Entry, from: Option<IpAddr>) -> bool {
        let options = self.options();
        match (entry.record.ip, from) {
            (Some(own), Some(from)) if options.session_ip_address_validation => {
                !options.is_same_client(own, from)
            }
            _ => false,
        }
    }

    fn seen(&self, entry: &Entry, now: Timestamp) -> Visit {
        let expires_at = self.expires_at(entry);
        Visit {
            id: entry.record.id,
            user: entry.record.user.clone(),
            state: self.state(entry, now),
            expires_at: shown(entry, expires_at),
            lifetime: self.options().ends_at(entry.since()).since(now),
        }
    }

    /// Forms the answer to a prepared change; call it once the change is durable.
    pub(in crate::store) fn answer(&self, answer: &Answer, now: Timestamp) -> Told<Applied> {
        let (id, part) = match answer {
            Answer::Full { limit } => return Told::at_once(Applied::Full { limit: *limit }),
            Answer::NoSessions => return Told::at_once(Applied::NoSessions),
            Answer::Expired {
                closed,
                suspended,
                is_all,
            } => {
                let (closed, suspended, is_all) = (*closed, *suspended, *is_all);
                return Told::at_once(Applied::Expired {
                    closed,
                    suspended,
                    is_all,
                });
            }
            Answer::OptionsSet {
                is_set,
                impact,
                evicted,
            } => {
                let (is_set, impact, evicted) = (*is_set, *impact, evicted.clone());
                return Told::at_once(Applied::OptionsSet {
                    is_set,
                    impact,
                    evicted,
                });
            }
            Answer::OptionRefused(error) => {
                return Told::at_once(Applied::OptionRefused(error.clone()));
            }
            Answer::Resumed(id, made) => {
                let entry = self.by_id.get(id).map(|slot| &self.entries[*slot]);
                let live = entry.filter(|entry| {
                    matches!(entry.phase, Phase::Active) && now < self.expires_at(entry)
                });
                let visit = live.map(|entry| self.seen(entry, now));
                let durable = entry.map_or(Seq(0), |entry| entry.phase.told_at());
                return Told {
                    what: Applied::Resumed(visit, made.clone()),
                    durable,
                };
            }
            Answer::Ended { id, part } => (*id, *part),
            // It may have been ended between the commit and this answer: the newcomer was too late.
            Answer::Opened(id, _) | Answer::Ignored(id) => (*id, Part::None),
        };
        let Told {
            what: found,
            durable,
        } = self.find(id, now);
        let what = match (answer, found) {
            (Answer::Opened(_, made), Found::Open(session, None)) => {
                Applied::Opened(session, made.clone())
            }
            (Answer::Ignored(_), Found::Open(session, None)) => Applied::Ignored(session),
            (_, found) => Applied::Ended { found, part },
        };
        Told { what, durable }
    }

    pub(in crate::store) fn find(&self, id: SessionId, now: Timestamp) -> Told<Found> {
        if let Some(tombstone) = self.closed.get(&id) {
            return Told::at_once(Found::Closed(tombstone.session(id)));
        }
        let entry = self.by_id.get(&id).map(|slot| &self.entries[*slot]);
        let Some(entry) = entry.filter(|entry| !matches!(entry.phase, Phase::Reserved)) else {
            return Told::at_once(Found::Unknown);
        };
        let cause = match &entry.phase {
            Phase::Closing(begin) => Some(begin.cause),
            Phase::Ended(tombstone) => Some(tombstone.cause),
            _ => None,
        };
        Told {
            what: Found::Open(self.session(entry, now), cause),
            durable: entry.phase.told_at(),
        }
    }

    pub(in crate::store) fn page(&self, query: ListQuery, now: Timestamp) -> Told<Page> {
        let after = query.after.unwrap_or_default();
        let entries = self
            .by_seq
            .range(Seq(after.0.saturating_add(1))..)
            .map(|(_, slot)| &self.entries[*slot]);
        let mut visible = entries.filter(|entry| !matches!(entry.phase, Phase::Reserved));
        let mut durable = Seq(0);
        let shown = visible.by_ref().take(query.page_size()).map(|entry| {
            durable = durable.max(entry.phase.told_at());
            self.session(entry, now)
        });
        let items: Vec<Session> = shown.collect();
        let next = visible
            .next()
            .map(|_| items.last().map_or(after, |session| session.seq));
        Told {
            what: Page {
                items,
                total: self.visible,
                next,
                as_of: self.durable,
            },
            durable,
        }
    }

    pub(in crate::store) fn census(&self) -> Census {
        Census {
            active: self.live - self.suspended,
            suspended: self.suspended,
            closing: self.visible - self.live,
            counted: self.counted as u64,
        }
    }

    fn state(&self, entry: &Entry, now: Timestamp) -> State {
        match entry.phase {
            Phase::Closing(_) | Phase::Ended(_) => State::Closing,
            _ if now >= self.expires_at(entry) => State::Expired,
            Phase::Suspended | Phase::Resuming(_) => State::Suspended,
            _ if self.is_process_over(entry, now) => State::Suspended,
            Phase::Reserved | Phase::Active => State::Active,
        }
    }

    fn session(&self, entry: &Entry, now: Timestamp) -> Session {
        let record = &entry.record;
        let state = self.state(entry, now);
        let expires_at = match state {
            State::Closing => Some(Timestamp::EPOCH),
            _ => shown(entry, self.expires_at(entry)),
        };
        Session {
            id: record.id,
            kind: record.kind,
            mode: record.mode,
            state,
            user: record.user.as_deref().map(str::to_owned),
            ip: record.ip,
            user_agent: record.user_agent.as_deref().map(str::to_owned),
            created_at: record.created_at,
            login_at: record.login_at,
            last_request_at: entry.last_request_at(),
            expires_at,
            idle_ms: u64::try_from(now.since(entry.last_request_at()).as_millis())
                .unwrap_or(u64::MAX),
            seq: record.seq,
        }
    }
}

/// The expiration as it is shown: a scalable session has none (C02).
fn shown(entry: &Entry, expires_at: Timestamp) -> Option<Timestamp> {
    (entry.record.mode != Mode::Scalable).then_some(expires_at)
}
