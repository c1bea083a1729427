//! What is said of a text that is being written.

#[derive(Debug)]
pub(crate) struct Words {
    /// Lines and characters that were pasted, and what sends them; within 40 columns.
    pub(crate) pasted_lines: &'static str,
    /// Characters on one line.
    pub(crate) pasted_characters: &'static str,
    pub(crate) full: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    pasted_lines: "{} lines, {} characters: Enter sends",
    pasted_characters: "{} characters: Enter sends",
    full: "a message has at most 64 KiB; send this as several",
};

pub(super) const CHINESE: Words = Words {
    pasted_lines: "共 {} 行、{} 个字符：按 Enter 发送",
    pasted_characters: "共 {} 个字符：按 Enter 发送",
    full: "一条消息最多 64 KiB；请分几条发送",
};
