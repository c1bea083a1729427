use std::collections::BTreeMap;

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

/// All that lies in a home, by its path in it.
fn files(home: &Path) -> BTreeMap<PathBuf, Option<Vec<u8>>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path()) {
        let name = PathBuf::from(entry.file_name().unwrap());
        if entry.is_dir() {
            all.insert(name.clone(), None);
            all.extend(files(&entry).into_iter().map(|(file, content)| (name.join(file), content)));
        } else {
            all.insert(name, Some(fs::read(&entry).unwrap()));
        }
    }
    all
}

/// The home as a kill at this moment would leave it.
fn killed(files: &BTreeMap<PathBuf, Option<Vec<u8>>>) -> (TempDir, Home) {
    let (directory, home) = empty();
    for (name, content) in files {
        match content {
            None => fs::create_dir(home.path().join(name)).unwrap(),
            Some(content) => fs::write(home.path().join(name), content).unwrap(),
        }
    }
    (directory, home)
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
async fn a_configuration_that_nobody_has_changed_gives_way_to_the_backup_s() {
    let (_directory, home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    let (_other, fresh) = empty();
    fresh.rendezvous(&[]).unwrap();
    assert!(fresh.configuration_text().unwrap().contains("#keepalive"));
    let lock = fresh.engine_lock().unwrap().unwrap();
    import(&fresh, &lock, &path, "copy").unwrap();
    assert_eq!(fresh.configuration_text().unwrap(), "keepalive = \"strict\"\n");
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
async fn an_import_that_was_broken_off_leaves_nobody_and_is_made_good_by_the_next() {
    let (_directory, home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    let (_other, fresh) = empty();
    let lock = fresh.engine_lock().unwrap().unwrap();
    let mut moments = Vec::new();
    import_in_steps(&fresh, &lock, &path, "copy", |home| moments.push(files(home.path()))).unwrap();
    assert_eq!(moments.len(), 7);
    let mut unfinished = 0;
    for moment in &moments {
        let (_at, again) = killed(moment);
        passphrase::tidy(&again).unwrap();
        if !moment.contains_key(Path::new("identity")) {
            unfinished += 1;
            assert!(matches!(again.identity(), Err(HomeError::Unfinished(_))), "nobody is made over what was restored");
            let lock = again.engine_lock().unwrap().unwrap();
            import(&again, &lock, &path, "copy").unwrap();
        }
        assert_eq!(again.identity().unwrap().public_key(), home.identity().unwrap().public_key());
        assert_eq!(again.configuration_text().unwrap(), "keepalive = \"strict\"\n");
        assert!(!again.path().join("import.new").exists());
        let store = Store::open_in(&again).unwrap();
        assert_eq!(store.history(BOB, None, None, 9).await.unwrap().len(), 3);
        assert_eq!(store.check().await, Ok(vec![]));

        // One that fails takes away what the broken one left.
        let (_at, again) = killed(moment);
        let lock = again.engine_lock().unwrap().unwrap();
        match import(&again, &lock, &path, "x") {
            Err(BackupError::WrongPassphrase) => {
                assert_eq!(files(again.path()).keys().collect::<Vec<_>>(), [Path::new("engine.lock")]);
                assert_ne!(again.identity().unwrap().public_key(), home.identity().unwrap().public_key());
            }
            refused => assert!(matches!(refused, Err(BackupError::InUse(_))), "{refused:?}"),
        }
    }
    assert_eq!(unfinished, 6);
}

#[tokio::test]
async fn a_step_that_cannot_be_done_leaves_the_home_empty_with_its_own_configuration() {
    let (_directory, home, store) = lived_in().await;
    let path = backup(&home, &store).await;
    for (stone, own) in [("identity.new", false), ("identity.new", true), ("config.toml.new", false)] {
        let (_other, fresh) = empty();
        let lock = fresh.engine_lock().unwrap().unwrap();
        let config = fresh.path().join("config.toml");
        if own {
            fs::write(&config, "mailbox = true\n").unwrap();
        }
        fs::create_dir(fresh.path().join(stone)).unwrap();
        let before = files(fresh.path());
        assert!(matches!(import(&fresh, &lock, &path, "copy"), Err(BackupError::Home(HomeError::File { .. }))));
        assert_eq!(files(fresh.path()), before, "{stone}");
        fs::remove_dir(fresh.path().join(stone)).unwrap();
        import(&fresh, &lock, &path, "copy").unwrap();
        assert_eq!(fresh.configuration_text().unwrap().contains("mailbox"), own);
        assert_eq!(fresh.identity().unwrap().public_key(), home.identity().unwrap().public_key());
    }
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
