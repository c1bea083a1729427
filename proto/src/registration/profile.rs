//! How often a peer shows that it is there: between being missed at once and waking a telephone's radio.

use std::time::Duration;

use super::KEEPALIVE_INTERVAL;

/// What the owner of a peer chooses. All numbers of a choice stand here, so that they fit each other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Profile {
    /// A keepalive every 20 s, offline after 40 s; a dead link is noticed within 30 s.
    #[default]
    Default,
    /// A keepalive every 3 s, offline after 9 s; a dead link is noticed within 9 s.
    Strict,
    /// As rarely as this network's NAT was found to bear; at first like the default.
    Frugal,
}

/// Keepalives further apart than this always ask: waiting for the third would be minutes, and the radio is awake anyway.
const RARE: Duration = Duration::from_secs(60);

impl Profile {
    /// Between keepalives, as long as nothing else is known.
    #[must_use]
    pub const fn interval(self) -> Duration {
        match self {
            Self::Default | Self::Frugal => KEEPALIVE_INTERVAL,
            Self::Strict => Duration::from_secs(3),
        }
    }

    /// Which keepalives ask for an answer, with so long between them: each third, so that a rendezvous that is gone is
    /// noticed within three intervals and two thirds of the answers, which cost it most, are saved; all of the strict ones.
    #[must_use]
    pub const fn asks_every(self, interval: Duration) -> u64 {
        match self {
            Self::Strict => 1,
            Self::Default | Self::Frugal if interval.as_secs() > RARE.as_secs() => 1,
            Self::Default | Self::Frugal => 3,
        }
    }

    /// A keepalive that asked and got no answer is repeated after these; then the rendezvous is not there.
    #[must_use]
    pub const fn ask_again(self) -> &'static [Duration] {
        /// Together 3 s.
        const STRICT: [Duration; 3] = [Duration::from_secs(1); 3];
        /// Together 7 s.
        const PATIENT: [Duration; 4] =
            [Duration::from_secs(1), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(3)];
        match self {
            Self::Default | Self::Frugal => &PATIENT,
            Self::Strict => &STRICT,
        }
    }

    /// After how much silence a link between contacts sends a sign of life. QUIC's two ends do not do so at once: each
    /// starts anew when it hears the other. The frugal one is just below 30 s, after which some home gateways forget a
    /// mapping: how long the contact's gateway remembers is not known.
    #[must_use]
    pub const fn link_keep_alive(self) -> Duration {
        Duration::from_secs(match self {
            Self::Default => 10,
            Self::Strict => 3,
            Self::Frugal => 25,
        })
    }

    /// After how much silence a link between contacts is down: three signs of life. The smaller one of both ends holds.
    #[must_use]
    pub fn link_idle_timeout(self) -> Duration {
        self.link_keep_alive() * 3
    }

    /// After how much silence a direct path is checked: later than the link's own sign of life, which is heard as
    /// consent, so that an idle path carries only that. RFC 7675 asks for 5 s; 15 s keep mappings of 30 s alive.
    #[must_use]
    pub const fn consent_interval(self) -> Duration {
        Duration::from_secs(match self {
            Self::Default => 15,
            Self::Strict => 5,
            Self::Frugal => 40,
        })
    }

    /// After how much silence a direct path is left (RFC 7675 section 5.1: 30 s): when the link would be down.
    #[must_use]
    pub fn consent_expiry(self) -> Duration {
        self.link_idle_timeout()
    }
}

#[cfg(test)]
mod tests {
    use super::super::lifetime;
    use super::*;

    #[test]
    fn each_profile_is_offline_when_it_says() {
        let offline = |profile: Profile| lifetime(profile.interval().as_secs() as u16).as_secs();
        assert_eq!((offline(Profile::Default), offline(Profile::Strict)), (40, 9));
        assert_eq!(Profile::Strict.link_idle_timeout().as_secs(), 9);
        assert_eq!(Profile::Default.link_idle_timeout().as_secs(), 30);
    }

    #[test]
    fn the_link_s_sign_of_life_comes_before_a_check_would() {
        for profile in [Profile::Default, Profile::Strict, Profile::Frugal] {
            // The check's interval varies by a fifth.
            assert!(profile.link_keep_alive() < profile.consent_interval().mul_f64(0.8), "{profile:?}");
            assert!(profile.consent_interval().mul_f64(1.2) + Duration::from_secs(2) < profile.consent_expiry());
        }
    }
}
