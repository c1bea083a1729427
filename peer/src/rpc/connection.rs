//! One client: its requests, their answers, and the events in between.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf as _, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::broadcast::{self, error::RecvError};

use crate::event::Event;
use crate::handle::Peer;

use super::lines::{Line, Lines};
use super::message::{self, Incoming, MAX_LINE, Refusal, Request};
use super::{method, notification};

/// Requests of one client that are under way; further lines wait. Beyond this a client gains nothing: the engine takes one
/// command at a time.
const MAX_IN_FLIGHT: usize = 64;

/// Bytes that wait for a client before its further requests do, too. A script may write a few thousand requests before it
/// reads the first answer; one that writes more must read meanwhile.
const ENOUGH_ANSWERS: usize = 4 * 1024 * 1024;

/// Bytes that wait for a client before it misses events: the longest message fits, several times.
const ENOUGH_EVENTS: usize = 1024 * 1024;

/// Serves one client until it has closed its side, or until `closing` is done: then no further line is read, and this ends when
/// all that were read are answered. A client that does not read holds up nothing but itself.
///
/// The client hears the events from the call on, even if the future is polled later.
///
/// # Errors
/// The stream broke.
pub fn serve(
    peer: Peer,
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    closing: impl Future<Output = ()>,
) -> impl Future<Output = io::Result<()>> {
    let events = peer.events();
    converse(peer, events, reader, writer, closing)
}

async fn converse(
    peer: Peer,
    mut events: broadcast::Receiver<Arc<Event>>,
    reader: impl AsyncRead + Unpin,
    mut writer: impl AsyncWrite + Unpin,
    closing: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut lines = Lines::new(reader, MAX_LINE);
    let mut closing = pin!(closing);
    let mut under_way = UnderWay::default();
    let mut out = BytesMut::new();
    let mut open = true;
    while open || !under_way.is_empty() || !out.is_empty() {
        let room = under_way.len() < MAX_IN_FLIGHT && out.len() < ENOUGH_ANSWERS;
        tokio::select! {
            answers = under_way.done(), if !under_way.is_empty() => put_all(&mut out, answers),
            line = lines.next(), if open && room => match line? {
                Some(Line::Whole(line)) if line.trim_ascii().is_empty() => {}
                Some(Line::Whole(line)) => under_way.begin(answer(peer.clone(), message::parse(&line))),
                Some(Line::TooLong) => under_way.begin(answer(peer.clone(), message::too_long())),
                None => open = false,
            },
            event = events.recv(), if open && out.len() < ENOUGH_EVENTS => {
                // The answer to what caused the event goes first: a client that waits for the answer, and then for the event,
                // must not have passed it over.
                put_all(&mut out, under_way.done_by_now().await);
                match event {
                    Ok(event) => put_all(&mut out, notification::event(&event)),
                    Err(RecvError::Lagged(missed)) => put(&mut out, &notification::lagged(missed)),
                    Err(RecvError::Closed) => open = false,
                }
            },
            written = writer.write(&out), if !out.is_empty() => {
                match written? {
                    0 => return Err(io::ErrorKind::WriteZero.into()),
                    count => out.advance(count),
                }
                if out.is_empty() {
                    writer.flush().await?;
                }
            },
            () = &mut closing, if open => open = false,
        }
    }
    writer.shutdown().await
}

/// The line that answers; none for notifications.
async fn answer(peer: Peer, incoming: Incoming) -> Option<Value> {
    match incoming {
        Incoming::One(request) => answer_one(&peer, request).await,
        Incoming::Batch(requests) => {
            let mut answers = Vec::new();
            for request in requests {
                answers.extend(answer_one(&peer, request).await);
            }
            (!answers.is_empty()).then(|| answers.into())
        }
    }
}

async fn answer_one(peer: &Peer, request: Result<Request, Refusal>) -> Option<Value> {
    match request {
        Ok(mut request) => {
            let id = request.id.take();
            let outcome = method::call(peer, request).await;
            id.map(|id| message::response(&id, outcome))
        }
        Err(Refusal { id, failure }) => Some(message::response(&id, Err(failure))),
    }
}

