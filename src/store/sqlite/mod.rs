//! The durable store: the live set in memory, SQLite under it. Reads never touch the disk, but for what only the disk has
//! (`reader`); one writer thread commits whatever waits in one synced transaction.

mod audit;
mod backup;
mod check;
mod close_all;
mod closings;
mod columns;
mod load;
mod log;
mod mark;
mod merge;
mod open_error;
mod place;
mod processes;
mod reader;
mod restore;
mod rows;
mod runs;
mod schema;
mod sessions;
mod settings;
mod tokens;
mod writer;

use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{Notify, watch};

pub use self::backup::{BackedUp, BackupError, back_up};
pub use self::check::{CheckedStore, check};
pub use self::close_all::{CloseAll, ClosedAll};
pub use self::open_error::OpenError;
pub(super) use self::place::Place;
use self::reader::Reader;
pub use self::restore::{Over, RestoreError, Restored, Restoring};
use self::schema::{LookedAt, Opened};
use self::writer::Writer;
use super::directory::DataDir;
use super::live::{LiveSet, Prepared, Told, named};
use super::memory::SharedLive;
use super::record::Row;
use super::sync::{Condvar, Mutex, MutexGuard};
use super::wait::Bells;
use super::{Applied, Census, Change, Claim, Error, Found, Seen, Store, Unfit, Use, Work};
use crate::access::AdminToken;
use crate::admin::{
    AuditPage, AuditQuery, HistoryPage, HistoryQuery, ListQuery, LockPage, LockQuery, Page,
};
use crate::application::{At, ProcessStatus, Saved};
use crate::audit::Verdict;
use crate::clock::Timestamp;
use crate::context::Context;
use crate::on_close::Method;
use crate::options::Settings;
use crate::session::{Process, Seq, SessionId};
use crate::token::TokenHash;

/// Changes that may wait for the disk; more are refused with [`Error::Busy`].
const QUEUE_LIMIT: usize = 8_192;

/// Sessions in a data directory.
pub struct SqliteStore {
    shared: Arc<Shared>,
    /// `None` when the store was opened for looking only.
    writer: Option<JoinHandle<()>>,
    reader: Arc<Reader>,
    latest: Timestamp,
    method: Method,
    directory: DataDir,
}

/// Lock order: `live`, then `queue`; neither is held while the disk works or across an await.
pub(super) struct Shared {
    pub(super) live: SharedLive,
    bells: Arc<Bells>,
    place: Place,
    queue: Mutex<Queue>,
    wake: Condvar,
    progress: watch::Sender<Progress>,
}

/// What the writer has to do.
#[derive(Default)]
struct Queue {
    rows: Vec<Row>,
    /// How many flushes were asked for, and whether to end after this.
    flushes: u64,
    /// The instant of the last of them.
    instant: Option<Timestamp>,
    stop: bool,
}

/// How far the disk is.
#[derive(Clone, Default)]
struct Progress {
    durable: Seq,
    flushes: u64,
    failure: Option<Arc<str>>,
}

impl SqliteStore {
    /// Opens the store of a directory that was taken for changes, to serve it with these settings and no on-close method;
    /// makes an empty one if there is none. What was set at run time before still wins (C14).
    ///
    /// # Errors
    /// See [`OpenError`]. A store that is not understood is refused whole.
    pub fn open(directory: DataDir, settings: Settings) -> Result<Self, OpenError> {
        Self::open_for_server(directory, settings, &Method::None)
    }

