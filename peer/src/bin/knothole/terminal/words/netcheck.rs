//! The page that tells what the network does.

#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static str,
    pub(crate) asking: &'static str,
    pub(crate) passed: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    title: "What this network does",
    keys: "r once more · ↑↓ scroll · Esc closes",
    asking: "Asking every rendezvous from fresh sockets. It takes up to 5 seconds.",
    passed: "{} s",
};

pub(super) const CHINESE: Words = Words {
    title: "网络检测",
    keys: "r 再来一次 · ↑↓ 滚动 · Esc 关闭",
    asking: "正在用新的套接字询问各会合服务器，最多 5 秒。",
    passed: "{} 秒",
};
