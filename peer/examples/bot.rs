//! A bot: whoever asks becomes a contact, is told the time on `time`, and else hears what they said.
//! It speaks JSON-RPC to the Knothole of its home, as a program in any language may (docs/json-rpc.md):
//!
//!     knothole --home ~/bot --rendezvous <key>@<host>:<port> id    # what others add it by
//!     knothole --home ~/bot daemon & cargo run --example bot ~/bot
//!
//! What is unread is not answered yet, so nothing is forgotten, whichever of the two is started anew.
#![expect(clippy::print_stderr, reason = "a bot has nobody else to tell")]
use knothole::{home::Home, rpc, rpc::CallError, rpc::Client};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(Home::open(std::env::args_os().nth(1).map(Into::into))?).await;
}

pub(crate) async fn run(home: Home) -> ! {
    loop {
        if let Ok(stream) = rpc::connect(&home).await {
            let (reader, writer) = stream.into_split();
            // What happens from now on waits in `events`, also that messages are read: so it comes to the next page.
            let (client, mut events) = Client::new(reader, writer);
            while answer_all(&client).await.is_ok() && events.next().await.is_some() {}
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

async fn answer_all(client: &Client) -> Result<(), CallError> {
    for contact in call(client, "contact.list", json!({})).await?.as_array().into_iter().flatten() {
        let (peer, now) = (&contact["peer"], json!(jiff::Zoned::now().to_string()));
        if contact["state"] == "request" {
            call(client, "contact.accept", json!({"peer": peer})).await?;
        }
        let Some(unread) = contact["first_unread"].as_str() else { continue };
        let read = call(client, "message.history", json!({"with": peer, "before": unread, "limit": 1})).await?;
        let after = read[0]["message"].as_str().unwrap_or_default();
        let page = call(client, "message.history", json!({"with": peer, "after": after})).await?;
        for message in page.as_array().into_iter().flatten().filter(|message| message["from"] == *peer) {
            let (id, text) = (&message["message"], if message["text"] == "time" { &now } else { &message["text"] });
            // An answer is not answered: two bots would never end. Ours is named after what it answers, so it is stored once.
            if let (Some(asked), Value::Null) = (id.as_str(), &message["reply"]) {
                let name = [&asked[1..25], &asked[..1], &asked[25..]].concat();
                call(client, "message.send", json!({"to": peer, "text": text, "reply": id, "message": name})).await?;
            }
            call(client, "message.read", json!({"with": peer, "upto": id})).await?;
        }
    }
    Ok(())
}

/// What the engine refuses is told and left at that; an error: it has ended.
async fn call(client: &Client, method: &str, parameters: Value) -> Result<Value, CallError> {
    match client.call(method, parameters).await {
        Err(CallError::Refused { message, .. }) => eprintln!("{method}: {message}"),
        answer => return answer,
    }
    Ok(Value::Null)
}
