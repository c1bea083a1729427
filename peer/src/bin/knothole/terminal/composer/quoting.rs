//! Words of a command, and names with spaces among them: `/go "Anna Maria"`.

/// A name as one word of a command: as it is, or between quotation marks.
pub(crate) fn quoted(name: &str) -> String {
    if !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '\\')) {
        return name.to_owned();
    }
    let inside = name.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{inside}\"")
}

/// What stands before the closing quotation mark, and what behind it, if there is one.
pub(crate) fn unquoted(inside: &str) -> (String, Option<&str>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_is_one_word_between_quotation_marks() {
        assert_eq!(quoted("bob"), "bob");
        assert_eq!(quoted("Anna Maria"), "\"Anna Maria\"");
        assert_eq!(unquoted("Anna Maria\" now"), ("Anna Maria".into(), Some(" now")));
        assert_eq!(unquoted("unfinished words"), ("unfinished words".into(), None));
    }

    #[test]
    fn whatever_is_quoted_is_read_back() {
        for name in ["a b", "say \"hi\"", "back\\slash now", "\"", "", "字 字", "tab\there"] {
            assert_eq!(unquoted(&quoted(name)[1..]), (name.to_owned(), Some("")));
        }
    }
}
