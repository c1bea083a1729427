use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use knothole_proto::identity::PeerId;

use super::*;
use crate::mailbox::KeptLetter;

fn owner(n: u8) -> PeerId {
    PeerId::new([n; 32])
}

fn name(n: u8) -> Order {
    Order::Name { owner: owner(n), key: [n; 16], seen_s: 1_000, fresh: true, senders: vec![7, u64::MAX] }
}

fn letter(id: u64) -> KeptLetter {
    KeptLetter { id, sender: u64::MAX, mark: id << 60, at_s: 1_000 + id, length: 500, emptied: false }
}

fn store(n: u8, id: u64) -> Order {
    Order::Store { owner: owner(n), letter: letter(id), envelope: vec![id as u8; 500] }
}

/// Does orders as the thread would.
fn obey(database: &Connection, orders: &[Order]) -> Vec<Done> {
    settle(database, &mut orders.to_vec())
}

#[test]
fn what_was_stored_is_there_after_a_kill_and_what_was_destroyed_is_not() {
    let state = tempfile::tempdir().unwrap();
    let (database, contents) = file::open(state.path()).unwrap();
    assert_eq!(contents, Contents::default());
    let done = obey(&database, &[name(1), store(1, 1), store(1, 2), store(1, 3), name(2), store(2, 4)]);
    assert_eq!(done.len(), 6);
    obey(
        &database,
        &[
            Order::Empty { letters: vec![3] },
            Order::Destroy { letters: vec![2] },
            Order::Close { owner: owner(2), letters: vec![4] },
        ],
    );
    // The files as a kill leaves them: no thread of ours gets to tidy them.
    let killed = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(state.path()).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, killed.path().join(path.file_name().unwrap())).unwrap();
    }
    let (database, contents) = file::open(killed.path()).unwrap();
    let [mailbox] = &contents.mailboxes[..] else { panic!("{contents:?}") };
    assert_eq!((mailbox.owner, mailbox.key, mailbox.seen_s), (owner(1), [1; 16], 1_000));
    assert_eq!(mailbox.senders.len(), 2);
    assert_eq!(mailbox.letters, [letter(1), KeptLetter { emptied: true, ..letter(3) }]);
    assert_eq!(contents.last_letter, 4, "no id is used again");
    let fetched = obey(&database, &[3, 2].map(|letter| Order::Fetch { owner: owner(1), letter }));
    let held = |letter, envelope| Done::Fetched { owner: owner(1), letter, envelope };
    assert_eq!(fetched, [held(3, Some(vec![0; 500])), held(2, None)]);
}

#[test]
fn the_file_is_private_and_a_destroyed_letter_leaves_no_trace_in_any_file() {
    let state = tempfile::tempdir().unwrap();
    let (disk, _, end) = Disk::open(state.path()).unwrap();
    let secret = b"an envelope that can be recognised".repeat(20);
    disk.order(name(1));
    disk.order(Order::Store { owner: owner(1), letter: letter(1), envelope: secret.clone() });
    disk.order(Order::Destroy { letters: vec![1] });
    drop(disk);
    end.blocking_recv().unwrap();
    let mut files = 0;
    for entry in fs::read_dir(state.path()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{path:?}");
        let bytes = fs::read(&path).unwrap();
        assert!(!bytes.windows(34).any(|window| window == &secret[..34]), "{path:?}");
        files += 1;
    }
    assert_eq!(files, 1);
}

#[test]
fn a_full_disk_fails_what_needs_room_takes_what_destroys_and_recovers() {
    let state = tempfile::tempdir().unwrap();
    let (database, _) = file::open(state.path()).unwrap();
    obey(&database, &[name(1)]);
    let pages: i64 = database.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    database.pragma_update_and_check(None, "max_page_count", pages + 4, |_| Ok(())).unwrap();
    let done = obey(&database, &(1..=64).map(|id| store(1, id)).collect::<Vec<_>>());
    let is_kept = |done: &&Done| matches!(done, Done::Stored { failed: None, .. });
    let kept = done.iter().filter(is_kept).count();
    assert!((8..64).contains(&kept), "{kept}");
    let failed = done.iter().find(|done| !is_kept(done)).unwrap();
    assert!(matches!(failed, Done::Stored { failed: Some(envelope), .. } if envelope.len() == 500), "it is given back");
    let stored: i64 = database.query_row("SELECT count(*) FROM letter", [], |row| row.get(0)).unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), kept, "what was said is true");
    let destroyed = Order::Destroy { letters: (1..=20).collect() };
    assert_eq!(obey(&database, &[destroyed]), [Done::Obeyed]);
    assert!(is_kept(&&obey(&database, &[store(1, 65)])[0]));
}

#[test]
fn foreign_newer_and_damaged_files_and_a_second_process_are_told_what_to_do() {
    let state = tempfile::tempdir().unwrap();
    let path = state.path().join(file::FILE);
    let refused = || file::open(state.path()).map(drop).unwrap_err().to_string();

    fs::write(&path, b"a letter to the editor, long enough to be no empty database").unwrap();
    assert!(refused().contains("is damaged: put your copy of it back"), "{}", refused());

    fs::remove_file(&path).unwrap();
    let foreign = Connection::open(&path).unwrap();
    foreign.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(foreign);
    assert!(refused().contains("move it away"), "{}", refused());

    fs::remove_file(&path).unwrap();
    let (database, _) = file::open(state.path()).unwrap();
    assert!(refused().contains("does another rendezvous run"), "{}", refused());
    obey(&database, &[name(1)]);
    obey(&database, &(1..200).map(|id| store(1, id)).collect::<Vec<_>>());
    file::empty_log(&database);
    drop(database);

    let sound = fs::read(&path).unwrap();
    let mut damaged = sound.clone();
    damaged[3 * 4096..6 * 4096].fill(0x5a);
    fs::write(&path, damaged).unwrap();
    assert!(refused().contains("damaged"), "{}", refused());

    fs::write(&path, &sound).unwrap();
    assert_eq!(file::open(state.path()).unwrap().1.mailboxes[0].letters.len(), 199);
    let database = Connection::open(&path).unwrap();
    database.pragma_update(None, "user_version", 9).unwrap();
    drop(database);
    assert!(refused().contains("version 9"), "{}", refused());
}
