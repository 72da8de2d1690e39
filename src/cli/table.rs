//! Sessions as rows: a table for people, page after page with steady columns, and CSV.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use super::text::{csv_cell, duration, shorten, visible, width};
use crate::clock::Timestamp;
use crate::session::Session;

/// Spaces between two columns.
const GAP: usize = 2;

/// A column of the list.
struct Column {
    name: &'static str,
    /// What it shows of a session.
    cell: fn(&Session, Times) -> String,
}

/// How instants are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// As they are.
    Exact,
    /// From when the session was looked at: `in 7h59m`.
    Relative,
}

/// The columns, UUID first.
const COLUMNS: [Column; 8] = [
    Column {
        name: "UUID",
        cell: |session, _| session.id.to_string(),
    },
    Column {
        name: "USER",
        cell: |session, _| optional(session.user.as_deref()),
    },
    Column {
        name: "KIND",
        cell: |session, _| session.kind.to_string(),
    },
    Column {
        name: "STATE",
        cell: |session, _| session.state.to_string(),
    },
    Column {
        name: "IDLE",
        cell: |session, _| duration(Duration::from_millis(session.idle_ms)),
    },
    Column {
        name: "EXPIRES",
        cell: |session, times| expires(session, times),
    },
    Column {
        name: "IP",
        cell: |session, _| optional(session.ip.map(|ip| ip.to_string()).as_deref()),
    },
    Column {
        name: "AGENT",
        cell: |session, _| optional(session.user_agent.as_deref()),
    },
];

fn optional(text: Option<&str>) -> String {
    text.map_or_else(|| "-".into(), |text| visible(text).into_owned())
}

fn expires(session: &Session, times: Times) -> String {
    match (session.expires_at, times) {
        (None | Some(Timestamp::EPOCH), _) => "-".into(),
        (Some(at), Times::Exact) => at.to_string(),
        (Some(at), Times::Relative) => relative(at, looked_at(session)),
    }
}

/// When whoever holds the session looked at it: by its clock, which need not be ours.
pub(super) fn looked_at(session: &Session) -> Timestamp {
    session
        .last_request_at
        .plus(Duration::from_millis(session.idle_ms))
}

/// An instant as seen from another: `in 7h59m`, `5m00s ago`.
pub(super) fn relative(instant: Timestamp, from: Timestamp) -> String {
    if instant > from {
        format!("in {}", duration(instant.since(from)))
    } else {
        format!("{} ago", duration(from.since(instant)))
    }
}

/// Writes sessions page after page; the columns of the first page stay.
pub(super) struct SessionTable {
    times: Times,
    terminal_width: Option<usize>,
    widths: Option<[usize; COLUMNS.len()]>,
}

impl SessionTable {
    /// A table for a terminal of this width, or for a pipe, where nothing is cut.
    pub(super) fn new(times: Times, terminal_width: Option<usize>) -> Self {
        Self {
            times,
            terminal_width,
            widths: None,
        }
    }

    /// The next page as text; the first one has the header.
    pub(super) fn page(&mut self, sessions: &[Session]) -> String {
        let mut rows: Vec<[String; COLUMNS.len()]> = Vec::with_capacity(sessions.len() + 1);
        if self.widths.is_none() {
            rows.push(COLUMNS.map(|column| column.name.into()));
        }
        rows.extend(
            sessions
                .iter()
                .map(|session| COLUMNS.map(|column| (column.cell)(session, self.times))),
        );
        let widths = *self
            .widths
            .get_or_insert_with(|| fit(&rows, self.terminal_width));
        let is_terminal = self.terminal_width.is_some();
        let text = aligned(rows.iter().map(|row| {
            row.iter()
                .zip(&COLUMNS)
                .zip(widths)
                .map(move |((cell, column), width)| {
                    let gives_way = GIVE_WAY.iter().any(|(name, _)| *name == column.name);
                    if is_terminal && gives_way {
                        padded(&shorten(cell, width), width)
                    } else {
                        padded(cell, width)
                    }
                })
        }));
        // The UUID comes first and stays whole.
        match self.terminal_width {
            Some(width) => cut(&text, width),
            None => text,
        }
    }
}

