//! A router whose NAT is the kernel's own, as on most home routers.

use std::{fs, net::Ipv4Addr, process::Command};

use anyhow::{Context, Result};

use super::namespace::{DEVICE, Namespace, finish};

/// What an nftables router does with packets from outside to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Accepts them, so connection tracking notes them, and a stranger can claim a port.
    Accept,
    /// Drops them before connection tracking keeps anything.
    Drop,
}

/// Makes `router` (whose [`DEVICE`] is its outside) the way out for `host`, over a LAN with this gateway address.
/// Returns the host's address there.
pub(super) fn set_up(
    router: &Namespace,
    host: &Namespace,
    gateway: Ipv4Addr,
    input: Input,
    fully_random: bool,
) -> Result<Ipv4Addr> {
    router.ip(["link", "add", "lan", "type", "veth", "peer", "name", DEVICE, "netns", host.name()])?;
    router.ip(["addr", "add", &format!("{gateway}/24"), "dev", "lan"])?;
    router.ip(["link", "set", "lan", "addrgenmode", "none", "up"])?;
    host.ip(["link", "set", DEVICE, "addrgenmode", "none"])?;
    let address = Ipv4Addr::from_bits(gateway.to_bits() + 1);
    host.set_address(address, Some(gateway))?;
    router.run(|| fs::write("/proc/sys/net/ipv4/ip_forward", "1"))?.context("cannot turn on forwarding")?;
    let verdict = if input == Input::Drop { "drop" } else { "accept" };
    let flags = if fully_random { "fully-random" } else { "" };
    let rules = format!(
        "table ip lab {{
            chain input {{ type filter hook input priority filter; iifname {DEVICE} {verdict}; }}
            chain leaving {{ type nat hook postrouting priority srcnat; oifname {DEVICE} masquerade {flags}; }}
        }}"
    );
    let mut nft: Command = router.command("nft");
    nft.arg(rules);
    finish(nft)
        .context("nftables refuses the router's rules (package nftables, kernel modules nf_tables and nft_masq)")?;
    Ok(address)
}
