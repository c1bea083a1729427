//! The program as people use it, in a terminal: what they see, and that nothing they typed is lost.

mod guide;
mod plain;
mod talking;
mod terminal_lab;

use nix::sys::signal::Signal;
use terminal_lab::tmux::Tmux;
use terminal_lab::{Key, LARGE, Program, SMALL, Screen, Size, Terminal, Town, USUAL, Who, golden};

const FAMILY: &str = "👩\u{200D}👩\u{200D}👧";

/// How somebody ends the program.
type End = fn(&Terminal);

fn town() -> Town {
    let town = Town::new(env!("CARGO_BIN_EXE_knothole"));
    // Always the same people, so that they look the same.
    town.identify("alice", 1);
    town.identify("bob", 2);
    town
}

/// The interface, known at the rendezvous: with a conversation, or where nobody is known yet with one's own link.
#[track_caller]
fn open(town: &Town, who: &str, size: Size) -> Terminal {
    let terminal = town.at(who, &["--rendezvous", &town.address()]).start(size);
    terminal.wait_for("it to be registered", |screen| {
        screen.contains("registered") || screen.contains("This is your link")
    });
    terminal
}

/// What stands in the composer, and whether the cursor is in its row.
fn typed(screen: &Screen<'_>) -> Option<String> {
    let line = screen.line(screen.cursor().0);
    screen.shows_cursor().then(|| line.rsplit_once("> ").map_or(String::new(), |(_, text)| text.to_owned()))
}

/// Types into the open conversation, and waits for a mark, which says that it is on the disk.
#[track_caller]
fn say(terminal: &Terminal, text: &str) {
    terminal.enter(text);
    terminal.wait_for(&format!("{text:?} to be sent"), |screen| {
        // It bears a mark from when it is on the disk.
        let kept = |row: &String| row.contains(text) && row.trim_end().ends_with(['~', '>', '✓']);
        typed(screen).is_some_and(|typed| typed.is_empty()) && screen.lines().iter().any(kept)
    });
}

#[track_caller]
fn leave(terminal: &Terminal) {
    terminal.enter("/quit");
    assert_eq!(terminal.wait_exit(), 0);
    assert!(terminal.restored());
}

#[test]
fn from_nothing_to_the_first_message_it_takes_three_commands() {
    let town = town();
    // The first: what both type to start it, each in a terminal of their own.
    let alice = open(&town, "alice", USUAL);
    let bob = open(&town, "bob", SMALL);
    // The second: alice adds the link that bob's screen shows. The third: bob accepts.
    alice.enter(&format!("/add {} bob", town.link("bob")));
    alice.wait_for("bob's conversation", |screen| screen.line(0).contains(" bob"));
    alice.enter("hello, 世界");
    bob.wait_for_text("asks to be a contact");
    bob.enter("/accept");
    bob.wait_for_text("hello, 世界");
    alice.wait_for("it to be read", |screen| screen.lines().iter().any(|line| line.ends_with("✓✓")));
    bob.enter("so it is");
    alice.wait_for_text("so it is");
    leave(&alice);
    leave(&bob);
}

#[test]
fn the_first_screen_is_as_it_is_kept_in_every_size() {
    let town = town();
    let alice = open(&town, "alice", USUAL);
    let link = town.link("alice");
    let port = link.rsplit_once(':').map_or("", |(_, port)| port);
    let veiled = format!("{}PPPPP", link.trim_end_matches(port));
    for size in [USUAL, SMALL, LARGE] {
        alice.resize(size);
        golden::compare(&alice, "first", &[(&link, &veiled)]);
    }
}

/// A conversation in which everything is that is hard to draw.
fn hard(town: &Town) {
    let family = format!("{FAMILY} {FAMILY}{FAMILY} a family|");
    town.tell(
        "alice",
        "bob",
        2,
        &[
            (Who::Them, "plain words"),
            (Who::Me, "世界，你好！世界，你好！世界，你好！世界，你好！世界，你好！世界，你好！世界，你好！"),
            (Who::Them, "e\u{301}a\u{308}o\u{302}\u{323} and 한국어|"),
            (Who::Me, &family),
            (Who::Them, "👍🏽 ❤\u{FE0F} 🇩🇪 1\u{FE0F}\u{20E3}|"),
            (Who::Me, "שלום and back|"),
            (Who::Them, "\x1b[2J\x1b[31mred\x1b]0;title\x07 \u{202E}dlrow\r\u{9b}1A|"),
            (Who::Me, "first line\nsecond line\n\tthird"),
        ],
    );
}

