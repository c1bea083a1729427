//! What is said of a text that is being written.

#[derive(Debug)]
pub(crate) struct Words {
    /// Lines, and characters.
    pub(crate) confirm: &'static str,
    pub(crate) full: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    confirm: "pasted: {} lines, {} characters; Enter once more sends them as one message",
    full: "a message has at most 64 KiB; send this as several",
};

pub(super) const CHINESE: Words = Words {
    confirm: "粘贴了 {} 行、{} 个字符；再按一次 Enter 作为一条消息发送",
    full: "一条消息最多 64 KiB；请分几条发送",
};
