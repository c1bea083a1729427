//! A socket that asks STUN servers, repeats itself, and does not wait for ever.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use knothole_proto::stun::discovery::{Response, binding_request, change_request, parse_response};
use knothole_proto::stun::{MAX_DATAGRAM, TransactionId};
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// When a question is asked that was not answered before: three losses in a row are one in a hundred thousand where one
/// datagram in fifty is lost, and a line of 300 ms is asked twice at most for nothing.
const TRIES: [Duration; 4] =
    [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(400), Duration::from_millis(800)];

/// Errors in a row after which a socket is believed to be of no use.
const ERRORS: usize = 8;

/// What is asked, and where.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question {
    to: SocketAddr,
    change_ip: bool,
    change_port: bool,
}

/// An answer that came from where it was to come from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answer {
    /// Our address as it was seen.
    pub(super) mapped: SocketAddr,
    /// Where the server says that it can be asked, too: another IP address and port.
    pub(super) other: Option<SocketAddr>,
    pub(super) rtt: Duration,
}

/// A socket of its own: another mapping in every NAT.
#[derive(Debug)]
pub(super) struct Asker {
    socket: UdpSocket,
    /// Its own address toward the server that it was bound for.
    pub(super) inside: SocketAddr,
}

impl Question {
    /// Where a server sees us.
    pub(super) const fn plain(to: SocketAddr) -> Self {
        Self { to, change_ip: false, change_port: false }
    }

    /// To be answered from the server's other port, and from its other address if so wished (RFC 5780 section 7.2).
    pub(super) const fn from_elsewhere(to: SocketAddr, change_ip: bool) -> Self {
        Self { to, change_ip, change_port: true }
    }

    fn datagram(&self, id: TransactionId) -> Vec<u8> {
        if self.change_ip || self.change_port {
            change_request(id, self.change_ip, self.change_port)
        } else {
            binding_request(id)
        }
    }

    /// Whether an answer from there is what was asked for: a server may not heed the wish for another address.
    fn is_answered_from(&self, from: SocketAddr) -> bool {
        (from.ip() != self.to.ip()) == self.change_ip && (from.port() != self.to.port()) == self.change_port
    }
}

impl Asker {
    /// A socket at a port of the system's choice, of the family of `server`.
    pub(super) async fn new(server: SocketAddr) -> io::Result<Self> {
        let any: IpAddr = if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        // The system tells by which address it would go there when a socket is connected, and sends nothing for it.
        let way = UdpSocket::bind((any, 0)).await?;
        way.connect(server).await?;
        let socket = UdpSocket::bind((any, 0)).await?;
        let inside = SocketAddr::new(way.local_addr()?.ip(), socket.local_addr()?.port());
        Ok(Self { socket, inside })
    }

    /// Asks until all is answered, or `patience` is over.
    pub(super) async fn ask<const N: usize>(
        &self,
        questions: [Question; N],
        patience: Duration,
    ) -> [Option<Answer>; N] {
        let begin = Instant::now();
        let mut answers = [None; N];
        let mut asked = BTreeMap::new();
        for (round, at) in TRIES.iter().enumerate().take_while(|(_, at)| **at < patience) {
            timeout_until(begin + *at, self.collect(&questions, &asked, &mut answers)).await;
            if answers.iter().all(Option::is_some) {
                break;
            }
            let mut sent = 0;
            for (index, question) in questions.iter().enumerate().filter(|(index, _)| answers[*index].is_none()) {
                let Ok(id) = transaction() else { continue };
                let at = Instant::now();
                if self.socket.send_to(&question.datagram(id), question.to).await.is_ok() {
                    asked.insert(id, (index, at));
                    sent += 1;
                }
            }
            if sent == 0 && round == 0 {
                // There is no way there: nothing will change within the second.
                return answers;
            }
        }
        timeout_until(begin + patience, self.collect(&questions, &asked, &mut answers)).await;
        answers
    }

    /// Takes answers until there is one to each question. Each is written down at once: it may be cancelled.
    async fn collect(
        &self,
        questions: &[Question],
        asked: &BTreeMap<TransactionId, (usize, Instant)>,
        answers: &mut [Option<Answer>],
    ) {
        while answers.iter().any(Option::is_none) {
            let Some((response, from)) = self.response().await else { return std::future::pending().await };
            let Some(&(index, at)) = asked.get(&response.id) else { continue };
            if questions[index].is_answered_from(from) && answers[index].is_none() {
                let Response { mapped, other, .. } = response;
                answers[index] = Some(Answer { mapped, other, rtt: at.elapsed() });
            }
        }
    }