    /// The same, with an on-close method: it is kept for commands without a server.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_for_server(
        directory: DataDir,
        settings: Settings,
        method: &Method,
    ) -> Result<Self, OpenError> {
        let start = Some((settings, method));
        let opened = schema::open_for_changes(&directory.database(), start)?;
        Self::started(directory, opened)
    }

    /// The same for a database that may be an older copy, after a restored machine or disk: every session that lives in it
    /// is closed before anybody sees it, cause `restored`, its method pending, and every admin token revoked. Answers how many
    /// those were too.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing is refused for what it lacks.
    pub fn open_closing_all(
        directory: DataDir,
        settings: Settings,
        method: &Method,
        order: &CloseAll,
    ) -> Result<(Self, ClosedAll), OpenError> {
        let start = Some((settings, method));
        let (opened, closed) = schema::open_closing_all(&directory.database(), start, order)?;
        Ok((Self::started(directory, opened)?, closed))
    }

    /// The same, with the settings and the on-close method of the last server that had it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_as_served(directory: DataDir) -> Result<Self, OpenError> {
        let opened = schema::open_for_changes(&directory.database(), None)?;
        Self::started(directory, opened)
    }

    /// Opens the store of a directory that was taken for looking: nothing is changed, nothing is started. It goes by the
    /// settings of the last server that had it.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_read_only(directory: DataDir) -> Result<Self, OpenError> {
        let LookedAt { live, method, .. } = schema::look(&directory.database())?;
        Ok(Self {
            reader: Arc::new(Reader::new(directory.database())),
            latest: live.latest(),
            shared: Arc::new(Shared::new(live, Place::of_looking(&directory)?)),
            writer: None,
            method,
            directory,
        })
    }

    fn started(directory: DataDir, opened: Opened) -> Result<Self, OpenError> {
        let Opened {
            disk, live, method, ..
        } = opened;
        let latest = live.latest();
        let shared = Arc::new(Shared::new(live, Place::of_changes(&directory)?));
        let writer = Writer::new(disk, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run());
        let writer = Some(thread.map_err(OpenError::Thread)?);
        Ok(Self {
            shared,
            writer,
            reader: Arc::new(Reader::new(directory.database())),
            latest,
            method,
            directory,
        })
    }

    /// What the last server called as its on-close method; that is this one, if the store was opened for a server.
    pub fn served_method(&self) -> &Method {
        &self.method
    }

    /// Asks the disk. It may be slow: nobody else is to wait for it.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let reader = Arc::clone(&self.reader);
        let asked = tokio::task::spawn_blocking(move || question(&reader)).await;
        let found = asked.map_err(|error| Error::Unreadable(error.into()))?;
        // It may have been opened after another store had come to its place.
        let place = self.shared.place.check();
        place.map_err(|lost| Error::Unreadable(lost.into()))?;
        found.map_err(|error| Error::Unreadable(error.into()))
    }

    /// The directory that the store is in.
    pub fn directory(&self) -> &DataDir {
        &self.directory
    }
}

impl Drop for SqliteStore {
    /// Writes what waits, touches included.
    fn drop(&mut self) {
        self.reader.close();
        self.shared.stop();
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has poisoned the store and told so.
            let _ = writer.join();
        }
    }
}

impl Store for SqliteStore {
    async fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Seen, Error> {
        self.shared.visit(token, usage, from, now).await
    }

    async fn apply(&self, change: Change, now: Timestamp) -> Result<Applied, Error> {
        if self.writer.is_none() {
            return Err(Error::ReadOnly);
        }
        self.shared.apply(change, now).await
    }

    async fn find(&self, id: SessionId, now: Timestamp) -> Result<Found, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.find(id, now);
        self.shared.when_durable(told).await
    }

    async fn page(&self, query: ListQuery, now: Timestamp) -> Result<Page, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.page(query, now);
        self.shared.when_durable(told).await
    }

    async fn processes(&self, id: SessionId, now: Timestamp) -> Result<Vec<Process>, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.processes(id, now);
        self.shared.when_durable(told).await
    }

    async fn process(&self, at: At, now: Timestamp) -> Result<Result<ProcessStatus, Unfit>, Error> {
        self.shared.check()?;
        let told = self.shared.live.write()?.process(at, now);
        self.shared.when_durable(told).await
    }

    async fn context(&self, at: At, now: Timestamp) -> Result<Result<Context, Unfit>, Error> {
        self.shared.check()?;
        let told = self.shared.live.write()?.context(at, now);
        self.shared.when_durable(told).await
    }

    async fn locks(&self, query: LockQuery) -> Result<LockPage, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.locks(&query);
        self.shared.when_durable(told).await
    }

    async fn history(
        &self,
        query: HistoryQuery,
        id: Option<SessionId>,
    ) -> Result<HistoryPage, Error> {
        self.shared.check()?;
        let closing = match id {
            Some(id) => match self.shared.live.read()?.closed_at_row(id) {
                None => return Ok(HistoryPage::default()),
                closing => closing,
            },
            None => None,
        };
        // Looked at first: what ends in between is then found on disk.
        let told = self.shared.live.read()?.pending(id);
        let pending = self.shared.when_durable(told).await?;
        let query = pending.known(query);
        let mut page = self
            .ask(move |reader| reader.history(&query, closing))
            .await?;
        pending.add_to(&mut page);
        Ok(page)
    }

    async fn tokens(&self) -> Result<Vec<Arc<AdminToken>>, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.tokens();
        self.shared.when_durable(told).await
    }

    async fn token(&self, hash: &TokenHash) -> Result<Option<Arc<AdminToken>>, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.token(hash);
        self.shared.when_durable(told).await
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, Error> {
        self.shared.check()?;
        self.ask(move |reader| reader.audit(&query)).await
    }

    async fn verify_audit(&self) -> Result<Verdict, Error> {
        self.shared.check()?;
        self.ask(Reader::verify_audit).await
    }

    async fn saved(&self, id: SessionId, now: Timestamp) -> Result<Result<Saved, Unfit>, Error> {
        self.shared.check()?;
        let told = self.shared.live.read()?.saved_of(id, now);
        let (previous, sessions) = match self.shared.when_durable(told).await? {
            Ok(left) => left,
            Err(unfit) => return Ok(Err(unfit)),
        };
        let rows: Vec<Seq> = sessions.iter().map(|(row, _)| *row).collect();
        let found = self.ask(move |reader| reader.saved(&rows)).await?;
        Ok(Ok(named(previous, &sessions, found)))
    }

    fn bell(&self, id: SessionId) -> Arc<Notify> {
        self.shared.bells.of(id)
    }

    async fn claim(&self, claim: Claim, now: Timestamp) -> Result<Vec<Work>, Error> {
        self.shared.check()?;
        Ok(self.shared.live.write()?.claim(&claim, now))
    }

    async fn flush(&self, now: Timestamp) -> Result<(), Error> {
        if self.writer.is_none() {
            return Err(Error::ReadOnly);
        }
        let flush = {
            let mut queue = self.shared.queue();
            queue.flushes += 1;
            queue.instant = Some(now);
            queue.flushes
        };
        self.shared.wake.notify_one();
        self.shared
            .reached(|progress| progress.flushes >= flush)
            .await
    }

    async fn health(&self) -> Result<(), Error> {
        self.shared.check()?;
        self.shared.live.read().map(drop)
    }

    fn settings(&self) -> Result<Arc<Settings>, Error> {
        Ok(Arc::clone(self.shared.live.read()?.settings()))
    }

    async fn census(&self) -> Result<Census, Error> {
        self.shared.check()?;
        Ok(self.shared.live.read()?.census())
    }

    fn latest(&self) -> Timestamp {
        self.latest
    }
}

