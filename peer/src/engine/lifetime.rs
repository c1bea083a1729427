//! How long this network's NAT keeps our mapping: the search's spare socket, and what is remembered of networks.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use knothole_proto::lifetime::{self, Event, Known, Lifetime, Trial};
use knothole_proto::registration::Profile;
use knothole_proto::registration::echo::Requests;
use knothole_proto::traversal::RendezvousId;
use knothole_proto::tunnel::is_without_udp;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::Engine;

/// The setting that remembers networks.
const SETTING: &str = "mapping-lifetimes";
/// Networks remembered: home, work, the telephone's carriers. A carrier gives many addresses, and the oldest go first.
const NETWORKS: usize = 32;
/// Between the requests of one trial.
const REPETITION: Duration = Duration::from_secs(1);
/// How much later than asked for an echo may come: a slow round trip.
const LATE: Duration = Duration::from_secs(3);
/// The rendezvous whose view of us counts: the preferred one.
pub(super) const PREFERRED: RendezvousId = RendezvousId(0);

/// The machine for the present network, and the memory of all.
pub(super) struct Mappings {
    profile: Profile,
    machine: Lifetime,
    network: Option<IpAddr>,
    /// The latest last.
    known: Vec<(IpAddr, Known)>,
    trials: mpsc::Sender<TrialResult>,
    /// Tells the present trial's result from that of one in another network.
    trial: u64,
    /// Its task, which ends with the engine however long the delay is.
    running: JoinSet<()>,
    /// When we went on from a fresh port the last time.
    pub(super) renewed: Option<Instant>,
}

/// What came of a trial.
pub(super) struct TrialResult {
    trial: u64,
    result: Trial,
}

impl Mappings {
    /// `stored` is what [`SETTING`] held.
    pub(super) fn new(profile: Profile, stored: Option<Vec<u8>>, trials: mpsc::Sender<TrialResult>) -> Self {
        // What an earlier version wrote is found out anew.
        let known = stored.and_then(|bytes| lifetime::from_bytes(&bytes)).unwrap_or_default();
        Self {
            profile,
            machine: Lifetime::new(profile, Known::default()),
            network: None,
            known,
            trials,
            trial: 0,
            running: JoinSet::new(),
            renewed: None,
        }
    }

    /// The setting's name.
    pub(super) const fn setting() -> &'static str {
        SETTING
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.machine.poll_timeout()
    }

    fn begin(&mut self, requests: Option<Requests>, delay: Duration) {
        let (trial, results) = (self.trial, self.trials.clone());
        // The one before ends with this.
        self.running = JoinSet::new();
        self.running.spawn(async move {
            let result = match requests {
                Some(requests) => conduct(&requests, delay).await.unwrap_or(Trial::Void),
                None => Trial::Void,
            };
            // An engine that is gone needs no result.
            let _ = results.send(TrialResult { trial, result }).await;
        });
    }

    /// What is known of the present network, and whether more is being found out.
    pub(super) fn view(&self) -> (Known, bool) {
        (self.machine.known(), self.machine.is_searching())
    }

    fn remember(&mut self, known: Known) -> Vec<u8> {
        if let Some(network) = self.network {
            self.known.retain(|(ip, _)| *ip != network);
            self.known.push((network, known));
            let surplus = self.known.len().saturating_sub(NETWORKS);
            self.known.drain(..surplus);
        }
        lifetime::to_bytes(&self.known)
    }
}

impl Engine {
    /// A rendezvous sees us at this address.
    pub(super) fn note_mapping(&mut self, rendezvous: RendezvousId, observed: SocketAddr, now: Instant) {
        // On loopback there is no NAT to learn about, and through a stream no mapping.
        if rendezvous != PREFERRED || observed.ip().is_loopback() || is_without_udp(observed) {
            return;
        }
        let mappings = &mut self.mappings;
        if mappings.network.replace(observed.ip()) != Some(observed.ip()) {
            let remembered = mappings.known.iter().find(|(ip, _)| *ip == observed.ip()).map(|(_, known)| *known);
            mappings.trial += 1;
            mappings.running.abort_all();
            mappings.machine = Lifetime::new(mappings.profile, remembered.unwrap_or_default());
            let interval = mappings.machine.interval();
            self.traversal.set_keepalive(mappings.profile, interval, now);
        }
        self.mappings.machine.handle_observed(observed, now);
        self.drain_mappings(now);
    }

    /// Somebody wants to know how long mappings live. Where no NAT is seen, there is nothing to be found out.
    pub(super) fn seek_lifetime(&mut self, now: Instant) {
        if self.mappings.network.is_some() {
            self.mappings.machine.seek(now);
            self.drain_mappings(now);
        }
    }

    pub(super) fn handle_trial(&mut self, result: &TrialResult, now: Instant) {
        if self.mappings.trial == result.trial {
            self.mappings.machine.handle_trial(result.result, now);
            self.drain_mappings(now);
        }
    }

    pub(super) fn handle_mapping_timeout(&mut self, now: Instant) {
        self.mappings.machine.handle_timeout(now);
        self.drain_mappings(now);
    }

