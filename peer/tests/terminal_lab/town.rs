//! A rendezvous in this process, and homes of people who live by it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use knothole::home::Home;
use knothole::store::{Position, Store};
use knothole_proto::certificate::IdentitySecret;
use knothole_proto::content::Content;
use knothole_proto::frames::MessageId;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::Program;

/// Who said something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Me,
    Them,
}

/// A rendezvous and homes, all of which go when this does.
pub struct Town {
    program: PathBuf,
    runtime: Runtime,
    serving: Option<Serving>,
    directory: TempDir,
}

impl Town {
    /// `program` is the binary that people start.
    pub fn new(program: impl Into<PathBuf>) -> Self {
        let runtime = Runtime::new().unwrap();
        let config = Config {
            identity: IdentitySecret::new([42; 32]),
            listen: vec!["127.0.0.1:0".parse().unwrap()],
            alternate: None,
            public: None,
            policy: Policy::default(),
            mailboxes: None,
        };
        let serving = Some(runtime.block_on(Serving::start(config)).unwrap());
        Self { program: program.into(), runtime, serving, directory: tempfile::tempdir().unwrap() }
    }

    /// The rendezvous' address.
    pub fn address(&self) -> String {
        self.serving.as_ref().unwrap().address().to_string()
    }

    /// Somebody's home directory, with nothing in it.
    pub fn person(&self, name: &str) -> PathBuf {
        let home = self.directory.path().join(name);
        fs::create_dir_all(&home).unwrap();
        home
    }

    /// Gives them the identity that this number makes, instead of one by chance: so a screen is the same in every run.
    pub fn identify(&self, name: &str, number: u8) {
        let home = self.knothole(name);
        fs::create_dir_all(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        let identity = home.join("identity");
        fs::write(&identity, [number; 32]).unwrap();
        fs::set_permissions(&identity, Permissions::from_mode(0o600)).unwrap();
    }

    /// Puts a conversation into somebody's home as if it had been talked: with one whose identity this number makes and who never
    /// comes, on Sunday 1 November 2026, a message a minute from nine o'clock on.
    pub fn tell(&self, name: &str, other: &str, number: u8, said: &[(Who, &str)]) {
        const NINE: u64 = 1_793_523_600_000;
        let peer = IdentitySecret::new([number; 32]).public_key();
        let home = Home::open(Some(self.knothole(name))).unwrap();
        home.identity().unwrap();
        self.runtime.block_on(async {
            let store = Store::open_in(&home).unwrap();
            store.add(peer, Some(other.into()), vec![]).await.unwrap();
            let (mut theirs, mut mine) = (0, None);
            for ((who, text), n) in said.iter().zip(0_u64..) {
                let mut id = [number; 16];
                id[8..].copy_from_slice(&n.to_be_bytes());
                let (id, at, content) = (MessageId(id), NINE + n * 60_000, Content::from((*text).to_owned()));
                match who {
                    Who::Me => mine = Some(store.compose(peer, id, content, at).await.unwrap()),
                    Who::Them => {
                        theirs += 1;
                        store.receive(peer, Position { log: 9, number: theirs }, id, content, at).await.unwrap();
                        store.mark_read(peer, id).await.unwrap();
                    }
                }
            }
            if let Some(mine) = mine {
                store.read_by_peer(peer, mine).await.unwrap();
            }
            store.close().await.unwrap();
        });
    }

    /// Where their Knothole keeps everything.
    pub fn knothole(&self, name: &str) -> PathBuf {
        self.person(name).join("knothole")
    }

    /// Knothole in this person's home, at no terminal yet.
    pub fn at(&self, name: &str, arguments: &[&str]) -> Program {
        let program = Program::new(&self.program, &self.person(name)).with("KNOTHOLE_HOME", self.knothole(name));
        program.arguments(arguments)
    }

    /// Runs a verb to its end; returns what it printed.
    #[track_caller]
    pub fn done(&self, name: &str, arguments: &[&str]) -> String {
        let output = self.command(name).args(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        let home: &Path = &self.person(name);
        command.env_clear().env("HOME", home).env("TZ", "UTC").env("LC_ALL", "C.UTF-8");
        command.env("KNOTHOLE_HOME", self.knothole(name)).env("KNOTHOLE_RENDEZVOUS", self.address());
        command
    }

    /// Their link, without line end.
    pub fn link(&self, name: &str) -> String {
        self.done(name, &["id"]).trim_end().to_owned()
    }

    /// Makes these two contacts, by each other's names.
    pub fn introduce(&self, one: &str, other: &str) {
        self.done(one, &["add", &self.link(other), "--name", other]);
        self.done(other, &["add", &self.link(one), "--name", one]);
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.take() {
            self.runtime.block_on(serving.shutdown());
        }
    }
}
