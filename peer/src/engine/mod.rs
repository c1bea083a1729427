//! The engine: one loop that owns every machine of a peer.
//!
//! It takes one thing at a time (a command, a datagram, a link's event, an answer of the store, a deadline), lets the
//! machines deal with it, drains them completely and sleeps. Nothing in it waits for disk or network: what takes time
//! comes back as a continuation. Faces see commands and events alone.

mod backup;
mod codes;
mod commands;
mod contact;
mod content;
mod conversation;
#[cfg(test)]
mod disk_full_tests;
#[cfg(test)]
mod fixture;
mod flight;
mod habits;
mod hard_nat;
mod letters;
mod lifetime;
mod links;
mod network;
mod paths;
mod presence;
mod reasons;
mod relay_only;
mod renaming;
mod rendezvous;
mod renewal;
mod requests;
mod start;
mod tidying;
mod timers;
mod tunnels;
mod verification;
mod warmth;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;
use knothole_proto::datagram::RELAY;
use knothole_proto::frames::MessageId;
use knothole_proto::identity::PeerId;
use knothole_proto::path;
use knothole_proto::traversal::{ContactId, Traversal};
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::command::{Command, CommandError, Reply};
use crate::event::{Event, EventKind};
use crate::home::Home;
use crate::link::{LinkEvent, LinkId, Links};
use crate::socket::{Arrival, Socket, VirtualAddress};
use crate::store::{Outcome, Store, StoreError};
use contact::Contact;
use habits::Habits;
use letters::{Mailbox, Receiving};
use lifetime::{Mappings, TrialResult};
use network::{News, Surroundings};
use presence::Presence;
use rendezvous::{Rendezvous, SignInStep};
pub use start::{StartError, start, start_in};
use tidying::Tidying;
use timers::Timers;

/// How long a stopping engine waits for the rendezvous to hear that it leaves.
const FAREWELL: Duration = Duration::from_millis(500);

/// What is done with an answer that took its time.
type Continuation = Box<dyn FnOnce(&mut Engine) + Send>;

pub(crate) struct Engine {
    me: PeerId,
    allow_loopback: bool,
    socket: Arc<Socket>,
    links: Links,
    store: Store,
    home: Home,
    traversal: Traversal,
    surroundings: Surroundings,
    rendezvous: Vec<Rendezvous>,
    own_rendezvous: usize,
    contacts: BTreeMap<ContactId, Contact>,
    next_contact: u32,
    /// Whose connections there are, in use or ending.
    link_contacts: BTreeMap<LinkId, ContactId>,
    timers: Timers,
    /// How long the NAT keeps our mapping.
    mappings: Mappings,
    habits: Habits,
    tidying: Tidying,
    /// In the order of the calls, which is the order in which the store works.
    pending: FuturesOrdered<BoxFuture<'static, Continuation>>,
    mailbox: Mailbox,
    presence: Presence,
    codes: codes::Codes,
    /// Letters that have come.
    receiving: Receiving,
    /// Whether strangers may ask to be contacts.
    takes_requests: bool,
    /// Strangers' requests that the store is at.
    requests: usize,
    sign_in_steps: mpsc::Sender<SignInStep>,
    /// The number of the newest stream to a rendezvous.
    last_tunnel: u64,
    events: broadcast::Sender<Arc<Event>>,
    stopping: Option<oneshot::Sender<()>>,
}

struct Inputs {
    commands: mpsc::Receiver<Command>,
    arrivals: mpsc::Receiver<Arrival>,
    link_events: mpsc::Receiver<LinkEvent>,
    sign_in_steps: mpsc::Receiver<SignInStep>,
    news: mpsc::Receiver<News>,
    trials: mpsc::Receiver<TrialResult>,
}

/// 32 bytes of chance from the system, the only place where the engine takes any. From the kernel, for AWS-LC's generator takes
/// its time to begin, and a start waits for this.
fn seed() -> [u8; 32] {
    let mut seed = [0; 32];
    #[expect(clippy::expect_used, reason = "without randomness there is no cryptography and nothing may go on")]
    getrandom::fill(&mut seed).expect("the system gives random bytes");
    seed
}

/// A new message's name.
fn message_id() -> MessageId {
    let seed = seed();
    MessageId(std::array::from_fn(|i| seed[i]))
}

