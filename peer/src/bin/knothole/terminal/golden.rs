//! Pictures of the screen, kept as text files in `goldens/` beside this one: what a test draws has to be what is kept.
//! `UPDATE_GOLDENS=1` keeps what is drawn now; the difference is then for a person to read.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::Modifier;

use super::cells;
use super::draw::draw;
use super::screen::Screen;
use super::theme::Theme;

/// The sizes that pictures are kept of.
pub(crate) const SIZES: [(u16, u16); 3] = [(80, 24), (40, 10), (120, 40)];

/// Compares what the screen draws, without colour, with the golden of this name and the screen's size.
#[track_caller]
pub(crate) fn check(name: &str, screen: &Screen) {
    let (columns, rows) = screen.size;
    let drawn = picture(screen, Theme::Plain);
    let name = format!("{name}_{columns}x{rows}.txt");
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/bin/knothole/terminal/goldens").join(&name);
    if env::var_os("UPDATE_GOLDENS").is_some() {
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, &drawn).unwrap();
        return;
    }
    let kept = fs::read_to_string(&file).unwrap_or_default();
    assert!(kept == drawn, "{name} is no longer what is drawn.\nkept:\n{kept}\ndrawn:\n{drawn}");
}

/// What the screen draws: its rows, then where something is reversed, then where the cursor is.
pub(crate) fn picture(screen: &Screen, theme: Theme) -> String {
    let (columns, rows) = screen.size;
    let mut terminal = Terminal::new(TestBackend::new(columns, rows)).unwrap();
    terminal.draw(|frame| draw(screen, theme, frame)).unwrap();
    let shown = terminal.backend().cursor_visible();
    let position = terminal.backend().cursor_position();
    let buffer = terminal.backend().buffer();
    let mut text: String = (0..rows).map(|row| format!("{}\n", line(buffer, row, |_| true).trim_end())).collect();
    for row in 0..rows {
        let reversed = line(buffer, row, |modifier| modifier.contains(Modifier::REVERSED));
        if !reversed.trim().is_empty() {
            let _ = writeln!(text, "reversed {row}: {}", reversed.trim());
        }
    }
    if shown {
        let _ = writeln!(text, "cursor {}, {}", position.x, position.y);
    }
    text
}

/// A row of the picture, with spaces for what is not `wanted` by its looks.
fn line(buffer: &Buffer, row: u16, wanted: impl Fn(Modifier) -> bool) -> String {
    let mut text = String::new();
    let mut column = 0;
    while column < buffer.area.width {
        let cell = &buffer[(column, row)];
        let width = cells::width(cell.symbol()).max(1);
        if wanted(cell.modifier) {
            text.push_str(cell.symbol());
        } else {
            text.push_str(&" ".repeat(width));
        }
        // The cell behind a wide one is covered by it.
        column += u16::try_from(width).unwrap();
    }
    text
}
