//! The help page: keys, and what the signs mean.

use std::fmt;

/// A key or a sign, and what it stands for.
pub(crate) struct Pair {
    pub(crate) name: &'static str,
    pub(crate) told: &'static str,
}

impl fmt::Debug for Pair {
    /// What is said alone: keys and signs are the same in every language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.told.fmt(f)
    }
}

const fn pair(name: &'static str, told: &'static str) -> Pair {
    Pair { name, told }
}

#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) commands: &'static str,
    pub(crate) signs: &'static str,
    pub(crate) marks: &'static str,
    pub(crate) of_keys: &'static [Pair],
    pub(crate) of_signs: &'static [Pair],
    pub(crate) of_marks: &'static [Pair],
    pub(crate) names: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    title: "Help",
    keys: "KEYS",
    commands: "COMMANDS",
    signs: "BEFORE A NAME",
    marks: "BEHIND A MESSAGE OF YOURS",
    of_keys: &[
        pair("Enter", "send"),
        pair("Alt-Enter", "a new line"),
        pair("Tab", "complete a command, a name, an :emoji:"),
        pair("Ctrl-K", "go to a contact or a command"),
        pair("Alt-A", "next unread, then who asks"),
        pair("Alt-1 … Alt-9", "a contact by its number"),
        pair("Alt-↑ Alt-↓", "the neighbours in the list"),
        pair("PageUp PageDown", "scroll"),
        pair("Ctrl-Home Ctrl-End", "the first, the newest message"),
        pair("↑ in an empty line", "choose a message, and with it chosen:"),
        pair("  r e + d y", "reply, edit, react, delete, copy"),
        pair("Ctrl-S", "search in the conversation"),
        pair("Alt-N", "the next that was found"),
        pair("Esc", "close, go to the newest"),
        pair("F1", "this help"),
        pair("F2", "contacts as a page"),
        pair("Ctrl-L", "draw everything anew"),
        pair("Ctrl-D", "leave, in an empty line"),
    ],
    of_signs: &[
        pair("?", "asks to be a contact"),
        pair("*", "types"),
        pair("=", "online, directly connected"),
        pair("+", "online, through a relay"),
        pair("o", "online, no connection now"),
        pair("-", "offline"),
        pair(">", "was asked, has not answered yet"),
        pair("x", "blocked"),
        pair("✓", "behind a name: verified"),
        pair("✎", "something is begun, not sent"),
        pair("3", "at the right: so many unread"),
    ],
    of_marks: &[
        pair("~", "waits here"),
        pair(">", "on its way, or in a mailbox"),
        pair("✓", "on their disk"),
        pair("✓✓", "read"),
        pair("!", "failed"),
    ],
    names: "A name with spaces stands \"in quotes\". Without a name the open conversation is meant. // sends a slash.",
};

pub(super) const CHINESE: Words = Words {
    title: "帮助",
    keys: "按键",
    commands: "命令",
    signs: "名字前的符号",
    marks: "你的消息后的符号",
    of_keys: &[
        pair("Enter", "发送"),
        pair("Alt-Enter", "换行"),
        pair("Tab", "补全命令、名字、:表情:"),
        pair("Ctrl-K", "前往联系人或命令"),
        pair("Alt-A", "下一个未读，然后是请求"),
        pair("Alt-1 … Alt-9", "按编号选联系人"),
        pair("Alt-↑ Alt-↓", "列表中相邻的联系人"),
        pair("PageUp PageDown", "滚动"),
        pair("Ctrl-Home Ctrl-End", "最早、最新的消息"),
        pair("空行按 ↑", "选择一条消息，选中后："),
        pair("  r e + d y", "回复、编辑、回应、删除、复制"),
        pair("Ctrl-S", "在对话中搜索"),
        pair("Alt-N", "下一个找到的"),
        pair("Esc", "关闭、回到最新"),
        pair("F1", "本帮助"),
        pair("F2", "联系人页面"),
        pair("Ctrl-L", "重画屏幕"),
        pair("Ctrl-D", "空行时退出"),
    ],
    of_signs: &[
        pair("?", "请求成为联系人"),
        pair("*", "正在输入"),
        pair("=", "在线，直连"),
        pair("+", "在线，经中继"),
        pair("o", "在线，目前没有连接"),
        pair("-", "离线"),
        pair(">", "已请求，尚未回应"),
        pair("x", "已屏蔽"),
        pair("✓", "名字后：已验证"),
        pair("✎", "有未发送的草稿"),
        pair("3", "右侧：未读条数"),
    ],
    of_marks: &[
        pair("~", "在此等待"),
        pair(">", "在途中，或在信箱中"),
        pair("✓", "已存入对方磁盘"),
        pair("✓✓", "已读"),
        pair("!", "失败"),
    ],
    names: "含空格的名字请加\"引号\"。不写名字即指打开的对话。// 发送斜杠。",
};
