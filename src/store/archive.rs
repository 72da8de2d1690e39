//! What the memory store keeps besides the live set, from the same rows that the other store writes to disk: the history of
//! closed sessions, and what the on-close method left.

use std::collections::{BTreeMap, HashMap};

use super::record::{Begin, Record, Row, Tombstone};
use crate::admin::{AuditPage, AuditQuery, HistoryEntry, HistoryPage, HistoryQuery, PAGE_LIMIT};
use crate::audit::{AuditRecord, Order, Verdict};
use crate::clock::Timestamp;
use crate::context::Json;
use crate::on_close::{Freed, MethodRun};
use crate::session::{Cause, ProcessNumber, Seq};

/// Everything by the numbers of rows.
#[derive(Default)]
pub(super) struct Archive {
    /// Closings that have not ended.
    begun: HashMap<Seq, HistoryEntry>,
    /// Closed sessions by their end, each with the row that it had.
    ended: BTreeMap<Seq, (Seq, HistoryEntry)>,
    /// The ends of closings.
    ends: HashMap<Seq, Seq>,
    /// Runs of the on-close method by session.
    runs: HashMap<Seq, Vec<MethodRun>>,
    /// What they left, by session and process.
    saved: HashMap<Seq, BTreeMap<ProcessNumber, Json>>,
    /// What operators ordered, in order.
    audit: Vec<AuditRecord>,
}

impl Archive {
    /// Keeps what a change leaves, and hands over what it takes.
    pub(super) fn keep(&mut self, rows: &[Row]) {
        rows.iter().for_each(|row| self.keep_row(row));
    }

    fn keep_row(&mut self, row: &Row) {
        match row {
            Row::Begun {
                begin,
                record,
                last_request_at,
            } => {
                let entry = begun(begin, record, *last_request_at);
                self.begun.insert(begin.seq, entry);
            }
            Row::Finished {
                begin, tombstone, ..
            } => {
                if let Some(entry) = self.begun.remove(begin) {
                    self.end(entry, tombstone);
                }
            }
            Row::Dropped {
                begin,
                record,
                last_request_at,
                end,
                tombstone,
                struck,
            } => {
                for (_, run) in struck {
                    self.keep_run(tombstone.session, run.process, Some(run), None);
                }
                let begun = begin.and_then(|begin| self.begun.remove(&begin));
                let mut entry =
                    begun.unwrap_or_else(|| opened(record, *last_request_at, tombstone.closed_at));
                // Who cuts a closing short is the one who ended it.
                entry.reason.clone_from(&end.reason);
                entry.actor = end.actor.to_string();
                self.end(entry, tombstone);
            }
            Row::ProcessEnded {
                session,
                process,
                run,
                saved,
                ..
            } => self.keep_run(*session, *process, run.as_ref(), saved.as_ref()),
            Row::RunEnded {
                session,
                key,
                run,
                saved,
                ..
            } => self.keep_run(*session, key.process, run.as_ref(), saved.as_ref()),
            Row::SavedTaken { sessions, into, .. } => {
                into.put(self.saved_of(sessions));
                for session in sessions {
                    self.saved.remove(session);
                }
            }
            Row::Audited { seq, order } => self.keep_order(*seq, order),
            Row::Forgotten { closings, .. } => closings
                .iter()
                .for_each(|(closing, session)| self.forget(*closing, *session)),
            _ => {}
        }
    }

    fn keep_order(&mut self, seq: Seq, order: &Order) {
        let last = self.audit.last().map(|record| record.hash);
        let record = AuditRecord::following(last, seq, order.clone());
        self.audit.push(record);
    }

    fn end(&mut self, mut entry: HistoryEntry, tombstone: &Tombstone) {
        entry.closed_at = tombstone.closed_at;
        entry.cause = tombstone.cause;
        entry.freed = tombstone.freed;
        entry.seq = tombstone.seq;
        self.ends.insert(tombstone.closing, tombstone.seq);
        self.ended.insert(tombstone.seq, (tombstone.session, entry));
    }

    fn keep_run(
        &mut self,
        session: Seq,
        process: ProcessNumber,
        run: Option<&MethodRun>,
        saved: Option<&Json>,
    ) {
        if let Some(run) = run {
            self.runs.entry(session).or_default().push(run.clone());
        }
        if let Some(saved) = saved {
            let saved_of = self.saved.entry(session).or_default();
            saved_of.insert(process, saved.clone());
        }
    }