/// What gives way on a narrow terminal, in this order: a column, by its name, down to so many columns.
const GIVE_WAY: [(&str, usize); 4] = [("AGENT", 24), ("USER", 16), ("AGENT", 5), ("USER", 8)];

/// The widths that the cells want, taken back where the terminal has not that much.
fn fit(rows: &[[String; COLUMNS.len()]], terminal_width: Option<usize>) -> [usize; COLUMNS.len()] {
    let mut widths = [0; COLUMNS.len()];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    let Some(terminal_width) = terminal_width else {
        return widths;
    };
    for (name, least) in GIVE_WAY {
        let total = widths.iter().sum::<usize>() + GAP * (COLUMNS.len() - 1);
        let excess = total.saturating_sub(terminal_width);
        for (width, _) in widths
            .iter_mut()
            .zip(&COLUMNS)
            .filter(|(_, column)| column.name == name)
        {
            *width = width.saturating_sub(excess).max(least.min(*width));
        }
    }
    widths
}

/// Rows of any number of columns, header first; cut at a terminal's edge.
pub(super) fn columns(rows: Vec<Vec<String>>, terminal_width: Option<usize>) -> String {
    let count = rows.first().map_or(0, Vec::len);
    let widest = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| width(cell))
            .max()
    };
    let widths: Vec<usize> = (0..count)
        .map(|column| widest(column).unwrap_or_default())
        .collect();
    let text = aligned(rows.iter().map(|row| {
        row.iter()
            .zip(&widths)
            .map(|(cell, width)| padded(cell, *width))
    }));
    match terminal_width {
        Some(width) => cut(&text, width),
        None => text,
    }
}

/// What does not fit is cut at the edge: a row that wraps is no row.
fn cut(text: &str, width: usize) -> String {
    text.lines()
        .map(|line| shorten(line, width) + "\n")
        .collect()
}

/// Names and values, one pair per line.
pub(super) fn details(pairs: &[(&str, String)]) -> String {
    let widest = pairs
        .iter()
        .map(|(name, _)| width(name))
        .max()
        .unwrap_or_default();
    aligned(
        pairs
            .iter()
            .map(|(name, value)| [padded(name, widest), value.clone()]),
    )
}

fn padded(cell: &str, columns: usize) -> String {
    format!("{cell}{}", " ".repeat(columns.saturating_sub(width(cell))))
}

/// Lays rows out without lines, without blanks at the end.
fn aligned<R: IntoIterator<Item = String>>(rows: impl Iterator<Item = R>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows.map(|row| row.into_iter().collect::<Vec<String>>()));
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP).unwrap_or(1)));
    }
    table
        .lines()
        .fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

/// The header of a CSV list: the names that JSON has.
pub(super) const CSV_HEADER: &str = "id,user,kind,mode,state,ip,user_agent,created_at,login_at,last_request_at,expires_at,idle_ms,seq";

/// A session as a line of CSV.
pub(super) fn csv_row(session: &Session) -> String {
    let text = |text: Option<&str>| text.map(csv_cell).unwrap_or_default();
    let time = |time: Option<Timestamp>| time.map(|time| time.to_string()).unwrap_or_default();
    [
        session.id.to_string(),
        text(session.user.as_deref()),
        session.kind.to_string(),
        session.mode.to_string(),
        session.state.to_string(),
        text(session.ip.map(|ip| ip.to_string()).as_deref()),
        text(session.user_agent.as_deref()),
        time(Some(session.created_at)),
        time(session.login_at),
        time(Some(session.last_request_at)),
        time(session.expires_at),
        session.idle_ms.to_string(),
        session.seq.to_string(),
    ]
    .join(",")
}
