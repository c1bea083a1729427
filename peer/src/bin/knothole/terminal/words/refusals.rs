//! Why the engine did not do something, by the kinds of docs/json-rpc.md ("Errors").

use std::fmt;

/// A kind, and its sentence. Gaps are filled with the name that the error bears.
type Sentence = (&'static str, &'static str);

pub(crate) struct Words {
    /// Kinds that are said otherwise than the engine says them; for all others its own text stands.
    pub(crate) by_kind: &'static [Sentence],
}

impl fmt::Debug for Words {
    /// Nothing: one language has no sentences of its own here.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

/// The engine speaks English.
pub(super) const ENGLISH: Words = Words { by_kind: &[] };

pub(super) const CHINESE: Words = Words {
    by_kind: &[
        ("unknown-contact", "没有这个联系人：{}"),
        ("not-accepted", "{} 的请求尚未接受；/accept 接受"),
        ("blocked", "{} 已被屏蔽；/accept 可解除"),
        ("hidden", "你对 {} 隐身；/online 可恢复"),
        ("name-taken", "已有联系人叫 {}；请另取名字"),
        ("invalid-name", "这不能作为名字"),
        ("own-link", "这是你自己的链接；请添加对方的链接"),
        ("too-many-requests", "等待处理的请求太多；请先处理一些"),
        ("key-differs", "{} 已用另一个密钥验证；请当面核对后再添加"),
        ("own-code", "这是你自己的口令"),
        ("no-code", "会合服务器现在不给口令；请稍后再试"),
        ("unknown-code", "没有这个号码的口令；请对方再生成一个"),
        ("wrong-words", "口令的词不对，口令已作废；请对方再生成一个"),
        ("code-unanswered", "生成口令的一方没有回应；请再试一次"),
        ("code-replaced", "期间输入了另一个口令"),
        ("no-rendezvous", "没有配置会合服务器；用 /setup 指定"),
        ("rendezvous-unreachable", "会合服务器没有回应；/netcheck 检测网络"),
        ("unknown-message", "这个对话中没有这条消息"),
        ("not-mine", "只有作者能修改消息"),
        ("not-changeable", "这条消息已不能修改"),
        ("invalid-reaction", "回应只能是一个表情"),
        ("too-long", "文字太长"),
        ("busy", "磁盘跟不上；请稍后再试"),
        ("disk-full", "磁盘已满，什么都没有保存"),
        ("stopping", "程序正在结束；请稍后再试"),
    ],
};
