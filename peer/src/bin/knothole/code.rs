//! `code`: a one-time code, and the wait for whoever types it.

use std::time::{Duration, SystemTime};

use anyhow::bail;
use serde_json::json;

use crate::contacts::{at_first, quoted};
use crate::exit::NotInTime;
use crate::output::Output;
use crate::session::{Session, name, word};
use crate::text::harmless;

/// Between two words about the time that is left.
const REMINDER: Duration = Duration::from_secs(60);

/// The engine says first that the time is over.
const GRACE: Duration = Duration::from_secs(5);

pub(crate) async fn run(
    session: &mut Session,
    wanted: Option<String>,
    me: Option<String>,
    relay: bool,
    output: &Output,
) -> anyhow::Result<()> {
    let made = session.call("contact.code", json!({"name": wanted, "me": me, "path": at_first(relay)})).await?;
    let code = word(&made, "code").to_owned();
    output.data(&made, || code.clone())?;
    let left = || {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Duration::from_millis(made["expires_at"].as_u64().unwrap_or_default()).saturating_sub(now)
    };
    loop {
        let minutes = left().as_secs().div_ceil(60);
        output.aside(&format!(
            "* waiting for the other to type: knothole add {code} ({minutes} min left; Ctrl-C ends it)"
        ));
        let pause = REMINDER.min(left() + GRACE);
        match tokio::time::timeout(pause, outcome(session, output)).await {
            Ok(outcome) => return outcome,
            Err(_) if left().is_zero() => {
                return Err(NotInTime("nobody typed the code in time; make another".into()).into());
            }
            Err(_) => {}
        }
    }
}

/// What becomes of the code.
async fn outcome(session: &mut Session, output: &Output) -> anyhow::Result<()> {
    while let Some(event) = session.event().await {
        match word(&event, "type") {
            "contact.added" => {
                let told = json!({"peer": event["peer"], "name": event["name"]});
                output.data(&told, || {
                    let name = name(&event);
                    format!("{name} is a contact now; talk with: knothole chat {}", quoted(&name))
                })?;
                return Ok(());
            }
            "contact.code" => bail!("{}", harmless(word(&event, "why"))),
            _ => {}
        }
    }
    bail!("the Knothole that made the code has ended, and the code with it; make another: knothole code")
}
