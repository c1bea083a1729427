//! The network around this machine, as the engine sees it: changes, contacts on the LAN, the router's port.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime};

use knothole_proto::identity::PeerId;
use knothole_proto::lan::{Announcement, LanSalt};
use knothole_proto::traversal::{ContactId, RendezvousId};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use super::{Engine, seed};
use crate::command::NetworkView;
use crate::lan::{self, Heard};
use crate::network::{self, Picture};
use crate::port_mapping::{self, Mapped, PortMapping};

/// Announcements of others that are kept for contacts that are added later: more peers than share a LAN.
const NEIGHBOURS: usize = 256;

/// The engine wakes at least with every keepalive. If it does so this much too late, or the wall clock has moved this
/// much further than the one that stands still in sleep, the machine slept: busy machines are late by less.
const SLEPT: Duration = Duration::from_secs(3);

/// How long a stopping engine waits for the router to close our port and the LAN to hear that we leave.
const FAREWELL: Duration = Duration::from_millis(700);

/// What the engine is told from outside.
#[derive(Debug)]
pub(super) enum News {
    Network(Picture),
    Lan(Heard),
    Mapped(Mapped),
}

/// What surrounds this peer.
pub(super) struct Surroundings {
    picture: Picture,
    /// Tells those who work on the present network of the next.
    pictures: watch::Sender<Picture>,
    /// The same for the LAN: an empty one while we are not to be found there.
    lan_pictures: watch::Sender<Picture>,
    tasks: Vec<JoinHandle<()>>,
    /// The salt under which we announce ourselves on the LAN, and who else does.
    salt: Option<LanSalt>,
    neighbours: Vec<Announcement>,
    mapped: Mapped,
    clocks: Clocks,
}

/// What is done about the surroundings besides looking at them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Outgoing {
    pub(super) lan_discovery: bool,
    pub(super) port_mapping: bool,
}

impl Surroundings {
    /// Begins to watch.
    pub(super) fn new(me: PeerId, port: u16, outgoing: Outgoing) -> (Self, mpsc::Receiver<News>) {
        let (news, inputs) = mpsc::channel(64);
        let picture = Picture::take();
        let (pictures, seen) = watch::channel(picture.clone());
        // Who is among the contacts decides whether we are to be found there.
        let (lan_pictures, seen_of_lan) = watch::channel(Picture::default());
        let mut tasks = vec![spawn(&news, News::Network, |changes| network::watch::watch(picture.clone(), changes))];
        if outgoing.lan_discovery {
            let chance = || {
                LanSalt(std::array::from_fn({
                    let seed = seed();
                    move |i| seed[i]
                }))
            };
            tasks.push(spawn(&news, News::Lan, |heard| lan::discover(me, port, seen_of_lan, heard, chance)));
        }
        if outgoing.port_mapping {
            tasks.push(spawn(&news, News::Mapped, |mapped| {
                PortMapping::new(port, port_mapping::Search::default()).run(seen.clone(), mapped)
            }));
        }
        let surroundings = Self {
            picture,
            pictures,
            lan_pictures,
            tasks,
            salt: None,
            neighbours: Vec::new(),
            mapped: Mapped::default(),
            clocks: Clocks { now: Instant::now(), wall: SystemTime::now() },
        };
        (surroundings, inputs)
    }

    /// Whether to announce ourselves on the LAN, and to look for others there.
    pub(super) fn show_on_lan(&self, shown: bool) {
        let picture = if shown { self.picture.clone() } else { Picture::default() };
        self.lan_pictures.send_if_modified(|last| {
            *last != picture && {
                *last = picture;
                true
            }
        });
    }

    /// What the router opened for us.
    pub(super) const fn mapped(&self) -> &Mapped {
        &self.mapped
    }

