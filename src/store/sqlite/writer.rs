//! The one thread that writes: it commits whatever waits, then lets the live set show it.

use std::sync::{Arc, PoisonError};

use rusqlite::Connection;

use super::rows;
use super::{Progress, Shared};
use crate::session::Seq;
use crate::store::record::Row;

/// Rows of ended sessions that are removed in one transaction.
const REMOVAL_BATCH: usize = 10_000;

pub(super) struct Writer {
    connection: Connection,
    shared: Arc<Shared>,
    /// Sessions that are closed on disk too, but whose rows are still there.
    ended: Vec<Seq>,
}

struct Batch {
    rows: Vec<Row>,
    flushes: u64,
    stop: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection, shared: Arc<Shared>, ended: Vec<Seq>) -> Self {
        Self {
            connection,
            shared,
            ended,
        }
    }

    pub(super) fn run(mut self) {
        let _last_words = PoisonOnPanic(Arc::clone(&self.shared));
        let mut flushed = 0;
        loop {
            let batch = self.next(flushed);
            let flush = batch.stop || batch.flushes > flushed;
            if let Err(error) = self.commit(&batch, flush) {
                tracing::error!(%error, "the store cannot be written; nothing is acknowledged until a restart");
                self.shared.poison(&error.to_string());
                return;
            }
            flushed = batch.flushes;
            if batch.stop {
                return;
            }
        }
    }

    fn next(&self, flushed: u64) -> Batch {
        let idle = |queue: &mut super::Queue| {
            queue.rows.is_empty() && !queue.stop && queue.flushes == flushed
        };
        let queue = self.shared.wake.wait_while(self.shared.queue(), idle);
        let mut queue = queue.unwrap_or_else(PoisonError::into_inner);
        Batch {
            rows: std::mem::take(&mut queue.rows),
            flushes: queue.flushes,
            stop: queue.stop,
        }
    }

    fn commit(&mut self, batch: &Batch, flush: bool) -> Result<(), Failure> {
        let touches = if flush {
            self.shared.live.read()?.take_touches()
        } else {
            Vec::new()
        };
        let removed = if flush {
            self.next_removals()
        } else {
            Vec::new()
        };
        if batch.rows.len() + touches.len() + removed.len() > 0 {
            let transaction = self.connection.transaction()?;
            for row in &batch.rows {
                rows::write(&transaction, row)?;
            }
            rows::write_touches(&transaction, &touches)?;
            rows::remove_sessions(&transaction, &removed)?;
            transaction.commit()?;
        }
        self.acknowledge(batch)
    }

    /// Shows what is durable, then wakes those who wait for it.
    fn acknowledge(&mut self, batch: &Batch) -> Result<(), Failure> {
        if !batch.rows.is_empty() {
            self.shared.live.write()?.publish(&batch.rows);
        }
        self.ended
            .extend(batch.rows.iter().filter_map(|row| match row {
                Row::Finished { session, .. } => Some(*session),
                Row::Dropped { record, .. } => Some(record.seq),
                Row::Opened(_) | Row::Begun { .. } => None,
            }));
        self.shared.progress.send_modify(|progress| {
            progress.durable = batch.rows.last().map_or(progress.durable, Row::seq);
            progress.flushes = batch.flushes;
        });
        Ok(())
    }

    fn next_removals(&mut self) -> Vec<Seq> {
        self.ended.sort_unstable();
        let count = self.ended.len().min(REMOVAL_BATCH);
        self.ended.drain(..count).collect()
    }
}

impl Shared {
    fn poison(&self, why: &str) {
        self.progress.send_modify(|Progress { failure, .. }| {
            failure.get_or_insert_with(|| why.into());
        });
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
    Live(#[from] crate::store::Error),
}
