//! `presence`: who may see that one is there.

use serde_json::{Value, json};

use crate::arguments::Visibility;
use crate::output::Output;
use crate::session::{Session, word};
use crate::text::harmless;

pub(crate) async fn run(
    session: &mut Session,
    mode: Option<Visibility>,
    who: Option<&str>,
    output: &Output,
) -> anyhow::Result<()> {
    if let Some(mode) = mode {
        session.insist("presence.set", json!({"mode": mode.as_str(), "peer": who})).await?;
    }
    let told = match (mode, who) {
        (Some(mode), who) => json!({"presence": mode.as_str(), "peer": who}),
        (None, _) => json!({"presence": session.insist("status", json!({})).await?["presence"]}),
    };
    output.data(&told, || told_of(&told))?;
    Ok(())
}

fn told_of(told: &Value) -> String {
    let who = told["peer"].as_str().map(harmless);
    match (word(told, "presence"), who) {
        ("invisible", None) => {
            "invisible: contacts see you offline; what they write arrives, what you write goes by letter alone"
                .to_owned()
        }
        ("invisible", Some(who)) => {
            format!("{who} sees you offline; what they write arrives, what you write to them goes by letter alone")
        }
        ("default", Some(who)) => format!("{who} sees of you what all contacts see"),
        (_, Some(who)) => format!("{who} sees whether you are online"),
        (_, None) => "online: contacts see when you are there".to_owned(),
    }
}

/// How long ago that was, in one word and as precisely as people say it.
pub(crate) fn ago(then_ms: u64, now_ms: u64) -> String {
    let minutes = now_ms.saturating_sub(then_ms) / 60_000;
    match minutes {
        0 => "a moment ago".to_owned(),
        1..60 => format!("{minutes} min ago"),
        60..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_past_are_told_as_people_do() {
        let at = |minutes: u64| ago(0, minutes * 60_000);
        assert_eq!(
            [0, 5, 59, 60, 119, 2_879, 2_880, 20_000].map(at),
            ["a moment ago", "5 min ago", "59 min ago", "1 h ago", "1 h ago", "47 h ago", "2 days ago", "13 days ago"]
        );
        assert_eq!(ago(5, 0), "a moment ago", "a clock that was set back");
    }

    #[test]
    fn what_was_chosen_is_said_with_what_it_means() {
        assert!(told_of(&json!({"presence": "invisible"})).starts_with("invisible: contacts see you offline"));
        assert!(told_of(&json!({"presence": "online", "peer": "bob"})).starts_with("bob sees"));
    }
}
