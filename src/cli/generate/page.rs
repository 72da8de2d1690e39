//! A man page in the making. Every text that goes into one is escaped here, by `roff`.

use std::io;

use clap_mangen::roff::{Inline, Roff, bold, roman};

use crate::cli::output::VERSION;

/// What the pages are part of, at the head of every page.
pub(super) const BOOK: &str = "sessionctl manual";

/// The date of every page, as an argument of its own: what is generated anew is to be the same.
pub(super) const NO_DATE: &str = "\"\"";

/// A man page, or the end of one. In its texts, what stands between backticks is bold.
pub(super) struct Page(Roff);

impl Page {
    /// A page with its title and its section NAME.
    pub(super) fn begun(name: &str, section: &str, summary: &str) -> Self {
        let mut page = Self::continued();
        page.0
            .control("TH", [name, section, NO_DATE, VERSION, BOOK]);
        page.section("NAME");
        page.0.text([roman(format!("{name} - {summary}"))]);
        page
    }

    /// What is put behind a page that was begun elsewhere.
    pub(super) fn continued() -> Self {
        Self(Roff::new())
    }

    /// Begins a section.
    pub(super) fn section(&mut self, heading: &str) {
        self.0.control("SH", [heading]);
    }

    /// Adds a paragraph.
    pub(super) fn paragraph(&mut self, text: &str) {
        self.0.control("PP", []).text(inlines(text));
    }

    /// Adds a term and what is to be said of it, each line on a line of its own.
    pub(super) fn term(&mut self, term: &str, lines: &[&str]) {
        self.0.control("TP", []).text(inlines(term));
        for (index, line) in lines.iter().enumerate() {
            if index > 0 {
                self.0.control("br", []);
            }
            self.0.text(inlines(line));
        }
    }

    /// Adds a text that keeps its lines.
    pub(super) fn example(&mut self, text: &str) {
        self.0
            .control("PP", [])
            .control("RS", ["4"])
            .control("EX", []);
        for line in text.lines() {
            self.0.text([roman(line)]);
        }
        self.0.control("EE", []).control("RE", []);
    }

    /// Adds the section SEE ALSO: pages, each with its section.
    pub(super) fn see_also<'a>(&mut self, pages: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.section("SEE ALSO");
        let mut line = Vec::new();
        for (name, section) in pages {
            if !line.is_empty() {
                line.push(roman(", "));
            }
            line.extend([bold(name), roman(format!("({section})"))]);
        }
        self.0.text(line);
    }

    /// The page as a file.
    pub(super) fn bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.0.to_writer(&mut bytes)?;
        Ok(bytes)
    }
}

/// A text in which every second part, by its backticks, is bold.
fn inlines(text: &str) -> Vec<Inline> {
    let parts = text.split('`').enumerate();
    let parts = parts.filter(|(_, part)| !part.is_empty());
    parts
        .map(|(index, part)| match index % 2 {
            0 => roman(part),
            _ => bold(part),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_becomes_a_request() {
        let mut page = Page::continued();
        page.paragraph(".so /secret");
        page.term("'quoted'", &["a\\fB`--flag`", ".br"]);
        page.example("[options]\n.x = 'y'\\n");
        let text = String::from_utf8(page.bytes().unwrap()).unwrap();
        let lines: Vec<_> = text.lines().skip_while(|line| *line != ".PP").collect();
        assert_eq!(
            lines,
            [
                ".PP",
                r"\&.so /secret",
                ".TP",
                r"\*(Aqquoted\*(Aq",
                r"a\\fB\fB\-\-flag\fR",
                ".br",
                r"\&.br",
                ".PP",
                ".RS 4",
                ".EX",
                "[options]",
                r"\&.x = \*(Aqy\*(Aq\\n",
                ".EE",
                ".RE",
            ]
        );
    }
}
