use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use sessionctl::cli::{Format, Output, write_sessions};
use sessionctl::clock::Timestamp;
use sessionctl::session::{Kind, Mode, Seq, Session, SessionId, State};
use unicode_width::UnicodeWidthStr as _;

use super::{is_deceptive, is_plain};

/// Two sessions whose users and user agents are these texts, in every format and on terminals of every width: a row is a
/// line, nothing that it shows is deceptive, and the formats for programs read back.
pub fn table(bytes: &[u8]) {
    let Some((width, text)) = bytes.split_first() else {
        return;
    };
    let text = String::from_utf8_lossy(text);
    let (user, agent) = text.split_once('\0').unwrap_or((&text, ""));
    let sessions = [session(1, user, agent), session(2, agent, user)];
    let widths = [None, Some(usize::from(*width).max(1))];
    for width in widths {
        let shown = written(Format::Table, width, &sessions);
        assert!(is_plain(&shown), "{shown:?}");
        assert_eq!(shown.lines().count(), 3, "{shown:?}");
        let too_wide = |line: &str| width.is_some_and(|width| line.width() > width);
        assert!(!shown.lines().any(too_wide), "{width:?} {shown:?}");
    }
    let text = written(Format::Json, None, &sessions);
    assert!(is_plain(&text), "{text:?}");
    let read: Value = serde_json::from_str(&text).unwrap();
    let items: Vec<Session> = serde_json::from_value(read["items"].clone()).unwrap();
    assert_eq!(items, sessions);
    let lines = written(Format::Jsonl, None, &sessions);
    assert!(is_plain(&lines), "{lines:?}");
    let items: Vec<Session> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(items, sessions);
    csv(&sessions);
}

/// A cell is the text, unless it would be a formula or deceive.
fn csv(sessions: &[Session]) {
    let text = written(Format::Csv, None, sessions);
    assert!(is_plain(&text), "{text:?}");
    let rows = csv_rows(&text);
    assert_eq!(rows.len(), 1 + sessions.len(), "{text:?}");
    for (row, session) in rows[1..].iter().zip(sessions) {
        assert_eq!(row.len(), rows[0].len(), "{text:?}");
        for (cell, kept) in [(&row[1], &session.user), (&row[6], &session.user_agent)] {
            assert!(
                !cell.starts_with(['=', '+', '-', '@', '\t', '\r']),
                "{cell:?}"
            );
            let kept = kept.as_deref().unwrap();
            let is_formula = kept.starts_with(['=', '+', '-', '@']);
            let cell = if is_formula { &cell[1..] } else { cell };
            // An escape has its character's number.
            assert!(cell == kept || cell.contains("\\u{") || kept.contains(is_deceptive));
            assert!(cell.len() >= kept.len());
        }
    }
}

/// The rows of a CSV text (RFC 4180).
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let mut is_quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if is_quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => {
                assert!(
                    is_quoted || cell.is_empty(),
                    "a quote inside a cell: {text:?}"
                );
                is_quoted = !is_quoted;
            }
            ',' if !is_quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !is_quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            _ => cell.push(c),
        }
    }
    assert!(!is_quoted && cell.is_empty() && row.is_empty(), "{text:?}");
    rows
}

fn session(number: u8, user: &str, agent: &str) -> Session {
    let now = Timestamp::from_millis(1_700_000_000_000);
    Session {
        id: SessionId::from_bytes([number; 16]).unwrap(),
        kind: Kind::Web,
        mode: Mode::Legacy,
        state: State::Active,
        user: Some(user.into()),
        ip: None,
        user_agent: Some(agent.into()),
        created_at: now,
        login_at: Some(now),
        last_request_at: now,
        expires_at: Some(now.plus(Duration::from_secs(60))),
        idle_ms: 0,
        process_count: 1,
        lock_count: 0,
        seq: Seq(number.into()),
    }
}

fn written(format: Format, terminal_width: Option<usize>, sessions: &[Session]) -> String {
    let stdout = Kept::default();
    let mut output = Output::new(
        Box::new(stdout.clone()),
        Box::new(std::io::sink()),
        terminal_width,
    );
    output.format = format;
    write_sessions(&mut output, sessions, sessions[0].last_request_at).unwrap();
    stdout.text()
}

/// A stream whose text is read afterwards.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
