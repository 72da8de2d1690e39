//! Who is due, who makes room for whom, and what new options do to those who are there (C10, C11, C14).

use std::cmp::Reverse;
use std::sync::Arc;

use super::{Answer, Entry, LiveSet, Phase, Prepared, last_row};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::cookie::CookiePolicy;
use crate::options::{EvictionOrder, HARD_SESSION_LIMIT, Options, Settings};
use crate::session::{Cause, Kind, Mode, Seq, SessionId};
use crate::store::record::{Record, Row};
use crate::store::sync::atomic::Ordering;
use crate::store::{End, Impact, MadeRoom, SetOptions};

/// Entries that the heap of deadlines may hold besides those of sessions that are there.
const SLACK: usize = 1_024;

/// Deadlines that a sweep may look at for each session that it may end.
const LOOKS_PER_ENDING: usize = 16;

/// A place among those who may make room: who goes first, and of those who has been idle for longest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    standing: Standing,
    last_request_at: Timestamp,
    seq: Seq,
}

/// Who goes first in the safe order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    /// A guest whose cookie never came back: a client without cookies.
    Unconfirmed,
    /// A signed-in user whose cookie never came back.
    UnconfirmedUser,
    Guest,
    User,
}

impl Standing {
    const ALL: [Self; 4] = [
        Self::Unconfirmed,
        Self::UnconfirmedUser,
        Self::Guest,
        Self::User,
    ];

    fn of(entry: &Entry) -> Self {
        match (
            entry.confirmed.load(Ordering::Relaxed),
            entry.record.user.is_some(),
        ) {
            (false, false) => Self::Unconfirmed,
            (false, true) => Self::UnconfirmedUser,
            (true, false) => Self::Guest,
            (true, true) => Self::User,
        }
    }

    fn is_user(self) -> bool {
        matches!(self, Self::UnconfirmedUser | Self::User)
    }
}

impl Rank {
    fn of(entry: &Entry) -> Self {
        Self {
            standing: Standing::of(entry),
            last_request_at: entry.last_request_at(),
            seq: entry.record.seq,
        }
    }
}

/// What is due of a session.
enum Due {
    Session(SessionId),
    Process(usize),
}

/// Whom an eviction may take.
#[derive(Clone, Copy)]
struct Eviction {
    order: EvictionOrder,
    /// Whether signed-in users may be taken in the safe order.
    takes_users: bool,
    /// Whoever made a request after this is not idle.
    idle_since: Timestamp,
}

impl Eviction {
    fn by(options: &Options, takes_users: bool, now: Timestamp) -> Self {
        let idle = i64::try_from(options.eviction_min_idle.as_millis()).unwrap_or(i64::MAX);
        Self {
            order: options.eviction_order,
            takes_users,
            idle_since: Timestamp::from_millis(now.as_millis().saturating_sub(idle)),
        }
    }

    fn takes(&self, rank: &Rank) -> bool {
        rank.last_request_at <= self.idle_since
            && (self.takes_users || self.order == EvictionOrder::Oldest || !rank.standing.is_user())
    }
}

impl LiveSet {
    /// Makes room for one more: what is due goes first, then who is idle, just as many as needed. If they are not enough,
    /// nobody is evicted and the answer is that the server is full.
    pub(super) fn make_room(
        &mut self,
        mode: Mode,
        is_user: bool,
        actor: &Actor,
        now: Timestamp,
    ) -> Result<(Vec<Row>, MadeRoom), Prepared> {
        let limit = self
            .options()
            .max_sessions
            .min(self.decided.options().max_sessions);
        let (mut rows, mut made) = (Vec::new(), MadeRoom::default());
        let is_limited = mode == Mode::Legacy;
        let mut looks = usize::MAX;
        while (is_limited && self.counted >= limit) || self.entries.len() >= HARD_SESSION_LIMIT {
            match self.pop_due(now, &mut looks) {
                Some(Due::Session(id)) => {
                    rows.extend(
                        self.begin_close(End::by_itself(id, Cause::Inactive, actor), now)
                            .rows,
                    );
                    made.due.push(id);
                }
                Some(Due::Process(slot)) => rows.extend(self.suspend(slot, now)),
                None => break,
            }
        }
        // Under the hard limit a closing makes room only when it has ended.
        if self.entries.len() >= HARD_SESSION_LIMIT {
            return Err(full(rows, HARD_SESSION_LIMIT, made));
        }
        let needed = if is_limited {
            (self.counted + 1).saturating_sub(limit)
        } else {
            0
        };
        let eviction = Eviction::by(self.options(), is_user, now);
        let victims = self.choose(eviction, needed);
        if victims.len() < needed {
            self.spare(&victims);
            return Err(full(rows, limit, made));
        }
        made.evicted = self.evict(&victims, actor, now, &mut rows);
        Ok((rows, made))
    }

    /// Takes up to so many out of those who may make room, in the order in which they go.
    fn choose(&mut self, eviction: Eviction, count: usize) -> Vec<usize> {
        let mut chosen = Vec::new();
        while chosen.len() < count
            && let Some(rank) = self.next_to_go(eviction)
        {
            self.idle.remove(&rank);
            chosen.extend(self.by_seq.get(&rank.seq));
        }
        chosen
    }

