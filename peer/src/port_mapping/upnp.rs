//! UPnP's Internet Gateway Device: found by SSDP, asked by SOAP over HTTP.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use igd_next::aio::Gateway;
use igd_next::aio::tokio::{Tokio, search_gateway};
use igd_next::{AddPortError, PortMappingProtocol, SearchOptions};
use tokio::time::timeout;

use super::LIFETIME;

/// How the mapping is called in the router's list.
const NAME: &str = "Knothole";
/// How long the router may take for what is asked of it: slow ones take seconds for one question.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) struct Lease {
    device: Gateway<Tokio>,
    local: SocketAddr,
    external: SocketAddr,
    /// Zero where the router knows none: then it is forgotten when given back.
    lifetime: Duration,
}

/// The router that answers first.
pub(super) async fn search(ssdp: SocketAddr, patience: Duration) -> Option<Gateway<Tokio>> {
    let mut options = SearchOptions::default();
    options.broadcast_address = ssdp;
    options.timeout = Some(patience);
    options.single_search_timeout = Some(patience);
    match search_gateway(options).await {
        Ok(device) => Some(device),
        Err(error) => {
            tracing::debug!(%error, "UPnP");
            None
        }
    }
}

/// Opens the port.
pub(super) async fn map(device: Gateway<Tokio>, local: SocketAddr) -> Option<Lease> {
    let asking = async {
        let ip = device.get_external_ip().await.map_err(|error| error.to_string())?;
        let (port, lifetime) = open(&device, local, local.port()).await?;
        Ok::<_, String>((SocketAddr::new(ip, port), lifetime))
    };
    match timeout(PATIENCE, asking).await {
        Ok(Ok((external, lifetime))) => Some(Lease { device, local, external, lifetime }),
        Ok(Err(error)) => {
            tracing::debug!(%error, "UPnP opens no port");
            None
        }
        Err(_) => None,
    }
}

/// Asks for one port outside, for any if it is taken, and for good if the router knows nothing else.
async fn open(device: &Gateway<Tokio>, local: SocketAddr, port: u16) -> Result<(u16, Duration), String> {
    let lifetime = u32::try_from(LIFETIME.as_secs()).unwrap_or(u32::MAX);
    match device.add_port(PortMappingProtocol::UDP, port, local, lifetime, NAME).await {
        Ok(()) => Ok((port, LIFETIME)),
        Err(AddPortError::OnlyPermanentLeasesSupported) => {
            let permanent = device.add_port(PortMappingProtocol::UDP, port, local, 0, NAME).await;
            permanent.map(|()| (port, Duration::ZERO)).map_err(|error| error.to_string())
        }
        Err(AddPortError::PortInUse) => {
            let any = device.add_any_port(PortMappingProtocol::UDP, local, lifetime, NAME).await;
            any.map(|port| (port, LIFETIME)).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

impl Lease {
    pub(super) const fn external(&self) -> SocketAddr {
        self.external
    }

    pub(super) const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// False if the router does not want to any more.
    pub(super) async fn renew(&mut self) -> bool {
        let asking = async {
            let ip: IpAddr = self.device.get_external_ip().await.map_err(|error| error.to_string())?;
            let (port, lifetime) = open(&self.device, self.local, self.external.port()).await?;
            Ok::<_, String>((SocketAddr::new(ip, port), lifetime))
        };
        match timeout(PATIENCE, asking).await {
            Ok(Ok((external, lifetime))) => {
                self.external = external;
                self.lifetime = lifetime;
                true
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "the router did not renew our port");
                false
            }
            Err(_) => false,
        }
    }

    pub(super) async fn give_back(self) {
        if let Err(error) = self.device.remove_port(PortMappingProtocol::UDP, self.external.port()).await {
            tracing::debug!(%error, "the router did not take our port back");
        }
    }
}
