//! `send`: one message, for a script above all.

use std::time::Instant;

use anyhow::bail;
use serde_json::json;

use crate::arguments::{Message, Wait};
use crate::change::{self, Whose};
use crate::delivery::{self, Stage};
use crate::exit::NotInTime;
use crate::output::Output;
use crate::session::{Session, word};
use crate::text::harmless;
use crate::typed;

pub(crate) async fn run(session: &mut Session, message: Message, output: &Output) -> anyhow::Result<()> {
    let Message { name, text, files: _, wait, timeout, reply, expires } = message;
    let text = match text {
        Some(text) if text != "-" => text,
        _ => typed::whole().await?,
    };
    if text.is_empty() {
        bail!("there is nothing to send; give a text: knothole send {} \"hello\"", harmless(&name));
    }
    let begun = Instant::now();
    let reply = match reply {
        Some(reply) => Some(change::find(session, &name, &reply, Whose::Theirs).await?),
        None => None,
    };
    let asked = json!({"to": name, "text": text, "reply": reply, "expires_s": expires});
    let id = delivery::send_as(session, asked).await?;
    let mut stage = Stage::Queued;
    let goal = Stage::of(wait.as_str());
    let reached =
        tokio::time::timeout(timeout.saturating_sub(begun.elapsed()), follow(session, &name, &id, goal, &mut stage))
            .await;
    if let Ok(outcome) = reached {
        outcome?;
    }
    // How far it came is what the exit code says, whether or not anybody reads the line.
    let printed =
        if output.json { output.line(&json!({"message": id, "state": stage.as_str()}).to_string()) } else { Ok(()) };
    let name = harmless(&name);
    if stage == Stage::Failed {
        bail!("the message to {name} will not be sent; see `knothole contacts` for how you stand with {name}");
    }
    if stage < goal {
        return Err(NotInTime(not_in_time(&name, wait, stage, timeout.as_secs_f64())).into());
    }
    if Output::at_terminal() && !output.json {
        output.aside(&format!("* {}", stage.as_str()));
    }
    Ok(printed?)
}

fn not_in_time(name: &str, wait: Wait, stage: Stage, seconds: f64) -> String {
    let what = match stage {
        Stage::Delivered => format!("{name} has it, and nothing is left to do"),
        _ => format!("it stays {}, and goes on while `knothole daemon` runs and {name} is online", stage.as_str()),
    };
    format!("the message was not {} within {seconds} s; {what}", wait.as_str())
}

/// Follows a message until it has come as far as `goal`, or can come no further.
async fn follow(
    session: &mut Session,
    with: &str,
    message: &str,
    goal: Stage,
    stage: &mut Stage,
) -> anyhow::Result<()> {
    while *stage < goal {
        let look = match session.event().await {
            Some(event) if event["type"] == "state" && event["message"] == message => {
                *stage = Stage::of(word(&event, "state"));
                false
            }
            Some(event) => event["type"] == "lagged",
            None => {
                session.renew().await?;
                true
            }
        };
        if look {
            let stages = delivery::stages(session, with).await?;
            *stage = stages.into_iter().find(|(id, _)| id == message).map_or(*stage, |(_, stage)| stage);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_did_not_come_far_enough_says_what_becomes_of_it() {
        let told = not_in_time("bob", Wait::Delivered, Stage::Queued, 30.0);
        assert!(told.contains("not delivered within 30 s; it stays queued"), "{told}");
        let told = not_in_time("bob", Wait::Read, Stage::Delivered, 0.5);
        assert!(told.contains("not read within 0.5 s; bob has it"), "{told}");
    }
}
