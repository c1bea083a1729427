//! What stands in a conversation.

#[derive(Debug)]
pub(crate) struct Words {
    /// A day, as `strftime` makes it.
    pub(crate) day: &'static str,
    pub(crate) me: &'static str,
    pub(crate) unread: &'static str,
    pub(crate) more_below: &'static str,
    pub(crate) earlier: &'static str,
    pub(crate) deleted: &'static str,
    pub(crate) timer_on: &'static str,
    pub(crate) timer_off: &'static str,
    pub(crate) unknown: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    day: "%A, %-d %B %Y",
    me: "me",
    unread: "unread",
    more_below: "{} more below",
    earlier: "an earlier message",
    deleted: "(deleted)",
    timer_on: "from now on texts disappear after they were read",
    timer_off: "from now on texts stay",
    unknown: "(of a kind that this version does not know; update knothole to read it)",
};

pub(super) const CHINESE: Words = Words {
    day: "%Y年%-m月%-d日",
    me: "我",
    unread: "未读",
    more_below: "下面还有 {} 条",
    earlier: "更早的消息",
    deleted: "（已删除）",
    timer_on: "从现在起，消息阅读后会消失",
    timer_off: "从现在起，消息会保留",
    unknown: "（此版本不支持的消息类型，请更新 knothole）",
};