    /// Ends what works on the network.
    pub(super) async fn stop(self) {
        drop((self.pictures, self.lan_pictures));
        let mut tasks = self.tasks;
        // The first only listens.
        tasks.drain(..1).for_each(|watch| watch.abort());
        let end = async {
            for task in &mut tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(FAREWELL, end).await.is_err() {
            tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

/// The two clocks when they were last looked at: the one that stands still while the machine sleeps, and the one that does
/// not.
#[derive(Debug, Clone, Copy)]
struct Clocks {
    now: Instant,
    wall: SystemTime,
}

impl Clocks {
    /// Whether the machine slept since this was last asked, or the program did over `deadline`. Somebody who sets the clock
    /// forward is taken for sleep; that costs a few checks.
    fn slept(&mut self, deadline: Option<Instant>, now: Instant, wall: SystemTime) -> bool {
        let before = std::mem::replace(self, Self { now, wall });
        let awake = now.saturating_duration_since(before.now);
        let asleep = wall.duration_since(before.wall).is_ok_and(|passed| passed >= awake + SLEPT);
        asleep || deadline.is_some_and(|deadline| now >= deadline + SLEPT)
    }
}

/// Starts a task whose reports come to the engine.
fn spawn<T: Send + 'static, Task: Future<Output = ()> + Send + 'static>(
    news: &mpsc::Sender<News>,
    name: fn(T) -> News,
    task: impl FnOnce(mpsc::Sender<T>) -> Task,
) -> JoinHandle<()> {
    let (sender, mut reports) = mpsc::channel(16);
    let news = news.clone();
    let task = task(sender);
    tokio::spawn(async move {
        let pass_on = async {
            while let Some(report) = reports.recv().await {
                if news.send(name(report)).await.is_err() {
                    // The engine has ended, and the task sees that nobody listens.
                    reports.close();
                }
            }
        };
        tokio::join!(task, pass_on);
    })
}

impl Engine {
    pub(super) fn handle_news(&mut self, news: News, now: Instant) {
        match news {
            News::Network(picture) => {
                self.surroundings.picture = picture.clone();
                let empty = picture.is_empty();
                self.surroundings.pictures.send_replace(picture);
                self.hide_from_lan();
                self.refresh_hosts(now);
                // Without any network nothing can be checked, and no path is given up for that.
                if !empty {
                    tracing::info!("the network has changed");
                    self.traversal.handle_network_change(now);
                    self.try_udp_again();
                }
            }
            News::Lan(Heard::Began(salt)) => {
                self.surroundings.salt = Some(salt);
                self.surroundings.neighbours.clear();
            }
            News::Lan(Heard::Left(salt)) => self.surroundings.neighbours.retain(|known| known.salt != salt),
            News::Lan(Heard::Announced(announcement)) => self.handle_announcement(announcement, now),
            News::Mapped(mapped) => {
                tracing::debug!(?mapped, "port mapping");
                self.traversal.set_port_mapping(mapped.external, now);
                self.surroundings.mapped = mapped;
            }
        }
    }

    /// What is known of this machine's network.
    pub(super) fn network(&self) -> NetworkView {
        let (known, searching) = self.mappings.view();
        NetworkView { router_protocols: self.router_protocols(), lifetime: known.lifetime(), searching }
    }

    /// By which protocols the router opens ports: `"pcp"`, `"nat-pmp"`, `"upnp"`. Empty until it has answered.
    fn router_protocols(&self) -> Vec<&'static str> {
        self.surroundings.mapped.protocols.iter().map(|protocol| protocol.name()).collect()
    }

    fn handle_announcement(&mut self, announcement: Announcement, now: Instant) {
        let neighbours = &mut self.surroundings.neighbours;
        neighbours.retain(|known| known.salt != announcement.salt);
        if neighbours.len() == NEIGHBOURS {
            neighbours.remove(0);
        }
        neighbours.push(announcement.clone());
        if let Some(salt) = self.surroundings.salt {
            self.traversal.handle_announcement(&announcement, salt, now);
        }
    }

    /// A contact is wanted: perhaps it is on our LAN.
    pub(super) fn look_around(&mut self, id: ContactId, now: Instant) {
        let Some(contact) = self.contacts.get(&id).filter(|contact| !contact.is_online()) else { return };
        let neighbours = &self.surroundings.neighbours;
        let found = neighbours.iter().rev().find(|announcement| announcement.is_of(&contact.peer)).cloned();
        if let Some((announcement, salt)) = found.zip(self.surroundings.salt) {
            self.traversal.handle_announcement(&announcement, salt, now);
        }
    }

    /// The engine woke at a deadline. If it, or the whole machine, slept over it, nobody knows what the network is now.
    pub(super) fn notice_sleep(&mut self, deadline: Option<Instant>, now: Instant) {
        if self.surroundings.clocks.slept(deadline, now, SystemTime::now()) {
            tracing::info!("this machine slept");
            self.surroundings.pictures.send_modify(|_| {});
            self.surroundings.lan_pictures.send_modify(|_| {});
            self.refresh_hosts(now);
            self.traversal.handle_network_change(now);
            self.try_udp_again();
        }
    }

    pub(super) fn refresh_hosts(&mut self, now: Instant) {
        let loopback = self.allow_loopback.then_some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let addresses = self.surroundings.picture.hosts().into_iter().chain(loopback);
        // The tests in here are of what happens to paths over IPv4, and one over IPv6 would be preferred.
        #[cfg(test)]
        let addresses = addresses.filter(IpAddr::is_ipv4);
        let own = addresses.map(|ip| SocketAddr::new(ip, self.socket.port_of(ip)));
        let reached = own.filter(|address| self.socket.reaches(*address));
        self.traversal.set_hosts(reached.collect(), now);
    }

    /// What the rendezvous sees of us over the other address family is asked at the address that it has there.
    pub(super) fn learn_other_family(
        &mut self,
        id: RendezvousId,
        remote: SocketAddr,
        known: &[SocketAddr],
        now: Instant,
    ) {
        let other = known.iter().find(|other| other.is_ipv4() != remote.is_ipv4()).copied();
        self.traversal.set_other_family(id, other, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sleep_is_seen_by_the_clock_that_went_on_or_by_a_deadline_long_past() {
        let (now, wall) = (Instant::now(), SystemTime::now());
        let seconds = Duration::from_secs;
        let slept = |awake, passed, deadline: Option<u64>| {
            let deadline = deadline.map(|deadline| now + seconds(deadline));
            Clocks { now, wall }.slept(deadline, now + seconds(awake), wall + seconds(passed))
        };
        assert!(!slept(20, 20, Some(20)));
        assert!(!slept(20, 22, Some(19)), "clocks are corrected, and machines busy");
        assert!(slept(20, 3600, Some(20)), "a suspended machine");
        assert!(slept(20, 20, Some(10)), "a stopped program, or a system whose clocks both go on");
        let back = Clocks { now, wall }.slept(None, now + seconds(20), wall - seconds(3600));
        assert!(!back, "a clock set back");
    }
}
