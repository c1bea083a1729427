//! Screens that are kept in files, and compared with what is seen.
//!
//! A file holds the size, where the cursor is, every row, and where a row is reversed or has a background. What differs from run to run
//! is replaced by a placeholder of the same width: times of day, ports, round trips, QR codes, and the texts that a test
//! names. `UPDATE_GOLDENS=1 cargo test -p knothole --test terminal` writes the files anew; read the difference before you keep it.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use super::{Screen, Size, Terminal};

/// Texts of this run, each with what stands for it, which is as long.
pub type Placeholders<'a> = &'a [(&'a str, &'a str)];

/// Waits until the screen is the one kept under this name for its size.
#[track_caller]
pub fn compare(terminal: &Terminal, name: &str, placeholders: Placeholders<'_>) {
    let Size { rows, columns } = terminal.look(|screen| screen.size());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/goldens/{name}-{columns}x{rows}.txt"));
    if env::var_os("UPDATE_GOLDENS").is_some_and(|value| value == "1") {
        terminal.settle();
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, terminal.look(|screen| picture(screen, placeholders))).unwrap();
        return;
    }
    let kept = fs::read_to_string(&path).unwrap_or_else(|_| "nothing: UPDATE_GOLDENS=1 keeps what is seen\n".into());
    let same = terminal.patiently(|screen| picture(screen, placeholders) == kept);
    if same.is_err() {
        let seen = terminal.look(|screen| picture(screen, placeholders));
        panic!("not the screen that is kept in {}\n--- kept\n{kept}--- seen\n{seen}---", path.display());
    }
}

/// The screen as it is kept.
pub fn picture(screen: &Screen<'_>, placeholders: Placeholders<'_>) -> String {
    let Size { rows, columns } = screen.size();
    let mut cells: Vec<_> = (0..rows).map(|row| screen.cells(row)).collect();
    for (text, placeholder) in placeholders {
        replace(&mut cells, text, placeholder);
    }
    veil_pattern(&mut cells);
    let (row, column) = screen.cursor();
    let cursor = if screen.shows_cursor() { format!("row {row}, column {column}") } else { "hidden".into() };
    let mut text = format!("{columns}×{rows}, cursor: {cursor}\n");
    for cells in &cells {
        let line = veil_round_trips(&veil_times(&cells.concat()));
        let _ = writeln!(text, "{}", line.trim_end());
    }
    for row in 0..rows {
        let marked: Vec<_> = screen.marked(row).into_iter().map(|(first, last)| format!("{first}–{last}")).collect();
        if !marked.is_empty() {
            let _ = writeln!(text, "row {row} marked: {}", marked.join(", "));
        }
    }
    text
}

/// Puts the placeholder wherever the text stands, also where it goes on in the next row.
pub fn replace(cells: &mut [Vec<String>], text: &str, placeholder: &str) {
    let letters: Vec<_> = text.chars().map(String::from).collect();
    let placeholders: Vec<_> = placeholder.chars().map(String::from).collect();
    assert_eq!(letters.len(), placeholders.len(), "{placeholder:?} is as long as {text:?}");
    for row in 0..cells.len() {
        for column in 0..cells[row].len() {
            let Some(places) = places(cells, &letters, row, column) else { continue };
            for ((row, column), placeholder) in places.into_iter().zip(&placeholders) {
                cells[row][column].clone_from(placeholder);
            }
        }
    }
}

/// Where the letters of a text that begins here are, if it does.
fn places(cells: &[Vec<String>], letters: &[String], mut row: usize, mut column: usize) -> Option<Vec<(usize, usize)>> {
    let mut places = vec![];
    while places.len() < letters.len() {
        let rest = &letters[places.len()..];
        let line = cells.get(row)?;
        let here = line[column..].iter().zip(rest).take_while(|(cell, letter)| cell == letter).count();
        // It goes on in the next row only where nothing else stands behind it.
        let ends = here == rest.len() || line[column + here..].iter().all(|cell| cell.trim().is_empty());
        if here == 0 || !ends {
            return None;
        }
        places.extend((column..column + here).map(|column| (row, column)));
        let rest = &rest[here..];
        row += 1;
        // A little is enough to see where it goes on: behind a border or an indentation.
        let sign = &rest[..rest.len().min(4)];
        if !sign.is_empty() {
            column = cells.get(row)?.windows(sign.len()).position(|cells| cells == sign)?;
        }
    }
    Some(places)
}

/// Hides the pattern of a QR code, of which nothing stays the same: all between the outermost blocks of rows that have many.
pub fn veil_pattern(cells: &mut [Vec<String>]) {
    let block = |cell: &String| ["█", "▀", "▄"].contains(&cell.as_str());
    for cells in cells {
        let blocks: Vec<_> = (0..cells.len()).filter(|column| block(&cells[*column])).collect();
        if let ([first, .., last], true) = (&blocks[..], blocks.len() >= 8) {
            cells[*first..=*last].fill("▒".into());
        }
    }
}

/// Replaces every `12:34` by `HH:MM`.
fn veil_times(line: &str) -> String {
    let mut characters: Vec<_> = line.chars().collect();
    for start in 0..characters.len().saturating_sub(4) {
        let digit = |place: usize| characters.get(start + place).is_some_and(char::is_ascii_digit);
        let before = start > 0 && (characters[start - 1].is_ascii_digit() || characters[start - 1] == ':');
        if !before && digit(0) && digit(1) && characters[start + 2] == ':' && digit(3) && digit(4) && !digit(5) {
            characters.splice(start..start + 5, "HH:MM".chars());
        }
    }
    characters.into_iter().collect()
}

/// Replaces every `12 ms` by `# ms`, and makes up for the width behind it.
pub fn veil_round_trips(line: &str) -> String {
    let mut parts = line.split(" ms");
    let mut veiled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let number = veiled.len() - veiled.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.').len();
        if number > 0 {
            veiled.truncate(veiled.len() - number);
            veiled.push('#');
        }
        veiled.push_str(" ms");
        veiled.push_str(&" ".repeat(number.saturating_sub(1)));
        veiled.push_str(part);
    }
    veiled
}