fn put_all(out: &mut BytesMut, lines: impl IntoIterator<Item = Value>) {
    for line in lines {
        put(out, &line);
    }
}

fn put(out: &mut BytesMut, line: &Value) {
    out.extend_from_slice(line.to_string().as_bytes());
    out.extend_from_slice(b"\n");
}

/// Requests under way, polled in the order in which they were begun: so do their commands reach the engine.
#[derive(Default)]
struct UnderWay(Vec<Pin<Box<dyn Future<Output = Option<Value>> + Send>>>);

impl UnderWay {
    fn begin(&mut self, request: impl Future<Output = Option<Value>> + Send + 'static) {
        self.0.push(Box::pin(request));
    }

    const fn len(&self) -> usize {
        self.0.len()
    }

    const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Waits until some are done, and takes their answers.
    async fn done(&mut self) -> Vec<Value> {
        poll_fn(|context| {
            let before = self.0.len();
            let answers = self.poll(context);
            if self.0.len() == before { Poll::Pending } else { Poll::Ready(answers) }
        })
        .await
    }

    /// The answers of those that are done already.
    async fn done_by_now(&mut self) -> Vec<Value> {
        poll_fn(|context| Poll::Ready(self.poll(context))).await
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Vec<Value> {
        let mut answers = Vec::new();
        self.0.retain_mut(|request| match request.as_mut().poll(context) {
            Poll::Ready(answer) => {
                answers.extend(answer);
                false
            }
            Poll::Pending => true,
        });
        answers
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;
    use tokio::io::{AsyncBufReadExt as _, BufReader, DuplexStream, ReadHalf, WriteHalf};

    use crate::command::{Command, CommandError};
    use crate::event::EventKind;

    use super::super::fake::{Fake, bob, message_id};
    use super::*;

    struct Session {
        fake: Fake,
        writer: Option<WriteHalf<DuplexStream>>,
        reader: BufReader<ReadHalf<DuplexStream>>,
    }

    impl Session {
        fn new() -> Self {
            let fake = Fake::start();
            let (near, far) = tokio::io::duplex(16 * 1024);
            let (reader, writer) = tokio::io::split(far);
            tokio::spawn(serve(fake.peer.clone(), reader, writer, std::future::pending()));
            let (reader, writer) = tokio::io::split(near);
            Self { fake, writer: Some(writer), reader: BufReader::new(reader) }
        }

        async fn write(&mut self, line: &str) {
            let writer = self.writer.as_mut().unwrap();
            writer.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        }

        async fn read(&mut self) -> Value {
            let mut line = String::new();
            let reading = self.reader.read_line(&mut line);
            tokio::time::timeout(Duration::from_secs(10), reading).await.expect("a line in time").unwrap();
            assert!(line.ends_with('\n'), "a whole line: {line:?}");
            serde_json::from_str(&line).unwrap()
        }

        async fn call(&mut self, method: &str, params: Value) -> Value {
            let request = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
            self.write(&request.to_string()).await;
            let answer = self.read().await;
            assert_eq!((&answer["jsonrpc"], &answer["id"]), (&json!("2.0"), &json!(1)));
            answer
        }

        async fn result(&mut self, method: &str, params: Value) -> Value {
            let answer = self.call(method, params).await;
            assert_eq!(answer.get("error"), None, "{answer}");
            answer["result"].clone()
        }

        async fn failure(&mut self, method: &str, params: Value) -> (i64, String) {
            let answer = self.call(method, params).await;
            assert_eq!(answer.get("result"), None, "{answer}");
            let error = &answer["error"];
            (error["code"].as_i64().unwrap(), error["message"].as_str().unwrap().to_owned())
        }

        fn tell(&self, number: u64) {
            let kind = EventKind::Presence { peer: bob(), name: "bob".into(), online: true };
            self.fake.events.send(Arc::new(Event { at: number, kind })).unwrap();
        }
    }

    #[tokio::test]
    async fn status_says_who_we_are_and_which_rendezvous_know_us() {
        let me = Fake::me();
        let mut session = Session::new();
        let status = session.result("status", json!({})).await;
        let address = Fake::rendezvous();
        assert_eq!(
            status,
            json!({
                "peer": me.to_string(),
                "link": format!("knothole:{me}?via={address}"),
                "version": env!("CARGO_PKG_VERSION"),
                "rendezvous": [
                    {"address": address.to_string(), "state": "registered", "observed": "203.0.113.5:4711",
                     "rtt_ms": 20.5, "transport": "udp", "mailbox": "open"},
                    {"address": address.to_string(), "state": "unreachable", "observed": null,
                     "rtt_ms": null, "transport": "tcp", "mailbox": "closed"},
                ],
                "presence": "online",
                "mailbox": true,
                "letters_unopened": 2,
            })
        );
    }

    #[tokio::test]
    async fn contacts_are_listed_with_their_paths() {
        let mut session = Session::new();
        let list = session.result("contact.list", json!({})).await;
        assert_eq!(
            list[0],
            json!({"peer": bob().to_string(), "name": "bob", "state": "contact", "presence": "online",
                   "last_seen": 1_700_000_000_000_u64, "seen_as": "online", "path": {"kind": "direct", "remote": "203.0.113.9:99", "rtt_ms": 1.2, "why": null},
                   "verified": true, "relay_only": false, "greeting": null, "expires_s": 60, "unread": 3,
                   "first_unread": message_id(2).to_string(), "last_at": 1_700_000_000_007_u64, "draft": "I have beg"})
        );
        assert_eq!((&list[1]["presence"], &list[1]["path"]), (&json!("offline"), &Value::Null));
        assert_eq!((&list[1]["state"], &list[1]["greeting"]), (&json!("request"), &json!("it is me")));
        for absent in ["first_unread", "last_at", "draft"] {
            assert_eq!(list[1].get(absent), Some(&Value::Null), "{absent}");
        }
    }

    #[tokio::test]
    async fn contact_commands_reach_the_engine_with_their_parameters() {
        let mut session = Session::new();
        let link = format!("knothole:{}?via={}", bob(), Fake::rendezvous());
        let named = json!({"peer": bob().to_string(), "name": "bob"});
        let words = session.result("contact.words", json!({"peer": "bob"})).await;
        assert_eq!(words, json!({"words": ["abandon", "zoo"], "qr": "knothole-verify:x?for=y"}));
        let verified = session.result("contact.verify", json!({"peer": "bob"})).await;
        assert_eq!(verified, json!({"peer": bob().to_string(), "name": "bob", "verified": true}));
        let replaced = session.result("contact.add", json!({"link": link, "name": "bob", "replace": true})).await;
        assert_eq!(replaced["former"]["name"], "bob (old key)");
        let code = session.result("contact.code", json!({"name": "bob", "path": "relay"})).await;
        assert_eq!(code, json!({"code": "7-orchard-velvet", "expires_at": 1_700_000_600_000_u64}));
        assert_eq!(session.result("contact.add", json!({"link": "7 Orchard velvet", "name": "bob"})).await, named);
        let introduced = json!({"link": link, "name": "bob", "greeting": "it is me", "path": "any"});
        assert_eq!(session.result("contact.add", introduced).await, named);
        let renamed = session.result("contact.rename", json!({"peer": "bob", "name": "robert"})).await;
        assert_eq!(renamed, json!({"peer": bob().to_string(), "name": "robert"}));
        let relayed = session.result("contact.path", json!({"peer": "bob", "mode": "relay"})).await;
        assert_eq!(relayed, json!({"peer": bob().to_string(), "name": "bob", "relay_only": true}));
        assert_eq!(session.result("contact.add", json!({"link": link, "name": "bob"})).await, named);
        let relayed = json!({"link": link, "name": "bob", "path": "relay"});
        assert_eq!(session.result("contact.add", relayed).await, named);
        let refused = session.failure("contact.add", json!({"link": link, "path": "straight"})).await;
        assert!(refused.1.contains("path is \"any\" or \"relay\""), "{refused:?}");
        assert_eq!(session.result("contact.accept", json!({"peer": "bob", "path": "relay"})).await, named);
        assert_eq!(session.result("contact.block", json!({"peer": "bob"})).await, named);
        assert_eq!(session.result("contact.remove", json!({"peer": "bob"})).await, json!({}));
        assert_eq!(session.result("contact.connect", json!({"peer": "bob"})).await, json!({}));
        assert_eq!(
            session.fake.log(),
            [
                "replace",
                "code, relay only: true",
                "join 7-orchard-velvet as Some(\"bob\")",
                "introduce it is me, relay only: false",
                "add Some(\"bob\")",
                "add Some(\"bob\"), relay only: true",
                "accept bob, relay only: true",
                "block bob",
                "remove bob",
                "connect bob"
            ]
        );
    }

    #[tokio::test]
    async fn messages_are_sent_listed_and_marked_as_read() {
        let mut session = Session::new();
        let id = message_id(1).to_string();
        let sent = session.result("message.send", json!({"to": "bob", "text": "hi"})).await;
        assert_eq!(sent, json!({"message": id}));
        let history = session.result("message.history", json!({"with": "bob"})).await;
        assert_eq!(
            history,
            json!([
                {"message": id, "from": Fake::me().to_string(), "text": "hi", "at": 5, "state": "sent"},
                {"message": message_id(2).to_string(), "from": bob().to_string(), "text": "ho", "at": 6,
                 "state": "delivered", "reply": id, "edited": true, "reactions": [{"emoji": "👍", "mine": true}],
                 "expires_s": 60, "expires_at": 77},
            ])
        );
        let asked = json!({"with": bob().to_string(), "search": "x", "before": id, "limit": 7});
        assert_eq!(session.result("message.history", asked).await[1]["from"], bob().to_string());
        let after = json!({"with": "bob", "after": id});
        assert_eq!(session.result("message.history", after).await[1]["from"], bob().to_string());
        assert_eq!(session.result("message.read", json!({"with": "bob", "upto": id})).await, json!({}));
        assert_eq!(
            session.fake.log(),
            [
                "send bob \"hi\"".to_owned(),
                "history bob None End 50".to_owned(),
                format!("history {} Some(\"x\") Before({id}) 7", bob()),
                format!("history bob None After({id}) 50"),
                format!("read bob {id}"),
            ]
        );
    }

    #[tokio::test]
    async fn a_draft_is_set_and_a_message_is_made_of_it() {
        let mut session = Session::new();
        assert_eq!(session.result("draft.set", json!({"with": "bob", "text": "hel"})).await, json!({}));
        session.result("message.send", json!({"to": "bob", "text": "hello", "from_draft": true})).await;
        let id = message_id(9).to_string();
        let named = session.result("message.send", json!({"to": "bob", "text": "hello", "message": id})).await;
        assert_eq!(named, json!({"message": id}));
        let wrong = json!({"to": "bob", "text": "hello", "message": "mine"});
        assert_eq!(session.failure("message.send", wrong).await.0, -32_602);
        session.result("draft.set", json!(["bob", ""])).await;
        let send = "send bob \"hello\"";
        let expected = ["draft bob \"hel\"", &format!("{send} from its draft"), send, "draft bob \"\""];
        assert_eq!(session.fake.log(), expected);
        assert_eq!(session.failure("draft.set", json!({"with": "bob"})).await.0, -32_602);
    }

    #[tokio::test]
    async fn what_was_said_is_edited_deleted_and_reacted_to() {
        let mut session = Session::new();
        let (id, change) = (message_id(1).to_string(), json!({"change": message_id(2).to_string()}));
        let sent = json!({"to": "bob", "text": "hi", "reply": id, "expires_s": 60});
        session.result("message.send", sent).await;
        for (method, params) in [
            ("message.edit", json!({"message": id, "text": "ho"})),
            ("message.delete", json!({"message": id, "with": "bob"})),
            ("message.react", json!({"message": id, "emoji": "👍"})),
            ("message.react", json!([id, "👍", false])),
            ("conversation.timer", json!({"with": "bob", "expires_s": 60})),
            ("conversation.timer", json!({"with": "bob", "expires_s": null})),
        ] {
            assert_eq!(session.result(method, params).await, change);
        }
        assert_eq!(
            session.fake.log(),
            [
                "send bob \"hi\"".to_owned(),
                format!("answering Some({id}), lasting Some(60)"),
                format!("amend None Edit {{ of: {id}, text: \"ho\" }}"),
                format!("amend Some(\"bob\") Delete {{ of: {id} }}"),
                format!("amend None Reaction {{ of: {id}, emoji: \"👍\", on: true }}"),
                format!("amend None Reaction {{ of: {id}, emoji: \"👍\", on: false }}"),
                "amend Some(\"bob\") Timer { expires_s: Some(60) }".to_owned(),
                "amend Some(\"bob\") Timer { expires_s: None }".to_owned(),
            ]
        );
        for (method, params) in [
            ("message.edit", json!({"message": id, "text": ""})),
            ("message.delete", json!({"message": "x"})),
            ("message.react", json!({"message": id})),
            ("conversation.timer", json!({"with": "bob"})),
        ] {
            assert_eq!(session.failure(method, params).await.0, -32_602, "{method}");
        }
    }

    #[tokio::test]
    async fn what_a_check_of_the_store_finds_is_told() {
        let mut session = Session::new();
        assert_eq!(session.result("store.check", json!({})).await, json!({"findings": ["a finding"]}));
    }

    #[tokio::test]
    async fn a_backup_is_asked_for_with_its_place_and_passphrase() {
        let mut session = Session::new();
        let asked = json!({"path": "/backup", "passphrase": "words"});
        assert_eq!(session.result("store.export", asked).await, json!({}));
        assert_eq!(session.fake.log(), ["export /backup words"]);
    }

    #[tokio::test]
    async fn parameters_may_go_by_position() {
        let mut session = Session::new();
        session.result("message.send", json!(["bob", "hi"])).await;
        session.result("message.history", json!(["bob", null, null, 9])).await;
        assert_eq!(session.fake.log(), ["send bob \"hi\"", "history bob None End 9"]);
    }

    #[tokio::test]
    async fn each_kind_of_error_has_its_code_and_a_text() {
        let mut session = Session::new();
        assert_eq!(session.failure("room.create", json!({})).await.0, -32_601);
        let link = session.failure("contact.add", json!({"link": "http://x"})).await;
        assert_eq!(link, (-32_602, "link: a contact link begins with \"knothole:\"".into()));
        for (method, params) in [
            ("contact.add", json!({})),
            ("contact.accept", json!({"peer": 7})),
            ("message.send", json!({"to": "bob"})),
            ("message.send", json!({"to": "bob", "text": ""})),
            ("message.history", json!({"with": "bob", "limit": -1})),
            ("message.history", json!({"with": "bob", "before": "x"})),
            ("message.history", json!({"with": "bob", "after": "x"})),
            (
                "message.history",
                json!({"with": "bob", "before": message_id(1).to_string(), "after": message_id(2).to_string()}),
            ),
            ("message.read", json!({"with": "bob", "upto": "x"})),
            ("presence.set", json!({"mode": "away"})),
        ] {
            assert_eq!(session.failure(method, params.clone()).await.0, -32_602, "{method} {params}");
        }
        let unknown = session.failure("message.send", json!({"to": "nobody", "text": "hi"})).await;
        assert_eq!(unknown, (-32_000, CommandError::UnknownContact("nobody".into()).to_string()));
        session.write("{").await;
        assert_eq!(session.read().await["error"]["code"], -32_700);
        session.write("7").await;
        assert_eq!(session.read().await["error"]["code"], -32_600);
        session.write(&"x".repeat(MAX_LINE + 1)).await;
        assert_eq!(session.read().await["error"]["code"], -32_600);
        session.result("contact.list", json!({})).await;
    }

    #[tokio::test]
    async fn a_batch_is_answered_as_one_and_notifications_not_at_all() {
        let mut session = Session::new();
        let notify = r#"{"jsonrpc":"2.0","method":"contact.connect","params":{"peer":"a"}}"#;
        let unknown = r#"{"jsonrpc":"2.0","method":"no.such"}"#;
        let list = r#"{"jsonrpc":"2.0","id":"l","method":"contact.list"}"#;
        session.write(notify).await;
        session.write(unknown).await;
        session.write(&format!("[{notify},{unknown}]")).await;
        session.write("").await;
        session.write(&format!("[{notify},{list},1,{list}]")).await;
        let answer = session.read().await;
        let ids: Vec<_> = answer.as_array().unwrap().iter().map(|one| &one["id"]).collect();
        assert_eq!(ids, [&json!("l"), &Value::Null, &json!("l")]);
        assert_eq!(session.fake.log(), ["connect a", "connect a", "connect a"]);
    }

    #[tokio::test]
    async fn requests_reach_the_engine_in_order_and_are_answered_when_done() {
        let mut session = Session::new();
        session.write(r#"{"jsonrpc":"2.0","id":0,"method":"contact.connect","params":{"peer":"slow"}}"#).await;
        for id in 1..200 {
            let text = id.to_string();
            let request = json!({"jsonrpc": "2.0", "id": id, "method": "message.send", "params": ["bob", text]});
            session.write(&request.to_string()).await;
        }
        for id in 1..200 {
            assert_eq!(session.read().await["id"], id);
        }
        session.fake.release();
        assert_eq!(session.read().await["id"], 0);
        let sent: Vec<_> = (1..200).map(|id| format!("send bob \"{id}\"")).collect();
        assert_eq!(session.fake.log()[1..], sent);
    }

    #[tokio::test]
    async fn an_answer_comes_before_the_events_that_its_request_caused() {
        for _ in 0..50 {
            let mut session = Session::new();
            session.write(r#"{"jsonrpc":"2.0","id":1,"method":"message.send","params":["bob","and tell"]}"#).await;
            assert_eq!(session.read().await["id"], 1);
            let told = session.read().await;
            assert_eq!(told["params"]["type"], "state");
        }
    }

    #[tokio::test]
    async fn a_client_that_closes_its_side_still_gets_its_answers() {
        let mut session = Session::new();
        session.write(r#"{"jsonrpc":"2.0","id":1,"method":"contact.list"}"#).await;
        session.writer.as_mut().unwrap().shutdown().await.unwrap();
        assert_eq!(session.read().await["id"], 1);
        let mut rest = String::new();
        assert_eq!(session.reader.read_line(&mut rest).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn a_client_that_does_not_read_misses_events_is_told_so_and_stalls_nobody() {
        let mut session = Session::new();
        session.result("contact.list", json!({})).await;
        for number in 0..30_000 {
            session.tell(number);
            if number % 100 == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert!(session.fake.peer.request(Command::Contacts).await.is_ok());
        let (mut told, mut missed) = (0, 0);
        while told + missed < 30_000 {
            let params = session.read().await["params"].clone();
            if params["type"] == "lagged" {
                missed += params["missed"].as_u64().unwrap();
            } else {
                assert_eq!(params["at"], told + missed);
                told += 1;
            }
        }
        assert!(missed > 0, "16 KiB of pipe and the bound cannot hold 30,000 events");
        session.result("contact.list", json!({})).await;
    }
}
