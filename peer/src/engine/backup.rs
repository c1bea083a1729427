//! A backup while the engine runs.

use std::path::PathBuf;

use super::{Engine, answer};
use crate::backup;
use crate::command::{CommandError, Reply};
use crate::passphrase::Passphrase;

impl Engine {
    /// Writes one, of the moment at which it was asked for; the engine goes on meanwhile.
    pub(super) fn export(&mut self, path: PathBuf, passphrase: Passphrase, reply: Reply<()>) {
        if !path.is_absolute() {
            // This process may stand in another directory than whoever asks.
            return answer(
                reply,
                Err(CommandError::Backup {
                    kind: "backup-path",
                    why: "the path of a backup begins with /; give all of it".into(),
                }),
            );
        }
        self.after(self.store.snapshot(), move |engine, result| {
            let snapshot = match result {
                Ok(snapshot) => snapshot,
                Err(error) => return answer(reply, Err(error.into())),
            };
            let home = engine.home.clone();
            // It takes as long as the disk does. Whoever asked waits for the answer; nobody else for the task.
            drop(tokio::task::spawn_blocking(move || {
                let written = backup::export(&home, snapshot, &path, passphrase.as_str());
                answer(
                    reply,
                    written.map_err(|error| CommandError::Backup { kind: error.kind(), why: error.to_string() }),
                );
            }));
        });
    }
}
