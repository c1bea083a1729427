//! `netcheck`: what this network does, and what that means.

use std::io::{IsTerminal as _, Write as _, stderr};
use std::pin::pin;
use std::time::{Duration, Instant};

use knothole::netcheck::LONGEST_SEARCH;
use serde_json::{Value, json};

use crate::output::Output;
use crate::session::{Session, entries, word};
use crate::text::harmless;

/// How often a person sees that something goes on.
const BEAT: Duration = Duration::from_millis(500);

pub(crate) async fn run(session: &mut Session, lifetime: bool, output: &Output) -> anyhow::Result<()> {
    let found = {
        let mut check = pin!(session.insist("netcheck", json!({"lifetime": lifetime})));
        let watched = !output.json && stderr().is_terminal();
        let begin = Instant::now();
        if watched {
            tell(asking(lifetime));
        }
        loop {
            tokio::select! {
                found = &mut check => {
                    if watched {
                        tell("\n");
                    }
                    break found?;
                }
                // A dot for each of some thousand beats would fill the screen.
                () = tokio::time::sleep(BEAT), if watched && lifetime => tell(&format!("\r* {}", clock(begin.elapsed()))),
                () = tokio::time::sleep(BEAT), if watched => tell("."),
            }
        }
    };
    output.data(&found, || text(&found))?;
    Ok(())
}

fn tell(text: &str) {
    let mut out = stderr().lock();
    // Where standard error is closed there is nobody to tell.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// What a person is told who waits.
const fn asking(lifetime: bool) -> &'static str {
    if lifetime {
        "* asking the rendezvous, which takes up to 5 s, and then for echoes after longer and longer silences, until one is\n  \
         not heard any more: mostly 5 to 20 minutes, at most 30, unless the lifetime is known already\n"
    } else {
        "* asking the rendezvous, which takes up to 5 s "
    }
}

/// The time that has passed, of that which there is.
fn clock(passed: Duration) -> String {
    let minutes = |time: Duration| format!("{}:{:02}", time.as_secs() / 60, time.as_secs() % 60);
    format!("{} of {}", minutes(passed), minutes(LONGEST_SEARCH))
}

/// A line for each finding, with what it means, and the sentence that sums them up.
fn text(found: &Value) -> String {
    let lines: Vec<_> = findings(found).into_iter().map(|(name, told)| format!("{name:14}{told}")).collect();
    format!("{}\n\n{}", lines.join("\n"), word(found, "summary"))
}

/// Each finding by its name, with what it means.
pub(crate) fn findings(found: &Value) -> Vec<(&'static str, String)> {
    let mut all = vec![("UDP", udp(found))];
    let mut tell = |name, told: String| all.push((name, told));
    if found["udp"] == true {
        tell("mapping", explained(found, "mapping", mapping));
        tell("filtering", explained(found, "filtering", filtering));
        tell("ports", ports(word(found, "ports")).to_owned());
        // Without a NAT there is no other side to come back from.
        if word(found, "mapping") != "none" {
            tell("hairpin", hairpin(&found["hairpin"]).to_owned());
        }
        // Where there is nothing that forgets, there is no lifetime.
        if (word(found, "mapping"), word(found, "filtering")) != ("none", "none") {
            tell("lifetime", lifetime(&found["lifetime_s"]));
        }
    }
    tell("IPv6", if found["ipv6"] == true { "works" } else { "no rendezvous answers over it" }.to_owned());
    let opened: Vec<_> = entries(&found["port_mapping"]).iter().filter_map(Value::as_str).collect();
    let none = "no protocol known by which the router opens ports".to_owned();
    tell("port mapping", if opened.is_empty() { none } else { opened.join(", ") });
    for rendezvous in entries(&found["rendezvous"]) {
        let far = rendezvous["rtt_ms"].as_f64().map_or("no answer".to_owned(), |rtt| format!("{rtt:.0} ms"));
        tell("rendezvous", format!("{far}, {}", harmless(word(rendezvous, "address"))));
    }
    all
}

fn udp(found: &Value) -> String {
    match (word(found, "transport"), found["observed"].as_str()) {
        ("udp", Some(observed)) => format!("works; you are seen as {}", harmless(observed)),
        ("udp", None) => "works".to_owned(),
        ("tcp", _) => "blocked: a rendezvous answers over TCP only".to_owned(),
        _ => "no rendezvous answers, nor over TCP".to_owned(),
    }
}