#[test]
fn a_conversation_is_as_it_is_kept_in_every_size() {
    let town = town();
    hard(&town);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("third");
    for size in [USUAL, SMALL, LARGE] {
        alice.resize(size);
        golden::compare(&alice, "conversation", &[]);
    }
}

/// The rows of the conversation that have a mark at the right end have it in the last column, and the border is where it is.
#[track_caller]
fn assert_aligned(terminal: &Terminal, marked: usize) {
    terminal.look(|screen| {
        let Size { rows, columns } = screen.size();
        let border = screen.find("│").map(|(_, column)| usize::from(column));
        let mut marks = 0;
        for row in 0..rows - 1 {
            let cells = screen.cells(row);
            if let Some(border) = border {
                assert_eq!(cells[border], "│", "row {row} of\n{screen}");
            }
            if cells.iter().any(|cell| cell == "✓") {
                marks += 1;
                assert_eq!(cells[usize::from(columns) - 1], "✓", "row {row} of\n{screen}");
            }
        }
        assert_eq!(marks, marked, "{screen}");
    });
}

#[test]
fn wide_characters_marks_and_joined_emoji_stay_in_their_columns() {
    let town = town();
    hard(&town);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("third");
    assert_aligned(&alice, 4);
    // What stands behind clusters is where it is to be, and nothing of them is left over.
    alice.look(|screen| {
        let (row, column) = screen.find("👩").unwrap_or_default();
        let cells = &screen.cells(row)[usize::from(column)..];
        assert_eq!(cells[2..3].concat(), " ", "{screen}");
        let behind: String = cells[7..].concat();
        assert!(behind.starts_with(" a family|"), "{screen}");
        let (row, column) = screen.find("한").unwrap_or_default();
        assert_eq!(screen.cells(row)[usize::from(column)..].concat().trim_end(), "한국어|", "{screen}");
    });
    for size in [LARGE, SMALL, USUAL] {
        alice.resize(size);
        alice.wait_for("the new size", |screen| screen.line(size.rows - 1).contains("registered"));
    }
    alice.wait_for_text("third");
    assert_aligned(&alice, 4);
}

#[test]
fn what_others_write_moves_no_cursor_and_colours_nothing() {
    let town = town();
    hard(&town);
    let alice = open(&town, "alice", USUAL);
    // A picture is whole when the cursor is back in the composer.
    alice.wait_for("the cursor", |screen| screen.contains("third") && screen.cursor().0 == 22);
    alice.look(|screen| {
        let (row, column) = screen.find("\u{FFFD}[2J").unwrap_or_default();
        assert!(screen.line(row).contains("\u{FFFD}[2J\u{FFFD}[31mred\u{FFFD}]0;title\u{FFFD}"), "{screen}");
        let plain = screen.find("plain words").map(|(row, column)| screen.cell(row, column).fgcolor());
        for column in column..screen.size().columns {
            assert_eq!(Some(screen.cell(row, column).fgcolor()), plain, "{screen}");
        }
    });
    let written = String::from_utf8_lossy(&alice.written()).into_owned();
    for sequence in ["\x1b[2J\x1b[31m", "\x1b]0;title", "\u{202E}", "\u{9b}"] {
        assert!(!written.contains(sequence), "{sequence:?}");
    }
    assert_eq!(alice.bells(), 0);
}

