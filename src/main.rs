//! The `sessionctl` command. Everything is in the library; this hands it the process.

use std::io::{self, BufReader, IsTerminal as _};
use std::process::ExitCode;
use std::sync::Arc;

use sessionctl::cli::{self, Host};
use sessionctl::clock::SystemClock;

fn main() -> ExitCode {
    // Whatever is made here is for its owner alone, until it is said otherwise.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    // Whatever this was started with is not for the programs that it starts (S40).
    close_fds::set_fds_cloexec(3, &[]);
    let terminal_width = io::stdout().is_terminal().then(|| {
        let size = rustix::termios::tcgetwinsize(io::stdout());
        let columns = size.map_or(0, |size| usize::from(size.ws_col));
        // Some terminals do not tell.
        if columns == 0 { 80 } else { columns.max(40) }
    });
    ExitCode::from(cli::run(Host {
        args: std::env::args_os().collect(),
        environment: std::env::vars_os().collect(),
        stdin: Box::new(BufReader::new(io::stdin())),
        stdout: Box::new(io::BufWriter::with_capacity(64 * 1024, io::stdout())),
        stderr: Box::new(io::stderr()),
        terminal_width,
        stderr_is_terminal: io::stderr().is_terminal(),
        stdin_is_terminal: io::stdin().is_terminal(),
        clock: Arc::new(SystemClock),
    }))
}
