//! Rows as text for people: tables that come page after page with steady columns, and names with their values.

use comfy_table::{ContentArrangement, Table, presets};

use super::output::Output;
use super::text::{duration, shorten, width};
use crate::clock::Timestamp;

/// Spaces between two columns.
const GAP: usize = 2;

/// Ends the header where columns are left out.
const LEFT_OUT: &str = " …";

/// How instants are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Times {
    /// As they are.
    Exact,
    /// As seen from another: `in 7h59m`.
    Relative,
}

impl Times {
    /// Exact in a pipe, relative on a terminal.
    pub(super) fn on(output: &Output) -> Self {
        if output.terminal_width.is_some() {
            Self::Relative
        } else {
            Self::Exact
        }
    }

    /// An instant where there is little room.
    pub(super) fn short(self, instant: Timestamp, from: Timestamp) -> String {
        match self {
            Self::Exact => instant.to_string(),
            Self::Relative => relative(instant, from),
        }
    }

    /// An instant where there is room for both.
    pub(super) fn long(self, instant: Timestamp, from: Timestamp) -> String {
        match self {
            Self::Exact => instant.to_string(),
            Self::Relative => format!("{instant} ({})", relative(instant, from)),
        }
    }
}

/// An instant as seen from another: `in 7h59m`, `5m00s ago`.
fn relative(instant: Timestamp, from: Timestamp) -> String {
    if instant > from {
        format!("in {}", duration(instant.since(from)))
    } else {
        format!("{} ago", duration(from.since(instant)))
    }
}

/// How a table looks.
pub(super) struct Layout {
    /// Its columns.
    pub(super) names: &'static [&'static str],
    /// What gives way on a narrow terminal, in this order: a column, by its name, down to so many columns of the terminal.
    pub(super) give_way: &'static [(&'static str, usize)],
}

/// A table that is written page after page; the widths of the first page stay.
pub(super) struct PagedTable {
    layout: &'static Layout,
    terminal_width: Option<usize>,
    widths: Option<Vec<usize>>,
}

impl PagedTable {
    /// A table for a terminal of this width, or for a pipe, where nothing is cut.
    pub(super) fn new(layout: &'static Layout, terminal_width: Option<usize>) -> Self {
        Self {
            layout,
            terminal_width,
            widths: None,
        }
    }

    /// The next page as text; the first one has the header.
    pub(super) fn page(&mut self, cells: impl Iterator<Item = Vec<String>>) -> String {
        let mut rows: Vec<Vec<String>> = Vec::with_capacity(cells.size_hint().0 + 1);
        let is_first = self.widths.is_none();
        if is_first {
            rows.push(
                self.layout
                    .names
                    .iter()
                    .map(|name| (*name).into())
                    .collect(),
            );
        }
        rows.extend(cells);
        let (layout, terminal_width) = (self.layout, self.terminal_width);
        let widths = self
            .widths
            .get_or_insert_with(|| fit(layout, &rows, terminal_width));
        let gives_way = |name: &str| {
            let is_named = layout.give_way.iter().any(|(giving, _)| *giving == name);
            terminal_width.is_some() && is_named
        };
        for row in &mut rows {
            row.truncate(widths.len());
            for ((cell, name), width) in row.iter_mut().zip(layout.names).zip(widths.iter()) {
                if gives_way(name) {
                    *cell = shorten(cell, *width).into_owned();
                }
                *cell = padded(cell, *width);
            }
        }
        if is_first
            && widths.len() < layout.names.len()
            && let Some(last) = rows.first_mut().and_then(|header| header.last_mut())
        {
            last.push_str(LEFT_OUT);
        }
        let text = aligned(rows.into_iter());
        // What comes first stays whole.
        match terminal_width {
            Some(width) => cut(&text, width),
            None => text,
        }
    }
}

/// The widths that the cells want, taken back where the terminal has not that much.
fn fit(layout: &Layout, rows: &[Vec<String>], terminal_width: Option<usize>) -> Vec<usize> {
    let mut widths = widest(rows);
    let Some(terminal_width) = terminal_width else {
        return widths;
    };
    let room = leave_out(layout, &mut widths, terminal_width);
    for (name, least) in layout.give_way {
        let excess = total(&widths).saturating_sub(room);
        for (width, _) in widths
            .iter_mut()
            .zip(layout.names)
            .filter(|(_, column)| *column == name)
        {
            *width = width.saturating_sub(excess).max((*least).min(*width));
        }
    }
    widths
}

