use super::*;
use crate::terminal::words::{CHINESE, ENGLISH};
use serde_json::json;

/// A Saturday at 14:02.
const NOW: u64 = 1_795_874_520_000;

/// Somebody who listens, with the engine's answers played by the test.
struct Listener {
    teller: Teller,
    /// What was asked and not answered yet.
    asked: Vec<Ask>,
    now: u64,
}

impl Listener {
    fn new(words: &'static Words) -> Self {
        let teller = Teller::new(words, TimeZone::UTC, None, [7; 32], NOW);
        let mut listener = Self { teller, asked: vec![], now: NOW };
        listener.told();
        listener
            .answer("status", json!({"peer": "me", "link": "knothole:me", "rendezvous": [{"state": "registered"}]}));
        listener
    }

    /// With bob, who is there and reached directly, and carol, who is away.
    fn with_contacts(words: &'static Words) -> Self {
        let mut listener = Self::new(words);
        listener.answer("contact.list", contacts());
        listener.told();
        listener
    }

    /// In the conversation with bob, of which these messages are the newest.
    fn with_bob(words: &'static Words, messages: Value) -> Self {
        let mut listener = Self::with_contacts(words);
        listener.line("/go bob");
        listener.answer("contact.list", contacts());
        listener.answer("message.history", messages);
        listener.told();
        listener
    }

    fn handle(&mut self, input: Input) {
        self.teller.handle(input, self.now);
    }

    fn line(&mut self, line: &str) {
        self.handle(Input::Line(Typed::Line(line.into())));
    }

    fn event(&mut self, event: Value) {
        self.handle(Input::Event(event));
    }

    /// What is said; what is asked is kept.
    fn told(&mut self) -> String {
        let mut told = vec![];
        while let Some(effect) = self.teller.poll_effect() {
            match effect {
                Effect::Say(text) => told.push(text),
                Effect::Call(ask) => self.asked.push(ask),
                Effect::Quit => told.push("(it ends)".into()),
            }
        }
        told.join("\n")
    }

    /// The parameters of the newest call of this method, which is answered by somebody else.
    fn take(&mut self, method: &str) -> Ask {
        let effects: Vec<_> = std::iter::from_fn(|| self.teller.poll_effect()).collect();
        for effect in effects {
            match effect {
                Effect::Call(ask) => self.asked.push(ask),
                Effect::Say(text) => self.teller.say(&text),
                Effect::Quit => {}
            }
        }
        let place = self.asked.iter().rposition(|ask| ask.method == method);
        self.asked.remove(place.unwrap_or_else(|| panic!("{method} was not called: {:?}", self.asked)))
    }

    fn answer(&mut self, method: &str, answer: Value) {
        let ask = self.take(method);
        self.handle(Input::Answer(ask, Ok(answer)));
    }

    fn refuse(&mut self, method: &str, refusal: Refusal) {
        let ask = self.take(method);
        self.handle(Input::Answer(ask, Err(refusal)));
    }
}

fn contacts() -> Value {
    json!([
        {"peer": "b", "name": "bob", "state": "contact", "presence": "online", "unread": 2,
         "path": {"kind": "direct", "remote": "203.0.113.5:4711", "rtt_ms": 23.4}},
        {"peer": "c", "name": "carol", "state": "contact", "presence": "offline", "unread": 0, "path": null},
    ])
}

fn message(id: &str, from: &str, text: &str) -> Value {
    json!({"message": id, "from": from, "text": text, "at": NOW, "state": "delivered"})
}

#[test]
fn who_begins_hears_the_link_and_what_to_do_with_it() {
    let mut listener = Listener::new(&ENGLISH);
    listener.answer("contact.list", json!([]));
    assert_eq!(
        listener.told(),
        "Your link, by which others add you: knothole:me\n\
         No contacts yet. Give your link to a friend, and add theirs: /add LINK NAME"
    );
}

