//! The palette: a way to anybody, and to any command, by a few letters.

#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) none: &'static str,
}

pub(super) const ENGLISH: Words =
    Words {
        title: "Go to", keys: "↑↓ choose · Enter goes · Esc closes", none: "nobody, and no command, is called so"
    };

pub(super) const CHINESE: Words =
    Words {
        title: "前往", keys: "↑↓ 选择 · Enter 前往 · Esc 关闭", none: "没有这样的联系人或命令"
    };
