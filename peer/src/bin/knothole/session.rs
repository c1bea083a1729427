//! A connection to the engine of a home: in another process, or started in this one for the purpose.

use std::time::{Duration, Instant};

use anyhow::bail;
use knothole::home::Home;
use knothole::rpc::{self, CallError, Client, Events};
use knothole_proto::contact_link::RendezvousAddress;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream};
use tokio::net::UnixStream;

use crate::hosted::Hosted;
use crate::output::Output;
use crate::text::harmless;

/// How long an engine may take until its socket answers: one that stops needs up to 3 s to let go of its home.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long to wait before the next look: short against what a person notices.
const PAUSE: Duration = Duration::from_millis(30);

/// How many engines may end over one call before it is given up: each is another verb that happens to be done.
const RENEWALS: usize = 8;

/// A conversation with the engine of a home.
pub(crate) struct Session {
    home: Home,
    rendezvous: Vec<RendezvousAddress>,
    allow_loopback: bool,
    client: Client,
    events: Events,
    hosted: Option<Hosted>,
    me: String,
}

/// What came of a rendezvous that was chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Used {
    /// The engine registers there, now and from now on.
    Kept,
    /// It does now; but config.toml names another way, or none.
    ForNow,
    /// It will when the process ends that runs the engine.
    Elsewhere,
}

/// A way to an engine that answers.
pub(crate) enum Reached {
    /// It runs in this process.
    Here(Hosted, DuplexStream),
    /// It runs in another.
    Elsewhere(UnixStream),
}

impl Session {
    /// Reaches the engine of `home`, or starts it.
    pub(crate) async fn open(home: Home, rendezvous: Vec<RendezvousAddress>) -> anyhow::Result<Self> {
        Self::connect(home, rendezvous, false).await
    }

    /// The same where all peers are on this machine.
    pub(crate) async fn open_on_loopback(home: Home, rendezvous: Vec<RendezvousAddress>) -> anyhow::Result<Self> {
        Self::connect(home, rendezvous, true).await
    }

    async fn connect(home: Home, rendezvous: Vec<RendezvousAddress>, allow_loopback: bool) -> anyhow::Result<Self> {
        let (hosted, client, events) = client(reach(&home, &rendezvous, allow_loopback).await?);
        let me = String::new();
        let mut session = Self { home, rendezvous, allow_loopback, client, events, hosted, me };
        let status = session.insist("status", json!({})).await?;
        word(&status, "peer").clone_into(&mut session.me);
        Ok(session)
    }

    /// Our own peer id.
    pub(crate) fn me(&self) -> &str {
        &self.me
    }

    /// A way to the engine that runs now; after [`renew`](Self::renew) it leads nowhere.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether the engine was started for this session, and knows nothing of the network yet.
    pub(crate) const fn is_new(&self) -> bool {
        self.hosted.is_some()
    }

    /// Calls a method of the engine.
    pub(crate) async fn call(&self, method: &str, parameters: Value) -> Result<Value, CallError> {
        self.client.call(method, parameters).await
    }

    /// Calls a method that may as well be called twice: if the process that runs the engine ends over it (another verb that
    /// is done, say), the next engine is asked.
    pub(crate) async fn insist(&mut self, method: &str, parameters: Value) -> anyhow::Result<Value> {
        for _ in 0..RENEWALS {
            match self.call(method, parameters.clone()).await {
                Err(CallError::Closed) => self.renew().await?,
                answer => return Ok(answer?),
            }
        }
        Ok(self.call(method, parameters).await?)
    }

    /// The next event; `None`: the engine has ended, and [`renew`](Self::renew) goes on with another.
    pub(crate) async fn event(&mut self) -> Option<Value> {
        self.events.next().await
    }

    /// Goes on after the end of the process that ran the engine: with the next one that runs it, which this one may become.
    pub(crate) async fn renew(&mut self) -> anyhow::Result<()> {
        if let Some(hosted) = self.hosted.take() {
            // Our own engine does not end by itself; if it broke, its home must be let go first.
            hosted.stop().await;
        }
        (self.hosted, self.client, self.events) =
            client(reach(&self.home, &self.rendezvous, self.allow_loopback).await?);
        Ok(())
    }

