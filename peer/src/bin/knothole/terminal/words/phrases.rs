//! Phrases that come from the engine in English and are told as they are: why there is no direct path, why a code came to nothing, what
//! netcheck finds. Another language knows them by their text.

use std::fmt;

use super::fill;

/// A phrase of the engine's, and what is said instead. A gap stands for anything, and is filled with that.
type Phrase = (&'static str, &'static str);

pub(crate) struct Words(&'static [Phrase]);

impl fmt::Debug for Words {
    /// Nothing: the engine's own language needs no phrases.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("…")
    }
}

impl Words {
    /// The phrase in the person's language; as it is where it is not known.
    pub(crate) fn said(&self, phrase: &str) -> String {
        self.find(phrase).unwrap_or_else(|| phrase.to_owned())
    }

    fn find(&self, phrase: &str) -> Option<String> {
        self.0.iter().find_map(|(known, said)| match known.split_once("{}") {
            None => (*known == phrase).then(|| (*said).to_owned()),
            Some((before, after)) => {
                let gap = phrase.strip_prefix(before)?.strip_suffix(after)?;
                Some(fill(said, &[&self.said(gap)]))
            }
        })
    }
}

/// The engine speaks English; but its commands are those of a shell.
pub(super) const ENGLISH: Words = Words(&[
    ("{}; the code is used up, make another: knothole code", "{}; the code is used up, make another: /code"),
    (
        "whoever typed the code gave up; make another: knothole code",
        "whoever typed the code gave up; make another: /code",
    ),
    (
        "nobody typed the code in time; make another: knothole code",
        "nobody typed the code in time; make another: /code",
    ),
]);

