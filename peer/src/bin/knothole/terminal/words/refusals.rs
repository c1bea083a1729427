//! Why the engine did not do something, by the kinds of docs/json-rpc.md ("Errors").

use std::fmt;

/// A kind, and its sentence. Gaps are filled with what the error bears, as `screen/refusal` says: mostly a name.
type Sentence = (&'static str, &'static str);

pub(crate) struct Words {
    /// Kinds that are said otherwise than the engine says them; for all others its own text stands.
    pub(crate) by_kind: &'static [Sentence],
    /// Who is meant where the error does not say it.
    pub(crate) someone: &'static str,
}

impl fmt::Debug for Words {
    /// Nothing: one language has no sentences of its own here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The engine speaks English.
pub(super) const ENGLISH: Words = Words { by_kind: &[], someone: "the contact" };

pub(super) const CHINESE: Words = Words {
    by_kind: &[
        ("unknown-contact", "联系人中没有 {}"),
        ("not-accepted", "{} 的请求尚未接受；/accept 接受"),
        ("blocked", "{} 已被屏蔽；/accept 加名字可解除"),
        ("hidden", "你对 {} 隐身；/online 可恢复"),
        ("name-taken", "已有联系人叫 {}；请另取名字"),
        ("invalid-name", "这不能作为名字"),
        ("own-link", "这是你自己的链接；请添加对方的链接"),
        ("too-many-requests", "等待处理的请求太多；请先处理一些"),
        (
            "key-differs",
            "警告：密钥不同。{} 已用另一个密钥验证过，这可能是别人冒充。没有任何改变。你验证过的密钥的词：{}；这一个的：{}。请用语音或当面核对；对方念出的是后者，才用 knothole add --replace 重新添加",
        ),
        ("own-code", "这是你自己的口令"),
        ("no-code", "会合服务器现在不给口令；请稍后再试"),
        (
            "unknown-code",
            "会合服务器上没有号码为 {} 的口令：已用过、已过期、输错，或对方用的是另一个会合服务器；请对方再生成一个",
        ),
        ("wrong-words", "口令的词不对，口令已作废；请对方再生成一个"),
        ("code-unanswered", "生成口令的一方没有回应；请再试一次"),
        ("code-replaced", "期间输入了另一个口令"),
        ("no-rendezvous", "没有配置会合服务器；用 /setup 指定"),
        ("rendezvous-unreachable", "会合服务器没有回应；/netcheck 检测网络"),
        ("unknown-message", "这个对话中没有这条消息"),
        ("not-mine", "只有作者能编辑或删除消息"),
        ("not-changeable", "这条消息已不能编辑"),
        ("invalid-reaction", "回应只能是一个表情"),
        ("too-long", "文字太长：{} 字节，最多 {} 字节；请分几条发送"),
        ("busy", "磁盘跟不上；请稍后再试"),
        ("disk-full", "磁盘已满，什么都没有保存"),
        ("long-greeting", "留言太长：{} 字节，最多 {} 字节"),
        ("unverified", "这不能证明对方的身份；没有标记为已验证"),
        ("message-known", "这个编号已属于另一条消息；请用新的编号发送"),
        ("no-memory", "核对用的词需要 64 MiB 内存，现在不够；请关闭其他程序后重试"),
        ("database-locked", "数据库被另一个程序占用；请先关闭它"),
        ("database-damaged", "数据库已损坏；请从备份恢复"),
        ("database-unusable", "系统不让使用数据库：{}"),
        ("database-closed", "数据库已关闭；请重新启动 Knothole"),
        ("backup-path", "备份的路径必须是完整路径"),
        ("backup-passphrase", "备份的密码不能为空"),
        ("backup-occupied", "备份的位置已有其他文件"),
        ("backup-unwritable", "备份的位置无法写入"),
        ("backup-failed", "无法生成备份"),
        ("stopping", "程序正在结束；请稍后再试"),
    ],
    someone: "此人",
};
