//! How an engine starts: what it finds in its home, and what it opens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

use futures_util::stream::FuturesOrdered;
use knothole_proto::path;
use knothole_proto::traversal::Traversal;
use tokio::sync::{broadcast, mpsc};

use super::habits::Habits;
use super::letters::{MAILBOX, MAILBOX_OPENED, Mailbox, Receiving};
use super::lifetime::Mappings;
use super::network::{Outgoing, Surroundings};
use super::presence::{self, Presence};
use super::tidying::Tidying;
use super::timers::Timers;
use super::{Engine, Inputs, hard_nat, seed};
use crate::handle::{Options, Peer};
use crate::home::{Home, HomeError};
use crate::link::{Heartbeat, Links};
use crate::passphrase;
use crate::socket::Socket;
use crate::store::{self, Acquaintance, OpenError, Outcome, Store, StoreError};

/// Commands that wait for the engine; a face that asks for more waits itself.
const COMMANDS: usize = 64;
/// Events that a slow face may be behind.
const EVENTS: usize = 1024;
/// The setting that remembers the UDP port: to come back on it finds old NAT mappings, and contacts, faster.
const PORT: &str = "udp-port";
/// Contacts whose conversations the store is asked for at once, far fewer than may wait there.
const CONTACTS_AT_ONCE: usize = 256;

/// Why an engine cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The database cannot be used.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no UDP port to be had.
    #[error("no UDP port can be opened: {0}; does this machine have a network?")]
    Socket(#[source] std::io::Error),
    /// QUIC cannot be set up.
    #[error("QUIC cannot be set up: {0}")]
    Link(String),
}

/// Starts a peer in its home. The caller holds the home's engine lock.
///
/// # Errors
/// [`StartError`]; its texts say what to do next.
pub async fn start(options: Options) -> Result<Peer, StartError> {
    start_in(Home::open(Some(options.home.clone()))?, options).await
}

/// The same in a home that may be under a passphrase, and is then open; `options` name the same.
///
/// # Errors
/// [`StartError`]; its texts say what to do next.
pub async fn start_in(home: Home, options: Options) -> Result<Peer, StartError> {
    passphrase::tidy(&home)?;
    let secret = home.identity()?;
    let store = Store::open_in(&home)?;
    let kept = Kept::ask(&store);
    let port = kept.port.await?.and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
    let (socket, arrivals) = Socket::bind(port.unwrap_or(0)).map_err(StartError::Socket)?;
    if port != Some(socket.port()) {
        store.set_setting(PORT, socket.port().to_be_bytes().to_vec()).await?;
    }
    let (links, link_events) = Links::new(socket.clone(), &secret, Heartbeat::from(options.keepalive))
        .map_err(|why| StartError::Link(why.to_string()))?;

    // A rendezvous on loopback can only introduce peers on this machine.
    let allow_loopback = options.allow_loopback || options.rendezvous.iter().any(|address| is_loopback(&address.host));
    let config = path::Config { allow_loopback, profile: options.keepalive, ..path::Config::default() };
    // Peers on one machine alone have no use for a router or a LAN.
    let outgoing = Outgoing {
        lan_discovery: home.lan_discovery()? && !allow_loopback,
        port_mapping: home.port_mapping()? && !allow_loopback,
    };
    let (surroundings, news) = Surroundings::new(secret.public_key(), socket.port(), outgoing);
    let (sign_in_steps, sign_in_inputs) = mpsc::channel(16);
    let (trials, trial_inputs) = mpsc::channel(1);
    let remembered = kept.mappings.await?;
    // What was last said counts, then what config.toml says.
    let said = kept.mailbox.await?.map(|value| value == [1]);
    let opened = kept.mailbox_opened.await?.unwrap_or_default();
    let mailbox = Mailbox::new(said.unwrap_or(home.mailbox()?), &opened);
    let invisible = kept.invisible.await?.is_some_and(|value| value == [1]);
    let acquaintances = kept.acquaintances.await?;
    let (events, _) = broadcast::channel(EVENTS);
    let (commands, command_inputs) = mpsc::channel(COMMANDS);
    let mut engine = Engine {
        me: secret.public_key(),
        traversal: Traversal::new(secret.public_key(), config, seed()),
        surroundings,
        allow_loopback,
        socket,
        links,
        store,
        home: home.clone(),
        rendezvous: Vec::new(),
        own_rendezvous: 0,
        contacts: BTreeMap::new(),
        next_contact: 0,
        link_contacts: BTreeMap::new(),
        timers: Timers::default(),
        mappings: Mappings::new(options.keepalive, remembered, trials),
        habits: Habits::of(&home)?,
        tidying: Tidying::default(),
        pending: FuturesOrdered::new(),
        mailbox,
        presence: Presence::new(invisible, acquaintances),
        receiving: Receiving::default(),
        codes: super::codes::Codes::default(),
        takes_requests: home.takes_requests()?,
        requests: 0,
        sign_in_steps,
        last_tunnel: 0,
        events: events.clone(),
        stopping: None,
    };
    let now = Instant::now();
    if kept.untidy.await? {
        engine.tidying.expect(now);
    }
    engine.refresh_hosts(now);
    for address in options.rendezvous {
        engine.register(address, now);
    }
    engine.own_rendezvous = engine.rendezvous.len();
    engine.recall_attempts(kept.attempts.await?, now);
    let contacts = kept.contacts.await?;
    for some in contacts.chunks(CONTACTS_AT_ONCE) {
        let talks = |known: &store::Contact| super::contact::talks(known.state);
        let asked = |known: &store::Contact| talks(known).then(|| engine.store.conversation(known.peer));
        let conversations: Vec<_> = engine.store.together(|| some.iter().map(asked).collect());
        for (known, conversation) in some.iter().zip(conversations) {
            let conversation = match conversation {
                Some(conversation) => Some(conversation.await?),
                None => None,
            };
            engine.insert_contact(known.clone(), conversation, now);
        }
    }
    engine.hide_from_lan();
    engine.connect_wanted(now);
    let inputs = Inputs {
        commands: command_inputs,
        arrivals,
        link_events,
        sign_in_steps: sign_in_inputs,
        news,
        trials: trial_inputs,
    };
    tokio::spawn(engine.run(inputs));
    Ok(Peer::new(commands, events))
}

/// What the store is asked first, all at once: a question that waits for the answer to another costs two changes of threads, and
/// on a busy machine each of those takes as long as everything else here.
struct Kept {
    port: Outcome<Option<Vec<u8>>>,
    mappings: Outcome<Option<Vec<u8>>>,
    mailbox: Outcome<Option<Vec<u8>>>,
    mailbox_opened: Outcome<Option<Vec<u8>>>,
    invisible: Outcome<Option<Vec<u8>>>,
    attempts: Outcome<Option<Vec<u8>>>,
    untidy: Outcome<bool>,
    acquaintances: Outcome<Vec<Acquaintance>>,
    contacts: Outcome<Vec<store::Contact>>,
}

impl Kept {
    fn ask(store: &Store) -> Self {
        store.together(|| Self {
            port: store.setting(PORT),
            mappings: store.setting(Mappings::setting()),
            mailbox: store.setting(MAILBOX),
            mailbox_opened: store.setting(MAILBOX_OPENED),
            invisible: store.setting(presence::SETTING),
            attempts: store.setting(hard_nat::SETTING),
            untidy: store.is_untidy(),
            acquaintances: store.acquaintances(),
            contacts: store.contacts(),
        })
    }
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}