    fn forget(&mut self, closing: Seq, session: Seq) {
        if let Some(end) = self.ends.remove(&closing) {
            self.ended.remove(&end);
        }
        self.runs.remove(&session);
        self.saved.remove(&session);
    }

    /// One page of the audit record, the last one first.
    pub(super) fn audit(&self, query: &AuditQuery) -> AuditPage {
        let before = query.before.unwrap_or(Seq(u64::MAX));
        let mut wanted = self.audit.iter().rev().filter(|record| record.seq < before);
        AuditPage {
            items: wanted.by_ref().take(query.page_size()).cloned().collect(),
            truncated: wanted.next().is_some(),
        }
    }

    /// Goes over the whole audit record.
    pub(super) fn verify_audit(&self) -> Verdict {
        let mut verdict = Verdict::default();
        self.audit.iter().for_each(|record| verdict.add(record));
        verdict
    }

    /// What was left of sessions, by session and process.
    pub(super) fn saved_of(&self, sessions: &[Seq]) -> Vec<(Seq, ProcessNumber, Json)> {
        let mut sessions = sessions.to_vec();
        sessions.sort_unstable();
        let of = |session| self.saved.get(&session).map(|saved| (session, saved));
        let found = sessions.into_iter().filter_map(of);
        found
            .flat_map(|(session, saved)| {
                let item = move |(process, information): (&ProcessNumber, &Json)| {
                    (session, *process, information.clone())
                };
                saved.iter().map(item)
            })
            .collect()
    }

    /// One page of the closed sessions, the last one first; only that of one closing, if it is named.
    pub(super) fn page(&self, query: &HistoryQuery, closing: Option<Seq>) -> HistoryPage {
        let before = query.before.unwrap_or(Seq(u64::MAX));
        let ends = match closing.map(|closing| self.ends.get(&closing)) {
            None => Seq(0)..before,
            Some(Some(end)) if *end < before => *end..Seq(end.0 + 1),
            Some(_) => return HistoryPage::default(),
        };
        let mut wanted = self
            .ended
            .range(ends)
            .rev()
            .filter(|(_, (_, entry))| is_wanted(query, entry));
        let page = wanted.by_ref().take(page_size(query));
        let items = page.map(|(_, (session, entry))| HistoryEntry {
            on_close: self.runs.get(session).cloned().unwrap_or_default(),
            ..entry.clone()
        });
        HistoryPage {
            items: items.collect(),
            truncated: wanted.next().is_some(),
        }
    }
}

/// The rows that a page for this query has at most.
pub(super) fn page_size(query: &HistoryQuery) -> usize {
    query.limit.unwrap_or(PAGE_LIMIT).clamp(1, PAGE_LIMIT)
}

fn is_wanted(query: &HistoryQuery, entry: &HistoryEntry) -> bool {
    let user = query.user.as_deref();
    user.is_none_or(|user| entry.user.as_deref() == Some(user))
        && query.cause.is_none_or(|cause| entry.cause == cause)
        && query.since.is_none_or(|since| entry.closed_at >= since)
}

fn begun(begin: &Begin, record: &Record, last_request_at: Timestamp) -> HistoryEntry {
    HistoryEntry {
        reason: begin.reason.as_deref().map(str::to_owned),
        actor: begin.actor.as_ref().into(),
        ..opened(record, last_request_at, begin.at)
    }
}

