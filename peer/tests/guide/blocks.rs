//! The fenced blocks of the guide.

use std::collections::BTreeMap;

use crate::terminal_lab::{Size, USUAL};

/// What a block is for.
#[derive(Debug)]
pub(super) enum Kind<'a> {
    Console,
    Keys,
    Screen {
        name: &'a str,
        size: Size,
    },
    /// Some rows of a screen.
    Rows {
        name: &'a str,
    },
}

/// A block that is done.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub(super) kind: Kind<'a>,
    /// The number of its first line, from 1; that of what follows the block, if it is empty.
    pub(super) first: usize,
    pub(super) lines: Vec<&'a str>,
}

/// Those of them that are done, in their order.
pub(super) fn of(guide: &str) -> Vec<Block<'_>> {
    let mut blocks = vec![];
    let mut lines = guide.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(what) = line.strip_prefix("```") else { continue };
        let inside: Vec<_> = lines.by_ref().map(|(line, _)| line).take_while(|line| *line != "```").collect();
        let kind = match what.split(' ').collect::<Vec<_>>()[..] {
            ["console"] => Kind::Console,
            ["keys"] => Kind::Keys,
            ["screen", name] => Kind::Screen { name, size: USUAL },
            ["screen", name, "part"] => Kind::Rows { name },
            ["screen", name, size] => Kind::Screen { name, size: sized(size) },
            ["sh" | "toml"] => continue,
            _ => panic!("line {number}: a block of what kind? {line}"),
        };
        blocks.push(Block { kind, first: number + 1, lines: inside });
    }
    blocks
}

/// `40x10`.
fn sized(size: &str) -> Size {
    let (columns, rows) = size.split_once('x').unwrap();
    Size { columns: columns.parse().unwrap(), rows: rows.parse().unwrap() }
}

/// Who types at which prompt, and what: `alice$ knothole`, `alice> hello`.
pub(super) fn prompted(line: &str) -> Option<(&str, char, &str)> {
    let at = line.find(|c: char| !c.is_ascii_lowercase())?;
    let (name, rest) = line.split_at(at);
    let prompt = rest.chars().next().filter(|c| ['$', '>'].contains(c))?;
    let text = rest[1..].strip_prefix(' ').or_else(|| rest[1..].is_empty().then_some(""))?;
    (!name.is_empty()).then_some((name, prompt, text))
}

/// The guide with these pictures in the blocks that begin in these lines.
pub(super) fn pictured(guide: &str, pictures: &BTreeMap<usize, Vec<String>>) -> String {
    let mut told = String::new();
    let mut lines = guide.lines().zip(1..);
    while let Some((line, number)) = lines.next() {
        told += &format!("{line}\n");
        if let Some(picture) = pictures.get(&(number + 1)) {
            for row in picture {
                told += &format!("{row}\n");
            }
            // Without what was there.
            let _ = lines.by_ref().find(|(line, _)| *line == "```");
            told += "```\n";
        }
    }
    told
}

#[test]
fn pictures_take_the_place_of_pictures() {
    let guide = "text\n```screen alice\nold\n```\nmore\n```screen bob 40x10\n```\n```console\nbob$ ls\n```\n";
    let blocks = of(guide);
    assert_eq!(blocks.iter().map(|block| block.first).collect::<Vec<_>>(), [3, 7, 9]);
    let pictures = BTreeMap::from([(3, vec!["new".into(), "er".into()]), (7, vec!["x".into()])]);
    let told = "text\n```screen alice\nnew\ner\n```\nmore\n```screen bob 40x10\nx\n```\n```console\nbob$ ls\n```\n";
    assert_eq!(pictured(guide, &pictures), told);
}

#[test]
fn a_prompt_is_known_by_its_name_and_its_sign() {
    assert_eq!(prompted("alice$ knothole id"), Some(("alice", '$', "knothole id")));
    assert_eq!(prompted("bob> "), Some(("bob", '>', "")));
    for line in ["", "$ ls", "bob: hello", "ready …", "a> b".strip_prefix('a').unwrap()] {
        assert_eq!(prompted(line), None, "{line}");
    }
}
