//! SIGINT, SIGTERM and SIGHUP, for commands that must not just stop where they are.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::exit::Exit;

/// The signals that ask the process to end.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    /// Where it means something else, it does not come here.
    hang_up: Option<Signal>,
}

impl Signals {
    /// From here on the signals are told instead of ending the process.
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            hang_up: Some(signal(SignalKind::hangup())?),
            ..Self::catch_of_server()?
        })
    }

    /// The same for a server, which SIGHUP does not end: catch [`HangUps`] as well.
    pub(super) fn catch_of_server() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: None,
        })
    }

    /// Waits for the next one; answers the exit code that it stands for.
    pub(super) async fn next(&mut self) -> Exit {
        let hang_up = async {
            match &mut self.hang_up {
                Some(hang_up) => hang_up.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
            _ = hang_up => Exit::Terminated,
        }
    }
}

/// SIGHUP as a server takes it: somebody has changed what it reads.
pub(super) struct HangUps(Signal);

impl HangUps {
    /// From here on the signal is told instead of ending the process.
    pub(super) fn catch() -> io::Result<Self> {
        signal(SignalKind::hangup()).map(Self)
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        self.0.recv().await;
    }
}
