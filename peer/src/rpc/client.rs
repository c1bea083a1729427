//! The other end: calls to an engine, in this process or another, and its events.

use std::collections::HashMap;

use bytes::{Buf as _, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::lines::{Line, Lines};

/// Calls that wait to be written; a further one waits itself.
const CALLS: usize = 64;

/// Events that a face may be behind before it misses the oldest.
const EVENTS: usize = 1024;

/// Bytes that wait to be written before further calls wait: a few of the longest messages.
const ENOUGH: usize = 1024 * 1024;

/// Bytes of a line of an engine's at most: a page of the longest messages, all of them escaped. It runs as the same user, and
/// is trusted with our memory up to this.
const MAX_LINE: usize = 512 * 1024 * 1024;

/// A way to call an engine; clones share it. The connection ends with the last of them.
#[derive(Debug, Clone)]
pub struct Client {
    calls: mpsc::Sender<Call>,
}

/// The events of an engine, from the moment of the connection on.
#[derive(Debug)]
pub struct Events {
    told: broadcast::Receiver<Value>,
}

/// Why a call has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The engine says why; its text is for a person.
    #[error("{message}")]
    Refused {
        /// The code of JSON-RPC.
        code: i64,
        /// What the engine says.
        message: String,
        /// What programs tell errors apart by: `kind`, and what is special to the case; null where the call itself was wrong.
        data: Value,
    },
    /// The connection is closed: the process that ran the engine has ended. What was asked may have been done.
    #[error("the process that ran Knothole for this home has ended; try again")]
    Closed,
}

impl CallError {
    /// The word for what went wrong (docs/json-rpc.md, "Errors"), if the engine gives one.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Refused { data, .. } => data["kind"].as_str(),
            Self::Closed => None,
        }
    }
}

#[derive(Debug)]
struct Call {
    method: String,
    parameters: Value,
    answer: oneshot::Sender<Result<Value, CallError>>,
}

impl Client {
    /// Talks to an engine over these streams, in a task of its own.
    pub fn new<R, W>(reader: R, writer: W) -> (Self, Events)
    where
        R: AsyncRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (calls, asked) = mpsc::channel(CALLS);
        let (events, told) = broadcast::channel(EVENTS);
        tokio::spawn(talk(reader, writer, asked, events));
        (Self { calls }, Events { told })
    }

    /// Calls a method. Calls made one after the other reach the engine in that order.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call(&self, method: &str, parameters: Value) -> Result<Value, CallError> {
        let (answer, answered) = oneshot::channel();
        let call = Call { method: method.to_owned(), parameters, answer };
        self.calls.send(call).await.map_err(|_| CallError::Closed)?;
        answered.await.unwrap_or(Err(CallError::Closed))
    }
}

impl Events {
    /// The next event: what stands in the notification's `params`. `None`: the connection is closed. An event of type
    /// `lagged` tells that some were missed.
    pub async fn next(&mut self) -> Option<Value> {
        match self.told.recv().await {
            Ok(event) => Some(event),
            Err(RecvError::Lagged(missed)) => Some(json!({"type": "lagged", "missed": missed})),
            Err(RecvError::Closed) => None,
        }
    }
}

async fn talk(
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    mut calls: mpsc::Receiver<Call>,
    events: broadcast::Sender<Value>,
) {
    let mut lines = Lines::new(reader, MAX_LINE);
    let mut waiting = HashMap::new();
    let mut next_id = 1_u64;
    let mut out = BytesMut::new();
    loop {
        tokio::select! {
            call = calls.recv(), if out.len() < ENOUGH => {
                let Some(Call { method, parameters, answer }) = call else { return };
                let request = json!({"jsonrpc": "2.0", "id": next_id, "method": method, "params": parameters});
                out.extend_from_slice(request.to_string().as_bytes());
                out.extend_from_slice(b"\n");
                waiting.insert(next_id, answer);
                next_id += 1;
            },
            written = writer.write(&out), if !out.is_empty() => match written {
                Ok(count @ 1..) => out.advance(count),
                // Those who wait learn it from the end of this.
                _ => return,
            },
            line = lines.next() => {
                let Ok(Some(Line::Whole(line))) = line else { return };
                let Ok(mut told) = serde_json::from_slice::<Value>(&line) else { return };
                if told.get("method").is_some() {
                    // No face may be interested in events.
                    let _ = events.send(told["params"].take());
                } else if let Some(answer) = told["id"].as_u64().and_then(|id| waiting.remove(&id)) {
                    // Nor any more in this answer.
                    let _ = answer.send(outcome(told));
                }
            },
        }
    }
}

