//! Peers that are registered over one address family and meet over the other (docs/protocol.md, "Candidates").

use std::time::Duration;

use anyhow::{Result, ensure};
use knothole_lab::namespaces::{Spoke, Station, run, star};
use knothole_lab::person::{Person, Rendezvous, binaries};
use serde_json::json;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn registered_over_ipv4_they_meet_over_ipv6_where_that_is_the_only_way() -> Result<()> {
    run("ipv6::registered_over_ipv4_they_meet_over_ipv6_where_that_is_the_only_way", |_| {
        let programs = binaries()?;
        let directory = tempfile::tempdir()?;
        // The rendezvous is in the middle, and passes on IPv6 alone.
        let spokes = [
            Spoke {
                name: "a",
                near: &["198.51.100.1/24", "2001:db8:a::1/64"],
                far: &["198.51.100.2/24", "2001:db8:a::2/64"],
            },
            Spoke {
                name: "b",
                near: &["203.0.113.1/24", "2001:db8:b::1/64"],
                far: &["203.0.113.2/24", "2001:db8:b::2/64"],
            },
        ];
        let (middle, hosts) = star("middle", &spokes)?;
        middle.forward_v6()?;
        let mut rendezvous = middle.command(programs.join("knothole-rendezvous"));
        rendezvous.args(["--listen", "[2001:db8:a::1]:3478", "--listen", "203.0.113.1:3478"]);
        let rendezvous = Rendezvous::start(rendezvous, "198.51.100.1:3478", &directory.path().join("state"))?;
        let (key, _) = rendezvous.address.split_once('@').unwrap_or_default();
        let person = |host: &Station, gateways: [&str; 2]| -> Result<Person> {
            gateways.iter().try_for_each(|gateway| host.route_by(gateway))?;
            let mut command = host.command(programs.join("knothole"));
            // The same rendezvous by its other address, too.
            command.args(["--rendezvous", &format!("{key}@{}:3478", gateways[0])]);
            let home = directory.path().join(gateways[0]);
            let mut person = Person::start(command, &home, &format!("{key}@[2001:db8:a::1]:3478"))?;
            let (_, registered) = person.event("registered", &json!({}), PATIENCE)?;
            ensure!(registered["observed"].as_str().is_some_and(|observed| !observed.starts_with('[')), "{registered}");
            Ok(person)
        };
        let mut alice = person(&hosts[0], ["198.51.100.1", "2001:db8:a::1"])?;
        let mut bob = person(&hosts[1], ["203.0.113.1", "2001:db8:b::1"])?;
        let (to_alice, to_bob) = (alice.link()?, bob.link()?);
        alice.call("contact.add", json!({"link": to_bob, "name": "bob"}))?;
        bob.call("contact.add", json!({"link": to_alice, "name": "alice"}))?;
        alice.call("message.send", json!({"to": "bob", "text": "hello"}))?;
        bob.event("message", &json!({"text": "hello"}), PATIENCE)?;
        let (_, path) = bob.event("path", &json!({"kind": "direct"}), PATIENCE)?;
        ensure!(path["remote"].as_str().is_some_and(|remote| remote.starts_with("[2001:db8:a::2]")), "{path}");
        Ok(())
    })
}
