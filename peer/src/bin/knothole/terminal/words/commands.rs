//! What the commands are called for, and what is said where one is mistyped.
//!
//! Their names, like those of the verbs, are the same in every language.

use std::fmt;

/// How a command goes on after its name, and what it does.
pub(crate) struct Told {
    pub(crate) arguments: &'static str,
    pub(crate) help: &'static str,
}

impl fmt::Debug for Told {
    /// The sentence alone: arguments are partly typed as they stand, whatever the language.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.help.fmt(f)
    }
}

const fn told(arguments: &'static str, help: &'static str) -> Told {
    Told { arguments, help }
}

#[derive(Debug)]
pub(crate) struct Words {
    pub(crate) accept: Told,
    pub(crate) add: Told,
    pub(crate) block: Told,
    pub(crate) code: Told,
    pub(crate) contacts: Told,
    pub(crate) copy: Told,
    pub(crate) delete: Told,
    pub(crate) edit: Told,
    pub(crate) go: Told,
    pub(crate) help: Told,
    pub(crate) invisible: Told,
    pub(crate) link: Told,
    pub(crate) mailbox: Told,
    pub(crate) netcheck: Told,
    pub(crate) online: Told,
    pub(crate) path: Told,
    pub(crate) quit: Told,
    pub(crate) react: Told,
    pub(crate) remove: Told,
    pub(crate) rename: Told,
    pub(crate) reply: Told,
    pub(crate) search: Told,
    pub(crate) setup: Told,
    pub(crate) timer: Told,
    pub(crate) verify: Told,
    pub(crate) whois: Told,

    /// Of what was typed.
    pub(crate) unknown: &'static str,
    /// Of what was typed, and of the nearest command.
    pub(crate) unknown_near: &'static str,
    /// Of a command's name and its arguments.
    pub(crate) goes: &'static str,
    pub(crate) goes_without: &'static str,
    pub(crate) too_much: &'static str,
    pub(crate) open_quote: &'static str,
    pub(crate) no_link: &'static str,
    pub(crate) damaged_key: &'static str,
    pub(crate) no_address: &'static str,
    pub(crate) no_via: &'static str,
    pub(crate) no_code: &'static str,
    pub(crate) no_code_word: &'static str,
    pub(crate) no_span: &'static str,
    pub(crate) no_emoji: &'static str,
    pub(crate) nobody: &'static str,
    pub(crate) nobody_near: &'static str,
    pub(crate) nobody_asks: &'static str,
    pub(crate) several_ask: &'static str,
    pub(crate) not_open: &'static str,
    pub(crate) no_message: &'static str,
    pub(crate) out_of_sight: &'static str,
    pub(crate) nothing_to_copy: &'static str,
}

pub(super) const ENGLISH: Words = Words {
    accept: told(
        "[NAME] [--relay]",
        "make a contact of one who asks or is blocked; --relay: never tell them your address",
    ),
    add: told("LINK|CODE [NAME] [--relay]", "add a contact by their link, or by a code that they read to you"),
    block: told("[NAME]", "end all talk with somebody, or turn down one who asks"),
    code: told("[NAME]", "make a one-time code by which somebody adds you"),
    contacts: told("", "everybody, as a page"),
    copy: told("[link]", "copy the chosen message, or else your link"),
    delete: told("", "take back the chosen message, or your last one"),
    edit: told("TEXT", "give the chosen message, or your last one, another text"),
    go: told("NAME", "open the conversation with somebody"),
    help: told("[COMMAND]", "the keys and the commands, or one of them"),
    invisible: told("[NAME]", "be seen as offline by all, or by one"),
    link: told("", "your link and its QR code, for others to add you"),
    mailbox: told("on|off", "let messages wait at the rendezvous while you are away, or not"),
    netcheck: told("", "what this network does, and what that means for reaching others"),
    online: told("[NAME]", "be seen when you are online by all, or by one"),
    path: told("any|relay [NAME]", "reach a contact by any path, or through a relay alone"),
    quit: told("", "leave"),
    react: told("EMOJI", "react to the chosen message, or to their last one"),
    remove: told("[NAME]", "delete a contact and the conversation; asks first"),
    rename: told("[NAME] NEW", "call a contact something else"),
    reply: told("TEXT", "answer the chosen message, or their last one"),
    search: told("[TEXT]", "find something in this conversation"),
    setup: told("", "the first steps once more: rendezvous, link, first contact"),
    timer: told("SPAN|off", "let later texts disappear so long after they were read: 30s, 5m, 1h, 1d, 1w"),
    verify: told("[NAME] [ok]", "ten words to compare by voice; ok: they were the same"),
    whois: told("[NAME]", "everything that is known about a contact"),

    unknown: "/{}: no such command; /help lists them, // sends a slash",
    unknown_near: "/{}: no such command; did you mean /{}? // sends a slash",
    goes: "it goes: /{} {}",
    goes_without: "/{} stands alone",
    too_much: "too many words; it goes: /{} {} (a name with spaces: \"in quotes\")",
    open_quote: "the quotation mark is never closed",
    no_link: "a link begins with knothole: and a code looks like 7-orchard-velvet",
    damaged_key: "the key in it is damaged; was all of it copied?",
    no_address: "the rendezvous in it is damaged; it looks like <key>@<host>:<port>",
    no_via: "the link names no rendezvous (?via=…); was all of it copied?",
    no_code: "a code is a number and two words, like 7-orchard-velvet",
    no_code_word: "{} is no word of a code; ask for it again, letter by letter",
    no_span: "{} is no time; write 30s, 5m, 1h, 1d, 1w or off",
    no_emoji: "{} is no emoji",
    nobody: "nobody is called {}; /contacts lists everybody",
    nobody_near: "nobody is called {}; did you mean {}?",
    nobody_asks: "nobody asks to be a contact",
    several_ask: "several ask, add a name: {}",
    not_open: "no conversation is open; add the name",
    out_of_sight: "the newest message is not in sight: choose one with ↑ in an empty line, or Ctrl-End goes to it",
    no_message: "there is no such message here yet",
    nothing_to_copy: "there is no link yet; /setup names a rendezvous",
};

