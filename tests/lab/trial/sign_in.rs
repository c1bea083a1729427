//! From the start of a process until it is registered.

use std::time::Instant;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Setting;
use super::meeting::registered;
use super::record::milliseconds;
use crate::network::Network;

/// What came of it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SignedIn {
    /// Where the peer is.
    pub network: String,
    /// The how manieth try.
    pub run: usize,
    /// Milliseconds from the start of the process to its `registered` event.
    pub registered: Option<f64>,
    /// `udp` or `tcp`.
    pub transport: String,
    /// What went wrong.
    pub failure: Option<String>,
}

/// Starts a peer with a new home in this network.
pub fn sign_in(setting: &Setting<'_>, network: Network, run: usize) -> SignedIn {
    let mut signed_in = SignedIn { network: network.name().into(), run, ..SignedIn::default() };
    signed_in.failure = attempt(setting, network, &mut signed_in).err().map(|error| format!("{error:#}"));
    signed_in
}

fn attempt(setting: &Setting<'_>, network: Network, signed_in: &mut SignedIn) -> Result<()> {
    let site = setting.site(network)?;
    let begin = Instant::now();
    let mut person = setting.person(&site, &setting.home())?;
    signed_in.registered = Some(milliseconds(registered(&mut person)? - begin));
    let status = person.call("status", json!({}))?;
    signed_in.transport = status["rendezvous"][0]["transport"].as_str().unwrap_or_default().into();
    Ok(())
}
