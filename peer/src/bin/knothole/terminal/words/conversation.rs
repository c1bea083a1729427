//! What stands in a conversation, and what is said of its messages.

#[derive(Debug)]
pub(crate) struct Words {
    /// A day, as `strftime` makes it.
    pub(crate) day: &'static str,
    pub(crate) me: &'static str,
    pub(crate) unread: &'static str,
    pub(crate) more_below: &'static str,
    pub(crate) unread_below: &'static str,
    pub(crate) earlier: &'static str,
    pub(crate) deleted: &'static str,
    pub(crate) edited: &'static str,
    pub(crate) disappears: &'static str,
    pub(crate) timer_on: &'static str,
    pub(crate) timer_off: &'static str,
    pub(crate) unknown: &'static str,
    /// Weeks, days, hours, minutes and seconds: one, and several.
    pub(crate) spans: [(&'static str, &'static str); 5],
    pub(crate) loading: &'static str,
    pub(crate) not_loaded: &'static str,
    pub(crate) too_much: &'static str,
    pub(crate) choosing: &'static str,
    pub(crate) choosing_briefly: &'static str,
    pub(crate) replying: &'static str,
    pub(crate) editing: &'static str,
    pub(crate) editing_briefly: &'static str,
    pub(crate) reacting: &'static str,
    pub(crate) ask_delete: &'static str,
    pub(crate) no_target: &'static str,
    pub(crate) not_mine: &'static str,
    pub(crate) no_emoji: &'static str,
    pub(crate) copied: &'static str,
    pub(crate) search: &'static str,
    pub(crate) searching: &'static str,
    pub(crate) nothing_found: &'static str,
    pub(crate) search_keys: &'static str,
    pub(crate) walking: &'static str,
    pub(crate) no_older_hit: &'static str,
}

impl Words {
    /// So many seconds, in the greatest unit that divides them.
    pub(crate) fn span(&self, seconds: u64) -> String {
        let sizes = [604_800, 86_400, 3_600, 60, 1];
        let fits = sizes.into_iter().zip(self.spans).find(|(size, _)| seconds > 0 && seconds.is_multiple_of(*size));
        let (size, (one, several)) = fits.unwrap_or((1, self.spans[4]));
        let number = seconds / size;
        super::fill(if number == 1 { one } else { several }, &[&number.to_string()])
    }
}

pub(super) const ENGLISH: Words = Words {
    day: "%A, %-d %B %Y",
    me: "me",
    unread: "unread",
    more_below: "{} more below",
    unread_below: "{} more below, {} unread",
    earlier: "an earlier message",
    deleted: "(deleted)",
    edited: "edited",
    disappears: "disappears",
    timer_on: "from now on texts disappear, {} after they were read",
    timer_off: "from now on texts stay",
    unknown: "(of a kind that this version does not know; update knothole to read it)",
    spans: [
        ("{} week", "{} weeks"),
        ("{} day", "{} days"),
        ("{} hour", "{} hours"),
        ("{} minute", "{} minutes"),
        ("{} second", "{} seconds"),
    ],
    loading: "…",
    not_loaded: "This part is missing: PageUp tries again",
    too_much: "too much is on its way to the disk; wait a moment, and press Enter again",
    choosing: "r reply  e edit  + react  d delete  y copy  Esc back",
    choosing_briefly: "r reply e edit + react d del y copy Esc",
    replying: "Esc: no reply  > {}: {}",
    editing: "editing; Enter changes the message, Esc ends that",
    editing_briefly: "editing; Esc ends that",
    reacting: "{} or :name",
    ask_delete: "Enter: delete on both sides  Esc: keep",
    no_target: "there is no text here for that; choose one with ↑",
    not_mine: "only a text of one's own can be edited or deleted; choose one with ↑",
    no_emoji: "{} is no emoji; type : and the beginning of its name, then Tab",
    copied: "copied",
    search: "Search",
    searching: "searching…",
    nothing_found: "nothing found",
    search_keys: "↑↓ choose  Enter go there  Esc back",
    walking: "{}: {}  Ctrl-S next older  Esc back",
    no_older_hit: "that was the oldest hit",
};

pub(super) const CHINESE: Words = Words {
    day: "%Y年%-m月%-d日",
    me: "我",
    unread: "未读",
    more_below: "下面还有 {} 条",
    unread_below: "下面还有 {} 条，{} 条未读",
    earlier: "更早的消息",
    deleted: "（已删除）",
    edited: "已编辑",
    disappears: "会消失",
    timer_on: "从现在起，消息在阅读 {}后会消失",
    timer_off: "从现在起，消息会保留",
    unknown: "（此版本不支持的消息类型，请更新 knothole）",
    spans: [("{} 周", "{} 周"), ("{} 天", "{} 天"), ("{} 小时", "{} 小时"), ("{} 分钟", "{} 分钟"), ("{} 秒", "{} 秒")],
    loading: "…",
    not_loaded: "这部分无法读取；按 PageUp 重试。",
    too_much: "正在写入磁盘的内容太多；请稍候再按 Enter",
    choosing: "r 回复  e 编辑  + 回应  d 删除  y 复制  Esc 返回",
    choosing_briefly: "r 回复 e 编辑 + 回应 d 删除 y 复制 Esc",
    replying: "Esc：不回复  > {}：{}",
    editing: "正在编辑；Enter 保存，Esc 取消",
    editing_briefly: "正在编辑；Esc 取消",
    reacting: "{} 或 :名称",
    ask_delete: "Enter：在双方删除此消息  Esc：保留",
    no_target: "这里没有可用的文字消息；按 ↑ 选择",
    not_mine: "只能编辑或删除自己的文字消息；按 ↑ 选择",
    no_emoji: "{} 不是表情；输入 : 和名称开头，再按 Tab",
    copied: "已复制",
    search: "搜索",
    searching: "正在搜索…",
    nothing_found: "没有找到",
    search_keys: "↑↓ 选择  Enter 前往  Esc 返回",
    walking: "{}：{}  Ctrl-S 更早的一条  Esc 返回",
    no_older_hit: "这是最早的一条",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_greatest_unit_that_fits() {
        for (seconds, told) in
            [(604_800, "1 week"), (172_800, "2 days"), (90, "90 seconds"), (60, "1 minute"), (0, "0 seconds")]
        {
            assert_eq!(ENGLISH.span(seconds), told);
        }
        assert_eq!(CHINESE.span(7200), "2 小时");
    }
}