impl Shared {
    pub(super) fn new(live: LiveSet, place: Place) -> Self {
        let progress = Progress {
            durable: live.durable(),
            ..Progress::default()
        };
        Self {
            bells: Arc::clone(live.bells()),
            live: SharedLive::new(live),
            place,
            queue: Mutex::default(),
            wake: Condvar::new(),
            progress: watch::Sender::new(progress),
        }
    }

    pub(super) async fn visit(
        &self,
        token: &TokenHash,
        usage: Use,
        from: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<Seen, Error> {
        self.check()?;
        let told = self.live.read()?.visit(token, usage, from, now);
        self.when_durable(told).await
    }

    pub(super) async fn apply(&self, change: Change, now: Timestamp) -> Result<Applied, Error> {
        let prepared = self.submit(change, now)?;
        self.durable(prepared.durable).await.map_err(unconfirmed)?;
        let answer = |live: &LiveSet| live.answer(&prepared.answer, now);
        let told = answer(&*self.live.read().map_err(unconfirmed)?);
        self.when_durable(told).await.map_err(unconfirmed)
    }

    /// Decides a change and queues its row. Both under the lock of the live set: rows stand in the order of their `seq`.
    fn submit(&self, change: Change, now: Timestamp) -> Result<Prepared, Error> {
        let mut live = self.live.write()?;
        // A row that is queued after this but never written is no lie: whoever waits for it is told of the failure.
        self.check()?;
        let mut queue = self.queue();
        if queue.rows.len() >= QUEUE_LIMIT {
            return Err(Error::Busy);
        }
        let mut prepared = live.prepare(change, now);
        if !prepared.rows.is_empty() {
            queue.rows.append(&mut prepared.rows);
            self.wake.notify_one();
        }
        Ok(prepared)
    }

    /// Waits until something may be told.
    pub(super) async fn when_durable<T>(&self, told: Told<T>) -> Result<T, Error> {
        self.durable(told.durable).await.map(|()| told.what)
    }

    /// Waits until everything up to `seq` is on disk.
    async fn durable(&self, seq: Seq) -> Result<(), Error> {
        self.reached(|progress| progress.durable >= seq).await
    }

    async fn reached(&self, done: impl Fn(&Progress) -> bool) -> Result<(), Error> {
        let mut progress = self.progress.subscribe();
        let reached = progress
            .wait_for(|progress| progress.failure.is_some() || done(progress))
            .await;
        match reached.map(|progress| progress.failure.clone()) {
            Ok(None) => Ok(()),
            Ok(Some(failure)) => Err(poisoned(&failure)),
            Err(_) => Err(poisoned("the store was closed")),
        }
    }

    /// Fails once the store has stopped acknowledging.
    fn check(&self) -> Result<(), Error> {
        self.progress
            .borrow()
            .failure
            .as_ref()
            .map_or(Ok(()), |failure| Err(poisoned(failure)))
    }

    /// Lets the writer end once everything is written.
    pub(super) fn stop(&self) {
        self.queue().stop = true;
        self.wake.notify_one();
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // Nothing panics under this lock but an allocation; the queue is whole at every step.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The store failed while it held the change: the disk may have it.
fn unconfirmed(error: Error) -> Error {
    match error {
        Error::Poisoned(source) => Error::Unconfirmed(source),
        error => error,
    }
}

fn poisoned(why: &str) -> Error {
    Error::Poisoned(why.into())
}