    fn drain_mappings(&mut self, now: Instant) {
        while let Some(event) = self.mappings.machine.poll_event() {
            match event {
                Event::Interval(interval) => {
                    tracing::info!(interval_s = interval.as_secs(), "keeping alive at another interval");
                    self.traversal.set_keepalive(self.mappings.profile, interval, now);
                }
                Event::Learnt(known) => {
                    tracing::debug!(?known, "learnt about this network's NAT");
                    let stored = self.mappings.remember(known);
                    // Lost, it is found out again.
                    let outcome = self.store.set_setting(SETTING, stored);
                    self.after(outcome, |_, result| {
                        if let Err(error) = result {
                            tracing::warn!(%error, "what was learnt about the network is not remembered");
                        }
                    });
                }
                Event::Trial { delay_s } => self.begin_trial(delay_s),
                Event::Renew => self.handle_renewal_due(now),
            }
        }
    }

    fn begin_trial(&mut self, delay_s: u16) {
        self.mappings.trial += 1;
        let requests = self.traversal.echo_requests(PREFERRED, delay_s);
        self.mappings.begin(requests, Duration::from_secs(delay_s.into()));
    }
}

/// One trial: a socket with a port of its own asks until it is answered, is silent, and listens for the echo.
async fn conduct(requests: &Requests, delay: Duration) -> std::io::Result<Trial> {
    let any: IpAddr = if requests.remote.is_ipv4() { [0; 4].into() } else { std::net::Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    let mut answered = false;
    for request in &requests.datagrams {
        socket.send_to(request, requests.remote).await?;
        if timeout(REPETITION, heard(&socket, requests, false)).await.is_ok() {
            answered = true;
            break;
        }
    }
    if !answered {
        return Ok(Trial::Void);
    }
    // Nothing that comes early counts, whoever sends it.
    sleep(delay.saturating_sub(LATE)).await;
    let echo = timeout(LATE * 2, heard(&socket, requests, true)).await;
    Ok(if echo.is_ok() { Trial::Borne } else { Trial::Died })
}

/// Waits for the answer at once, or for the echo after the delay.
async fn heard(socket: &UdpSocket, requests: &Requests, delayed: bool) {
    // An answer is far shorter.
    let mut buffer = [0; 128];
    loop {
        match socket.recv_from(&mut buffer).await {
            Ok((length, from)) if from == requests.remote => {
                if buffer.get(..length).and_then(|datagram| requests.answered(datagram)) == Some(delayed) {
                    return;
                }
            }
            Ok(_) => {}
            // A router's complaint about an earlier datagram; it must not make this loop spin.
            Err(_) => sleep(REPETITION / 10).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mappings(stored: Option<Vec<u8>>) -> Mappings {
        Mappings::new(Profile::Frugal, stored, mpsc::channel(1).0)
    }

    #[test]
    fn the_latest_networks_are_remembered_and_garbage_is_none() {
        let mut first = mappings(Some(vec![255; 40]));
        assert!(first.known.is_empty());
        let mut stored = Vec::new();
        for n in 0..40 {
            first.network = Some([192, 0, 2, n % 36].into());
            stored = first.remember(Known { borne_s: n.into(), ..Known::default() });
        }
        let second = mappings(Some(stored));
        assert_eq!(second.known.len(), NETWORKS);
        let of =
            |n| second.known.iter().find(|(ip, _)| *ip == IpAddr::from([192, 0, 2, n])).map(|(_, known)| known.borne_s);
        assert_eq!((of(3), of(4), of(35)), (Some(39), None, Some(35)));
    }

    #[tokio::test]
    async fn a_trial_does_not_outlive_the_engine() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let (trials, mut results) = mpsc::channel(1);
        let mut mappings = Mappings::new(Profile::Frugal, None, trials);
        mappings.begin(Some(requests(&silent)), Duration::from_secs(1200));
        silent.recv_from(&mut [0; 128]).await.unwrap();
        drop(mappings);
        let left = timeout(REPETITION, results.recv()).await;
        assert!(matches!(left, Ok(None)), "it goes on");
    }

    #[tokio::test]
    async fn a_rendezvous_that_answers_nothing_makes_a_trial_void() {
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        assert_eq!(conduct(&requests(&silent), Duration::from_secs(30)).await.unwrap(), Trial::Void);
    }

    /// What is asked of this rendezvous.
    fn requests(silent: &UdpSocket) -> Requests {
        let now = Instant::now();
        let mut client = knothole_proto::registration::client::Client::new([1; 32], now);
        let secret = knothole_proto::seal::RegistrationSecret([2; 32]);
        let observed = "192.0.2.1:9".parse().unwrap();
        let answer = knothole_proto::registration::SignInAnswer::Registered {
            slot: 1,
            lifetime_s: 40,
            observed,
            ticket: Vec::new(),
        };
        client.handle_signed_in(silent.local_addr().unwrap(), &answer, &secret, now);
        client.echo_requests(30).unwrap()
    }
}
