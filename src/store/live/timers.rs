//! What comes due of processes and of closings: leases, grace periods, time limits (C08, C09, C18).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::LiveSet;
use crate::clock::Timestamp;
use crate::session::{ProcessNumber, Seq, SessionId};
use crate::store::record::Row;

/// What comes due. Checked when it comes up: a lease may have been renewed, a closing ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A process's, by its session's row.
    Lease(Seq, ProcessNumber),
    /// The time that a process may take which closes while its session lives on, by its session's row.
    Alone(Seq, ProcessNumber),
    /// The time that the processes of a closing have to finish by themselves, by its begin.
    Grace(Seq),
    /// The time that a closing may take, by its begin.
    Limit(Seq),
}

/// All of them, the next one first.
#[derive(Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Timestamp, Timer)>>);

impl Timers {
    pub(super) fn push(&mut self, at: Timestamp, timer: Timer) {
        self.0.push(Reverse((at, timer)));
    }

    fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let Reverse((at, _)) = self.0.peek()?;
        if *at > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, timer))| timer)
    }
}

impl LiveSet {
    /// Does what has come due, until so many rows are written.
    pub(super) fn ring(&mut self, limit: usize, now: Timestamp) -> Vec<Row> {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(timer) = self.timers.pop_due(now)
        {
            rows.extend(match timer {
                Timer::Lease(session, process) => self.end_lease(session, process, now),
                Timer::Alone(session, process) => self.end_in_time(session, process, now),
                Timer::Grace(begin) | Timer::Limit(begin) => self.hurry(begin, now),
            });
        }
        rows
    }

    /// The same for the closings of these sessions alone.
    pub(super) fn hurry_only(&mut self, ids: &[SessionId], now: Timestamp) -> Vec<Row> {
        let begins: Vec<Seq> = ids.iter().filter_map(|id| self.closing_of(*id)).collect();
        let rows = begins
            .into_iter()
            .flat_map(|begin| self.end_what_is_over(begin, true, now));
        rows.collect()
    }
}
