//! docs/user-guide.md, done by three people from its first line to its last: what it prints is typed, in shells and into the
//! interface, and what it pictures is what is then seen.
//!
//! Of the fenced blocks
//!
//! - `console` are lines behind a prompt, `alice$ ` of a shell or `alice> ` of a program that reads lines, and what is printed then, in
//!   which `…` stands for anything;
//! - `keys` are lines of what is pressed in the interface, `alice: hello [Enter]`, with the keys that are no characters in brackets;
//! - `screen alice` is what is on somebody's screen sooner or later, at 80×24 or, as in `screen alice 40x10`, in another size, which
//!   their window then has. Of rows that are the same one after the other, three or more, one is shown, and a `⋮` for the others;
//! - `screen alice part` are rows that stand together somewhere on it, in which `…` stands for anything;
//! - all others are read, not done, and the guide says so.
//!
//! `<alice's link>` and the like stand for what was seen before; see [`masks`] for what else differs from run to run. `UPDATE_GUIDE=1 cargo
//! test -p knothole --test terminal guide` pictures every whole screen anew: read the difference before you keep it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helper: it fails by panicking")]

mod blocks;
mod masks;
mod person;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use blocks::{Block, Kind};
use masks::Masks;
use person::Person;

/// People, by their names, each at a terminal and with a home of their own.
struct People {
    directory: tempfile::TempDir,
    programs: PathBuf,
    people: BTreeMap<String, Person>,
}

impl People {
    fn named(&mut self, name: &str) -> &mut Person {
        self.people.entry(name.to_owned()).or_insert_with(|| Person::new(name, self.directory.path(), &self.programs))
    }
}

/// Where the programs are that people type. A package's tests are given its own programs alone: that of the rendezvous is there when all
/// is tested, and is built where it is not.
fn programs() -> PathBuf {
    let knothole = Path::new(env!("CARGO_BIN_EXE_knothole"));
    let programs = knothole.parent().unwrap();
    if !programs.join("knothole-rendezvous").exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "knothole-rendezvous", "--target-dir"]);
        cargo.arg(programs.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        assert!(cargo.status().unwrap().success(), "there is a rendezvous");
    }
    programs.to_owned()
}

#[test]
fn every_line_of_the_user_guide_does_what_it_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/user-guide.md");
    let guide = fs::read_to_string(&path).unwrap();
    let update = env::var_os("UPDATE_GUIDE").is_some_and(|value| value == "1");
    let mut people = People { directory: tempfile::tempdir().unwrap(), programs: programs(), people: BTreeMap::new() };
    let mut masks = Masks::default();
    let mut pictures = BTreeMap::new();
    let (mut typed, mut seen) = (0, 0);
    for Block { kind, first, lines } in blocks::of(&guide) {
        let at = format!("docs/user-guide.md:{first}");
        match kind {
            Kind::Console => {
                let mut lines = lines.into_iter().peekable();
                while let Some(line) = lines.next() {
                    let (name, prompt, text) =
                        blocks::prompted(line).unwrap_or_else(|| panic!("{at}: no prompt: {line}"));
                    let next = |line: &&str| blocks::prompted(line).is_none();
                    let printed: Vec<_> = std::iter::from_fn(|| lines.next_if(next)).collect();
                    people.named(name).enter(prompt, &masks.insert(text, &at), &printed, &mut masks, &at);
                    typed += 1;
                }
            }
            Kind::Keys => {
                for line in lines {
                    let (name, keys) = line.split_once(": ").unwrap_or_else(|| panic!("{at}: nobody presses {line}"));
                    people.named(name).press(&masks.insert(keys, &at), &at);
                    typed += 1;
                }
            }
            Kind::Rows { name } => {
                people.named(name).see_rows(&lines, &mut masks, &at);
                seen += 1;
            }
            Kind::Screen { name, size } => {
                let person = people.named(name);
                person.resize(size);
                if update {
                    pictures.insert(first, person.picture(&lines, &mut masks));
                    // At once, so that they can be looked at where the next line fails.
                    fs::write(&path, blocks::pictured(&guide, &pictures)).unwrap();
                } else {
                    person.see(&lines, &mut masks, &at);
                }
                seen += 1;
            }
        }
    }
    for person in people.people.values_mut() {
        person.finish();
    }
    assert!(typed > 80 && seen > 60, "{typed} lines and {seen} screens");
}