    fn next_to_go(&mut self, eviction: Eviction) -> Option<Rank> {
        let mut longest: Option<Rank> = None;
        for standing in Standing::ALL {
            let Some(rank) = self
                .longest_idle(standing, eviction)
                .filter(|rank| eviction.takes(rank))
            else {
                continue;
            };
            match eviction.order {
                EvictionOrder::Safe => return Some(rank),
                EvictionOrder::Oldest => {
                    let is_longer = |other: &Rank| rank.last_request_at < other.last_request_at;
                    if longest.as_ref().is_none_or(is_longer) {
                        longest = Some(rank);
                    }
                }
            }
        }
        longest
    }

    /// Who has been idle for longest of those who stand so. Places are lower bounds: whoever was touched since is put
    /// where it belongs, but only as far as that can matter.
    fn longest_idle(&mut self, standing: Standing, eviction: Eviction) -> Option<Rank> {
        let first = Rank {
            standing,
            last_request_at: Timestamp::EPOCH,
            seq: Seq(0),
        };
        loop {
            let rank = self.idle.range(first..).next().copied()?;
            if rank.standing != standing {
                return None;
            }
            let slot = self.by_seq.get(&rank.seq).copied();
            let current = slot.map(|slot| Rank::of(&self.entries[slot]));
            if current == Some(rank) || rank.last_request_at > eviction.idle_since {
                return Some(rank);
            }
            self.idle.remove(&rank);
            if let Some(slot) = slot {
                self.rank(slot);
            }
        }
    }

    /// Puts those back who were chosen and are not needed.
    fn spare(&mut self, chosen: &[usize]) {
        for slot in chosen {
            self.rank(*slot);
        }
    }

    fn evict(
        &mut self,
        chosen: &[usize],
        actor: &Actor,
        now: Timestamp,
        rows: &mut Vec<Row>,
    ) -> Vec<SessionId> {
        let ids: Vec<SessionId> = chosen
            .iter()
            .map(|slot| self.entries[*slot].record.id)
            .collect();
        for id in &ids {
            rows.extend(
                self.begin_close(End::by_itself(*id, Cause::Evicted, actor), now)
                    .rows,
            );
        }
        ids
    }

    /// Puts a session among those who may make room. Scalable ones take no place, so they make none.
    pub(super) fn rank(&mut self, slot: usize) {
        let entry = &mut self.entries[slot];
        if entry.phase.counts(entry.record.mode) {
            let rank = Rank::of(entry);
            entry.rank = Some(rank);
            self.idle.insert(rank);
        }
    }

    pub(super) fn unrank(&mut self, slot: usize) {
        if let Some(rank) = self.entries[slot].rank.take() {
            self.idle.remove(&rank);
        }
    }

    /// Ends what is due, at most so many; and looks at no more deadlines at once than others can wait for.
    pub(super) fn expire(&mut self, actor: &Actor, limit: usize, now: Timestamp) -> Prepared {
        let late = self.queue.count_late();
        let mut rows = self.ring(limit, now);
        let late = self.queue.count_late() - late;
        let is_rung_out = rows.len() < limit;
        let mut closed = Vec::new();
        let mut looks = limit.saturating_mul(LOOKS_PER_ENDING);
        while rows.len() < limit
            && let Some(due) = self.pop_due(now, &mut looks)
        {
            match due {
                Due::Session(id) => {
                    let end = End::by_itself(id, Cause::Inactive, actor);
                    rows.extend(self.begin_close(end, now).rows);
                    closed.push(id);
                }
                Due::Process(slot) => rows.extend(self.suspend(slot, now)),
            }
        }
        let answer = Answer::Expired {
            closed,
            late,
            is_all: is_rung_out && looks > 0 && rows.len() < limit,
        };
        Prepared {
            durable: last_row(&rows),
            rows,
            answer,
        }
    }

    /// The next that is due, if it is found within so many looks. It is taken out of the deadlines: end it.
    fn pop_due(&mut self, now: Timestamp, looks: &mut usize) -> Option<Due> {
        while *looks > 0
            && self
                .deadlines
                .peek()
                .is_some_and(|Reverse((at, _))| *at <= now)
        {
            *looks -= 1;
            let Reverse((_, seq)) = self.deadlines.pop()?;
            let Some(slot) = self.by_seq.get(&seq).copied() else {
                continue;
            };
            let entry = &self.entries[slot];
            if !entry.phase.is_live() {
                continue;
            }
            if self.expires_at(entry) <= now {
                return Some(Due::Session(entry.record.id));
            }
            if matches!(entry.phase, Phase::Active) && self.is_process_over(entry, now) {
                return Some(Due::Process(slot));
            }
            self.push_deadline(slot);
        }
        None
    }

    /// Whether the session's process is due while the session lives on (C11).
    pub(super) fn is_process_over(&self, entry: &Entry, now: Timestamp) -> bool {
        self.process_ends_at(entry).is_some_and(|at| at <= now)
    }