#[test]
fn a_draft_outlives_other_conversations_and_every_end() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    town.tell("alice", "carol", 3, &[(Who::Them, "from carol")]);
    let mut alice = open(&town, "alice", USUAL);
    let has = |text: &str| {
        let text = text.to_owned();
        move |screen: &Screen<'_>| typed(screen).as_deref() == Some(&text)
    };
    alice.wait_for_text("2 - carol");
    alice.press(Key::Alt('2'));
    alice.wait_for_text("from carol");
    alice.type_text("to carol, 草稿");
    alice.wait_for("the draft", has("to carol, 草稿"));
    alice.press(Key::Alt('1'));
    alice.wait_for("another conversation", |screen| screen.contains("well?") && has("")(screen));
    alice.type_text("to bob");
    let ends: [(&str, End); 3] = [
        ("quit", |terminal| {
            // From a conversation in which nothing is begun.
            terminal.press(Key::Alt('1'));
            terminal.wait_for("bob's conversation", |screen| screen.contains("well?"));
            terminal.press(Key::Ctrl('u'));
            terminal.enter("/quit");
        }),
        ("SIGTERM", Terminal::terminate),
        ("kill -9", Terminal::kill),
    ];
    for (how, end) in ends {
        alice.wait_for_text("2 - carol");
        alice.press(Key::Alt('2'));
        alice.wait_for("the draft to carol", has("to carol, 草稿"));
        end(&alice);
        alice.wait_exit();
        assert_eq!(alice.restored(), how != "kill -9", "{how}");
        alice = open(&town, "alice", USUAL);
    }
}

#[test]
fn the_shell_has_the_terminal_after_ctrl_z_and_fg_brings_the_screen_back() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let shell = Program::new("/bin/bash", &town.person("alice")).with("KNOTHOLE_HOME", town.knothole("alice"));
    let shell = shell.with("PS1", "shell> ").arguments(["--norc", "--noprofile", "-i"]).start(USUAL);
    shell.wait_for_text("shell>");
    shell.enter(&format!("'{}' --rendezvous '{}'", env!("CARGO_BIN_EXE_knothole"), town.address()));
    shell.wait_for_text("well?");
    shell.press(Key::Ctrl('l'));
    shell.type_text("half");
    shell.wait_for("what is typed", |screen| typed(screen).as_deref() == Some("half"));
    shell.press(Key::Ctrl('z'));
    shell.wait_for("the shell", |screen| !screen.is_alternate() && screen.contains("Stopped"));
    shell.resize(LARGE);
    shell.enter("fg");
    shell.wait_for("the screen in its new size", |screen| {
        screen.is_alternate() && screen.contains("well?") && typed(screen).as_deref() == Some("half")
    });
    shell.look(|screen| assert_eq!(screen.cursor().0, LARGE.rows - 2, "{screen}"));
    shell.press(Key::Ctrl('u'));
    shell.enter("/quit");
    let prompts = |screen: &Screen<'_>| !screen.is_alternate() && screen.line(screen.cursor().0) == "shell>";
    shell.wait_for("the shell", prompts);
    shell.enter("exit");
    assert_eq!(shell.wait_exit(), 0);
}

#[test]
fn what_was_sent_outlives_a_kill() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("well?");
    say(&alice, "this is kept");
    alice.kill();
    alice.wait_exit();
    let alice = open(&town, "alice", USUAL);
    alice.wait_for("all that was said", |screen| screen.contains("well?") && screen.contains("this is kept"));
    // Sound, as the exit code says.
    town.done("alice", &["check"]);
}

#[test]
fn the_terminal_is_given_back_after_every_end() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let ends: [(&str, End); 4] = [
        ("/quit", |terminal| _ = terminal.enter("/quit")),
        ("Ctrl-D", |terminal| _ = terminal.press(Key::Ctrl('d'))),
        ("SIGTERM", Terminal::terminate),
        ("SIGINT", |terminal| terminal.signal(Signal::SIGINT)),
    ];
    for (how, end) in ends {
        let alice = open(&town, "alice", USUAL);
        alice.wait_for_text("well?");
        assert!(!alice.restored() && alice.look(|screen| screen.is_alternate() && screen.takes_pastes()), "{how}");
        assert!(!alice.look(|screen| screen.takes_mouse()), "the mouse is the terminal's");
        // Ctrl-C is a key here, and ends nothing.
        alice.press(Key::Ctrl('c'));
        alice.wait_for_text("/quit");
        end(&alice);
        assert_eq!(alice.wait_exit(), 0, "{how}");
        assert!(alice.restored(), "{how}: {}", alice.look(|screen| screen.to_string()));
        assert_eq!(alice.screen().concat(), "", "{how} leaves the screen as it was");
    }
}