/// The word and its meaning; where there is none, why.
fn explained(found: &Value, field: &str, meaning: fn(&str) -> Option<&'static str>) -> String {
    let told = word(found, field);
    match (meaning(told), found["why"].as_str()) {
        (Some(meaning), _) => format!("{told}: {meaning}"),
        (None, Some(why)) => format!("{told}: {why}"),
        (None, None) => format!("{told}: too few answers came"),
    }
}

fn mapping(word: &str) -> Option<&'static str> {
    Some(match word {
        "none" => "there is no NAT",
        "endpoint-independent" => "everyone sees the same address and port of yours",
        "address-dependent" => "each address that you send to sees another port of yours",
        "address-and-port-dependent" => "each address and port that you send to sees another port of yours",
        _ => return None,
    })
}

fn filtering(word: &str) -> Option<&'static str> {
    Some(match word {
        "none" => "whatever is sent to you comes in",
        "endpoint-independent" => "once you have sent something, anyone's answer comes in",
        "address-dependent" => "only those addresses get in that you have sent to",
        "address-and-port-dependent" => "only those addresses and ports get in that you have sent to",
        _ => return None,
    })
}

fn ports(word: &str) -> &str {
    match word {
        "preserved" => "preserved: outside as inside, where they are free",
        "random" => "random: the next one cannot be guessed",
        "unknown" => "unknown: too few answers came",
        other => other,
    }
}

fn hairpin(told: &Value) -> &'static str {
    match told.as_bool() {
        Some(true) => "works: machines behind your router reach each other by their outside addresses",
        Some(false) => "no: machines behind your router reach each other by their inside addresses only",
        None => "unknown: too few answers came",
    }
}

fn lifetime(told: &Value) -> String {
    match told.as_u64() {
        Some(seconds) => format!("the NAT remembers an idle mapping for {seconds} s at least"),
        None => "not known; `knothole netcheck --lifetime` finds it out, which takes minutes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_text_says_what_each_finding_means_and_what_follows() {
        let found = json!({
            "udp": true, "transport": "udp", "observed": "203.0.113.5:4711", "mapping": "endpoint-independent",
            "filtering": "unknown", "ports": "sequential +1", "hairpin": false, "lifetime_s": 65, "ipv6": true,
            "port_mapping": ["upnp", "pcp"], "why": "nobody could be asked", "summary": "All is well.",
            "rendezvous": [{"address": "k@r.example:1", "rtt_ms": 80.6}, {"address": "k@s.example:1", "rtt_ms": null}],
        });
        assert_eq!(
            text(&found),
            "UDP           works; you are seen as 203.0.113.5:4711\n\
             mapping       endpoint-independent: everyone sees the same address and port of yours\n\
             filtering     unknown: nobody could be asked\n\
             ports         sequential +1\n\
             hairpin       no: machines behind your router reach each other by their inside addresses only\n\
             lifetime      the NAT remembers an idle mapping for 65 s at least\n\
             IPv6          works\n\
             port mapping  upnp, pcp\n\
             rendezvous    81 ms, k@r.example:1\n\
             rendezvous    no answer, k@s.example:1\n\n\
             All is well."
        );
    }

    #[test]
    fn who_waits_for_minutes_sees_how_many_and_that_they_pass() {
        assert!(asking(true).contains(&format!("at most {}", LONGEST_SEARCH.as_secs() / 60)));
        assert_eq!(clock(Duration::from_secs(65)), "1:05 of 30:00");
        assert_eq!(lifetime(&Value::Null).matches("--lifetime").count(), 1);
    }

    #[test]
    fn without_udp_what_needs_it_is_left_out() {
        let found = json!({"udp": false, "transport": "none", "ipv6": false, "rendezvous": [], "summary": "Offline."});
        assert_eq!(
            text(&found),
            "UDP           no rendezvous answers, nor over TCP\n\
             IPv6          no rendezvous answers over it\n\
             port mapping  no protocol known by which the router opens ports\n\n\
             Offline."
        );
    }
}
