//! What differs from run to run, and what stands for it in the guide: keys, links and ports, times and days, round trips, codes and words,
//! the pattern of a QR code. All of it stands in the same place and, where that matters, is as wide.

use std::collections::BTreeMap;

use crate::terminal_lab::{Screen, golden};

/// The sign for rows left out, each as the one above it.
const SAME: &str = "⋮";

/// Where the rendezvous is, in the guide.
const PLACE: &str = "127.0.0.1:34780";

/// The code, in the guide.
const CODE: &str = "7-orchard-velvet";

/// The words that two people compare, in the guide.
const WORDS: [&str; 2] = ["acorn bridge candle delta ember", "forest garden harbor island jacket"];

/// Whose keys are seen.
const PEOPLE: [&str; 3] = ["alice", "bob", "carol"];

/// What was seen, by the name that the guide has for it.
#[derive(Default)]
pub(super) struct Masks(BTreeMap<String, String>);

impl Masks {
    pub(super) fn learn(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_owned(), value.to_owned());
    }

    /// The text with all that is known in the place of its name.
    pub(super) fn known_in(&self, text: &str) -> String {
        self.0.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("<{name}>"), value))
    }

    /// What is typed: all that it names must be known.
    pub(super) fn insert(&self, text: &str, at: &str) -> String {
        let typed = self.known_in(text);
        assert!(!typed.contains('<') || !typed.contains('>'), "{at}: nothing was seen that is called so: {typed}");
        typed
    }

    /// The rows of a screen as the guide pictures them.
    pub(super) fn rows(&mut self, screen: &Screen<'_>, who: &str) -> Vec<String> {
        let mut cells: Vec<_> = (0..screen.size().rows).map(|row| screen.cells(row)).collect();
        self.look(&cells, who);
        for (seen, shown) in self.replacements() {
            golden::replace(&mut cells, &seen, &shown);
        }
        golden::veil_pattern(&mut cells);
        let width = usize::from(screen.size().columns);
        let mut rows: Vec<_> = cells.iter().map(|cells| self.row(&cells.concat(), width)).collect();
        join(&mut rows);
        rows
    }

    /// A screen as the guide pictures it.
    pub(super) fn picture(&mut self, screen: &Screen<'_>, who: &str) -> Vec<String> {
        let rows = self.rows(screen, who);
        let mut picture: Vec<String> = vec![];
        for rows in rows.chunk_by(|one, other| one == other) {
            if rows.len() < 3 {
                picture.extend_from_slice(rows);
            } else {
                let indent = rows[0].len() - rows[0].trim_start().len();
                picture.extend([rows[0].clone(), format!("{}{SAME}", &rows[0][..indent])]);
            }
        }
        picture
    }

    /// Remembers what is seen for the first time: one's link is the first link that one sees.
    fn look(&mut self, cells: &[Vec<String>], who: &str) {
        let all: String = cells.iter().map(|row| row.concat()).collect();
        let link = format!("{who}'s link");
        if !self.0.contains_key(&link)
            && let Some(seen) = all.find("knothole:").map(|at| &all[at..])
            && let Some(address) = self.0.get("the rendezvous address")
            && let Some(end) = seen.find(address.as_str())
        {
            self.learn(&link, &seen[..end + address.len()]);
        }
        for row in cells {
            let row = row.concat();
            // The only stranger in the guide is Bob.
            if let Some((before, _)) = row.split_once(": asks to be a contact")
                && let Some(id) = before.split(' ').next_back().filter(|id| id.len() == 10)
            {
                self.learn("the stranger", id);
            }
            if let Some(code) = row.trim().strip_prefix("/add ").filter(|code| is_code(code)) {
                self.learn("the code", code);
            }
        }
        let title = cells.first().map(|row| row.concat()).unwrap_or_default();
        if title.trim().starts_with("Is it ") {
            let words: Vec<_> = cells[1..3].iter().map(|row| row.concat().trim().to_owned()).collect();
            if words.iter().all(|words| words.split(' ').count() == 5) {
                let seen = self.0.entry("the words".into()).or_insert_with(|| words.join("\n"));
                assert_eq!(*seen, words.join("\n"), "both see the same words");
            }
        }
    }

    /// What is seen, with what is shown for it, which is as long: the longest first, for the others are parts of it.
    fn replacements(&self) -> Vec<(String, String)> {
        let mut all = vec![];
        let Some(address) = self.0.get("the rendezvous address") else { return all };
        let Some((key, place)) = address.split_once('@') else { return all };
        let parts = |name: &str| {
            let id = self.0.get(&format!("{name}'s link"))?.strip_prefix("knothole:")?.split('?').next()?;
            Some((id.to_owned(), key_of(name)))
        };
        let shown = format!("{}@{PLACE}", key_of("rendezvous"));
        for name in PEOPLE {
            if let Some((id, as_shown)) = parts(name) {
                all.push((format!("knothole:{id}?via={address}"), format!("knothole:{as_shown}?via={shown}")));
            }
        }
        all.push((address.clone(), shown));
        all.push((key.to_owned(), key_of("rendezvous")));
        all.extend(PEOPLE.iter().filter_map(|name| parts(name)));
        all.push((place.to_owned(), PLACE.into()));
        if let Some(id) = self.0.get("the stranger") {
            all.push((id.clone(), key_of("bob")[..id.len()].to_owned()));
        }
        all
    }

    fn row(&self, row: &str, width: usize) -> String {
        let mut row = day(row, width).unwrap_or_else(|| row.to_owned());
        if let Some(code) = self.0.get("the code") {
            row = row.replace(code, CODE);
        }
        if let Some(words) = self.0.get("the words") {
            for (seen, shown) in words.lines().zip(WORDS) {
                row = row.replace(seen, shown);
            }
        }
        // As wide as it was: a code counts the time down, and a round trip has no fixed width.
        row = digits(&row, "NN:NN", "12:34");
        row = digits(&row, "N:NN", "9:58");
        row = digits(&row, "NNNN-NN-NN", "2026-11-01");
        row = golden::veil_round_trips(&row).replace("# ms", "1 ms");
        // Of the stranger's id no more was seen than its beginning.
        let id = key_of("bob");
        if let (true, Some(at)) = (row.trim_start().starts_with("id "), row.find(&id[..10])) {
            row.replace_range(at.., &id);
        }
        // A direct path has a port by chance, and on a machine of several addresses one of them.
        if let (true, Some((before, _))) = (row.trim_start().starts_with("path "), row.split_once("direct ")) {
            row = format!("{before}direct 127.0.0.1:41641, 1 ms");
        }
        // How long ago somebody was there depends on how long the guide takes.
        row = row.replace("a minute ago", "a moment ago").replace("1 分钟前", "刚刚");
        for minutes in 2..10 {
            row = row.replace(&format!("{minutes} minutes ago"), "a moment ago");
            row = row.replace(&format!("{minutes} 分钟前"), "刚刚");
        }
        row.truncate(row.trim_end().len());
        row
    }
}

