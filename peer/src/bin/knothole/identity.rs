//! `knothole id`: who one is, to others. It needs no engine and no network.

use anyhow::bail;
use knothole::home::Home;
use knothole_proto::contact_link::{ContactLink, MAX_VIA, RendezvousAddress};
use serde_json::json;

use crate::output::Output;
use crate::verify;

/// Prints the contact link; the first use makes the identity.
pub(crate) fn run(home: &Home, rendezvous: Vec<RendezvousAddress>, qr: bool, output: &Output) -> anyhow::Result<()> {
    let peer = home.identity()?.public_key();
    if rendezvous.is_empty() {
        bail!(
            "a link names the rendezvous where others find you, and none is known yet; give its address once: \
             knothole --rendezvous <key>@<host>:<port> id"
        );
    }
    let via = rendezvous.into_iter().take(MAX_VIA).collect();
    let link = ContactLink { peer, via }.to_string();
    output.data(&json!({"peer": peer.to_string(), "link": link}), || link.clone())?;
    if qr && !output.json {
        verify::draw(&link, output)?;
    }
    Ok(())
}