#[test]
fn contacts_are_numbered_sentences_and_the_numbers_open_conversations() {
    let mut listener = Listener::with_contacts(&ENGLISH);
    listener.line("/contacts");
    listener.answer("contact.list", contacts());
    assert_eq!(listener.told(), "Contacts: 2.\n1. bob, online, direct, 2 unread\n2. carol, offline");
    for who in ["2", "carol", "CAR"] {
        listener.line(&format!("/go {who}"));
        assert_eq!(listener.take("contact.connect").parameters, json!({"peer": "c"}));
    }
    listener.told();
    listener.line("/go mallory");
    assert_eq!(listener.told(), "nobody is called mallory; /contacts lists everybody");
}

#[test]
fn a_conversation_is_told_from_its_newest_messages_with_days_and_read() {
    let mut listener = Listener::with_contacts(&ENGLISH);
    listener.line("/go bob");
    listener.answer("contact.list", contacts());
    assert_eq!(listener.told(), "Conversation with bob, online, direct, 2 unread.");
    let yesterday = json!({"message": "1", "from": "me", "text": "hello", "at": NOW - 86_400_000, "state": "read"});
    let answer = json!({"message": "3", "from": "b", "text": "yes", "at": NOW, "state": "delivered", "reply": "1"});
    listener.answer("message.history", json!([yesterday, message("2", "b", "two\nlines"), answer]));
    assert_eq!(
        listener.told(),
        "Friday, 27 November 2026\nme, 14:02: hello\nSaturday, 28 November 2026\nbob, 14:02: two\n    lines\n\
         bob, 14:02, to \"hello\": yes"
    );
    assert_eq!(listener.take("message.read").parameters, json!({"with": "b", "upto": "3"}));
    // The day was told.
    listener.event(json!({"type": "message", "peer": "b", "name": "bob", "message": "4", "text": "well?", "at": NOW}));
    assert_eq!(listener.told(), "bob, 14:02: well?");
}

#[test]
fn older_messages_come_by_tens_until_the_end_is_told() {
    let page =
        |from: usize| (from..from + 10).map(|n| message(&n.to_string(), "b", &format!("m{n}"))).collect::<Value>();
    let mut listener = Listener::with_bob(&ENGLISH, page(20));
    listener.line("/more");
    let ask = listener.take("message.history");
    assert_eq!(ask.parameters, json!({"with": "b", "before": "20", "limit": 10}));
    listener.handle(Input::Answer(ask, Ok(page(10))));
    assert!(listener.told().starts_with("bob, 14:02: m10\nbob, 14:02: m11\n"));
    listener.line("/more");
    let ask = listener.take("message.history");
    assert_eq!(ask.parameters["before"], "10");
    listener.handle(Input::Answer(ask, Ok(json!([message("9", "b", "first")]))));
    assert_eq!(listener.told(), "bob, 14:02: first\nEnd of the conversation: nothing is older.");
    listener.line("/more");
    assert_eq!(listener.told(), "End of the conversation: nothing is older.");
}

#[test]
fn what_is_typed_is_sent_and_confirmed_once() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.line("two\\");
    listener.line("lines");
    let ask = listener.take("message.send");
    let id = ask.parameters["message"].as_str().unwrap().to_owned();
    assert_eq!(ask.parameters, json!({"to": "b", "text": "two\nlines", "message": id}));
    // Our own event comes before the answer, or after it.
    let sent = |id: &str, text: &str| json!({"type": "sent", "peer": "b", "message": id, "text": text, "at": NOW});
    listener.event(sent(&id, "two\nlines"));
    listener.handle(Input::Answer(ask, Ok(json!({"message": id}))));
    listener.event(sent(&id, "two\nlines"));
    for state in ["sent", "delivered", "read"] {
        listener.event(json!({"type": "state", "message": id, "state": state}));
    }
    assert_eq!(listener.told(), "delivered: two…");
    listener.event(sent("n", "from elsewhere"));
    assert_eq!(listener.told(), "Saturday, 28 November 2026\nme, 14:02: from elsewhere");
    listener.line("/quiet");
    listener.line("//etc");
    let ask = listener.take("message.send");
    assert_eq!(ask.parameters["text"], "/etc");
    let id = ask.parameters["message"].clone();
    listener.handle(Input::Answer(ask, Ok(json!({"message": id}))));
    listener.event(json!({"type": "state", "message": id, "state": "delivered"}));
    assert_eq!(listener.told(), "Deliveries are not told any more. /quiet off tells them.");
}

