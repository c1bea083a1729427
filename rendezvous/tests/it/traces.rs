//! What is left of a sender: nothing, once it has gone. And what is left of a letter: it, whatever happens to the process. The
//! real program, its memory and its files (Linux: it reads /proc); docs/security.md, "What a rendezvous learns".
#![cfg(target_os = "linux")]
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a test of a process: it has sockets, files and a clock, and fails by panicking"
)]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::time::{Duration, Instant};

use crate::running::{Person, Program};
use knothole_proto::control::{LetterName, Posted, ToPeer, ToRendezvous, Watched};
use knothole_proto::identity::PeerId;
use nix::sys::signal::Signal;

/// How long a trace may outlive its sender's goodbye: QUIC keeps a closed connection for three probe timeouts, and threads
/// come to rest within moments.
const PATIENCE: Duration = Duration::from_secs(20);

/// Eight bytes each, anywhere: a piece of a key would tell whose it was. The text is searched for as a whole.
struct Needles(Vec<(&'static str, Vec<u8>)>);

impl Needles {
    fn of(peer: PeerId, text: &[u8]) -> Self {
        let pieces = peer.as_bytes().chunks(8).map(|piece| ("the sender's key", piece.to_vec()));
        let base32 = peer.to_string().into_bytes();
        let pieces = pieces.chain(base32.chunks(13).map(|piece| ("the sender's key as text", piece.to_vec())));
        Self(pieces.chain([("the text", text.to_vec())]).collect())
    }

    /// What of it is in there.
    fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        const PAGE: usize = 4096;
        let mut begins = [false; 256];
        self.0.iter().for_each(|(_, needle)| begins[usize::from(needle[0])] = true);
        let mut found = Vec::new();
        for (n, page) in bytes.chunks(PAGE).enumerate() {
            // Most of it, and told at once.
            if page.iter().all(|byte| *byte == 0) {
                continue;
            }
            for at in (n * PAGE..).take(page.len()).filter(|at| begins[usize::from(bytes[*at])]) {
                let hits = self.0.iter().filter(|(_, needle)| bytes[at..].starts_with(needle));
                found.extend(hits.map(|(what, _)| format!("{what} in {place} at {at:#x}")));
            }
        }
        found
    }

    /// What of it is in the process' writable memory and in the files below a directory.
    fn found(&self, program: &Program, state: &Path) -> Vec<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", program.id())).unwrap();
        let mut memory = File::open(format!("/proc/{}/mem", program.id())).unwrap();
        let mut found = Vec::new();
        for line in maps.lines() {
            let mut words = line.split_whitespace();
            let (range, mode) = (words.next().unwrap(), words.next().unwrap());
            if !mode.starts_with("rw") || line.contains("[v") {
                continue;
            }
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|address| u64::from_str_radix(address, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            memory.seek(SeekFrom::Start(from)).unwrap();
            // A thread that ends takes its stack along.
            if memory.read_exact(&mut bytes).is_ok() {
                found.extend(self.found_in(line, &bytes));
            }
        }
        for entry in fs::read_dir(state).unwrap() {
            let path = entry.unwrap().path();
            found.extend(self.found_in(&path.display().to_string(), &fs::read(&path).unwrap()));
        }
        found
    }
}

async fn gone(needles: &Needles, program: &Program, state: &Path) {
    let start = Instant::now();
    loop {
        let found = needles.found(program, state);
        if found.is_empty() {
            return;
        }
        assert!(start.elapsed() < PATIENCE, "{}", found.join("\n"));
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_sender_that_has_gone_leaves_neither_its_key_nor_its_text_in_memory_or_on_disk() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    let mut carol = Person::sign_in(&program, 3).await;
    // Like any other key, of bytes that nobody has by chance.
    let mut alice = Person::sign_in(&program, 77).await;
    let text = b"meet me at the knothole at nine, and bring the lantern";
    let needles = Needles::of(alice.id, text);
    assert_ne!(needles.found(&program, state.path()), [] as [String; 0], "the search finds who is there");

    assert!(bob.opens_mailbox(&[alice.id, carol.id]).await);
    bob.leave().await;
    for (to, outcome) in [(bob.id, Posted::Kept), (carol.id, Posted::Passed)] {
        // What is sealed looks like chance.
        let envelope: Vec<u8> = text.iter().map(|byte| byte.wrapping_mul(167) ^ 0xa5).collect();
        assert_eq!(alice.posts(to, LetterName([1; 8]), envelope).await, outcome);
    }
    assert!(matches!(carol.hear().await, ToPeer::Letter { id: None, from: Some(from), .. } if from == alice.id));
    alice.say(ToRendezvous::Watch { unseen: false, peers: vec![Watched { peer: bob.id, shown: true }] }).await;
    alice.leave().await;
    gone(&needles, &program, state.path()).await;

    program.end(Signal::SIGTERM);
    let program = Program::start(state.path(), "127.0.0.1:0");
    gone(&needles, &program, state.path()).await;
    alice.come_back(&program).await;
    assert_eq!(alice.posts(bob.id, LetterName([2; 8]), vec![1; 90]).await, Posted::Kept);
    alice.leave().await;
    gone(&needles, &program, state.path()).await;
    let mut bob = Person::sign_in(&program, 2).await;
    assert!(matches!(bob.hear().await, ToPeer::Letter { id: Some(_), from: None, .. }));
    gone(&needles, &program, state.path()).await;
    program.end(Signal::SIGTERM);
}

/// Its registration ends by itself, after three intervals.
#[tokio::test]
async fn a_sender_that_never_said_goodbye_leaves_nothing_once_its_registration_has_ended() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    let mut alice = Person::sign_in_for(&program, 78, 2).await;
    assert!(bob.opens_mailbox(&[alice.id]).await);
    assert_eq!(alice.posts(bob.id, LetterName([1; 8]), vec![1; 90]).await, Posted::Passed);
    gone(&Needles::of(alice.id, b"no text at all"), &program, state.path()).await;
    program.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_was_said_to_be_kept_survives_kills_and_what_was_collected_does_not_come_back() {
    let state = tempfile::tempdir().unwrap();
    let mut program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    assert!(bob.opens_mailbox(&[Person::key(1)]).await);
    bob.leave().await;
    let mut sent: Vec<u8> = Vec::new();
    for round in 0..4 {
        let mut alice = Person::sign_in(&program, 1).await;
        for n in round * 10..(round + 1) * 10 {
            assert_eq!(alice.posts(bob.id, LetterName([n; 8]), vec![n; 700]).await, Posted::Kept);
            sent.push(n);
        }
        program.end(Signal::SIGKILL);
        program = Program::start(state.path(), "127.0.0.1:0");
    }
    let mut bob = Person::sign_in(&program, 2).await;
    let mut ids = Vec::new();
    for n in &sent {
        let ToPeer::Letter { id: Some(id), from: None, envelope } = bob.hear().await else { panic!("a letter") };
        assert_eq!(envelope, vec![*n; 700]);
        ids.push(id);
    }
    bob.say(ToRendezvous::Collected { letters: ids[..30].to_vec() }).await;
    // An answer to what comes after it in the same queue: the letters are destroyed.
    assert!(bob.opens_mailbox(&[Person::key(1)]).await);
    program.end(Signal::SIGKILL);
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    for id in &ids[30..] {
        let ToPeer::Letter { id: again, .. } = bob.hear().await else { panic!("a letter") };
        assert_eq!(again, Some(*id));
    }
    assert!(bob.opens_mailbox(&[Person::key(1)]).await, "and no further letter before the answer");
    program.end(Signal::SIGTERM);
}

#[tokio::test]
async fn what_was_passed_to_somebody_who_is_silent_survives_a_shutdown() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    assert!(bob.opens_mailbox(&[Person::key(1)]).await);
    let mut alice = Person::sign_in(&program, 1).await;
    for n in 0..10 {
        assert_eq!(alice.posts(bob.id, LetterName([n; 8]), vec![n; 700]).await, Posted::Passed);
    }
    // Of Bob nothing is heard any more.
    program.end(Signal::SIGTERM);
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    for n in 0..10 {
        let heard = bob.hear().await;
        assert!(
            matches!(&heard, ToPeer::Letter { id: Some(_), envelope, .. } if *envelope == vec![n; 700]),
            "{heard:?}"
        );
    }
    program.end(Signal::SIGTERM);
}

#[tokio::test]
async fn a_disk_that_takes_no_more_returns_letters_and_has_every_one_that_was_said_to_be_kept() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start_confined(state.path(), "127.0.0.1:0", 300);
    let mut bob = Person::sign_in(&program, 2).await;
    assert!(bob.opens_mailbox(&[Person::key(1), Person::key(3)]).await);
    bob.leave().await;
    let mut kept = 0;
    for sender in [1, 3] {
        let mut alice = Person::sign_in(&program, sender).await;
        for n in 0..128 {
            let outcome = alice.posts(bob.id, LetterName([n; 8]), vec![n; 1024]).await;
            kept += usize::from(outcome == Posted::Kept);
        }
    }
    assert!((16..256).contains(&kept), "{kept}");
    program.end(Signal::SIGKILL);
    let program = Program::start(state.path(), "127.0.0.1:0");
    let mut bob = Person::sign_in(&program, 2).await;
    for _ in 0..kept {
        assert!(matches!(bob.hear().await, ToPeer::Letter { id: Some(_), .. }));
    }
    assert!(bob.opens_mailbox(&[Person::key(1)]).await, "and no further letter before the answer");
    program.end(Signal::SIGTERM);
}

#[tokio::test]
async fn with_a_size_of_0_there_are_no_mailboxes_and_no_file() {
    let state = tempfile::tempdir().unwrap();
    let program = Program::start_with(state.path(), "127.0.0.1:0", &["--mailbox-size", "0"]);
    let mut bob = Person::sign_in(&program, 2).await;
    assert!(!bob.opens_mailbox(&[Person::key(1)]).await);
    program.end(Signal::SIGTERM);
    assert!(!state.path().join("mailbox.db").exists());
}