#[test]
fn many_pasted_lines_are_not_sent_at_once() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("well?");
    let lines: Vec<_> = (1..=40).map(|n| format!("line {n}")).collect();
    alice.paste(&lines.join("\r"));
    alice.wait_for("the guard or the text", |screen| screen.contains("40 lines") || screen.contains("line 40"));
    alice.press(Key::Escape);
    leave_whatever_is_typed(&alice);
    assert!(!town.done("alice", &["history", "bob"]).contains("line 1"));
}

/// Ends it with something typed.
#[track_caller]
fn leave_whatever_is_typed(terminal: &Terminal) {
    terminal.terminate();
    assert_eq!(terminal.wait_exit(), 0);
}

#[test]
fn no_color_means_none() {
    let town = town();
    hard(&town);
    let alice = town.at("alice", &["--rendezvous", &town.address()]).with("NO_COLOR", "1").start(USUAL);
    alice.wait_for_text("registered");
    alice.wait_for_text("third");
    leave(&alice);
    let written = String::from_utf8_lossy(&alice.written()).into_owned();
    // `ESC [ … m`, of which only attributes and the way back to the usual colours remain.
    for sequence in written.split("\x1b[").skip(1) {
        let parameters = sequence.find(|c: char| !c.is_ascii_digit() && c != ';' && c != ':').unwrap_or(0);
        if sequence[parameters..].starts_with('m') {
            let colours = |parameter: &str| {
                let number = parameter.parse().unwrap_or(0);
                matches!(number, 30..=38 | 40..=48 | 90..=107)
            };
            assert!(!sequence[..parameters].split([';', ':']).any(colours), "{:?}", &sequence[..=parameters]);
        }
    }
}

#[test]
fn tmux_shows_the_same_from_the_first_run_on() {
    if !Tmux::installed() {
        return;
    }
    let town = town();
    let alice = town.at("alice", &["--rendezvous", &town.address()]).in_tmux(USUAL);
    alice.wait_for_text("This is your link");
    let bob = open(&town, "bob", SMALL);
    alice.enter(&format!("/add {} bob", town.link("bob")));
    alice.wait_for("bob's conversation", |screen| screen.lines().next().is_some_and(|line| line.contains(" bob")));
    alice.enter(&format!("hello, 世界 {FAMILY}|"));
    bob.wait_for_text("asks to be a contact");
    bob.enter("/accept");
    bob.wait_for_text("hello, 世界");
    let screen = alice.wait_for("it to be read", |screen| screen.lines().any(|line| line.ends_with("✓✓")));
    assert!(screen.lines().any(|line| line.contains("hello, 世界") && line.contains('|')), "{screen}");
    alice.enter("/quit");
    assert!(!alice.wait_exit().contains("F1 help"), "the screen is as it was");
}

#[test]
fn line_mode_leaves_the_terminal_as_it_was() {
    let town = town();
    town.introduce("alice", "bob");
    let alice = town.at("alice", &["--rendezvous", &town.address(), "chat", "bob"]).start(USUAL);
    alice.wait_for_text("type a line to send it");
    alice.enter("a word");
    alice.wait_for("the line", |screen| screen.contains("a word"));
    alice.enter("/quit");
    assert_eq!(alice.wait_exit(), 0);
    assert!(alice.restored());
    assert!(town.done("alice", &["history", "bob"]).contains("a word"));
}

#[test]
fn lines_are_broken_with_alt_enter_and_sent_with_enter_as_one_message() {
    let town = town();
    town.introduce("alice", "bob");
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("bob");
    // No terminal needs more than these bytes: ESC CR, ESC b, and 0x1f for Ctrl-/ and Ctrl-_.
    alice.type_text("one\x1b\rtwo four\x1bb");
    alice.wait_for("two lines", |screen| screen.lines().iter().any(|line| line.ends_with("  two four")));
    alice.type_text("three \x1f");
    alice.paste("and\r\nmore ");
    alice.wait_for_text("more four");
    alice.press(Key::Enter);
    alice.wait_for_text("3 lines");
    alice.press(Key::Enter);
    alice.wait_for("an empty line", |screen| typed(screen).is_some_and(|typed| typed.is_empty()));
    leave(&alice);
    let told = town.done("alice", &["--json", "history", "bob"]);
    assert!(told.contains(r"one\ntwo and\nmore four"), "{told}");
}

