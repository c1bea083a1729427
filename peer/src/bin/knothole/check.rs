//! `knothole check`: whether the database is sound. It needs no network, and disturbs no engine that runs.

use anyhow::bail;
use knothole::home::Home;
use knothole::store::Store;
use serde_json::{Value, json};

use crate::output::Output;
use crate::session::{entries, running};

/// Prints what is wrong; fails if anything is.
pub(crate) async fn run(home: &Home, output: &Output) -> anyhow::Result<()> {
    let findings: Value = match home.engine_lock()? {
        Some(_lock) => {
            let store = Store::open_in(home)?;
            let findings = store.check().await;
            store.close().await?;
            findings?.into()
        }
        None => match running(home).await {
            Some(client) => client.call("store.check", json!({})).await?["findings"].take(),
            None => bail!("another knothole has {} and does not answer; try again in a moment", home.path().display()),
        },
    };
    let lines = || {
        let lines: Vec<_> = entries(&findings).iter().filter_map(Value::as_str).collect();
        if lines.is_empty() { "the database is sound".to_owned() } else { lines.join("\n") }
    };
    output.data(&findings, lines)?;
    if !entries(&findings).is_empty() {
        bail!("the database is damaged; stop knothole, and restore it from a backup (`knothole import`)");
    }
    Ok(())
}
