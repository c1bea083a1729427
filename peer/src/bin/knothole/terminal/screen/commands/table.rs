//! The commands that there are: one table, from which they are completed, parsed and explained.

use crate::terminal::composer::Takes;
use crate::terminal::words::commands::{Told, Words};

/// A command as it is listed.
#[derive(Debug)]
pub(crate) struct Listed {
    /// What is typed behind the slash.
    pub(crate) name: &'static str,
    /// What comes behind it first, for completion.
    pub(crate) takes: Takes,
    /// What a language says of it.
    pub(crate) told: fn(&Words) -> &Told,
}

/// All of them, by the alphabet.
pub(crate) const TABLE: &[Listed] = &[
    Listed { name: "accept", takes: Takes::Name, told: |words| &words.accept },
    Listed { name: "add", takes: Takes::Other, told: |words| &words.add },
    Listed { name: "block", takes: Takes::Name, told: |words| &words.block },
    Listed { name: "code", takes: Takes::Other, told: |words| &words.code },
    Listed { name: "contacts", takes: Takes::Nothing, told: |words| &words.contacts },
    Listed { name: "copy", takes: Takes::Other, told: |words| &words.copy },
    Listed { name: "delete", takes: Takes::Nothing, told: |words| &words.delete },
    Listed { name: "edit", takes: Takes::Other, told: |words| &words.edit },
    Listed { name: "go", takes: Takes::Name, told: |words| &words.go },
    Listed { name: "help", takes: Takes::Other, told: |words| &words.help },
    Listed { name: "invisible", takes: Takes::Name, told: |words| &words.invisible },
    Listed { name: "link", takes: Takes::Nothing, told: |words| &words.link },
    Listed { name: "mailbox", takes: Takes::Other, told: |words| &words.mailbox },
    Listed { name: "netcheck", takes: Takes::Nothing, told: |words| &words.netcheck },
    Listed { name: "online", takes: Takes::Name, told: |words| &words.online },
    Listed { name: "path", takes: Takes::Other, told: |words| &words.path },
    Listed { name: "quit", takes: Takes::Nothing, told: |words| &words.quit },
    Listed { name: "react", takes: Takes::Other, told: |words| &words.react },
    Listed { name: "remove", takes: Takes::Name, told: |words| &words.remove },
    Listed { name: "rename", takes: Takes::Name, told: |words| &words.rename },
    Listed { name: "reply", takes: Takes::Other, told: |words| &words.reply },
    Listed { name: "search", takes: Takes::Other, told: |words| &words.search },
    Listed { name: "setup", takes: Takes::Nothing, told: |words| &words.setup },
    Listed { name: "timer", takes: Takes::Other, told: |words| &words.timer },
    Listed { name: "verify", takes: Takes::Name, told: |words| &words.verify },
    Listed { name: "whois", takes: Takes::Name, told: |words| &words.whois },
];

/// The command of this name, whatever its capitals.
pub(crate) fn named(name: &str) -> Option<&'static Listed> {
    TABLE.iter().find(|listed| listed.name.eq_ignore_ascii_case(name))
}

/// The one of some words that is nearest to what was typed, if any is near: what begins with it, else what few letters differ.
pub(crate) fn nearest<'a>(typed: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // What nobody types as a name is not compared letter by letter.
    const LONGEST: usize = 64;
    let all: Vec<_> = all.filter(|name| name.len() <= LONGEST).collect();
    let typed = typed.to_lowercase();
    if typed.is_empty() || typed.len() > LONGEST {
        return None;
    }
    if let Some(begun) = all.iter().find(|name| name.to_lowercase().starts_with(&typed)) {
        return Some(*begun);
    }
    let bound = 1 + typed.chars().count() / 4;
    all.into_iter()
        .map(|name| (differences(&typed, &name.to_lowercase()), name))
        .filter(|(differences, _)| *differences <= bound)
        .min_by_key(|(differences, _)| *differences)
        .map(|(_, name)| name)
}

/// Letters to be left out, put in, replaced, or exchanged with their neighbour, to make one word of the other.
fn differences(one: &str, other: &str) -> usize {
    let (one, other): (Vec<_>, Vec<_>) = (one.chars().collect(), other.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for (row, a) in one.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, b) in other.iter().enumerate() {
            let mut least = (last[column] + usize::from(a != b)).min(last[column + 1] + 1).min(next[column] + 1);
            let exchanged = row > 0 && column > 0 && one[row - 1] == *b && other[column - 1] == *a;
            if exchanged {
                least = least.min(before[column - 1] + 1);
            }
            next.push(least);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terminal::words::{CHINESE, ENGLISH};

    #[test]
    fn every_command_is_explained_in_every_language_and_they_take_the_same_arguments() {
        for listed in TABLE {
            let [english, chinese] = [&ENGLISH, &CHINESE].map(|words| (listed.told)(&words.commands));
            assert!(!english.help.is_empty() && !chinese.help.is_empty(), "{}", listed.name);
            assert!(!chinese.help.is_ascii(), "{} is not translated", listed.name);
            let shape = |arguments: &str| arguments.chars().filter(|c| "[|]".contains(*c)).collect::<String>();
            assert_eq!(shape(english.arguments), shape(chinese.arguments), "{}", listed.name);
        }
    }

    #[test]
    fn the_table_is_in_the_order_of_the_alphabet() {
        assert!(TABLE.is_sorted_by_key(|listed| listed.name));
    }

    #[test]
    fn what_is_mistyped_finds_the_nearest() {
        let all = || TABLE.iter().map(|listed| listed.name);
        for (typed, meant) in
            [("quti", "quit"), ("ad", "add"), ("verfy", "verify"), ("NETCHEK", "netcheck"), ("whos", "whois")]
        {
            assert_eq!(nearest(typed, all()), Some(meant), "{typed}");
        }
        for typed in ["", "etc/hosts", "xyzzy", &"q".repeat(1000)] {
            assert_eq!(nearest(typed, all()), None, "{typed}");
        }
    }
}