#[test]
fn an_emoji_of_several_is_one_step_and_one_backspace() {
    let town = town();
    town.introduce("alice", "bob");
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("bob");
    alice.type_text(&format!("a{FAMILY}b:cat:\t|"));
    alice.wait_for_text("🐱|");
    alice.type_text("\x7f\x7f\x1b[D\x7f");
    alice.wait_for("two letters", |screen| typed(screen).is_some_and(|typed| typed == "ab"));
    alice.press(Key::Ctrl('d'));
    alice.wait_for("one letter", |screen| typed(screen).is_some_and(|typed| typed == "a"));
    alice.enter("\x7f/q\t");
    assert_eq!(alice.wait_exit(), 0);
}

#[test]
fn alt_enter_and_control_slash_arrive_through_tmux() {
    if !Tmux::installed() {
        return;
    }
    let town = town();
    town.introduce("alice", "bob");
    let alice = town.at("alice", &["--rendezvous", &town.address()]).in_tmux(USUAL);
    alice.wait_for_text("bob");
    alice.type_text("one");
    alice.press("M-Enter");
    alice.type_text("two four");
    alice.press("C-/");
    alice.wait_for("the word before", |screen| screen.lines().any(|line| line.ends_with("  two")));
    alice.press("C-_");
    alice.press("M-BSpace");
    alice.wait_for("the first line", |screen| screen.lines().any(|line| line.ends_with("│>")));
}

#[test]
fn a_new_size_keeps_what_is_typed_and_the_cursor() {
    let town = town();
    town.tell("alice", "bob", 2, &[(Who::Them, "well?")]);
    let alice = open(&town, "alice", USUAL);
    alice.wait_for_text("well?");
    alice.type_text("half a 世界 th");
    alice.press(Key::Left);
    alice.press(Key::Left);
    let at = |text: &str| {
        let text = text.to_owned();
        move |screen: &Screen<'_>| {
            let before = screen.find("half").map(|(row, column)| (row, column + 12));
            typed(screen).as_deref() == Some(&text) && before == Some(screen.cursor())
        }
    };
    alice.wait_for("what is typed", at("half a 世界 th"));
    for (size, letter) in [(SMALL, 'e'), (LARGE, 'i'), (USUAL, 'r')] {
        alice.resize(size);
        alice.wait_for("the new size", |screen| screen.line(size.rows - 1).contains("registered"));
        alice.press(Key::Char(letter));
        alice.press(Key::Left);
        let text = match letter {
            'e' => "half a 世界 eth",
            'i' => "half a 世界 ieth",
            _ => "half a 世界 rieth",
        };
        alice.wait_for("what is typed and the cursor in it", at(text));
    }
}

#[test]
fn a_home_that_knows_nothing_is_led_to_its_link_and_remembers_the_way() {
    let town = town();
    let alice = town.at("alice", &[]).start(USUAL);
    alice.wait_for_text("Welcome to Knothole");
    alice.enter("nonsense");
    alice.wait_for_text("an address looks like");
    alice.press(Key::Ctrl('u'));
    alice.enter(&town.address());
    alice.wait_for_text("This is your link");
    let link = town.link("alice");
    assert!(alice.look(|screen| screen.contains(&link[..80])), "the link is on the screen");
    leave(&alice);
    // From now on nothing is asked.
    let alice = town.at("alice", &[]).start(SMALL);
    alice.wait_for_text("This is your link");
    leave(&alice);
}

#[test]
fn a_friends_link_alone_leads_from_nothing_to_a_conversation() {
    let town = town();
    let bob = open(&town, "bob", USUAL);
    let alice = town.at("alice", &[]).start(USUAL);
    alice.wait_for_text("Welcome to Knothole");
    alice.enter(&format!("{} bob", town.link("bob")));
    alice.wait_for("bob's conversation", |screen| screen.line(0).contains(" bob"));
    alice.enter("hello");
    bob.wait_for_text("asks to be a contact");
    bob.enter("/accept");
    bob.wait_for_text("hello");
    leave(&alice);
    leave(&bob);
}
