//! What the engine knows of this network, or finds out for a check.

use std::time::Duration;

use knothole_proto::nat::{Filtering, Mapping};
use tokio::time::{Instant, sleep};

use super::{Report, Transport};
use crate::command::{Command, CommandError};
use crate::handle::Peer;

/// The search for the lifetime of mappings is waited for so long at most. It has been through once, with a mapping that bears
/// the ten minutes that keepalives are apart at most, after 26; for more common ones it takes five to twenty.
pub const LONGEST_SEARCH: Duration = Duration::from_secs(30 * 60);

/// How often the engine is asked whether the search is over: it lasts minutes.
const LOOK: Duration = Duration::from_secs(1);

/// What is asked for beyond the usual.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wishes {
    /// Whether to find out how long an idle mapping lives, if that is not known.
    pub lifetime: bool,
}

impl Report {
    /// Adds what the engine knows: the router's protocols and the lifetime of mappings. If that is wished for and not known, it
    /// is waited for, [`LONGEST_SEARCH`] at most; what was found until then counts.
    ///
    /// # Errors
    /// [`CommandError::Stopping`].
    pub async fn ask_engine(&mut self, peer: &Peer, wishes: Wishes) -> Result<(), CommandError> {
        let seek_lifetime = wishes.lifetime && self.has_mappings();
        let until = Instant::now() + LONGEST_SEARCH;
        let mut known = peer.request(|reply| Command::Network { seek_lifetime, reply }).await?;
        while seek_lifetime && known.searching && Instant::now() < until {
            sleep(LOOK).await;
            known = peer.request(|reply| Command::Network { seek_lifetime: false, reply }).await?;
        }
        self.port_mapping = known.router_protocols;
        // Where no UDP passes, no mapping does.
        self.lifetime = known.lifetime.filter(|_| self.has_mappings());
        Ok(())
    }

    /// Whether anything here forgets: a NAT, or a firewall that lets only answers in.
    fn has_mappings(&self) -> bool {
        self.transport == Transport::Udp && (self.mapping, self.filtering) != (Mapping::None, Filtering::None)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, mpsc};

    use super::*;
    use crate::command::NetworkView;

    /// What an engine is asked that answers with these views, one after the other, and what is reported then.
    async fn asked(mut report: Report, wishes: Wishes, views: Vec<NetworkView>) -> (Vec<bool>, Report) {
        let (commands, mut inputs) = mpsc::channel(1);
        let peer = Peer::new(commands, broadcast::channel(1).0);
        let engine = tokio::spawn(async move {
            let mut asked = Vec::new();
            for view in views {
                let Some(Command::Network { seek_lifetime, reply }) = inputs.recv().await else { break };
                asked.push(seek_lifetime);
                reply.send(Ok(view)).unwrap();
            }
            asked
        });
        report.ask_engine(&peer, wishes).await.unwrap();
        (engine.await.unwrap(), report)
    }

    fn view(lifetime_s: Option<u64>, searching: bool) -> NetworkView {
        NetworkView { router_protocols: vec!["pcp"], lifetime: lifetime_s.map(Duration::from_secs), searching }
    }

    fn behind_a_nat() -> Report {
        Report { transport: Transport::Udp, mapping: Mapping::EndpointIndependent, ..Report::of_nothing() }
    }

    #[tokio::test]
    async fn what_the_engine_knows_is_reported_at_once() {
        let (asked, report) = asked(behind_a_nat(), Wishes::default(), vec![view(Some(112), true)]).await;
        assert_eq!(asked, [false], "a search that goes on is not waited for");
        assert_eq!((report.lifetime, report.port_mapping), (Some(Duration::from_secs(112)), vec!["pcp"]));
    }

    #[tokio::test]
    async fn a_lifetime_that_is_wished_for_is_waited_for() {
        let views = vec![view(None, true), view(Some(30), true), view(Some(60), false)];
        let (asked, report) = asked(behind_a_nat(), Wishes { lifetime: true }, views).await;
        assert_eq!((asked, report.lifetime), (vec![true, false, false], Some(Duration::from_secs(60))));
    }

    #[tokio::test]
    async fn where_nothing_forgets_or_no_udp_passes_there_is_no_lifetime() {
        let open = Report { mapping: Mapping::None, filtering: Filtering::None, ..behind_a_nat() };
        let blocked = Report { transport: Transport::Tcp, ..Report::of_nothing() };
        for report in [open, blocked] {
            let (asked, report) = asked(report, Wishes { lifetime: true }, vec![view(Some(60), true)]).await;
            assert_eq!((asked, report.lifetime), (vec![false], None));
        }
    }
}