/// What is known of a session when its closing begins; the rest is told by its tombstone.
fn opened(record: &Record, last_request_at: Timestamp, begun_at: Timestamp) -> HistoryEntry {
    HistoryEntry {
        id: record.id,
        kind: Some(record.kind),
        mode: Some(record.mode),
        user: record.user.as_deref().map(str::to_owned),
        ip: record.ip,
        user_agent: record.user_agent.as_deref().map(str::to_owned),
        created_at: Some(record.created_at),
        login_at: record.login_at,
        last_request_at: Some(last_request_at),
        begun_at,
        closed_at: begun_at,
        expires_at: Timestamp::EPOCH,
        cause: Cause::Dropped,
        reason: None,
        actor: String::new(),
        freed: Freed::default(),
        on_close: Vec::new(),
        seq: Seq(0),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::audit::Actor;
    use crate::on_close::{MethodResult, RunKey};
    use crate::session::{Kind, Mode, SessionId};
    use crate::store::End;
    use crate::store::wait::Handover;
    use crate::token::Token;

    fn dropped(session: u64, user: &str) -> Row {
        let record = Record {
            seq: Seq(session),
            id: SessionId::random(),
            token_hash: Token::mint().unwrap().hash(),
            kind: Kind::Web,
            mode: Mode::Legacy,
            user: Some(user.into()),
            ip: None,
            user_agent: None,
            created_at: Timestamp::EPOCH,
            login_at: None,
            idle_timeout: None,
            previous: None,
        };
        let tombstone = Tombstone {
            seq: Seq(session + 1),
            closing: Seq(session + 1),
            session: Seq(session),
            token_hash: None,
            cause: Cause::Dropped,
            closed_at: Timestamp::from_millis(1_000),
            user: record.user.clone(),
            request_ids: [None, None],
            freed: Freed::default(),
            runs: Vec::new(),
            inherited: false,
        };
        Row::Dropped {
            begin: None,
            end: End::by_itself(record.id, Cause::Dropped, &Actor::server()),
            record,
            last_request_at: Timestamp::EPOCH,
            tombstone,
            struck: Vec::new(),
        }
    }

    fn run_ended(session: u64, process: u32, saved: &str) -> Row {
        let process = ProcessNumber(process);
        let run = MethodRun {
            process,
            result: MethodResult::Succeeded,
            took_ms: 1,
            late: true,
            detail: None,
        };
        Row::RunEnded {
            seq: Seq(90 + u64::from(process.0)),
            session: Seq(session),
            closing: Some(Seq(session + 1)),
            key: RunKey {
                session: SessionId::random(),
                process,
            },
            late: None,
            run: Some(run),
            saved: Some(Json::new(saved).unwrap()),
        }
    }

    #[test]
    fn pages_go_back_from_the_last_end() {
        let mut archive = Archive::default();
        archive.keep(&[dropped(1, "ana"), dropped(3, "bob"), dropped(5, "ana")]);
        let page = |query: &HistoryQuery| {
            let page = archive.page(query, None);
            let ends: Vec<u64> = page.items.iter().map(|entry| entry.seq.0).collect();
            (ends, page.truncated)
        };
        let mut query = HistoryQuery {
            limit: Some(2),
            ..HistoryQuery::default()
        };
        assert_eq!(page(&query), (vec![6, 4], true));
        query.before = Some(Seq(4));
        assert_eq!(page(&query), (vec![2], false));
        query.before = None;
        query.user = Some("ana".into());
        assert_eq!(page(&query), (vec![6, 2], false));
        query.since = Some(Timestamp::from_millis(1_001));
        assert_eq!(page(&query), (vec![], false));
        let one = archive.page(&HistoryQuery::default(), Some(Seq(4)));
        assert_eq!(one.items.len(), 1);
    }

    #[test]
    fn what_was_left_is_handed_over_once_and_forgotten_with_its_session() {
        let mut archive = Archive::default();
        archive.keep(&[
            dropped(1, "ana"),
            run_ended(1, 2, "[2]"),
            run_ended(1, 1, "[1]"),
        ]);
        let page = archive.page(&HistoryQuery::default(), None);
        assert_eq!(page.items[0].on_close.len(), 2);
        let into = Arc::new(Handover::default());
        let taken = Row::SavedTaken {
            seq: Seq(95),
            sessions: vec![Seq(1)],
            closing: Some(Seq(2)),
            into: Arc::clone(&into),
        };
        archive.keep(std::slice::from_ref(&taken));
        let processes: Vec<u32> = into
            .take()
            .iter()
            .map(|(_, process, _)| process.0)
            .collect();
        assert_eq!(processes, [1, 2]);
        archive.keep(&[taken]);
        assert!(into.take().is_empty());
        archive.keep(&[Row::Forgotten {
            seq: Seq(96),
            closings: vec![(Seq(2), Seq(1))],
        }]);
        assert!(
            archive
                .page(&HistoryQuery::default(), None)
                .items
                .is_empty()
        );
        assert!(archive.runs.is_empty() && archive.ends.is_empty());
    }
}
