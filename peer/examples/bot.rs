//! A bot: whoever asks becomes a contact, is told the time on `time`, and else hears what they said.
//! It speaks JSON-RPC to the Knothole of its home, as a program in any language may (docs/json-rpc.md):
//!
//!     knothole --home ~/bot --rendezvous <key>@<host>:<port> id    # what others add it by
//!     knothole --home ~/bot daemon &
//!     cargo run --example bot ~/bot
//!
//! What is unread is not answered yet, so nothing is forgotten, whichever of the two is started anew.
#![expect(clippy::print_stderr, reason = "a bot has nobody else to tell")]

use knothole::home::Home;
use knothole::rpc::{self, CallError, Client};
use serde_json::{Value, json};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    run(Home::open(std::env::args_os().nth(1).map(Into::into))?).await;
}

pub(crate) async fn run(home: Home) -> ! {
    loop {
        if let Ok(stream) = rpc::connect(&home).await {
            let (reader, writer) = stream.into_split();
            // What happens from now on waits in `events`: nothing falls between the first look and the next.
            let (client, mut events) = Client::new(reader, writer);
            while answer_all(&client).await.is_ok() && events.next().await.is_some() {}
        }
        // No daemon runs, or it has just ended. Another will come.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
}

async fn answer_all(client: &Client) -> Result<(), CallError> {
    for contact in call(client, "contact.list", json!({})).await?.as_array().into_iter().flatten() {
        let (peer, unread) = (&contact["peer"], &contact["first_unread"]);
        if contact["state"] == "request" {
            call(client, "contact.accept", json!({"peer": peer})).await?;
        }
        let page = call(client, "message.history", json!({"with": peer, "limit": 1000})).await?;
        let page = page.as_array().into_iter().flatten().skip_while(|message| message["message"] != *unread);
        for message in page.filter(|message| message["from"] == *peer) {
            let now = json!(jiff::Zoned::now().to_string());
            let answer = if message["text"] == "time" { &now } else { &message["text"] };
            call(client, "message.send", json!({"to": peer, "text": answer, "reply": message["message"]})).await?;
            call(client, "message.read", json!({"with": peer, "upto": message["message"]})).await?;
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