    /// A mobile session's processes end with it, or by themselves.
    fn process_ends_at(&self, entry: &Entry) -> Option<Timestamp> {
        let Record { kind, mode, .. } = entry.record;
        let ends_at = self
            .options()
            .process_ends_at(mode, entry.last_request_at());
        ends_at.filter(|_| kind == Kind::Web)
    }

    pub(super) fn push_deadline(&mut self, slot: usize) {
        let entry = &self.entries[slot];
        let expires_at = self.expires_at(entry);
        let process = match entry.phase {
            Phase::Suspended => None,
            _ => self.process_ends_at(entry),
        };
        let deadline = process.map_or(expires_at, |process| process.min(expires_at));
        self.deadlines.push(Reverse((deadline, entry.record.seq)));
    }

    /// Once most deadlines are those of sessions that are gone, only the others are kept.
    pub(super) fn forget_old_deadlines(&mut self) {
        if self.deadlines.len() > 2 * self.entries.len() + SLACK {
            self.rebuild_deadlines();
        }
    }

    /// New options may bring a deadline forward, which no lower bound may miss.
    pub(super) fn rebuild_deadlines(&mut self) {
        self.deadlines.clear();
        let live: Vec<usize> = self
            .entries
            .iter()
            .filter(|(_, entry)| entry.phase.is_live())
            .map(|(slot, _)| slot)
            .collect();
        for slot in live {
            self.push_deadline(slot);
        }
    }

    /// Sets options: they are in force once they are on disk. Who has no room by them is evicted in the same commit.
    pub(super) fn set_options(&mut self, set: SetOptions, now: Timestamp) -> Prepared {
        let settings = match self.decided.changed(&set.changes) {
            Ok(settings) => settings,
            Err(error) => return Prepared::answered(Answer::OptionRefused(error)),
        };
        let options = settings.options();
        let expiring = self.count_expiring(options, now);
        let excess = self.counted.saturating_sub(options.max_sessions);
        let victims = self.choose(Eviction::by(options, true, now), excess);
        let impact = self.impact(options, expiring, &victims, now);
        let is_confirmed = set.may_end || impact == Impact::default();
        if set.dry_run || !is_confirmed {
            self.spare(&victims);
            return Prepared::answered(Answer::OptionsSet {
                is_set: false,
                impact,
                evicted: Vec::new(),
            });
        }
        let mut rows = Vec::new();
        let evicted = self.evict(&victims, &set.actor, now, &mut rows);
        rows.push(self.decide(settings));
        rows.push(self.audited(ordered(&set, now)));
        let answer = Answer::OptionsSet {
            is_set: true,
            impact,
            evicted,
        };
        Prepared {
            durable: last_row(&rows),
            rows,
            answer,
        }
    }

    fn decide(&mut self, settings: Settings) -> Row {
        self.decided = Arc::new(settings);
        Row::OptionsSet {
            seq: self.next_seq(),
            settings: Arc::clone(&self.decided),
        }
    }

    fn impact(
        &self,
        options: &Options,
        expiring: u64,
        victims: &[usize],
        now: Timestamp,
    ) -> Impact {
        // One that is idle for long may be among both.
        let only_evicted = victims
            .iter()
            .filter(|slot| !is_expiring(&self.entries[**slot], self.options(), options, now))
            .count();
        let ends = expiring + only_evicted as u64;
        let is_renamed =
            CookiePolicy::of(options).name() != CookiePolicy::of(self.decided.options()).name();
        let strands = if is_renamed {
            self.live.saturating_sub(ends)
        } else {
            0
        };
        Impact { ends, strands }
    }

    /// How many sessions the new time-outs end at once. Looks at all of them, but only when a time-out becomes shorter.
    fn count_expiring(&self, options: &Options, now: Timestamp) -> u64 {
        let old = self.options();
        let is_shorter = options.inactive_session_timeout < old.inactive_session_timeout
            || options.absolute_session_timeout < old.absolute_session_timeout;
        if !is_shorter {
            return 0;
        }
        self.entries
            .iter()
            .filter(|(_, entry)| is_expiring(entry, old, options, now))
            .count() as u64
    }
}

/// What the audit record tells of options.
fn ordered(set: &SetOptions, now: Timestamp) -> Order {
    let changes = set.changes.iter().map(|(spec, value)| match value {
        Some(value) => format!("{}={}", spec.name, spec.show(value)),
        None => format!("{} reset", spec.name),
    });
    let detail = changes.collect::<Vec<_>>().join(", ");
    Order::by(&set.ordered_by, Action::SetOptions, detail, now)
}

fn is_expiring(entry: &Entry, old: &Options, new: &Options, now: Timestamp) -> bool {
    entry.phase.is_live()
        && super::expires_at(old, entry) > now
        && super::expires_at(new, entry) <= now
}

fn full(rows: Vec<Row>, limit: usize, made: MadeRoom) -> Prepared {
    Prepared {
        durable: last_row(&rows),
        rows,
        answer: Answer::Full { limit, made },
    }
}
