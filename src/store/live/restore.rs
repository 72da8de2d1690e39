//! Puts back what a store had kept, as it was when the last server stopped or died (C17).

use super::process::Process;
use super::{LiveSet, Phase};
use crate::clock::Timestamp;
use crate::context::{Context, Lock};
use crate::session::{Kind, ProcessNumber, Seq, SessionId};
use crate::store::record::{KeptProcess, Record, Standing, Tombstone};
use crate::token::TokenHash;

impl LiveSet {
    /// Puts back a session that a store had kept, with those of its processes that have rows.
    pub(in crate::store) fn restore(
        &mut self,
        record: Record,
        standing: Standing,
        kept: Vec<KeptProcess>,
    ) {
        let Standing {
            last_request_at,
            confirmed,
            suspended,
            begin,
            last_process,
            process_started_at,
        } = standing;
        let (seq, kind) = (record.seq, record.kind);
        self.restored(
            begin.as_ref().map_or(seq, |begin| begin.seq).max(seq),
            last_request_at.max(record.created_at),
        );
        let started_at = process_started_at.unwrap_or(record.created_at);
        let slot = self.insert(record, last_request_at, Phase::Reserved);
        self.entries[slot].confirmed = confirmed.into();
        self.activate(seq);
        if suspended {
            self.without_process(slot);
        }
        let has_running = kept.iter().any(|process| process.closing.is_none());
        for process in kept {
            self.restore_process(slot, process);
        }
        let entry = &mut self.entries[slot];
        entry.last_process = entry.last_process.max(last_process);
        if kind == Kind::Web && !suspended && !has_running {
            entry
                .processes
                .push(Process::running(last_process, started_at));
        }
        if let Some(begin) = begin {
            self.leave(slot);
            self.closing(slot, begin);
        }
    }

    /// Puts back the memory of a closed session.
    pub(in crate::store) fn restore_closed(&mut self, id: SessionId, tombstone: Tombstone) {
        self.restored(tombstone.seq, tombstone.closed_at);
        self.closed.insert(id, tombstone);
    }

    /// Puts back that a login had replaced a token.
    pub(in crate::store) fn restore_rotated(&mut self, token: TokenHash, at: Timestamp) {
        self.rotated.insert(token, at, Seq(0));
    }

    /// Puts back what a process had.
    pub(in crate::store) fn restore_context(
        &mut self,
        session: Seq,
        process: ProcessNumber,
        put: impl FnOnce(&mut Context),
    ) {
        let Some(slot) = self.by_seq.get(&session).copied() else {
            return;
        };
        if let Some(process) = self.entries[slot].process_mut(process) {
            put(process.context_mut());
        }
    }

    /// Puts back a record lock.
    pub(in crate::store) fn restore_lock(
        &mut self,
        session: Seq,
        process: ProcessNumber,
        lock: Lock,
    ) {
        self.restored(Seq(lock.fence), lock.since);
        self.locks.restore(session, process, &lock);
        self.restore_context(session, process, |context| context.locks.push(lock));
    }

    /// Puts back that the on-close method left something for a session.
    pub(in crate::store) fn restore_saved(&mut self, session: Seq) {
        if let Some(slot) = self.by_seq.get(&session) {
            self.entries[*slot].saved = true;
        }
    }

    /// Leaves numbers out: the next change has a greater one than `seq`.
    pub(in crate::store) fn leap_to(&mut self, seq: Seq, at: Timestamp) {
        self.restored(seq, at);
    }

    /// Everything up to `seq` was on disk, and so was it that `at` had come.
    pub(in crate::store) fn restored(&mut self, seq: Seq, at: Timestamp) {
        self.last_seq = self.last_seq.max(seq);
        self.durable = self.durable.max(seq);
        self.latest = self.latest.max(at);
    }
}
