use super::*;
use crate::terminal::words::{CHINESE, ENGLISH};

const KEY: &str = "bfytiz5zofaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

fn link() -> String {
    format!("knothole:{KEY}?via={KEY}@rendezvous.example:3478")
}

fn parsed(text: &str) -> Typed {
    parse(text, &ENGLISH)
}

fn understood(text: &str) -> Command {
    match parsed(text) {
        Typed::Command(command) => command,
        other => panic!("{text}: {other:?}"),
    }
}

fn wrong(text: &str) -> String {
    match parsed(text) {
        Typed::Wrong(why) => why,
        other => panic!("{text}: {other:?}"),
    }
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[test]
fn a_slash_makes_a_command_and_two_make_one_slash() {
    assert_eq!(parsed("hello"), Typed::Text("hello".into()));
    assert_eq!(parsed("//etc/hosts"), Typed::Text("/etc/hosts".into()));
    assert_eq!(parsed(" /quit"), Typed::Text(" /quit".into()));
    assert_eq!(understood("/QUIT"), Command::Quit);
    assert!(wrong("/quti").contains("/quit"));
    assert!(wrong("/etc/hosts").contains("//"));
    assert!(wrong("/").contains("/help"));
}

#[test]
fn every_command_of_the_table_has_a_meaning() {
    let link = link();
    let add = format!("/add {link} bob --relay");
    let lines = [
        "/accept bob",
        &add,
        "/block bob",
        "/code bob",
        "/contacts",
        "/copy",
        "/delete",
        "/edit it was",
        "/go bob",
        "/help add",
        "/invisible bob",
        "/link",
        "/mailbox on",
        "/netcheck",
        "/online bob",
        "/path relay bob",
        "/quit",
        "/react 👍",
        "/remove bob",
        "/rename bob rob",
        "/reply yes",
        "/search nonsense",
        "/setup",
        "/timer 1d",
        "/verify bob ok",
        "/whois bob",
    ];
    for listed in TABLE {
        let line = lines.iter().find(|line| line[1..].split(' ').next() == Some(listed.name));
        understood(line.unwrap_or_else(|| panic!("/{} is not tried here", listed.name)));
    }
}

#[test]
fn names_with_spaces_stand_in_quotation_marks() {
    assert_eq!(understood("/go \"Anna Maria\""), Command::Go { name: "Anna Maria".into() });
    assert_eq!(understood("/whois “安 娜”"), Command::Whois { name: some("安 娜") });
    assert_eq!(
        understood("/rename \"Anna Maria\" \"the queen\""),
        Command::Rename { name: some("Anna Maria"), new: "the queen".into() }
    );
    assert_eq!(understood("/rename Anna"), Command::Rename { name: None, new: "Anna".into() });
    assert!(wrong("/go Anna Maria").contains("in quotes"));
    assert!(wrong("/go \"Anna").contains("closed"));
}

#[test]
fn links_and_codes_are_looked_at_before_anything_is_tried() {
    let link = link();
    let added = |name: Option<&str>, relay| Command::Add { link: link.clone(), name: name.map(str::to_owned), relay };
    assert_eq!(understood(&format!("/add {link}")), added(None, false));
    assert_eq!(understood(&format!("/add {link} bob --relay")), added(Some("bob"), true));
    assert_eq!(understood(&format!("/add --relay {link} \"b o b\"")), added(Some("b o b"), true));
    let (left, right) = link.split_at(80);
    assert_eq!(understood(&format!("/add {left}\n{right} bob")), added(Some("bob"), false));
    let code = |link: &str, name| Command::Add { link: link.into(), name, relay: false };
    assert_eq!(understood("/add 7-orchard-velvet bob"), code("7-orchard-velvet", some("bob")));
    assert_eq!(understood("/add 7 orchard velvet"), code("7 orchard velvet", None));
    for (text, told) in [
        ("/add", "/add LINK"),
        ("/add bob", "knothole:"),
        ("/add knothole:abc?via=x", "damaged"),
        (&format!("/add knothole:{KEY}"), "via"),
        (&format!("/add knothole:{KEY}?via={KEY}@"), "<host>"),
        ("/add 7-orchard", "7-orchard-velvet"),
        ("/add 7-orchard-vxlvtt", "vxlvtt"),
    ] {
        assert!(wrong(text).contains(told), "{text}: {}", wrong(text));
    }
}

#[test]
fn what_is_wrong_or_missing_is_told_by_how_it_goes() {
    for (text, told) in [
        ("/mailbox", "/mailbox on|off"),
        ("/mailbox maybe", "/mailbox on|off"),
        ("/path bob", "/path any|relay"),
        ("/timer", "/timer SPAN|off"),
        ("/timer soon", "soon is no time"),
        ("/react", "/react EMOJI"),
        ("/react yes", "yes is no emoji"),
        ("/reply", "/reply TEXT"),
        ("/edit  ", "/edit TEXT"),
        ("/link now", "stands alone"),
        ("/accept one two", "[NAME]"),
        ("/help xyzzy", "no such command"),
    ] {
        assert!(wrong(text).contains(told), "{text}: {}", wrong(text));
    }
    assert!(matches!(parse("/timer soon", &CHINESE), Typed::Wrong(why) if why.contains("不是时长")));
}

#[test]
fn the_arguments_are_what_they_look_like() {
    assert_eq!(understood("/timer off"), Command::Timer { seconds: None });
    assert_eq!(understood("/timer 1d"), Command::Timer { seconds: Some(86_400) });
    assert_eq!(understood("/path any"), Command::Path { relay: false, name: None });
    assert_eq!(understood("/verify ok"), Command::Verify { name: None, same: true });
    assert_eq!(understood("/verify \"ok\""), Command::Verify { name: some("ok"), same: false });
    assert_eq!(understood("/verify bob OK"), Command::Verify { name: some("bob"), same: true });
    assert_eq!(understood("/react :thumbsup:"), Command::React { emoji: "👍".into() });
    assert_eq!(understood("/reply  \"yes\", she said"), Command::Reply { text: "\"yes\", she said".into() });
    assert_eq!(understood("/help /verify"), Command::Help { command: Some("verify") });
    assert_eq!(understood("/invisible"), Command::Presence { visible: false, name: None });
}