fn outcome(mut response: Value) -> Result<Value, CallError> {
    match response.get("error") {
        Some(error) => Err(CallError::Refused {
            code: error["code"].as_i64().unwrap_or_default(),
            message: error["message"].as_str().unwrap_or_default().to_owned(),
            data: error["data"].clone(),
        }),
        None => Ok(response["result"].take()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::event::{Event, EventKind};

    use super::super::fake::{Fake, bob};
    use super::super::serve;
    use super::*;

    fn connected(fake: &Fake) -> (Client, Events, oneshot::Sender<()>) {
        let (near, far) = tokio::io::duplex(1024);
        let (reader, writer) = tokio::io::split(far);
        let (close, closing) = oneshot::channel::<()>();
        tokio::spawn(serve(fake.peer.clone(), reader, writer, async { drop(closing.await) }));
        let (reader, writer) = tokio::io::split(near);
        let (client, events) = Client::new(reader, writer);
        (client, events, close)
    }

    #[tokio::test]
    async fn calls_have_results_or_the_engines_own_words() {
        let fake = Fake::start();
        let (client, _events, _close) = connected(&fake);
        let sent = client.call("message.send", json!({"to": "bob", "text": "hi"})).await.unwrap();
        assert!(sent["message"].is_string());
        let refused = client.call("message.send", json!({"to": "nobody", "text": "hi"})).await.unwrap_err();
        assert!(matches!(&refused, CallError::Refused { code: -32_000, .. }), "{refused}");
        assert!(refused.to_string().contains("\"nobody\""), "{refused}");
        assert_eq!(refused.kind(), Some("unknown-contact"));
        let CallError::Refused { data, .. } = refused else { panic!("it was refused") };
        assert_eq!(data["name"], "nobody");
        let wrong = client.call("message.send", json!({"to": "bob"})).await.unwrap_err();
        assert_eq!(wrong.kind(), None, "{wrong}");
    }

    #[tokio::test]
    async fn a_message_longer_than_any_buffer_goes_through() {
        let fake = Fake::start();
        let (client, _events, _close) = connected(&fake);
        let text = "\u{1}".repeat(64 * 1024);
        client.call("message.send", json!({"to": "bob", "text": text})).await.unwrap();
        assert_eq!(fake.log(), [format!("send bob {text:?}")]);
    }

    #[tokio::test]
    async fn events_arrive_without_a_call_and_a_face_that_is_behind_is_told() {
        let fake = Fake::start();
        let (client, mut events, _close) = connected(&fake);
        client.call("contact.list", json!({})).await.unwrap();
        let total = 3 * EVENTS as u64;
        for at in 0..total {
            let kind = EventKind::Presence { peer: bob(), name: "bob".into(), online: true };
            fake.events.send(Arc::new(Event { at, kind })).unwrap();
            if at % 100 == 0 {
                client.call("contact.list", json!({})).await.unwrap();
            }
        }
        let mut seen = 0;
        while seen < total {
            let event = events.next().await.unwrap();
            seen += if event["type"] == "lagged" { event["missed"].as_u64().unwrap() } else { 1 };
        }
        assert_eq!(seen, total);
    }

    #[tokio::test]
    async fn the_end_of_the_engine_ends_events_and_calls() {
        let fake = Fake::start();
        let (client, mut events, close) = connected(&fake);
        client.call("contact.list", json!({})).await.unwrap();
        drop(close);
        assert_eq!(events.next().await, None);
        assert_eq!(client.call("contact.list", json!({})).await, Err(CallError::Closed));
    }
}