    /// The next answer; `None` if the socket is of no use.
    async fn response(&self) -> Option<(Response, SocketAddr)> {
        let mut buffer = [0; MAX_DATAGRAM];
        for _ in 0..ERRORS {
            while let Ok((length, from)) = self.socket.recv_from(&mut buffer).await {
                if let Some(response) = parse_response(&buffer[..length]) {
                    return Some((response, from));
                }
            }
        }
        None
    }

    /// Says something to `to` that [`Self::is_told`] knows again; as often as a question is asked.
    pub(super) async fn tell(&self, to: SocketAddr, word: TransactionId) {
        let begin = Instant::now();
        for at in TRIES {
            tokio::time::sleep_until(begin + at).await;
            // What cannot be sent is not heard.
            let _ = self.socket.send_to(&binding_request(word), to).await;
        }
    }

    /// Waits until somebody says `word`.
    pub(super) async fn is_told(&self, word: TransactionId) {
        let (wanted, mut buffer) = (binding_request(word), [0; MAX_DATAGRAM]);
        for _ in 0..ERRORS {
            while let Ok((length, _)) = self.socket.recv_from(&mut buffer).await {
                if buffer[..length] == wanted {
                    return;
                }
            }
        }
        std::future::pending().await
    }
}

/// A transaction that nobody can guess.
pub(super) fn transaction() -> io::Result<TransactionId> {
    let mut id = [0; 12];
    aws_lc_rs::rand::fill(&mut id).map_err(|_| io::Error::other("no randomness"))?;
    Ok(TransactionId(id))
}

async fn timeout_until(deadline: Instant, work: impl Future<Output = ()>) {
    // In time or not, what came is written down.
    let _ = timeout_at(deadline, work).await;
}

#[cfg(test)]
mod tests {
    use knothole_proto::stun::server::{Place, answer};

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// A server that loses the first `lost` questions, answers all others from where it was asked, whatever they wish, and
    /// says that it could answer from elsewhere.
    async fn server(lost: usize) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let local = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let place = Place { local, other: Some("192.0.2.1:1".parse().unwrap()) };
            let mut buffer = [0; MAX_DATAGRAM];
            for number in 0.. {
                let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
                if let Some(answer) = answer(&buffer[..length], from, &place).filter(|_| number >= lost) {
                    socket.send_to(&answer.payload, from).await.unwrap();
                }
            }
        });
        local
    }

    #[tokio::test]
    async fn a_lost_question_is_repeated_and_the_round_trip_is_that_of_the_one_that_was_answered() {
        let at = server(2).await;
        let asker = Asker::new(at).await.unwrap();
        let begin = Instant::now();
        let [answer] = asker.ask([Question::plain(at)], SOON).await;
        let answer = answer.unwrap();
        assert!(begin.elapsed() >= TRIES[2], "two were lost");
        assert!(answer.rtt <= begin.elapsed() - TRIES[2], "{:?}", answer.rtt);
        assert_eq!((answer.mapped, answer.other), (asker.inside, Some("192.0.2.1:1".parse().unwrap())));
    }

    #[tokio::test]
    async fn an_answer_from_where_it_should_not_come_from_is_none() {
        let at = server(0).await;
        let asker = Asker::new(at).await.unwrap();
        let elsewhere = [true, false].map(|change_ip| Question::from_elsewhere(at, change_ip));
        let answers = asker.ask(elsewhere, TRIES[2]).await;
        assert!(answers.iter().all(Option::is_none), "a server that does not heed the wish says nothing of a filter");
    }

    #[tokio::test]
    async fn silence_ends_when_patience_does_and_at_once_where_there_is_no_way() {
        let mute = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let at = mute.local_addr().unwrap();
        let asker = Asker::new(at).await.unwrap();
        let begin = Instant::now();
        assert!(asker.ask([Question::plain(at)], TRIES[2]).await[0].is_none());
        assert!(begin.elapsed() >= TRIES[2] && begin.elapsed() < SOON);
        // An IPv4 socket has no way to IPv6.
        let begin = Instant::now();
        assert!(asker.ask([Question::plain("[::1]:9".parse().unwrap())], SOON).await[0].is_none());
        assert!(begin.elapsed() < SOON / 2);
    }

    #[tokio::test]
    async fn who_is_told_knows_the_word_and_no_other() {
        let (one, other) = (Asker::new(server(0).await).await.unwrap(), Asker::new(server(0).await).await.unwrap());
        let (word, another) = (TransactionId([1; 12]), TransactionId([2; 12]));
        let at = other.inside;
        one.socket.send_to(&binding_request(another), at).await.unwrap();
        let deaf = timeout_at(Instant::now() + TRIES[1], other.is_told(word)).await;
        assert!(deaf.is_err(), "that was not the word");
        let told = timeout_at(Instant::now() + SOON, other.is_told(word));
        let (told, ()) = tokio::join!(told, one.tell(at, word));
        assert!(told.is_ok());
    }
}