#[test]
fn a_message_is_sent_again_by_the_same_id_after_the_end_of_the_engine() {
    for renewed_first in [true, false] {
        let mut listener = Listener::with_bob(&ENGLISH, json!([]));
        listener.line("hi");
        let ask = listener.take("message.send");
        let parameters = ask.parameters.clone();
        assert_eq!(parameters["message"].as_str().map(str::len), Some(26));
        if renewed_first {
            listener.handle(Input::Renewed);
            listener.handle(Input::Answer(ask, Err(Refusal::Closed)));
        } else {
            listener.handle(Input::Answer(ask, Err(Refusal::Closed)));
            listener.told();
            assert!(listener.asked.iter().all(|ask| ask.method != "message.send"), "nobody is there to take it");
            listener.handle(Input::Renewed);
        }
        assert_eq!(listener.take("message.send").parameters, parameters);
    }
}

#[test]
fn what_is_refused_is_told_and_not_sent_again() {
    let mut listener = Listener::with_bob(&CHINESE, json!([]));
    listener.line("hi");
    listener.refuse("message.send", Refusal::Refused { why: "full".into(), data: json!({"kind": "disk-full"}) });
    assert_eq!(listener.told(), "未完成：磁盘已满，什么都没有保存");
    listener.handle(Input::Renewed);
    listener.line("/quit");
    assert_eq!(listener.told(), "(it ends)");
}

#[test]
fn others_are_announced_by_one_line_and_not_again_at_once() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    let carol = json!({"type": "message", "peer": "c", "name": "carol", "message": "x", "text": "psst", "at": NOW});
    listener.event(carol.clone());
    listener.event(carol.clone());
    assert_eq!(listener.told(), "carol: 1 unread; /go carol");
    listener.now += 60_000;
    listener.event(carol);
    listener.event(json!({"type": "typing", "peer": "b", "on": true}));
    assert_eq!(listener.told(), "carol: 3 unread; /go carol");
}

#[test]
fn coming_and_going_is_told_of_the_open_contact_alone() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    let presence = |peer: &str, state: &str| json!({"type": "presence", "peer": peer, "state": state, "at": NOW});
    for (peer, state) in [("c", "online"), ("b", "online"), ("b", "offline"), ("b", "offline")] {
        listener.event(presence(peer, state));
    }
    assert_eq!(listener.told(), "bob is offline.");
    listener.line("hello?");
    listener.line("are you there?");
    assert_eq!(listener.told(), "bob is offline. What you write is kept, and sent when both are there.");
}

#[test]
fn replies_reactions_edits_and_deletions_are_sentences() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([message("1", "me", "shall we?"), message("2", "b", "yes")]));
    let change = |what: Value| {
        let mut change = json!({"type": "change", "peer": "b", "message": "2"});
        change.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        change
    };
    listener.event(change(json!({"what": "edited", "text": "no\nnever"})));
    listener.event(change(json!({"what": "reaction", "emoji": "👍", "on": true, "mine": true})));
    listener.event(change(json!({"what": "deleted"})));
    listener.event(change(json!({"what": "timer", "expires_s": 3600})));
    assert_eq!(
        listener.told(),
        "bob edited \"yes\": no\n    never\nyou reacted 👍 to \"no…\"\nbob deleted \"no…\"\n\
         bob, from now on texts disappear, 1 hour after they were read"
    );
    listener
        .event(json!({"type": "change", "peer": "b", "message": "1", "what": "reaction", "emoji": "👍", "on": true}));
    listener.told();
    listener.line("/choose");
    assert!(listener.told().starts_with("2. me, 14:02: shall we? (reactions 👍)\n1. bob, 14:02: (deleted)\n"));
    listener.event(json!({"type": "change", "peer": "b", "message": "1", "what": "expired"}));
    listener.line("/choose");
    assert!(listener.told().starts_with("1. bob, 14:02: (deleted)\n"));
}