pub(super) const CHINESE: Words = Words(&[
    // Why there is no direct path.
    ("looking for a direct path", "正在寻找直连路径"),
    ("the direct path stopped answering; looking for another", "直连路径没有回应，正在另找"),
    ("the relay has closed; looking for another way", "中继已关闭，正在另找路径"),
    (
        "nothing was said for a while; the connection comes back with the next message",
        "有一段时间没有消息，发消息时会重新连接",
    ),
    ("the contact is not talked to any more", "不再与此联系人通信"),
    ("you are invisible to this contact", "你对此联系人隐身"),
    ("no rendezvous of this contact answers", "此联系人的会合服务器没有回应"),
    ("the contact is offline", "联系人离线"),
    ("the rendezvous is busy", "会合服务器繁忙"),
    ("no direct path was found between the two networks", "两个网络之间没有找到直连路径"),
    (
        "both networks give every connection an unforeseeable port; no direct path can be found",
        "两边的网络都为每个连接分配无法预知的端口，找不到直连路径",
    ),
    (
        "one network gives every connection another port, and it could not be found; it is tried again later",
        "一边的网络为每个连接分配不同的端口，没有猜中，稍后再试",
    ),
    ("this network lets no UDP out", "本网络不放行 UDP"),
    ("you chose relay only for this contact", "你选择了仅经中继连接此联系人"),
    ("the contact chose relay only", "对方选择了仅经中继"),
    ("the contact's network lets no UDP out", "对方的网络不放行 UDP"),
    ("the contact has left", "联系人已离开"),
    ("the contact does not answer any more", "联系人不再回应"),
    ("the contact has started anew", "联系人已重新启动"),
    ("the contact refused the connection", "联系人拒绝了连接"),
    ("the connection broke", "连接中断"),
    // Why a code came to nothing.
    ("another code was made", "又生成了另一个口令"),
    ("{}; the code is used up, make another: knothole code", "{}；口令已作废，再生成一个：/code"),
    ("the words were not the same on both sides: mistyped, or somebody guessed", "两边的词不同：输错了，或有人在猜"),
    ("whoever typed the code gave up; make another: knothole code", "输入口令的一方放弃了；再生成一个：/code"),
    ("nobody typed the code in time; make another: knothole code", "没有人及时输入口令；再生成一个：/code"),
    ("that is your own code; it is for somebody else to type", "这是你自己的口令；要由别人输入"),
    // Why a rendezvous is not used.
    (
        "{} is your own, or cannot be written: write the rendezvous there, end the Knothole that runs for this home (a daemon?), and start again",
        "{} 由你自己编写，或无法写入：请在其中写明会合服务器，结束为此目录运行的 Knothole（daemon？），再重新启动",
    ),
    (
        "cannot use {}; check that it belongs to you and that the disk is not full",
        "无法使用 {}；请检查它是否属于你，以及磁盘是否已满",
    ),
    // What netcheck finds, together.
    (
        "No rendezvous answers, neither over UDP nor over TCP: this machine is offline, or they are down, and nobody beyond this network can be reached.",
        "会合服务器在 UDP 和 TCP 上都没有回应：本机离线，或服务器停机；无法联系到本网络以外的人。",
    ),
    (
        "Your network lets no UDP through: all talk goes through the rendezvous over TCP, which reaches everyone but is slower than a direct path.",
        "你的网络不放行 UDP：所有通信经会合服务器走 TCP，能联系到所有人，但比直连慢。",
    ),
    (
        "The rendezvous is on a network of your own: those who share it reach you, and what lies between you and the internet cannot be told from there.",
        "会合服务器在你自己的网络内：同一网络中的人能联系到你；你与互联网之间的情况从那里看不出来。",
    ),
    (
        "You are on the open internet: everyone can connect to you directly, whatever their network does.",
        "你直接处于互联网上：无论对方是什么网络，都能与你直连。",
    ),
    (
        "There is no NAT before you: you connect directly to most networks; whether a firewall keeps the hardest ones out is not known.",
        "你前面没有 NAT：能与大多数网络直连；防火墙是否挡住最难连的网络，尚不清楚。",
    ),
    (
        "There is no NAT before you, but a firewall that lets in only whom you have written to: you connect directly to most networks, and to the hardest ones after a search.",
        "你前面没有 NAT，但有防火墙，只放行你联系过的人：能与大多数网络直连，最难连的要先搜索一番。",
    ),
    (
        "Your network lets anyone in once you have sent something out: everyone can connect to you directly, whatever their network does.",
        "只要你发出过数据，你的网络就放行任何人：无论对方是什么网络，都能与你直连。",
    ),
    (
        "Your network connects directly to nearly every other, hard ones included: a port that you have not written to gets in if its address is right.",
        "你的网络几乎能与所有网络直连，难连的也可以：只要地址对，没有联系过的端口也能进来。",
    ),
    (
        "Your network connects directly to most others; with the hardest ones a search comes first, and talk goes through the rendezvous meanwhile.",
        "你的网络能与大多数网络直连；最难连的要先搜索，其间经会合服务器通信。",
    ),
    (
        "Your network shows each destination another port, but one that can be guessed: it connects directly to most others, though not at once; two such networks may have to talk through the rendezvous.",
        "你的网络对每个目的地使用不同的端口，但可以猜到：能与大多数网络直连，只是需要一点时间；两个这样的网络之间可能要经会合服务器通信。",
    ),
    (
        "Your network is a hard one, which shows each destination another port: it connects directly to most others after a search; two such networks talk through the rendezvous.",
        "你的网络属于难连的一类，对每个目的地使用不同的端口：经搜索能与大多数网络直连；两个这样的网络之间经会合服务器通信。",
    ),
    (
        "UDP goes through, so that you reach everyone; which networks you connect to directly cannot be told from here.",
        "UDP 可以通过，能联系到所有人；能与哪些网络直连，从这里看不出来。",
    ),
    // Each finding.
    ("mapping", "映射"),
    ("filtering", "过滤"),
    ("ports", "端口"),
    ("hairpin", "回环"),
    ("lifetime", "保持时间"),
    ("port mapping", "端口映射"),
    ("rendezvous", "会合服务器"),
    ("works; you are seen as {}", "可用；外部看到你的地址是 {}"),
    ("works", "可用"),
    ("blocked: a rendezvous answers over TCP only", "被阻止：会合服务器只在 TCP 上回应"),
    ("no rendezvous answers, nor over TCP", "会合服务器没有回应，TCP 上也没有"),
    ("no rendezvous answers over it", "会合服务器在 IPv6 上没有回应"),
    ("none: there is no NAT", "无：没有 NAT"),
    (
        "endpoint-independent: everyone sees the same address and port of yours",
        "与目的地无关：所有人看到你的同一个地址和端口",
    ),
    (
        "address-dependent: each address that you send to sees another port of yours",
        "与地址有关：你联系的每个地址看到不同的端口",
    ),
    (
        "address-and-port-dependent: each address and port that you send to sees another port of yours",
        "与地址和端口有关：你联系的每个地址和端口看到不同的端口",
    ),
    ("none: whatever is sent to you comes in", "无：发给你的都能进来"),
    (
        "endpoint-independent: once you have sent something, anyone's answer comes in",
        "与来源无关：只要你发出过数据，任何人都能进来",
    ),
    ("address-dependent: only those addresses get in that you have sent to", "与地址有关：只有你联系过的地址能进来"),
    (
        "address-and-port-dependent: only those addresses and ports get in that you have sent to",
        "与地址和端口有关：只有你联系过的地址和端口能进来",
    ),
    ("unknown: {}", "未知：{}"),
    (
        "no rendezvous of yours has a second address, by which mapping and filtering are told (`knothole-rendezvous --alternate`)",
        "你的会合服务器都没有第二个地址，无从得知映射和过滤（`knothole-rendezvous --alternate`）",
    ),
    (
        "the second address of the rendezvous, by which mapping and filtering are told, does not answer",
        "会合服务器的第二个地址没有回应，无从得知映射和过滤",
    ),
    ("too few answers came", "回应太少"),
    ("preserved: outside as inside, where they are free", "保持：空闲时外部端口与内部相同"),
    ("random: the next one cannot be guessed", "随机：猜不到下一个"),
    ("sequential {}", "依次 {}"),
    ("block {}", "范围 {}"),
    (
        "works: machines behind your router reach each other by their outside addresses",
        "可用：路由器后的机器可用外部地址互相联系",
    ),
    (
        "no: machines behind your router reach each other by their inside addresses only",
        "不可用：路由器后的机器只能用内部地址互相联系",
    ),
    ("the NAT remembers an idle mapping for {} s at least", "NAT 至少保留空闲的映射 {} 秒"),
    (
        "not known; `knothole netcheck --lifetime` finds it out, which takes minutes",
        "未知；`knothole netcheck --lifetime` 可测出，需要几分钟",
    ),
    ("no protocol known by which the router opens ports", "没有已知的协议可让路由器开放端口"),
    ("no answer, {}", "没有回应，{}"),
]);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::netcheck::findings;
    use crate::session::word;

    /// The texts that stand in a source, without its tests and comments.
    fn texts(source: &str) -> Vec<String> {
        let code = source.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<_> = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let joined = code.join("\n");
        let text = |text: &str| text.split("\\\n").map(str::trim_start).collect::<String>();
        joined.split('"').skip(1).step_by(2).map(text).collect()
    }

    #[test]
    fn every_reason_that_the_engine_can_give_has_its_translation() {
        let reasons = texts(include_str!("../../../../engine/reasons.rs"));
        assert!(reasons.len() >= 21, "{reasons:?}");
        for reason in reasons {
            assert!(CHINESE.find(&reason).is_some(), "{reason:?}");
            assert_eq!(ENGLISH.said(&reason), reason);
        }
    }

    #[test]
    fn every_sentence_of_netcheck_has_its_translation() {
        let sentences = texts(include_str!("../../../../netcheck/summary.rs"));
        assert!(sentences.len() >= 12, "{sentences:?}");
        for sentence in sentences {
            assert!(CHINESE.find(&sentence).is_some(), "{sentence:?}");
        }
    }

    #[test]
    fn why_a_finding_of_netcheck_is_unknown_has_its_translation() {
        let reasons = texts(include_str!("../../../../netcheck/behaviour.rs"));
        assert!(reasons.len() >= 2, "{reasons:?}");
        for reason in reasons {
            assert!(CHINESE.find(&reason).is_some(), "{reason:?}");
        }
    }

    #[test]
    fn why_a_code_came_to_nothing_has_its_translation_and_names_the_command_that_is_typed_here() {
        let reasons = texts(include_str!("../../../../engine/codes.rs"));
        let failure = knothole_proto::code::Failure::WrongWords.to_string();
        let reasons: Vec<_> = reasons.iter().filter(|reason| reason.contains(" code")).collect();
        assert!(reasons.len() >= 4, "{reasons:?}");
        for reason in reasons {
            let reason = reason.replace("{why}", &failure);
            assert_ne!(CHINESE.said(&reason), reason);
            assert!(!ENGLISH.said(&reason).contains("knothole code"), "{reason:?}");
        }
        assert_ne!(CHINESE.said(&failure), failure);
    }

    #[test]
    fn why_a_rendezvous_is_not_used_has_its_translation() {
        for why in [
            "/home/me/config.toml is your own, or cannot be written: write the rendezvous there, end the Knothole that runs for this \
             home (a daemon?), and start again",
            "cannot use /home/me/config.toml: disk full; check that it belongs to you and that the disk is not full",
        ] {
            let said = CHINESE.said(why);
            assert!(said != why && said.contains("/home/me/config.toml"), "{said}");
        }
    }

    #[test]
    fn every_finding_of_netcheck_has_its_translation() {
        let behaviours = ["none", "endpoint-independent", "address-dependent", "address-and-port-dependent", "unknown"];
        let ports = ["preserved", "sequential +2", "block 1024-2047", "random", "unknown"];
        for (behaviour, ports) in behaviours.into_iter().zip(ports) {
            for (transport, seen) in
                [("udp", json!("203.0.113.5:1")), ("udp", json!(null)), ("tcp", json!(null)), ("none", json!(null))]
            {
                for lets in [json!(true), json!(false), json!(null)] {
                    let found = json!({
                        "udp": transport == "udp", "transport": transport, "observed": seen, "mapping": behaviour, "filtering": behaviour,
                        "ports": ports, "hairpin": lets, "lifetime_s": if lets == true { json!(65) } else { json!(null) }, "ipv6": lets,
                        "rendezvous": [{"address": "k@r.example:1", "rtt_ms": null}],
                    });
                    for (name, told) in findings(&found) {
                        assert!(CHINESE.find(name).is_some() || name.chars().any(char::is_uppercase), "{name:?}");
                        assert!(CHINESE.find(&told).is_some(), "{told:?}");
                    }
                    assert_eq!(word(&found, "transport"), transport);
                }
            }
        }
    }

    #[test]
    fn what_stands_in_a_gap_is_kept_or_said_itself() {
        assert_eq!(CHINESE.said("works; you are seen as 203.0.113.5:1"), "可用；外部看到你的地址是 203.0.113.5:1");
        assert_eq!(CHINESE.said("unknown: too few answers came"), "未知：回应太少");
        assert_eq!(CHINESE.said("something of tomorrow"), "something of tomorrow");
    }
}
