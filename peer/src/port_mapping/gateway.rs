//! PCP and NAT-PMP: datagrams to the default router.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use crab_nat::{InternetProtocol, PortMappingOptions, PortMappingType, TimeoutConfig, natpmp, pcp};

use super::{LIFETIME, Protocol};

/// Where routers listen (RFC 6887 section 19.1).
pub(super) const PORT: u16 = crab_nat::GATEWAY_PORT;

/// A router on the LAN answers in milliseconds: NAT-PMP's own 250 ms (RFC 6886 section 3.1), and 1.75 s in all.
const PATIENCE: TimeoutConfig =
    TimeoutConfig { initial_timeout: Duration::from_millis(250), max_retries: 2, max_retry_timeout: None };

/// A router that speaks a protocol, and the mapping if it granted one.
pub(super) struct Answer {
    protocol: Protocol,
    lease: Option<Lease>,
}

impl Answer {
    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    pub(super) fn lease(self) -> Option<Lease> {
        self.lease
    }
}

pub(super) struct Lease {
    mapping: crab_nat::PortMapping,
    external: IpAddr,
}

/// Asks by PCP, and by NAT-PMP where that has no success: routers that know only the older one mostly, but not always,
/// say so.
pub(super) async fn ask(gateway: Ipv4Addr, local: Ipv4Addr, port: u16) -> Vec<Answer> {
    let Some(port) = NonZeroU16::new(port) else { return Vec::new() };
    let mut answers = Vec::new();
    let options = PortMappingOptions {
        // The same number outside is as good as any, and easy to recognise in a router's list.
        external_port: Some(port),
        lifetime_seconds: u32::try_from(LIFETIME.as_secs()).ok(),
        timeout_config: Some(PATIENCE),
    };
    let request = pcp::BaseMapRequest::new(gateway.into(), local.into(), InternetProtocol::Udp, port);
    match pcp::port_mapping(request, None, None, options).await {
        Ok(mapping) => {
            answers.push(Answer { protocol: Protocol::Pcp, lease: Lease::new(mapping, None) });
        }
        Err(error) => tracing::debug!(%error, "PCP"),
    }
    if answers.iter().any(|answer| answer.lease.is_some()) {
        return answers;
    }
    let Ok(external) = natpmp::external_address(gateway.into(), Some(PATIENCE)).await else { return answers };
    let lease = match natpmp::port_mapping(gateway.into(), InternetProtocol::Udp, port, options).await {
        Ok(mapping) => Lease::new(mapping, Some(external.into())),
        Err(error) => {
            tracing::debug!(%error, "NAT-PMP");
            None
        }
    };
    answers.push(Answer { protocol: Protocol::NatPmp, lease });
    answers
}

impl Lease {
    fn new(mapping: crab_nat::PortMapping, external: Option<IpAddr>) -> Option<Self> {
        let external = match mapping.mapping_type() {
            PortMappingType::Pcp { external_ip, .. } => Some(external_ip.to_canonical()),
            PortMappingType::NatPmp => external,
        }?;
        (mapping.lifetime() > 0).then_some(Self { mapping, external })
    }

    pub(super) fn external(&self) -> SocketAddr {
        SocketAddr::new(self.external, self.mapping.external_port().get())
    }

    pub(super) fn lifetime(&self) -> Duration {
        Duration::from_secs(self.mapping.lifetime().into())
    }

    /// False if the router does not want to any more.
    pub(super) async fn renew(&mut self) -> bool {
        if let Err(error) = self.mapping.renew().await {
            tracing::debug!(%error, "the router did not renew our port");
            return false;
        }
        match self.mapping.mapping_type() {
            PortMappingType::Pcp { external_ip, .. } => self.external = external_ip.to_canonical(),
            PortMappingType::NatPmp => match natpmp::external_address(self.mapping.gateway(), Some(PATIENCE)).await {
                Ok(external) => self.external = external.into(),
                Err(_) => return false,
            },
        }
        self.mapping.lifetime() > 0
    }

    pub(super) async fn give_back(self) {
        if let Err((error, _)) = self.mapping.try_drop().await {
            tracing::debug!(%error, "the router did not take our port back");
        }
    }
}
