//! While a closing takes its time: which processes it waits for.

use std::convert::Infallible;
use std::time::Duration;

use crate::admin::Admin;
use crate::cli::output::Output;
use crate::session::{Process, ProcessState, SessionId};

/// How long a closing may take before anything is said of it.
const SILENCE: Duration = Duration::from_secs(1);

/// How often its processes are looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// How long the last look may take.
const LAST_LOOK: Duration = Duration::from_secs(2);

/// Digits of the UUID on the line: enough to know it by, and room for what is busy.
const DIGITS: usize = 8;

/// Processes of one state that are told by their numbers.
const NUMBERS: usize = 8;

/// Shows on one line which processes are busy, over and over; nothing in a pipe, and nothing with `-q`.
pub(super) async fn show<A: Admin>(admin: &A, id: SessionId, output: &mut Output) -> Infallible {
    if !output.shows_progress() {
        return std::future::pending().await;
    }
    tokio::time::sleep(SILENCE).await;
    let short: String = id.to_string().chars().take(DIGITS).collect();
    let mut most = 0;
    loop {
        // What cannot be looked at now is looked at again: whether the closing goes well is told by its outcome.
        if let Ok(shown) = admin.show(id).await {
            most = most.max(shown.processes.len());
            if let Some(busy) = busy(&shown.processes, most) {
                output.progress(&format!("waiting for {short}: {busy}"));
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Which processes are busy now; `None` if there are none, or nobody tells.
pub(super) async fn busy_now<A: Admin>(admin: &A, id: SessionId) -> Option<String> {
    let shown = tokio::time::timeout(LAST_LOOK, admin.show(id)).await;
    let processes = shown.ok()?.ok()?.processes;
    busy(&processes, processes.len())
}

/// In words, when there were `most` at some time: `3 of 5 processes are busy (1, 4: asked; 5: closing)`.
fn busy(processes: &[Process], most: usize) -> Option<String> {
    let count = match processes.len() {
        0 => return None,
        1 if most == 1 => "1 process".into(),
        count if count == most => format!("{count} processes"),
        count => format!("{count} of {most} processes"),
    };
    let verb = if processes.len() == 1 { "is" } else { "are" };
    let states = [
        ProcessState::Running,
        ProcessState::Asked,
        ProcessState::Closing,
    ];
    let groups: Vec<String> = states
        .into_iter()
        .filter_map(|state| numbers(processes, state))
        .collect();
    Some(format!("{count} {verb} busy ({})", groups.join("; ")))
}

/// The processes of a state: `1, 4: asked`.
fn numbers(processes: &[Process], state: ProcessState) -> Option<String> {
    let numbers: Vec<String> = processes
        .iter()
        .filter(|process| process.state == state)
        .map(|process| process.number.to_string())
        .collect();
    if numbers.is_empty() {
        return None;
    }
    let (told, rest) = numbers.split_at(numbers.len().min(NUMBERS));
    let rest = match rest.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Some(format!("{}{rest}: {state}", told.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::session::ProcessNumber;

    fn processes(states: impl IntoIterator<Item = (u32, ProcessState)>) -> Vec<Process> {
        let process = |(number, state)| Process {
            number: ProcessNumber(number),
            state,
            started_at: Timestamp::EPOCH,
            lease_until: None,
            variables: Vec::new(),
            selections: Vec::new(),
            locks: Vec::new(),
        };
        states.into_iter().map(process).collect()
    }

    #[test]
    fn who_is_busy_is_told_by_state_and_number() {
        let three = processes([
            (1, ProcessState::Asked),
            (4, ProcessState::Asked),
            (5, ProcessState::Closing),
        ]);
        assert_eq!(
            busy(&three, 5).unwrap(),
            "3 of 5 processes are busy (1, 4: asked; 5: closing)"
        );
        let one = processes([(1, ProcessState::Closing)]);
        assert_eq!(busy(&one, 1).unwrap(), "1 process is busy (1: closing)");
        assert_eq!(busy(&[], 5), None);
        let many = processes((1..=10_000).map(|number| (number, ProcessState::Asked)));
        assert_eq!(
            busy(&many, 10_000).unwrap(),
            "10000 processes are busy (1, 2, 3, 4, 5, 6, 7, 8 and 9992 more: asked)"
        );
    }
}
