//! `verify`: whether a contact is who one takes it for.

use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde_json::{Value, json};

use crate::arguments::Verification;
use crate::contacts::quoted;
use crate::output::Output;
use crate::session::{Session, entries, name, word};
use crate::text::harmless;
use crate::typed::{self, Typed};

pub(crate) async fn run(session: &mut Session, asked: Verification, output: &Output) -> anyhow::Result<()> {
    let Verification { name: who, confirm, qr, scan } = asked;
    if confirm || scan.is_some() {
        return confirmed(session, json!({"peer": who, "text": scan}), output).await;
    }
    let told = session.insist("contact.words", json!({"peer": who})).await?;
    output.data(&told, || if qr { word(&told, "qr").to_owned() } else { lines(&told) })?;
    if output.json {
        return Ok(());
    }
    if qr {
        return draw(word(&told, "qr"), output);
    }
    let shown = harmless(&who);
    output.aside(&format!("* {shown} sees the same words with: knothole verify, and the name they gave you"));
    if !typed::at_terminal() || !Output::at_terminal() {
        output.aside(&format!("* were they the same, by voice? Then: knothole verify {} --confirm", quoted(&who)));
        return Ok(());
    }
    output.aside("* are they the same on both sides, word by word, read aloud and not in a message? yes/no");
    match typed::lines().recv().await {
        Some(Typed::Line(line)) if matches!(line.trim().to_lowercase().as_str(), "y" | "yes") => {
            confirmed(session, json!({"peer": who}), output).await
        }
        Some(Typed::Line(line)) if matches!(line.trim().to_lowercase().as_str(), "n" | "no") => anyhow::bail!(
            "then somebody may be between you and {shown}: say nothing that matters, get the link anew in person, and \
             remove this contact: knothole remove {}",
            quoted(&who)
        ),
        _ => {
            output.aside("* nothing was changed");
            Ok(())
        }
    }
}

async fn confirmed(session: &mut Session, parameters: Value, output: &Output) -> anyhow::Result<()> {
    let contact = session.insist("contact.verify", parameters).await?;
    output.data(&contact, || format!("{} is verified; another key under this name will be refused", name(&contact)))?;
    Ok(())
}

/// Five words a line: one line for each key.
fn lines(told: &Value) -> String {
    let words: Vec<_> = entries(&told["words"]).iter().filter_map(Value::as_str).collect();
    words.chunks(5).map(|five| five.join(" ")).collect::<Vec<_>>().join("\n")
}

/// Draws a text for a camera.
pub(crate) fn draw(text: &str, output: &Output) -> anyhow::Result<()> {
    output.line(&drawn(text)?)?;
    Ok(())
}

/// A text as a code for a camera. Light modules are drawn, dark ones left: right on a dark terminal, and cameras read it
/// inverted, too.
pub(crate) fn drawn(text: &str) -> anyhow::Result<String> {
    let code = QrCode::new(text)?;
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_two_lines_of_five() {
        let words: Vec<_> = (0..10).map(|n| n.to_string()).collect();
        assert_eq!(lines(&json!({"words": words})), "0 1 2 3 4\n5 6 7 8 9");
    }
}
