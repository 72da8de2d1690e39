//! One process: how it stands, how long it lives, what it has (C18).

use std::sync::Arc;
use std::time::Duration;

use super::Entry;
use crate::clock::Timestamp;
use crate::context::Context;
use crate::on_close::Freed;
use crate::session::{ProcessNumber, ProcessState, Seq};
use crate::store::record::KeptClosing;

/// A process that has not ended.
pub(super) struct Process {
    pub(super) number: ProcessNumber,
    pub(super) state: ProcessState,
    pub(super) started_at: Timestamp,
    pub(super) lease: Option<Box<Lease>>,
    pub(super) closing: Option<Box<ClosingProcess>>,
    context: Option<Box<Context>>,
}

/// How long a process lives without being named (C18).
pub(super) struct Lease {
    pub(super) duration: Duration,
    /// `None` after a restart, until the first look: nobody could renew it while there was no server.
    pub(super) until: Option<Timestamp>,
}

/// A process whose on-close method is pending or runs.
pub(super) struct ClosingProcess {
    /// The change that closes it; nothing runs before that is on disk.
    pub(super) seq: Seq,
    pub(super) since: Timestamp,
    /// Whether its session lives on.
    pub(super) alone: bool,
    /// Who was signed in: whoever signs in later has nothing to do with it.
    pub(super) user: Option<Arc<str>>,
    /// Until when somebody works on it.
    pub(super) claimed_until: Option<Timestamp>,
}

impl Process {
    pub(super) fn running(number: ProcessNumber, started_at: Timestamp) -> Self {
        Self {
            number,
            state: ProcessState::Running,
            started_at,
            lease: None,
            closing: None,
            context: None,
        }
    }

    pub(super) fn context(&self) -> Option<&Context> {
        self.context.as_deref()
    }

    /// Most processes have nothing; those that get something get a context.
    pub(super) fn context_mut(&mut self) -> &mut Context {
        self.context.get_or_insert_default()
    }

    pub(super) fn freed(&self) -> Freed {
        let nothing = Context::default();
        Freed::of(self.context().unwrap_or(&nothing))
    }

    pub(super) fn close(&mut self, seq: Seq, closing: KeptClosing) {
        let KeptClosing {
            since,
            alone_until,
            user,
        } = closing;
        self.state = ProcessState::Closing;
        self.closing = Some(Box::new(ClosingProcess {
            seq,
            since,
            alone: alone_until.is_some(),
            user,
            claimed_until: None,
        }));
    }

    /// Whoever names a process renews its lease.
    pub(super) fn renew(&mut self, now: Timestamp) {
        if let Some(lease) = &mut self.lease {
            lease.until = Some(now.plus(lease.duration));
        }
    }

    pub(super) fn lease_until(&self, now: Timestamp) -> Option<Timestamp> {
        let lease = self.lease.as_deref()?;
        Some(lease.until.unwrap_or_else(|| now.plus(lease.duration)))
    }
}

impl Entry {
    /// Gives it its next process.
    pub(super) fn add_process(&mut self, now: Timestamp, lease: Option<Duration>) -> ProcessNumber {
        self.last_process.0 += 1;
        let mut process = Process::running(self.last_process, now);
        process.lease = lease.map(|duration| {
            Box::new(Lease {
                duration,
                until: Some(now.plus(duration)),
            })
        });
        self.processes.push(process);
        self.last_process
    }

    /// Where a process stands among them: they are in the order of their numbers.
    fn position(&self, number: ProcessNumber) -> Option<usize> {
        let found = self
            .processes
            .binary_search_by_key(&number, |process| process.number);
        found.ok()
    }

    pub(super) fn process(&self, number: ProcessNumber) -> Option<&Process> {
        self.position(number).map(|at| &self.processes[at])
    }

    pub(super) fn process_mut(&mut self, number: ProcessNumber) -> Option<&mut Process> {
        self.position(number).map(|at| &mut self.processes[at])
    }

    pub(super) fn take_process(&mut self, number: ProcessNumber) -> Option<Process> {
        self.position(number).map(|at| self.processes.remove(at))
    }

    /// The process of a web session that works.
    pub(super) fn running(&self) -> Option<ProcessNumber> {
        let mut running = self
            .processes
            .iter()
            .filter(|process| process.state == ProcessState::Running);
        running.next().map(|process| process.number)
    }
}