#[test]
fn a_message_is_chosen_by_its_number_or_is_the_newest() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([message("1", "b", "one"), message("2", "b", "two")]));
    listener.line("/reply yes");
    assert_eq!(listener.take("message.send").parameters["reply"], "2");
    listener.line("/choose");
    assert!(listener.told().starts_with("2. bob, 14:02: one\n1. bob, 14:02: two\n"));
    listener.line("/choose 2");
    listener.line("/react 👍");
    assert_eq!(listener.told(), "Chosen: bob, 14:02: one");
    assert_eq!(listener.take("message.react").parameters, json!({"with": "b", "message": "1", "emoji": "👍"}));
    listener.line("/choose 9");
    assert_eq!(listener.told(), "No message has the number 9 here. /choose alone tells the numbers.");
}

#[test]
fn what_cannot_be_undone_is_asked_for_twice() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([message("1", "me", "oh dear")]));
    listener.line("/delete");
    listener.line("/remove carol");
    assert_eq!(
        listener.told(),
        "This deletes \"oh dear\" on both sides. To do it: /delete yes\n\
         This removes carol, and deletes the conversation. To do it: /remove carol yes"
    );
    listener.line("/delete yes");
    assert_eq!(listener.take("message.delete").parameters, json!({"with": "b", "message": "1"}));
    listener.line("/remove carol yes");
    assert_eq!(listener.take("contact.remove").parameters, json!({"peer": "c"}));
}

#[test]
fn a_friend_is_not_blocked_in_the_place_of_a_stranger_who_just_asked() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.line("/block");
    assert_eq!(listener.told(), "This blocks bob, and ends all talk with them. To do it: /block bob yes");
    assert!(listener.asked.iter().all(|ask| ask.method != "contact.block"));
    listener.line("/block bob yes");
    assert_eq!(listener.take("contact.block").parameters, json!({"peer": "b"}));
    listener.line("/block carol");
    assert_eq!(listener.take("contact.block").parameters, json!({"peer": "c"}));
}

#[test]
fn who_is_accepted_is_named_where_several_ask() {
    let mut listener = Listener::with_contacts(&ENGLISH);
    let asks = |peer: &str, name: &str| json!({"peer": peer, "name": name, "state": "request"});
    listener.event(json!({"type": "contact.request", "peer": "d", "name": "dave d", "text": ""}));
    listener.answer("contact.list", json!([asks("d", "dave d"), asks("e", "eve")]));
    assert_eq!(listener.told(), "dave d asks to be a contact. /accept \"dave d\" or /block \"dave d\"");
    listener.line("/accept");
    assert_eq!(listener.told(), "several ask, add a name: \"dave d\", eve");
}

#[test]
fn lines_wait_for_the_conversation_that_is_being_made() {
    for line in ["/add 7-orchard-velvet dave", "/accept dave"] {
        let mut listener = Listener::with_bob(&ENGLISH, json!([]));
        listener.answer("contact.connect", json!({}));
        listener.event(json!({"type": "contact.request", "peer": "d", "name": "dave", "text": ""}));
        listener.answer("contact.list", json!([{"peer": "d", "name": "dave", "state": "request"}]));
        assert!(listener.teller.takes_lines());
        listener.line(line);
        assert!(!listener.teller.takes_lines(), "{line}");
        let method = if line.starts_with("/add") { "contact.add" } else { "contact.accept" };
        listener.answer(method, json!({"peer": "d", "name": "dave"}));
        assert!(listener.teller.takes_lines(), "{line}");
        listener.line("for your eyes only");
        assert_eq!(listener.take("message.send").parameters["to"], "d");
    }
    let mut refused = Listener::with_bob(&ENGLISH, json!([]));
    refused.line("/add 7-orchard-velvet");
    refused.refuse("contact.add", Refusal::Closed);
    assert!(refused.teller.takes_lines());
}

