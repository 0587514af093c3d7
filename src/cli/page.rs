//! Text for people: headings, labelled entries and aligned columns that fit a terminal of 80 columns.
//!
//! Knows nothing of models. Names come from files that anyone may have written, so control characters are not passed on.

use std::io::{self, Write as _};

/// The widest line, but for words and commands that cannot be broken.
const WIDTH: usize = 80;
const INDENT: usize = 2;
const LABEL_WIDTH: usize = 14;
/// The widest that a column of a table is made for the sake of its longest cell.
const MAX_COLUMN_WIDTH: usize = 32;

/// A page as it grows, from top to bottom.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Adds an unindented line, with an empty one before it unless it is the first.
    pub(super) fn heading(&mut self, heading: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(heading);
    }

    /// Adds `label` and a text that is wrapped at its blanks.
    pub(super) fn entry(&mut self, label: &str, text: &str) {
        self.entry_lines(label, &fill(text.split_whitespace(), value_width()));
    }

    /// Adds `label` and a list that is wrapped between its items, and after it `note`.
    pub(super) fn list<T: AsRef<str>>(&mut self, label: &str, items: &[T], note: &str) {
        let last = items.len().saturating_sub(1);
        let comma = |index| if index < last { "," } else { "" };
        let items = items.iter().enumerate().map(|(index, item)| format!("{}{}", item.as_ref(), comma(index)));
        let pieces: Vec<_> = items.chain((!note.is_empty()).then(|| format!("({note})"))).collect();
        self.entry_lines(label, &fill(pieces.iter().map(String::as_str), value_width()));
    }

    /// Adds `label` and rows of cells, aligned by column.
    pub(super) fn table(&mut self, label: &str, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            rows.iter().filter_map(|row| row.get(column)).map(|cell| characters(cell)).max().unwrap_or(0)
        };
        let widths: Vec<_> = (0..columns).map(|column| width(column).min(MAX_COLUMN_WIDTH)).collect();
        let line = |row: &Vec<String>| {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
            cells.collect::<Vec<_>>().join("  ")
        };
        self.entry_lines(label, &rows.iter().map(line).collect::<Vec<_>>());
    }

    /// Adds a heading and a table of numbers, its first row the names of the columns; nothing where there are no rows.
    pub(super) fn numbers(&mut self, heading: &str, rows: &[Vec<String>]) {
        let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
        let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
        let widths: Vec<_> =
            (0..columns).map(|column| cells(column).map(|cell| characters(cell)).max().unwrap_or(0)).collect();
        if columns > 0 {
            self.heading(heading);
        }
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:>width$}"));
            self.line(&format!("{:INDENT$}{}", "", cells.collect::<Vec<_>>().join("  ")));
        }
    }

    /// Adds `label` on the first and `lines` as they are.
    pub(super) fn entry_lines(&mut self, label: &str, lines: &[String]) {
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.line(&format!("{:INDENT$}{label:<LABEL_WIDTH$}{line}", ""));
        }
    }

    /// Adds `label` on a line of its own, and below it `lines` as they are.
    pub(super) fn block(&mut self, label: &str, lines: &[String]) {
        self.line(&format!("{:INDENT$}{label}", ""));
        for line in lines {
            self.line(&format!("{:INDENT$}{:INDENT$}{line}", "", ""));
        }
    }

    /// Adds a text as a paragraph whose further lines are indented.
    pub(super) fn paragraph(&mut self, text: &str) {
        for (index, line) in fill(text.split_whitespace(), WIDTH - INDENT).iter().enumerate() {
            let indent = if index == 0 { 0 } else { INDENT };
            self.line(&format!("{:indent$}{line}", ""));
        }
    }

    /// Prints the page on stdout.
    pub(super) fn print(&self) {
        print(&self.text);
    }

    fn line(&mut self, line: &str) {
        let line = line.replace(char::is_control, "?");
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }
}

/// Writes on stdout at once. Whoever closed the pipe, as `head` does, wants no more of it: that is no failure.
pub(super) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let _closed = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Returns the width that a line of a block has.
pub(super) const fn block_width() -> usize {
    WIDTH - 2 * INDENT
}

const fn value_width() -> usize {
    WIDTH - INDENT - LABEL_WIDTH
}