pub(super) const CHINESE: Words = Words {
    accept: told("[名字] [--relay]", "接受请求者，或解除屏蔽；--relay：永不告诉对方你的地址"),
    add: told("链接|口令 [名字] [--relay]", "用对方的链接或念给你的一次性口令添加联系人"),
    block: told("[名字]", "屏蔽某人，或拒绝其请求"),
    code: told("[名字]", "生成一次性口令，供对方添加你"),
    contacts: told("", "以整页列出所有联系人"),
    copy: told("[link]", "复制选中的消息，否则复制你的链接"),
    delete: told("", "删除选中的或你最后一条消息"),
    edit: told("文字", "编辑选中的或你最后一条消息"),
    go: told("名字", "打开与某人的对话"),
    help: told("[命令]", "按键和命令，或某一条命令"),
    invisible: told("[名字]", "对所有人或某人显示为离线"),
    link: told("", "你的链接及其二维码，供他人添加你"),
    mailbox: told("on|off", "你离开时消息是否可在会合服务器等待"),
    netcheck: told("", "检测本网络，以及它对连接他人的影响"),
    online: told("[名字]", "让所有人或某人看到你在线"),
    path: told("any|relay [名字]", "经任意路径，或仅经中继连接联系人"),
    quit: told("", "退出"),
    react: told("表情", "回应选中的或对方最后一条消息"),
    remove: told("[名字]", "删除联系人及对话；会先询问"),
    rename: told("[名字] 新名字", "给联系人改名"),
    reply: told("文字", "回复选中的或对方最后一条消息"),
    search: told("[文字]", "在此对话中查找"),
    setup: told("", "重新走一遍最初的步骤：会合服务器、链接、第一位联系人"),
    timer: told("时长|off", "之后的文字在阅读后多久消失：30s、5m、1h、1d、1w"),
    verify: told("[名字] [ok]", "用语音核对的十个词；ok：两边相同"),
    whois: told("[名字]", "关于联系人的全部信息"),

    unknown: "/{}：没有这个命令；/help 列出全部，// 发送斜杠",
    unknown_near: "/{}：没有这个命令；是不是 /{}？// 发送斜杠",
    goes: "用法：/{} {}",
    goes_without: "/{} 后面不带内容",
    too_much: "内容太多；用法：/{} {}（含空格的名字请加\"引号\"）",
    open_quote: "引号没有闭合",
    no_link: "链接以 knothole: 开头，口令形如 7-orchard-velvet",
    damaged_key: "其中的密钥已损坏；是否复制完整？",
    no_address: "其中的会合服务器地址已损坏；应形如 <密钥>@<主机>:<端口>",
    no_via: "链接没有指明会合服务器（?via=…）；是否复制完整？",
    no_code: "口令是一个数字加两个词，如 7-orchard-velvet",
    no_code_word: "{} 不是口令中的词；请对方逐字母再念一遍",
    no_span: "{} 不是时长；请写 30s、5m、1h、1d、1w 或 off",
    no_emoji: "{} 不是表情",
    nobody: "没有叫 {} 的联系人；/contacts 列出所有人",
    nobody_near: "没有叫 {} 的联系人；是不是 {}？",
    nobody_asks: "没有人请求成为联系人",
    several_ask: "有几位在请求，请加上名字：{}",
    not_open: "没有打开的对话；请加上名字",
    out_of_sight: "最新的消息不在眼前；请在空行按 ↑ 选择一条，或按 Ctrl-End 回到最新",
    no_message: "这里还没有这样的消息",
    nothing_to_copy: "还没有链接；用 /setup 指定会合服务器",
};
