use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use knothole_proto::contact_link::RendezvousAddress;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::{PeerId, PublicKey};
use tempfile::TempDir;

use super::*;
use crate::store::{Position, Store};

const TEXT: &str = "meet me under the oak at nine";
const THEIRS: &str = "bring the 金の斧 along";
const NAME: &str = "Rumpelstiltskin";
const CONTACT: PeerId = PeerId::new([0xC7; 32]);

struct Place {
    directory: TempDir,
    home: Home,
}

impl Place {
    fn at(directory: TempDir) -> Self {
        let home = Home::open(Some(directory.path().to_owned())).unwrap();
        Self { directory, home }
    }

    /// A plain home in which there is something to hide.
    async fn plain() -> Self {
        let place = Self::at(tempfile::tempdir().unwrap());
        place.home.identity().unwrap();
        let store = Store::open_in(&place.home).unwrap();
        say(&store, 0).await;
        store.close().await.unwrap();
        place
    }

    async fn sealed(passphrase: &str) -> Self {
        let mut place = Self::plain().await;
        let lock = place.lock();
        set(&mut place.home, &lock, passphrase).unwrap();
        place
    }

    fn lock(&self) -> EngineLock {
        self.home.engine_lock().unwrap().unwrap()
    }

    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(self.directory.path()).unwrap().map(|file| file.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }

    /// The home as a kill at this moment would leave it.
    fn killed(files: &BTreeMap<String, Vec<u8>>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(directory.path().join(name), content).unwrap();
        }
        Self::at(directory)
    }

    /// That no file holds anything that was said, whom with, or who we are.
    fn tells_nothing(&self, secret: &[u8; 32]) {
        for (name, content) in self.files() {
            for hint in
                [TEXT.as_bytes(), THEIRS.as_bytes(), "金の".as_bytes(), NAME.as_bytes(), CONTACT.as_bytes(), secret]
            {
                assert!(!content.windows(hint.len()).any(|run| run == hint), "{name} tells {hint:?}");
            }
            assert!(!content.windows(6).any(|run| run == b"SQLite"), "{name} is plain");
        }
    }
}

async fn say(store: &Store, round: u8) {
    let via = vec![RendezvousAddress { key: PublicKey::new([3; 32]), host: "rendezvous.example".into(), port: 3478 }];
    store.add(CONTACT, Some(NAME.into()), via).await.unwrap();
    for n in 0..20 {
        let id = MessageId([round * 50 + n; 16]);
        store.compose(CONTACT, id, TEXT.to_owned().into(), 0).await.unwrap();
        let position = Position { log: 9, number: u64::from(round) * 20 + u64::from(n) + 1 };
        let theirs = MessageId([round * 50 + 25 + n; 16]);
        store.receive(CONTACT, position, theirs, THEIRS.to_owned().into(), 0).await.unwrap();
    }
}

/// How many messages there are, all of them whole and found.
async fn said(home: &Home) -> usize {
    let store = Store::open_in(home).unwrap();
    assert_eq!(store.contacts().await.unwrap()[0].name, NAME);
    let all = store.history(CONTACT, None, None, 1000).await.unwrap().len();
    for search in ["OAK", "金の"] {
        assert_eq!(store.history(CONTACT, Some(search.into()), None, 1000).await.unwrap().len(), all / 2);
    }
    assert_eq!(store.check().await, Ok(vec![]));
    store.close().await.unwrap();
    all
}

#[tokio::test]
async fn under_a_passphrase_no_file_tells_anything_at_rest_nor_after_a_kill() {
    let mut place = Place::sealed("correct horse").await;
    let secret = *place.home.identity().unwrap().as_bytes();
    place.tells_nothing(&secret);
    let store = Store::open_in(&place.home).unwrap();
    for round in 1..4 {
        say(&store, round).await;
        let files = place.files();
        assert!(files["knothole.sealed-wal"].len() > 10_000, "the log is there");
        let mut killed = Place::killed(&files);
        killed.tells_nothing(&secret);
        killed.home.unlock("correct horse").unwrap();
        assert_eq!(said(&killed.home).await, 40 * (usize::from(round) + 1));
        assert_eq!(killed.home.identity().unwrap().as_bytes(), &secret);
    }
    store.close().await.unwrap();
    place.tells_nothing(&secret);
    assert_eq!(said(&place.home).await, 160);
    place.home.forget_key();
    assert!(matches!(place.home.identity(), Err(HomeError::Locked(_))));
}

#[tokio::test]
async fn a_wrong_passphrase_is_told_and_opens_nothing() {
    let place = Place::sealed("right").await;
    let mut other = Home::open(Some(place.directory.path().to_owned())).unwrap();
    for wrong in ["", "Right", "right "] {
        assert!(matches!(other.unlock(wrong), Err(HomeError::WrongPassphrase)));
        assert!(matches!(other.identity(), Err(HomeError::Locked(_))));
        assert!(matches!(Store::open_in(&other), Err(OpenError::Sealed(_))));
    }
    assert!(matches!(Store::open(place.directory.path()), Err(OpenError::Sealed(_))));
    assert_eq!(place.files().keys().filter(|name| name.contains("knothole.db")).count(), 0);
}