/// Joins pieces by blanks into lines of at most `width` characters; a longer piece has a line of its own.
pub(super) fn fill<'a>(pieces: impl Iterator<Item = &'a str>, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for piece in pieces {
        match lines.last_mut() {
            Some(line) if characters(line) + 1 + characters(piece) <= width => {
                line.push(' ');
                line.push_str(piece);
            }
            _ => lines.push(piece.to_owned()),
        }
    }
    lines
}

/// Writes a time with three digits: `46.2µs`, `1.23ms`, `2.10s`.
pub(super) fn duration(seconds: f64) -> String {
    let (value, unit) = match seconds {
        0.0 => return "0s".to_owned(),
        seconds if seconds < 0.9995e-3 => (seconds * 1e6, "µs"),
        seconds if seconds < 0.9995 => (seconds * 1e3, "ms"),
        seconds => (seconds, "s"),
    };
    format!("{}{unit}", digits(value))
}

/// Writes a number with three digits, or all of a larger one's: `0.0012`, `0.123`, `9.87`, `12345`.
pub(super) fn short(number: f64) -> String {
    match number {
        number if number.fract() == 0.0 => format!("{number:.0}"),
        number if number < 0.00995 => format!("{number:.4}"),
        number if number < 0.995 => format!("{number:.3}"),
        number => digits(number),
    }
}

fn digits(value: f64) -> String {
    let places = match value {
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.places$}")
}

/// Counts one of something, or several: `1 model`, `2 models`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{plural}")
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_thirty_stays_within_80_columns_and_never_breaks_an_item() {
        let names: Vec<_> = (0..30).map(|index| format!("mean fractal dimension {index}")).collect();
        let mut page = Page::default();
        page.list("features", &names, "graph");
        assert!(page.text.lines().all(|line| line.chars().count() <= WIDTH), "{}", page.text);
        assert!(page.text.starts_with("  features      mean fractal dimension 0, mean"), "{}", page.text);
        assert!(page.text.ends_with("mean fractal dimension 29 (graph)\n"), "{}", page.text);
        let broken = page.text.lines().skip(1).any(|line| !line.trim_start().starts_with("mean"));
        assert!(!broken, "{}", page.text);
    }

    #[test]
    fn what_cannot_be_broken_has_a_line_of_its_own() {
        let long = "x".repeat(100);
        let text = format!("a {long} b c");
        assert_eq!(fill(text.split(' '), 20), ["a", &long, "b c"]);
        assert!(fill("".split_whitespace(), 20).is_empty());
    }

    #[test]
    fn columns_are_aligned_and_a_very_long_cell_does_not_widen_them_all() {
        let mut page = Page::default();
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        page.table("inputs", &[row(["X", "FP32"]), row(["mask", "INT64"]), row([&"n".repeat(60), "BOOL"])]);
        let lines: Vec<_> = page.text.lines().collect();
        assert_eq!(lines[0], format!("  inputs        X{}FP32", " ".repeat(MAX_COLUMN_WIDTH + 1)));
        assert_eq!(lines[2], format!("                {}  BOOL", "n".repeat(60)));
    }

    #[test]
    fn names_cannot_send_commands_to_the_terminal() {
        let mut page = Page::default();
        page.list("features", &["a\u{1b}[2Jb", "c\nd"], "");
        assert_eq!(page.text, "  features      a?[2Jb, c?d\n");
    }

    #[test]
    fn counts_are_for_people() {
        assert_eq!(count(1, "model"), "1 model");
        assert_eq!(count(0, "model"), "0 models");
    }

    #[test]
    fn times_have_three_digits_and_their_unit() {
        let cases = [
            (0.0, "0s"),
            (0.5e-6, "0.50µs"),
            (46.23e-6, "46.2µs"),
            (999.4e-6, "999µs"),
            (999.9e-6, "1.00ms"),
            (0.0123, "12.3ms"),
            (0.9996, "1.00s"),
            (30.0, "30.0s"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn numbers_are_short() {
        for (number, expected) in
            [(1.0, "1"), (0.00123, "0.0012"), (0.123, "0.123"), (12.34, "12.3"), (54321.7, "54322"), (99.96, "100")]
        {
            assert_eq!(short(number), expected);
        }
    }

    #[test]
    fn numbers_stand_under_the_names_of_their_columns() {
        let mut page = Page::default();
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        page.numbers("speed", &[row(["conn", "p50"]), row(["8", "46.2µs"])]);
        page.numbers("nothing", &[]);
        assert_eq!(page.text, "speed\n  conn     p50\n     8  46.2µs\n");
    }
}