/// Leaves out the last columns where there is no room for all, however much they give way: half a column tells nothing.
/// Answers the room that is left for the others.
fn leave_out(layout: &Layout, widths: &mut Vec<usize>, terminal_width: usize) -> usize {
    let least = |(width, name): (&usize, &&str)| {
        let given = layout.give_way.iter().filter(|(giving, _)| giving == name);
        given
            .map(|(_, least)| *least)
            .min()
            .map_or(*width, |least| least.min(*width))
    };
    let least: Vec<usize> = widths.iter().zip(layout.names).map(least).collect();
    if total(&least) <= terminal_width {
        return terminal_width;
    }
    let room = terminal_width.saturating_sub(width(LEFT_OUT));
    let kept = (1..least.len())
        .rev()
        .find(|kept| total(&least[..*kept]) <= room);
    // The first stays, and is cut at the edge.
    widths.truncate(kept.unwrap_or(1));
    room
}

/// The columns of a terminal that columns of these widths take together.
fn total(widths: &[usize]) -> usize {
    widths.iter().sum::<usize>() + GAP * widths.len().saturating_sub(1)
}

/// The width of the widest cell of each column.
fn widest(rows: &[Vec<String>]) -> Vec<usize> {
    let mut widths = vec![0; rows.first().map_or(0, Vec::len)];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = width(cell).max(*widest);
        }
    }
    widths
}

/// Rows of any number of columns, header first; cut at a terminal's edge.
pub(super) fn columns(rows: Vec<Vec<String>>, terminal_width: Option<usize>) -> String {
    let widths = widest(&rows);
    let text = aligned(rows.iter().map(|row| {
        row.iter()
            .zip(&widths)
            .map(|(cell, width)| padded(cell, *width))
            .collect()
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
            .map(|(name, value)| vec![padded(name, widest), value.clone()]),
    )
}

/// Pairs for values that share a name: it stands on the first line.
pub(super) fn listed(
    name: &'static str,
    values: impl Iterator<Item = String>,
) -> impl Iterator<Item = (&'static str, String)> {
    values
        .enumerate()
        .map(move |(index, value)| (if index == 0 { name } else { "" }, value))
}

fn padded(cell: &str, columns: usize) -> String {
    format!("{cell}{}", " ".repeat(columns.saturating_sub(width(cell))))
}

/// Lays rows out without lines, without blanks at the end.
fn aligned(rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, u16::try_from(GAP).unwrap_or(1)));
    }
    table
        .lines()
        .fold(String::new(), |text, line| text + line.trim_end() + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAYOUT: Layout = Layout {
        names: &["RECORD", "UUID", "LAST"],
        give_way: &[("RECORD", 6)],
    };

    #[test]
    fn what_may_give_way_does_and_what_follows_it_stays() {
        let row = || vec!["Invoices/4711".to_owned(), "5f0c6a52".into(), "1".into()];
        let page = |width| {
            PagedTable::new(&LAYOUT, width)
                .page([row()].into_iter())
                .to_owned()
        };
        let whole = "RECORD         UUID      LAST\nInvoices/4711  5f0c6a52  1\n";
        assert_eq!(page(None), whole);
        assert_eq!(page(Some(29)), whole);
        let narrow = "RECORD     UUID      LAST\nInvoices…  5f0c6a52  1\n";
        assert_eq!(page(Some(25)), narrow);
    }

    #[test]
    fn a_column_is_shown_whole_or_not_at_all() {
        let page = |width| {
            let row = ["Invoices/4711", "5f0c6a52", "1"].map(str::to_owned);
            PagedTable::new(&LAYOUT, Some(width)).page([row.into()].into_iter())
        };
        assert_eq!(page(21), "RECORD     UUID     …\nInvoices…  5f0c6a52\n");
        assert_eq!(page(12), "RECORD     …\nInvoices/…\n");
        assert_eq!(page(5), "RECO…\nInvo…\n");
    }

    #[test]
    fn later_pages_keep_the_columns_of_the_first() {
        let row = |last: &str| {
            ["Invoices/4711", "5f0c6a52", last]
                .map(str::to_owned)
                .into()
        };
        let mut table = PagedTable::new(&LAYOUT, Some(22));
        let first = table.page([row("1")].into_iter());
        assert_eq!(first, "RECORD  UUID      LAST\nInvoi…  5f0c6a52  1\n");
        let second = table.page([row("12345")].into_iter());
        assert_eq!(second, "Invoi…  5f0c6a52  123…\n");
    }

    #[test]
    fn values_of_one_name_are_listed_below_it() {
        let values = ["a", "b"].map(str::to_owned).into_iter();
        let pairs: Vec<_> = listed("name", values).collect();
        assert_eq!(details(&pairs), "name  a\n      b\n");
    }
}