#[tokio::test]
async fn a_change_of_passphrase_keeps_the_key_and_forgets_the_old_one() {
    let mut place = Place::sealed("old").await;
    let sealed = place.files()[SEALED_FILE].clone();
    change(&mut place.home, "new").unwrap();
    assert_eq!(place.files()[SEALED_FILE], sealed);
    let mut again = Home::open(Some(place.directory.path().to_owned())).unwrap();
    assert!(matches!(again.unlock("old"), Err(HomeError::WrongPassphrase)));
    again.unlock("new").unwrap();
    assert_eq!(said(&again).await, 40);
    assert!(matches!(change(&mut again, ""), Err(PassphraseError::Empty)));
}

#[tokio::test]
async fn a_passphrase_that_is_removed_leaves_the_home_as_it_was() {
    let mut place = Place::plain().await;
    let before = place.home.identity().unwrap().public_key();
    let lock = place.lock();
    set(&mut place.home, &lock, "x").unwrap();
    assert!(matches!(set(&mut place.home, &lock, "x"), Err(PassphraseError::AlreadySet)));
    remove(&mut place.home, &lock).unwrap();
    assert!(matches!(remove(&mut place.home, &lock), Err(PassphraseError::NotSet)));
    assert_eq!(place.files().keys().collect::<Vec<_>>(), ["engine.lock", "identity", "knothole.db"]);
    assert_eq!(place.home.identity().unwrap().public_key(), before);
    assert_eq!(said(&place.home).await, 40);
}

/// Homes as kills would leave them: between two steps, and within one, where of each file that it makes half is there.
fn moments(states: &[BTreeMap<String, Vec<u8>>]) -> Vec<BTreeMap<String, Vec<u8>>> {
    let mut moments = states.to_vec();
    for pair in states.windows(2) {
        for (name, content) in &pair[1] {
            if pair[0].get(name) != Some(content) && name != KEY {
                let mut halfway = pair[0].clone();
                halfway.insert(name.clone(), content[..content.len() / 2].to_vec());
                moments.push(halfway);
            }
        }
    }
    moments
}

/// That a home which a kill has left is whole, in one form or the other, and that nothing is left of the other.
async fn whole(files: &BTreeMap<String, Vec<u8>>, secret: &[u8; 32]) {
    let mut killed = Place::killed(files);
    killed.home.unlock("x").unwrap();
    tidy(&killed.home).unwrap();
    assert_eq!(killed.home.identity().unwrap().as_bytes(), secret);
    assert_eq!(said(&killed.home).await, 40, "{:?}", files.keys());
    if killed.home.is_sealed() {
        killed.tells_nothing(secret);
    } else {
        assert!(killed.files().keys().all(|name| !name.contains("sealed") && !name.contains("key")));
    }
}

#[tokio::test]
async fn a_kill_at_any_moment_of_a_change_leaves_one_form_whole() {
    let mut place = Place::plain().await;
    let secret = *place.home.identity().unwrap().as_bytes();
    let lock = place.lock();
    let directory = place.directory.path().to_owned();
    let state = |states: &mut Vec<_>| states.push(Place::at_path(&directory));
    let mut states = Vec::new();
    set_in_steps(&mut place.home, &lock, "x", |_| state(&mut states)).unwrap();
    assert!(states.len() > 4);
    for files in moments(&states) {
        whole(&files, &secret).await;
    }
    let mut states = Vec::new();
    remove_in_steps(&mut place.home, &lock, |_| state(&mut states)).unwrap();
    assert!(states.len() > 4);
    for files in moments(&states) {
        whole(&files, &secret).await;
    }
}

#[tokio::test]
async fn a_home_whose_key_is_lost_does_not_become_another_peer() {
    let place = Place::sealed("x").await;
    fs::remove_file(place.directory.path().join(KEY)).unwrap();
    let home = Home::open(Some(place.directory.path().to_owned())).unwrap();
    tidy(&home).unwrap();
    assert!(matches!(home.identity(), Err(HomeError::KeyLost(_))));
    assert!(place.files().contains_key(SEALED_FILE));
}

#[tokio::test]
async fn a_new_home_may_be_sealed_before_anything_is_in_it() {
    let mut place = Place::at(tempfile::tempdir().unwrap());
    let lock = place.lock();
    set(&mut place.home, &lock, "x").unwrap();
    let store = Store::open_in(&place.home).unwrap();
    say(&store, 0).await;
    store.close().await.unwrap();
    assert_eq!(said(&place.home).await, 40);
    // A database that was moved away is begun anew, and sealed.
    fs::remove_file(place.directory.path().join(SEALED_FILE)).unwrap();
    let store = Store::open_in(&place.home).unwrap();
    say(&store, 0).await;
    place.tells_nothing(place.home.identity().unwrap().as_bytes());
}

impl Place {
    fn at_path(directory: &Path) -> BTreeMap<String, Vec<u8>> {
        let files = fs::read_dir(directory).unwrap().map(|file| file.unwrap());
        files.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
    }
}