#[test]
fn the_message_that_was_asked_about_is_deleted_and_no_newer_one() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([message("1", "me", "oh dear")]));
    listener.line("/delete yes");
    assert!(listener.told().starts_with("This deletes \"oh dear\""), "nothing was asked about before");
    listener.event(json!({"type": "sent", "peer": "b", "message": "2", "text": "from elsewhere", "at": NOW}));
    listener.line("/delete yes");
    assert_eq!(listener.take("message.delete").parameters, json!({"with": "b", "message": "1"}));
    listener.line("/delete");
    listener.line("/choose 2");
    listener.told();
    listener.line("/delete yes");
    assert!(listener.told().starts_with("This deletes \"oh dear\""), "another was chosen since");
}

#[test]
fn what_comes_while_the_newest_page_is_under_way_is_told_once_and_behind_it() {
    let said = |id: &str, text: &str| json!({"type": "message", "peer": "b", "name": "bob", "message": id, "text": text, "at": NOW});
    let mut listener = Listener::with_contacts(&ENGLISH);
    listener.line("/go bob");
    listener.event(said("2", "in the page"));
    listener.answer("contact.list", contacts());
    listener.event(said("3", "behind it"));
    assert_eq!(listener.told(), "Conversation with bob, online, direct, 2 unread.");
    listener.answer("message.history", json!([message("1", "b", "older"), message("2", "b", "in the page")]));
    assert_eq!(
        listener.told(),
        "Saturday, 28 November 2026\nbob, 14:02: older\nbob, 14:02: in the page\nbob, 14:02: behind it"
    );
    assert_eq!(listener.take("message.read").parameters, json!({"with": "b", "upto": "3"}));
    listener.line("/go bob");
    listener.event(said("4", "not lost"));
    listener.answer("contact.list", contacts());
    listener.told();
    listener.refuse("message.history", Refusal::Refused { why: "busy".into(), data: Value::Null });
    assert!(listener.told().ends_with("bob, 14:02: not lost"));
}

#[test]
fn the_commands_of_the_full_screen_do_here_what_they_do_there() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.line("/verify");
    assert_eq!(listener.take("contact.words").parameters, json!({"peer": "b"}));
    listener.line("/verify carol ok");
    listener.answer("contact.verify", json!({"peer": "c", "name": "carol", "verified": true}));
    listener.line("/invisible 2");
    assert_eq!(listener.take("presence.set").parameters, json!({"mode": "invisible", "peer": "c"}));
    listener.line("/code");
    listener.answer("contact.code", json!({"code": "7-orchard-velvet", "expires_at": NOW}));
    listener.line("/copy");
    let told = listener.told();
    for part in [
        "carol is verified; another key",
        "Read it to the other, who types: /add 7-orchard-velvet\n",
        "/copy is a command of the full screen alone.",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    listener.line("/whois");
    let told = listener.told();
    assert!(told.starts_with("About bob\nid: b\n") && told.contains("path: direct 203.0.113.5:4711, 23 ms"), "{told}");
}

#[test]
fn every_command_that_is_listed_is_explained() {
    for words in [&ENGLISH, &CHINESE] {
        let mut listener = Listener::with_bob(words, json!([]));
        listener.line("/help");
        let all = listener.told();
        let names: Vec<_> =
            all.split(['/', ' ', ',', '，', '：']).filter(|name| name.len() > 1 && name.is_ascii()).collect();
        assert!(names.contains(&"choose") && names.contains(&"verify") && !names.contains(&"copy"), "{names:?}");
        listener.line("/help whois");
        listener.line("/help /choose");
        let told = listener.told();
        assert!(told.starts_with("/whois [") && told.contains("\n/choose "), "{told}");
    }
}