/// Now, in milliseconds since 1970.
fn wall_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Engine {
    async fn run(mut self, mut inputs: Inputs) {
        loop {
            self.drain(Instant::now());
            if self.stopping.is_some() {
                break;
            }
            let deadlines = [
                self.traversal.poll_timeout(),
                self.timers.poll_timeout(),
                self.streams_due(),
                self.mappings.poll_timeout(),
                self.presence.poll_timeout(),
                self.receiving.poll_timeout(),
                self.codes.poll_timeout(),
                self.tidying.poll_timeout(),
            ];
            let deadline = deadlines.into_iter().flatten().min();
            let sleep = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            let socket = self.socket.clone();
            tokio::select! {
                Some(arrival) = inputs.arrivals.recv() => {
                    if arrival.datagram.first() == Some(&RELAY) {
                        // It waited for what came before it.
                        self.socket.receive(&arrival);
                    } else {
                        let now = Instant::now();
                        self.traversal.handle_datagram(arrival.base, arrival.from, &arrival.datagram, now);
                    }
                }
                Some(event) = inputs.link_events.recv() => self.handle_link_event(event, Instant::now()),
                Some(continuation) = self.pending.next(), if !self.pending.is_empty() => continuation(&mut self),
                command = inputs.commands.recv() => match command {
                    Some(command) => self.handle_command(command, Instant::now()),
                    // Every handle is gone: nobody can ask for anything any more.
                    None => break,
                },
                Some(result) = inputs.trials.recv() => self.handle_trial(&result, Instant::now()),
                Some(step) = inputs.sign_in_steps.recv() => self.handle_sign_in(step, Instant::now()),
                Some(news) = inputs.news.recv() => self.handle_news(news, Instant::now()),
                address = socket.routes().next_silent() => self.handle_silence(address, Instant::now()),
                () = sleep => {
                    let now = Instant::now();
                    self.notice_sleep(deadline, now);
                    self.report_traffic(now);
                    self.traversal.handle_timeout(now);
                    self.look_for_streams(now);
                    self.handle_mapping_timeout(now);
                    self.handle_presence_timeout(now);
                    self.handle_letters_timeout(now);
                    self.handle_code_timeout(now);
                    self.handle_tidying_timeout(now);
                    self.handle_timers(now);
                }
            }
        }
        self.stop(inputs).await;
    }

    /// Drains every machine: events first, for they may lead to datagrams.
    fn drain(&mut self, now: Instant) {
        while let Some(event) = self.traversal.poll_event() {
            self.handle_traversal_event(event, now);
        }
        self.transmit(now);
    }

    /// Sends what the traversal has to send.
    fn transmit(&mut self, now: Instant) {
        while let Some(transmit) = self.traversal.poll_transmit(now) {
            self.socket.send(transmit.base, transmit.to, &transmit.payload, transmit.ttl);
        }
    }

    async fn stop(mut self, mut inputs: Inputs) {
        self.note_all_seen();
        // What was written but not yet committed is finished; what it would lead to is not.
        while let Some(continuation) = self.pending.next().await {
            continuation(&mut self);
        }
        // Before the rendezvous hear of it: they relay nothing from one who has left.
        self.links.shutdown().await;
        let now = Instant::now();
        self.traversal.goodbye(now);
        self.drain(now);
        let farewell = async {
            while !self.traversal.is_idle() {
                let Some(arrival) = inputs.arrivals.recv().await else { break };
                self.traversal.handle_datagram(path::Base::MAIN, arrival.from, &arrival.datagram, Instant::now());
                while self.traversal.poll_event().is_some() {}
            }
        };
        // The router and the LAN hear of it in the meantime.
        tokio::join!(async { drop(tokio::time::timeout(FAREWELL, farewell).await) }, self.surroundings.stop());
        drop(self.links);
        if let Err(error) = self.store.close().await {
            tracing::error!(%error, "the store did not close");
        }
        if let Some(done) = self.stopping.take() {
            let _ = done.send(());
        }
    }

    /// Goes on with `continuation` when the store has answered.
    fn after<T: Send + 'static>(
        &mut self,
        outcome: Outcome<T>,
        continuation: impl FnOnce(&mut Self, Result<T, StoreError>) + Send + 'static,
    ) {
        self.pending.push_back(Box::pin(async move {
            let result = outcome.await;
            Box::new(move |engine: &mut Self| continuation(engine, result)) as Continuation
        }));
    }

    fn emit(&self, kind: EventKind) {
        // Nobody listening is no error.
        let _ = self.events.send(Arc::new(Event { at: wall_clock(), kind }));
    }
}

/// The virtual address of a contact's connections.
const fn virtual_address(contact: ContactId) -> VirtualAddress {
    VirtualAddress::new(contact.0)
}

/// Answers a command; nobody waiting any more is no error.
fn answer<T>(reply: Reply<T>, result: Result<T, CommandError>) {
    let _ = reply.send(result);
}