    /// Remembers a rendezvous, and starts the engine anew with it.
    pub(crate) async fn use_rendezvous(&mut self, address: RendezvousAddress) -> anyhow::Result<Used> {
        let kept = self.home.choose_rendezvous(&address)?;
        if self.hosted.is_none() {
            if !kept {
                bail!(
                    "{} is your own, or cannot be written: write the rendezvous there, end the Knothole that runs for this \
                     home (a daemon?), and start again",
                    self.home.configuration_path().display()
                );
            }
            return Ok(Used::Elsewhere);
        }
        self.rendezvous = vec![address];
        self.renew().await?;
        Ok(if kept { Used::Kept } else { Used::ForNow })
    }

    /// Says so where the rendezvous that were given make no difference, since the engine was running before.
    pub(crate) async fn tell_unused_rendezvous(&self, output: &Output) {
        let Ok(status) = self.call("status", json!({})).await else { return };
        let known = entries(&status["rendezvous"]);
        let unused = |address: &&RendezvousAddress| known.iter().all(|entry| entry["address"] != address.to_string());
        if let Some(address) = self.rendezvous.iter().find(unused) {
            output.aside(&format!(
                "* the Knothole that runs for this home does not use {address}; end it first, to start with that one"
            ));
        }
    }

    /// Ends the session, and the engine if it was started for it.
    pub(crate) async fn end(self) {
        if let Some(hosted) = self.hosted {
            hosted.stop().await;
        }
    }
}

/// Reaches the engine of `home` in whichever process has it, or becomes that process.
pub(crate) async fn reach(
    home: &Home,
    rendezvous: &[RendezvousAddress],
    allow_loopback: bool,
) -> anyhow::Result<Reached> {
    let start = Instant::now();
    loop {
        if let Some(stream) = elsewhere(home).await {
            return Ok(Reached::Elsewhere(stream));
        }
        if let Some(lock) = home.engine_lock()? {
            let hosted = Hosted::start(home, rendezvous.to_vec(), allow_loopback, lock).await?;
            let stream = hosted.stream();
            return Ok(Reached::Here(hosted, stream));
        }
        if start.elapsed() > PATIENCE {
            bail!(
                "another knothole has {} and does not answer; end that process (`fuser` on engine.lock there finds it), \
                 or choose another --home",
                home.path().display()
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A client of the engine of `home`, if one runs in another process.
pub(crate) async fn running(home: &Home) -> Option<Client> {
    let (_, client, _events) = client(Reached::Elsewhere(elsewhere(home).await?));
    Some(client)
}

/// A stream to an engine that answers. One that is about to stop may still take a connection, and then drop it.
async fn elsewhere(home: &Home) -> Option<UnixStream> {
    let (reader, writer) = rpc::connect(home).await.ok()?.into_split();
    let (client, _events) = Client::new(reader, writer);
    let answer = tokio::time::timeout(PATIENCE, client.call("status", json!({}))).await;
    match answer {
        Ok(Ok(_)) => rpc::connect(home).await.ok(),
        _ => None,
    }
}

fn client(reached: Reached) -> (Option<Hosted>, Client, Events) {
    let talk = |stream| {
        let (reader, writer): (Box<dyn AsyncRead + Send + Unpin>, Box<dyn AsyncWrite + Send + Unpin>) = stream;
        Client::new(reader, writer)
    };
    match reached {
        Reached::Here(hosted, stream) => {
            let (reader, writer) = tokio::io::split(stream);
            let (client, events) = talk((Box::new(reader), Box::new(writer)));
            (Some(hosted), client, events)
        }
        Reached::Elsewhere(stream) => {
            let (reader, writer) = stream.into_split();
            let (client, events) = talk((Box::new(reader), Box::new(writer)));
            (None, client, events)
        }
    }
}

/// A text of an answer or an event.
pub(crate) fn word<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

/// A name, made harmless.
pub(crate) fn name(value: &Value) -> String {
    harmless(word(value, "name"))
}

/// The entries of a list.
pub(crate) fn entries(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