#[test]
fn a_mistyped_command_is_not_sent_and_a_lacking_one_is_taught() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.line("/quti");
    listener.line("/search");
    listener.line("/help more");
    assert_eq!(
        listener.told(),
        "/quti: no such command; did you mean /quit? // sends a slash\n\
         /search TEXT: tells the newest ten messages in which a text stands.\n/more: tells ten older messages."
    );
    assert!(listener.asked.iter().all(|ask| ask.method != "message.send"));
}

#[test]
fn who_asks_can_be_answered_as_soon_as_that_is_told() {
    let mut listener = Listener::with_contacts(&ENGLISH);
    listener.event(json!({"type": "contact.request", "peer": "d", "name": "dave", "text": "from the club"}));
    assert_eq!(listener.told(), "");
    listener.answer(
        "contact.list",
        json!([{"peer": "d", "name": "dave", "state": "request", "greeting": "from the club"}]),
    );
    assert_eq!(listener.told(), "dave asks to be a contact, and says \"from the club\". /accept dave or /block dave");
    listener.line("/accept");
    assert_eq!(listener.take("contact.accept").parameters["peer"], "d");
}

#[test]
fn who_has_used_our_code_is_told() {
    let mut listener = Listener::with_contacts(&ENGLISH);
    listener.event(json!({"type": "contact.added", "peer": "d", "name": "dave"}));
    listener.answer("contact.list", contacts());
    assert_eq!(listener.told(), "dave is a contact now");
}

#[test]
fn it_ends_when_all_that_was_typed_is_stored() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.line("bye");
    listener.line("/quit");
    assert_eq!(listener.told(), "");
    listener.answer("message.send", json!({"message": "m"}));
    assert_eq!(listener.told(), "Not delivered yet: 1. They are kept, and go on while Knothole runs.\n(it ends)");
}

#[test]
fn lines_wait_until_names_are_known_and_leaving_for_what_was_asked() {
    let mut listener = Listener::new(&ENGLISH);
    assert!(!listener.teller.takes_lines());
    listener.answer("contact.list", contacts());
    assert!(listener.teller.takes_lines());
    listener.line("/mailbox on");
    listener.handle(Input::Ended);
    assert!(!listener.told().contains("(it ends)"));
    listener.answer("mailbox.set", json!({}));
    assert_eq!(listener.told(), "messages may wait at your rendezvous while you are away\n(it ends)");
}

#[test]
fn what_others_wrote_is_harmless_and_does_not_turn_the_line() {
    let mut listener = Listener::with_bob(&ENGLISH, json!([]));
    listener.event(
        json!({"type": "message", "peer": "b", "message": "1", "text": "\u{1b}[2Jשלום\nbob, 14:02: x", "at": NOW}),
    );
    assert_eq!(
        listener.told(),
        "Saturday, 28 November 2026\nbob, 14:02: \u{2068}\u{FFFD}[2Jשלום\u{2069}\n    bob, 14:02: x"
    );
}

#[test]
fn why_a_code_came_to_nothing_is_said_in_the_persons_language() {
    let mut listener = Listener::with_bob(&CHINESE, json!([]));
    let why = "nobody typed the code in time; make another: knothole code";
    listener.event(json!({"type": "contact.code", "state": "failed", "why": why}));
    assert_eq!(listener.told(), "未完成：没有人及时输入口令；再生成一个：/code");
}

#[test]
fn it_speaks_chinese_as_well() {
    let mut listener = Listener::with_bob(&CHINESE, json!([message("1", "b", "你好")]));
    listener.line("/contacts");
    listener.answer("contact.list", contacts());
    assert_eq!(listener.told(), "联系人：2 位。\n1. bob，在线，直连\n2. carol，离线");
    listener.event(json!({"type": "message", "peer": "b", "message": "2", "text": "在吗？", "at": NOW, "reply": "1"}));
    assert_eq!(listener.told(), "bob，14:02，回复“你好”：在吗？");
}
