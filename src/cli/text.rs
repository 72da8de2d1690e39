//! Untrusted text made safe to look at: what would drive a terminal or hide itself is shown as its code (S44, S45).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::Formatter;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// Text with every control, direction and invisible character written as `\u{…}`.
pub(super) fn visible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_deceptive) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_deceptive(c) {
            // Writing to a String does not fail.
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Characters that move the cursor, turn the direction of text, break lines, or show nothing while being there.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// Columns that a text takes on a terminal.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a text to `columns`, with an ellipsis where something is missing.
pub(super) fn shorten(text: &str, columns: usize) -> Cow<'_, str> {
    if width(text) <= columns {
        return Cow::Borrowed(text);
    }
    let mut left = columns.saturating_sub(1);
    let fits = |c: &char| {
        let needed = c.width().unwrap_or(0);
        let fits = needed <= left;
        left = left.saturating_sub(needed);
        fits
    };
    let mut kept: String = text.chars().take_while(fits).collect();
    kept.push('…');
    Cow::Owned(kept)
}

/// A cell of a CSV file: quoted where RFC 4180 wants it, no formula to a spreadsheet (S45).
pub(super) fn csv_cell(text: &str) -> String {
    let text = visible(text);
    let guard = if text.starts_with(['=', '+', '-', '@']) {
        "'"
    } else {
        ""
    };
    if text.contains(['"', ',']) || !guard.is_empty() {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        text.into_owned()
    }
}

/// A text that may be missing, for people.
pub(super) fn or_dash(text: Option<&str>) -> String {
    text.map_or_else(|| "-".into(), |text| visible(text).into_owned())
}

/// A cell of a CSV file that may be empty.
pub(super) fn or_empty(text: Option<&str>) -> String {
    text.map(csv_cell).unwrap_or_default()
}

/// A number of things, in words.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A duration in its two greatest units: `7h59m`, `12s`.
pub(super) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes, seconds) = (
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{seconds:02}s"),
        (0, ..) => format!("{hours}h{minutes:02}m"),
        _ => format!("{days}d{hours:02}h"),
    }
}

/// One line of JSON in which deceptive characters are escaped; it reads back as the same data.
///
/// # Errors
/// When the value has no JSON form.
pub(super) fn json(value: &impl Serialize) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut bytes, Escaping,
    ))?;
    String::from_utf8(bytes).map_err(serde::ser::Error::custom)
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + std::io::Write>(
        &mut self,
        writer: &mut W,
        text: &str,
    ) -> std::io::Result<()> {
        let mut plain = 0;
        for (at, c) in text.char_indices().filter(|(_, c)| is_deceptive(*c)) {
            writer.write_all(&text.as_bytes()[plain..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            plain = at + c.len_utf8();
        }
        writer.write_all(&text.as_bytes()[plain..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "a\u{1b}[2J\u{7}\u{9b}\u{202e}\u{200b}\u{7f}\r\nb";

    #[test]
    fn s44_nothing_deceptive_is_shown() {
        assert_eq!(
            visible(HOSTILE),
            r"a\u{1b}[2J\u{7}\u{9b}\u{202e}\u{200b}\u{7f}\u{d}\u{a}b"
        );
        assert_eq!(visible("Zoë 日本 🦀"), "Zoë 日本 🦀");
    }

    #[test]
    fn s44_json_is_escaped_and_reads_back() {
        let text = json(&HOSTILE).unwrap();
        assert!(text.chars().all(|c| !is_deceptive(c)), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
    }

    #[test]
    fn s45_a_csv_cell_is_no_formula() {
        assert_eq!(csv_cell("=HYPERLINK(\"x\")"), r#""'=HYPERLINK(""x"")""#);
        assert_eq!(csv_cell("a,b"), "\"a,b\"");
        assert_eq!(csv_cell("plain"), "plain");
    }

    #[test]
    fn texts_are_cut_by_what_they_take_on_a_terminal() {
        assert_eq!(shorten("日本語", 6), "日本語");
        assert_eq!(shorten("日本語", 5), "日本…");
        assert_eq!(shorten("日本語", 4), "日…");
        assert_eq!(shorten("abc", 1), "…");
    }

    #[test]
    fn durations_show_two_units() {
        let shown =
            [0, 59, 61, 3_600, 90_061].map(|seconds| duration(Duration::from_secs(seconds)));
        assert_eq!(shown, ["0s", "59s", "1m01s", "1h00m", "1d01h"]);
    }
}
