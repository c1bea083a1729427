use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;
use crate::passphrase;
use crate::store::{Position, Store};

const BOB: PeerId = PeerId::new([2; 32]);

fn empty() -> (TempDir, Home) {
    let directory = tempfile::tempdir().unwrap();
    let home = Home::open(Some(directory.path().join("home"))).unwrap();
    (directory, home)
}

fn id(n: u8) -> MessageId {
    MessageId([n; 16])
}

/// A home with a conversation, in which one message is acknowledged and one is not.
async fn lived_in() -> (TempDir, Home, Store) {
    let (directory, home) = empty();
    home.identity().unwrap();
    home.put("config.toml", b"keepalive = \"strict\"\n").unwrap();
    let store = Store::open_in(&home).unwrap();
    store.add(BOB, Some("Bob".into()), vec![]).await.unwrap();
    let first = store.compose(BOB, id(1), "arrived".to_owned().into(), 0).await.unwrap();
    store.acknowledged(BOB, first).await.unwrap();
    store.compose(BOB, id(2), "on its way".to_owned().into(), 0).await.unwrap();
    store.receive(BOB, Position { log: 7, number: 1 }, id(3), "金の斧".to_owned().into(), 0).await.unwrap();
    store.set_setting("kept", vec![1]).await.unwrap();
    (directory, home, store)
}

async fn backup(home: &Home, store: &Store) -> PathBuf {
    let path = home.path().parent().unwrap().join("backup");
    export(home, store.snapshot().await.unwrap(), &path, "copy").unwrap();
    path
}

fn restored(path: &Path, passphrase: &str) -> Result<(TempDir, Home), BackupError> {
    let (directory, home) = empty();
    let lock = home.engine_lock().unwrap().unwrap();
    let outcome = import(&home, &lock, path, passphrase);
    if outcome.is_err() {
        let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
        assert_eq!(left, ["engine.lock"], "as empty as before");
    }
    outcome.map(|()| (directory, home))
}

#[tokio::test]
async fn a_restored_home_is_the_same_peer_with_the_same_conversations() {
    for sealed in [false, true] {
        let (_directory, mut home, mut store) = lived_in().await;
        if sealed {
            store.close().await.unwrap();
            let lock = home.engine_lock().unwrap().unwrap();
            passphrase::set(&mut home, &lock, "x").unwrap();
            store = Store::open_in(&home).unwrap();
        }
        let path = backup(&home, &store).await;
        let content = fs::read(&path).unwrap();
        for hint in ["on its way".as_bytes(), "金の斧".as_bytes(), b"Bob", home.identity().unwrap().as_bytes()] {
            assert!(!content.windows(hint.len()).any(|run| run == hint));
        }
        let (_other, again) = restored(&path, "copy").unwrap();
        assert_eq!(again.identity().unwrap().public_key(), home.identity().unwrap().public_key());
        assert_eq!(again.configuration_text().unwrap(), "keepalive = \"strict\"\n");
        let store = Store::open_in(&again).unwrap();
        assert_eq!(store.contacts().await.unwrap()[0].name, "Bob");
        assert_eq!(store.history(BOB, None, None, 9).await.unwrap().len(), 3);
        assert_eq!(store.history(BOB, Some("金".into()), None, 9).await.unwrap().len(), 1);
        assert_eq!(store.setting("kept").await, Ok(Some(vec![1])));
        assert_eq!(store.check().await, Ok(vec![]));
    }
}

#[tokio::test]
async fn a_restored_home_numbers_anew_and_has_no_keys_of_letters() {
    let (_directory, home, store) = lived_in().await;
    let before = store.conversation(BOB).await.unwrap();
    let path = backup(&home, &store).await;
    store.close().await.unwrap();
    let (_other, again) = restored(&path, "copy").unwrap();
    let store = Store::open_in(&again).unwrap();
    let after = store.conversation(BOB).await.unwrap();
    assert_ne!(after.log, before.log);
    assert_eq!((after.acknowledged, after.next), (0, 2));
    assert_eq!(after.received, before.received);
    let outbox = store.outbox(BOB, 0, 9, 9999).await.unwrap();
    assert_eq!(outbox.iter().map(|message| message.id).collect::<Vec<_>>(), [id(2)]);
    store.close().await.unwrap();
    let database = Connection::open(again.path().join(FILE)).unwrap();
    let keys: i64 = database.query_row("SELECT count(*) FROM epochs", [], |row| row.get(0)).unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn keys_of_letters_do_not_come_back() {
    let (_directory, home, store) = lived_in().await;
    store.close().await.unwrap();
    let database = Connection::open(home.path().join(FILE)).unwrap();
    let key = "INSERT INTO epochs (contact, name, sending, receiving) VALUES (1, x'0102030405060708', x'01', x'02')";
    database.execute(key, []).unwrap();
    drop(database);
    let store = Store::open_in(&home).unwrap();
    let path = backup(&home, &store).await;
    let (_other, again) = restored(&path, "copy").unwrap();
    let database = Connection::open(again.path().join(FILE)).unwrap();
    let keys: i64 = database.query_row("SELECT count(*) FROM epochs", [], |row| row.get(0)).unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn a_wrong_passphrase_and_a_damaged_or_cut_file_are_refused_and_leave_the_home_empty() {
    let (directory, home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    assert!(matches!(restored(&path, "x"), Err(BackupError::WrongPassphrase)));
    let whole = fs::read(&path).unwrap();
    let other = directory.path().join("other");
    for at in (0..whole.len()).step_by(whole.len() / 40).chain([whole.len() - 1]) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1;
        fs::write(&other, damaged).unwrap();
        assert!(matches!(restored(&other, "copy"), Err(BackupError::Damaged(_))), "changed at {at}");
        fs::write(&other, &whole[..at]).unwrap();
        assert!(matches!(restored(&other, "copy"), Err(BackupError::Damaged(_))), "cut at {at}");
    }
    assert!(matches!(restored(Path::new("/nonexistent"), "copy"), Err(BackupError::Read { .. })));
}

#[tokio::test]
async fn a_home_that_is_somebody_is_left_alone() {
    let (_directory, mut home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    store.close().await.unwrap();
    let lock = home.engine_lock().unwrap().unwrap();
    assert!(matches!(import(&home, &lock, &path, "copy"), Err(BackupError::InUse(_))));
    passphrase::set(&mut home, &lock, "x").unwrap();
    assert!(matches!(import(&home, &lock, &path, "copy"), Err(BackupError::InUse(_))));
    let (_other, fresh) = empty();
    let _store = Store::open_in(&fresh).unwrap();
    let lock = fresh.engine_lock().unwrap().unwrap();
    assert!(matches!(import(&fresh, &lock, &path, "copy"), Err(BackupError::InUse(_))));
}

#[tokio::test]
async fn a_backup_takes_the_place_of_a_backup_and_of_nothing_else() {
    let (directory, home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    backup(&home, &store).await;
    assert!(restored(&path, "copy").is_ok());
    let letter = directory.path().join("letter");
    fs::write(&letter, "dear Bob").unwrap();
    let refused = export(&home, store.snapshot().await.unwrap(), &letter, "copy");
    assert!(matches!(refused, Err(BackupError::Occupied(_))));
    assert_eq!(fs::read_to_string(&letter).unwrap(), "dear Bob");
    let refused = export(&home, store.snapshot().await.unwrap(), &directory.path().join("new"), "");
    assert!(matches!(refused, Err(BackupError::Empty)));
}
