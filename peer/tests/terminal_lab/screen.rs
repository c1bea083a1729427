//! What a terminal shows, and what it answers without anybody typing.
//!
//! vt100 takes U+FFFD for a broken stream and draws nothing, where terminals draw a replacement character one column wide. So it
//! travels through vt100 as a character for private use of the same width.

use std::fmt;
use std::num::NonZeroU16;

use vt100::{Callbacks, Cell, Color, MouseProtocolMode, Parser};

use super::Size;

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();
const STAND_IN: &str = "\u{E000}";

/// The terminal's side of the conversation.
pub struct Display {
    parser: Parser<Asides>,
    /// The beginning of what may become a U+FFFD.
    rest: Vec<u8>,
}

/// What is told to the terminal besides what it shows.
#[derive(Default)]
struct Asides {
    bells: usize,
    answers: Vec<u8>,
    /// What vt100 does not model: nothing that is drawn goes on in the next row, and a change of the focus is reported.
    clips: bool,
    tells_focus: bool,
}

impl Callbacks for Asides {
    fn audible_bell(&mut self, _: &mut vt100::Screen) {
        self.bells += 1;
    }

    /// Answers as xterm does; a program may wait for it.
    fn unhandled_csi(
        &mut self,
        screen: &mut vt100::Screen,
        first: Option<u8>,
        _: Option<u8>,
        parameters: &[&[u16]],
        c: char,
    ) {
        match (first, c, parameters.first().and_then(|parameter| parameter.first())) {
            (Some(b'?'), 'h' | 'l', Some(7)) => self.clips = c == 'l',
            (Some(b'?'), 'h' | 'l', Some(1004)) => self.tells_focus = c == 'h',
            (None, 'c', _) => self.answers.extend(b"\x1b[?64;1;22c"),
            (None, 'n', Some(5)) => self.answers.extend(b"\x1b[0n"),
            (None, 'n', Some(6)) => {
                let (row, column) = screen.cursor_position();
                self.answers.extend(format!("\x1b[{};{}R", row + 1, column + 1).bytes());
            }
            _ => {}
        }
    }
}

pub fn display(size: Size) -> Display {
    let (rows, columns) = dimensions(size);
    Display { parser: Parser::new_with_callbacks(rows, columns, 1000, Asides::default()), rest: vec![] }
}

fn dimensions(size: Size) -> (NonZeroU16, NonZeroU16) {
    let [rows, columns] = [size.rows, size.columns].map(|number| NonZeroU16::new(number).unwrap());
    (rows, columns)
}

impl Display {
    /// Returns what the terminal answers.
    pub fn take(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend(bytes);
        let mut taken = Vec::with_capacity(self.rest.len());
        let mut rest = &self.rest[..];
        while let Some(first) = rest.first() {
            if let Some(further) = rest.strip_prefix(REPLACEMENT) {
                taken.extend(STAND_IN.as_bytes());
                rest = further;
            } else if REPLACEMENT.starts_with(rest) {
                break;
            } else {
                taken.push(*first);
                rest = &rest[1..];
            }
        }
        self.rest = rest.to_vec();
        self.parser.process(&taken);
        std::mem::take(&mut self.parser.callbacks_mut().answers)
    }

    pub fn resize(&mut self, size: Size) {
        let (rows, columns) = dimensions(size);
        self.parser.set_size(rows, columns);
    }

    pub fn screen(&self) -> Screen<'_> {
        let asides = self.parser.callbacks();
        Screen { shown: self.parser.screen(), is_plain: !asides.clips && !asides.tells_focus }
    }

    pub fn bells(&self) -> usize {
        self.parser.callbacks().bells
    }
}

/// What is seen.
pub struct Screen<'a> {
    shown: &'a vt100::Screen,
    /// Nothing is set beyond what vt100 models.
    is_plain: bool,
}

impl Screen<'_> {
    pub fn size(&self) -> Size {
        let (rows, columns) = self.shown.size();
        Size { rows: rows.get(), columns: columns.get() }
    }

    /// Row and column, from 0.
    pub fn cursor(&self) -> (u16, u16) {
        self.shown.cursor_position()
    }

    pub fn shows_cursor(&self) -> bool {
        !self.shown.hide_cursor()
    }

    /// Its lines, without blanks at their ends.
    pub fn lines(&self) -> Vec<String> {
        (0..self.size().rows).map(|row| self.line(row)).collect()
    }

    pub fn line(&self, row: u16) -> String {
        let mut line: String = self.cells(row).concat();
        line.truncate(line.trim_end().len());
        line
    }

    /// The cells of a row: a blank where nothing is, nothing where the second half of a wide character is.
    pub fn cells(&self, row: u16) -> Vec<String> {
        (0..self.size().columns).map(|column| text(self.cell(row, column))).collect()
    }

    pub fn contains(&self, text: &str) -> bool {
        (0..self.size().rows).any(|row| self.line(row).contains(text))
    }

    /// Where this text begins for the first time: row and column.
    pub fn find(&self, wanted: &str) -> Option<(u16, u16)> {
        (0..self.size().rows).find_map(|row| {
            let cells = self.cells(row);
            let column = (0..cells.len())
                .find(|column| !cells[*column].is_empty() && cells[*column..].concat().starts_with(wanted))?;
            Some((row, u16::try_from(column).unwrap()))
        })
    }

    pub fn cell(&self, row: u16, column: u16) -> &Cell {
        self.shown.cell(row, column).unwrap()
    }

    /// The stretches of a row that are drawn reversed or on another background: first and last column.
    pub fn marked(&self, row: u16) -> Vec<(u16, u16)> {
        let mut stretches: Vec<(u16, u16)> = vec![];
        for column in 0..self.size().columns {
            let cell = self.cell(row, column);
            if !cell.inverse() && cell.bgcolor() == Color::Default {
                continue;
            }
            match stretches.last_mut() {
                Some((_, last)) if *last + 1 == column => *last = column,
                _ => stretches.push((column, column)),
            }
        }
        stretches
    }

    /// Nothing is set that a shell would stumble over.
    pub fn is_usual(&self) -> bool {
        let modes = [self.shown.alternate_screen(), self.shown.hide_cursor(), self.shown.bracketed_paste()];
        self.is_plain && modes == [false; 3] && self.shown.mouse_protocol_mode() == MouseProtocolMode::None
    }

    pub fn is_alternate(&self) -> bool {
        self.shown.alternate_screen()
    }

    pub fn takes_pastes(&self) -> bool {
        self.shown.bracketed_paste()
    }

    pub fn takes_mouse(&self) -> bool {
        self.shown.mouse_protocol_mode() != MouseProtocolMode::None
    }
}

fn text(cell: &Cell) -> String {
    match cell.contents() {
        "" if cell.is_wide_continuation() => String::new(),
        "" => " ".into(),
        contents => contents.replace(STAND_IN, "\u{FFFD}"),
    }
}

impl fmt::Display for Screen<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { rows, columns } = self.size();
        let (row, column) = self.cursor();
        let seen = if self.shows_cursor() { "" } else { ", hidden" };
        writeln!(f, "{columns}×{rows}, cursor in row {row}, column {column}{seen}")?;
        for line in self.lines() {
            writeln!(f, "{line}")?;
        }
        Ok(())
    }
}