/// A key that bears a name, as long as all are.
fn key_of(name: &str) -> String {
    let rest = "q5w2ztgk6vybxm4dsrfoj7puceilatnh3wkz6ymg2vqd4xbtrsfoe7jpu";
    format!("{name}{}", &rest[..52 - name.len()])
}

/// `7-orchard-velvet`.
fn is_code(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase());
    matches!(parts[..], [number, one, other] if number.parse::<u32>().is_ok() && word(one) && word(other))
}

/// Puts the text wherever this pattern of digits stands and no more digits, nor what joins them, are around.
fn digits(row: &str, pattern: &str, text: &str) -> String {
    let mut characters: Vec<_> = row.chars().collect();
    let wanted: Vec<_> = pattern.chars().collect();
    let fits = |characters: &[char], at: usize| {
        let within =
            characters[at..].iter().zip(&wanted).all(|(c, n)| if *n == 'N' { c.is_ascii_digit() } else { c == n });
        let joins = |place: Option<usize>| {
            place.and_then(|place| characters.get(place)).is_some_and(|c| c.is_ascii_digit() || [':', '.'].contains(c))
        };
        within && !joins(at.checked_sub(1)) && !joins(Some(at + wanted.len()))
    };
    for at in 0..(characters.len() + 1).saturating_sub(wanted.len()) {
        if fits(&characters, at) {
            characters.splice(at..at + wanted.len(), text.chars());
        }
    }
    characters.into_iter().collect()
}

/// Leaves time and name out where somebody goes on: that is so within a minute, and which minute it is differs.
fn join(rows: &mut [String]) {
    let mut author = String::new();
    for row in rows {
        let at = row.find("12:34 ").filter(|at| *at == 0 || row[..*at].ends_with('│'));
        if let Some(name) = at.and_then(|at| row[at + 6..].split(' ').next()).map(str::to_owned) {
            if name == author {
                *row = row.replacen(&format!("12:34 {name}"), &" ".repeat(6 + columns(&name)), 1);
            }
            author = name;
        } else if row.contains('─') {
            author.clear();
        }
    }
}

fn columns(text: &str) -> usize {
    text.chars().map(|c| if c >= '\u{2e80}' { 2 } else { 1 }).sum()
}

/// A line between two days, with the day of the guide in its middle.
fn day(row: &str, width: usize) -> Option<String> {
    let row = row.trim_end();
    let at = row.find('─')?;
    let said = row[at..].trim_matches('─').trim();
    let is = |what: &dyn Fn(char) -> bool| said.chars().any(what);
    let shown = match (is(&|c| c.is_ascii_digit()), said.contains("day, "), said.contains('月')) {
        (true, true, _) => "Sunday, 1 November 2026",
        (true, _, true) => "2026年11月1日",
        _ => return None,
    };
    let before = &row[..at];
    let free = (width - columns(before)).saturating_sub(columns(shown) + 2);
    Some(format!("{before}{} {shown} {}", "─".repeat(free / 2), "─".repeat(free - free / 2)))
}

#[test]
fn what_differs_is_replaced_where_it_stands() {
    assert_eq!(digits("09:41 me   at 127.0.0.1:12345", "NN:NN", "12:34"), "12:34 me   at 127.0.0.1:12345");
    assert_eq!(digits("good for 9:59 more", "N:NN", "9:58"), "good for 9:58 more");
    assert!(is_code("7-orchard-velvet") && !is_code("7-orchard") && !is_code("x-orchard-velvet"));
    let row = "     │────── Saturday, 28 November 2026 ───────";
    assert_eq!(day(row, 48).unwrap(), "     │──────── Sunday, 1 November 2026 ─────────");
    assert_eq!(day("     │────── unread ─────", 25), None);
    let mut rows = ["│12:34 bob one", "│          two", "│12:34 bob three", "│12:34 me  four"].map(str::to_owned);
    join(&mut rows);
    assert_eq!(rows, ["│12:34 bob one", "│          two", "│          three", "│12:34 me  four"]);
    assert_eq!(key_of("rendezvous").len(), 52);
}
