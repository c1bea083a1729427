//! `knothole export` and `import`.

use std::path::{Path, absolute};

use anyhow::{Context as _, bail};
use knothole::backup;
use knothole::home::Home;
use knothole::passphrase;
use knothole::store::Store;
use serde_json::json;

use crate::arguments::Backup;
use crate::output::Output;
use crate::passphrase::Source;
use crate::session::running;

/// Names the backup's passphrase where no argument does.
const VARIABLE: &str = "KNOTHOLE_BACKUP_PASSPHRASE";

fn source(backup: &Backup) -> Source<'_> {
    let file = backup.backup_passphrase_file.as_deref();
    Source { file, variable: VARIABLE, argument: "--backup-passphrase-file" }
}

/// Writes a backup: by the engine that runs, or without one.
pub(crate) async fn export(home: &Home, to: Backup, output: &Output) -> anyhow::Result<()> {
    let path = absolute(&to.file).with_context(|| format!("cannot use {}; give its whole path", to.file.display()))?;
    let passphrase = source(&to).ask("Passphrase for the backup: ", true).await?;
    match home.engine_lock()? {
        Some(_lock) => {
            if !home.is_sealed() && !home.path().join("identity").exists() {
                bail!("{} is empty: there is nothing to back up", home.path().display());
            }
            passphrase::tidy(home)?;
            let store = Store::open_in(home)?;
            let snapshot = store.snapshot().await?;
            let (home, to) = (home.clone(), path.clone());
            let written =
                tokio::task::spawn_blocking(move || backup::export(&home, snapshot, &to, &passphrase)).await?;
            store.close().await?;
            written?;
        }
        None => match running(home).await {
            Some(client) => {
                let parameters = json!({"path": path, "passphrase": passphrase.as_str()});
                client.call("store.export", parameters).await?;
            }
            None => bail!("another knothole has {} and does not answer; try again in a moment", home.path().display()),
        },
    }
    output.aside(&format!("* {} holds all of this home, under its passphrase", path.display()));
    Ok(())
}

/// Makes a home of a backup, and puts it under a passphrase if one is given for it.
pub(crate) async fn import(home: &mut Home, from: Backup, file: Option<&Path>, output: &Output) -> anyhow::Result<()> {
    let Some(lock) = home.engine_lock()? else {
        bail!("a knothole runs for {}; restore into an empty home, with --home DIR", home.path().display());
    };
    let given = Source::of_home(file).given()?;
    if let Some(given) = &given {
        passphrase::check(given)?;
    }
    let passphrase = source(&from).ask("Passphrase of the backup: ", false).await?;
    backup::import(home, &lock, &from.file, &passphrase)?;
    let note = match given {
        Some(given) => {
            let unsealed =
                format!("{} is restored, but not encrypted (`knothole passphrase set`)", home.path().display());
            passphrase::set(home, &lock, &given).context(unsealed)?;
            "it is encrypted under its passphrase"
        }
        None => "it is not encrypted; `knothole passphrase set` encrypts it",
    };
    let path = home.path().display();
    output.aside(&format!("* {path} is restored; {note}. Do not use the home that was backed up any more"));
    Ok(())
}
