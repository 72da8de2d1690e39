//! The one thread that writes: it commits whatever waits, then lets the live set show it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction, TransactionBehavior};

use super::mark::Mark;
use super::place::Lost;
use super::schema::Disk;
use super::{Progress, Shared};
use super::{log, rows, sessions, settings};
use crate::clock::Timestamp;
use crate::session::Seq;
use crate::store::record::Row;

/// Rows of ended sessions that are removed in one transaction.
const REMOVAL_BATCH: usize = 10_000;

/// Time that SQLite waits for another program's lock before the writer says so and tries again.
const PATIENCE: Duration = Duration::from_millis(500);

/// Tries to get past another program's lock once the store is let go.
const TRIES_AFTER_STOP: u32 = 4;

/// How often the writer looks whether it still has the files that others find, when there is nothing to write.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    /// Sessions that are closed on disk too, but whose rows are still there.
    ended: Vec<Seq>,
    mark: Mark,
    /// Whether it was told that the mark cannot be written.
    is_markless: bool,
}

/// What is written at once.
pub(in crate::store) struct Batch {
    pub(in crate::store) rows: Vec<Row>,
    flushes: u64,
    instant: Option<Timestamp>,
    pub(in crate::store) stop: bool,
}

impl Writer {
    pub(super) fn new(disk: Disk, shared: Arc<Shared>) -> Self {
        let Disk {
            connection,
            ended,
            mark,
        } = disk;
        Self {
            connection,
            shared,
            ended,
            mark,
            is_markless: false,
        }
    }

    pub(super) fn run(mut self) {
        let _last_words = PoisonOnPanic(Arc::clone(&self.shared));
        if let Err(error) = self.prepare() {
            return self.fail(&error);
        }
        let mut flushed = 0;
        loop {
            let batch = self.shared.next(flushed);
            let flush = batch.stop || batch.flushes > flushed;
            let written = self
                .commit(&batch, flush)
                .and_then(|()| self.remove_ended(flush));
            if let Err(error) = written {
                return self.fail(&error);
            }
            flushed = batch.flushes;
            self.shared
                .progress
                .send_modify(|progress| progress.flushes = flushed);
            if batch.stop {
                // Left alone, the log is read at the next start: nothing is lost by that.
                let _ = log::tidy_at_close(&self.connection, true);
                return;
            }
        }
    }

    fn fail(&self, error: &dyn std::error::Error) {
        let directory = self.shared.place.directory();
        tracing::error!(%error, directory = %directory.display(), "the store cannot be relied on: nothing is acknowledged, nobody is let in; mend the cause, then restart the server");
        self.shared.poison(&error.to_string());
    }

    fn prepare(&mut self) -> rusqlite::Result<()> {
        self.connection.busy_timeout(PATIENCE)?;
        log::watch(&mut self.connection)?;
        log::tidy_at_close(&self.connection, false)
    }

    fn commit(&mut self, batch: &Batch, flush: bool) -> Result<(), Failure> {
        let touches = if flush {
            self.shared.live.read()?.take_touches()
        } else {
            Vec::new()
        };
        if batch.rows.len() + touches.len() > 0 || batch.instant.is_some() {
            let transaction = self.begin()?;
            for row in &batch.rows {
                rows::write(&transaction, row)?;
            }
            sessions::write_touches(&transaction, &touches)?;
            if let Some(instant) = batch.instant {
                settings::write_instant(&transaction, instant)?;
            }
            if let Some(seq) = rows::number_to_keep(&batch.rows) {
                settings::write_number(&transaction, seq)?;
            }
            transaction.commit()?;
        }
        self.shared.place.check()?;
        if let Some(last) = batch.rows.last().map(Row::seq) {
            self.keep_mark(last);
        }
        self.shared.acknowledge(&batch.rows)?;
        self.ended.extend(rows::ended(&batch.rows));
        Ok(())
    }

    /// Removes the rows of closed sessions, in batches of neighbours: many at once, or all of them at a flush.
    fn remove_ended(&mut self, flush: bool) -> Result<(), Failure> {
        while self.ended.len() >= REMOVAL_BATCH || (flush && !self.ended.is_empty()) {
            self.ended.sort_unstable();
            let count = self.ended.len().min(REMOVAL_BATCH);
            let batch: Vec<Seq> = self.ended.drain(..count).collect();
            let transaction = self.begin()?;
            sessions::remove(&transaction, &batch)?;
            transaction.commit()?;
            self.shared.place.check()?;
        }
        Ok(())
    }

    /// The mark guards what is on disk already: without it the store goes on.
    fn keep_mark(&mut self, last: Seq) {
        if let Err(error) = self.mark.set(last)
            && !self.is_markless
        {
            tracing::warn!(%error, "the mark of the last change cannot be written; a cut database might not be noticed");
            self.is_markless = true;
        }
    }

    /// Begins a transaction; waits as long as another program has the database, but not for ever once the store is let
    /// go. Nothing is written yet, so nothing has failed.
    fn begin(&self) -> Result<Transaction<'_>, Failure> {
        let mut tries_after_stop = 0;
        loop {
            self.shared.place.check()?;
            match Transaction::new_unchecked(&self.connection, TransactionBehavior::Immediate) {
                Err(error) if is_busy(&error) && tries_after_stop < TRIES_AFTER_STOP => {
                    tracing::warn!("another program has locked the store; changes wait for it");
                    tries_after_stop += u32::from(self.shared.queue().stop);
                }
                begun => return Ok(begun?),
            }
        }
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

impl Shared {
    /// Waits for something to write, and takes it; nothing, if there is nothing for a while.
    pub(in crate::store) fn next(&self, flushed: u64) -> Batch {
        let idle = |queue: &mut super::Queue| {
            queue.rows.is_empty() && !queue.stop && queue.flushes == flushed
        };
        let waited = self.wake.wait_timeout_while(self.queue(), LOOK_EVERY, idle);
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        Batch {
            rows: std::mem::take(&mut queue.rows),
            flushes: queue.flushes,
            instant: queue.instant.take(),
            stop: queue.stop,
        }
    }

    /// Shows what is durable, then wakes those who wait for it.
    pub(in crate::store) fn acknowledge(&self, rows: &[Row]) -> Result<(), crate::store::Error> {
        if !rows.is_empty() {
            self.live.write()?.publish(rows);
        }
        self.progress.send_modify(|progress| {
            progress.durable = rows.last().map_or(progress.durable, Row::seq);
        });
        Ok(())
    }

    fn poison(&self, why: &str) {
        self.progress.send_modify(|Progress { failure, .. }| {
            failure.get_or_insert_with(|| why.into());
        });
        self.bells.ring_all();
    }
}

/// A writer that panics must not leave callers waiting for acknowledgements that never come.
struct PoisonOnPanic(Arc<Shared>);

impl Drop for PoisonOnPanic {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison("the thread that writes the store panicked");
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error("{0}")]
    Lost(#[from] Lost),
    #[error("{0}")]
    Live(#[from] crate::store::Error),
}
