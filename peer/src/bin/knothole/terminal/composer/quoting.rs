//! Words of a command, and names with spaces among them: `/go "Anna Maria"`.

/// A name as one word of a command: as it is, or between quotation marks.
pub(crate) fn quoted(name: &str) -> String {
    if !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')) {
        return name.to_owned();
    }
    let inside = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{inside}\"")
}

/// The first word of a text, and what follows it without the white space between. A word between quotation marks may have spaces;
/// in it a backslash takes the next character as it is.
pub(crate) fn first_word(text: &str) -> Option<(String, &str)> {
    let text = text.trim_start();
    let Some(inside) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        let (word, rest) = text.split_at_checked(end)?;
        return (!word.is_empty()).then(|| (word.to_owned(), rest.trim_start()));
    };
    let (word, rest) = unquoted(inside);
    Some((word, rest.unwrap_or_default().trim_start()))
}

/// What stands before the closing quotation mark, and what behind it, if there is one.
pub(super) fn unquoted(inside: &str) -> (String, Option<&str>) {
    let mut word = String::new();
    let mut characters = inside.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => return (word, Some(characters.as_str())),
            '\\' => word.extend(characters.next()),
            c => word.push(c),
        }
    }
    (word, None)
}

/// All words of a text.
pub(crate) fn words(mut text: &str) -> Vec<String> {
    let mut words = Vec::new();
    while let Some((word, rest)) = first_word(text) {
        words.push(word);
        text = rest;
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_is_one_word_between_quotation_marks() {
        assert_eq!(quoted("bob"), "bob");
        assert_eq!(quoted("Anna Maria"), "\"Anna Maria\"");
        assert_eq!(words("go \"Anna Maria\"  now"), ["go", "Anna Maria", "now"]);
        assert_eq!(first_word("\"Anna Maria\" hello  there"), Some(("Anna Maria".into(), "hello  there")));
        assert_eq!(first_word("  "), None);
        assert_eq!(words("say \"unfinished words"), ["say", "unfinished words"]);
    }

    #[test]
    fn whatever_is_quoted_is_read_back() {
        for name in ["a b", "say \"hi\"", "back\\slash", "\"", "", "字 字", "tab\there"] {
            assert_eq!(words(&quoted(name)), [name]);
        }
    }
}
