//! Address tokens (RFC 9000 section 8.1.3): a peer that was here before is believed its address without a Retry, once a
//! token.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use quinn::{TokenLog, TokenReuseError};

/// A token stays good this long: peers come back from a night, or with the restart of their machine.
pub(super) const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// Used tokens remembered in each of two generations; 16 bytes each and as much again for the tree, some 16 MB in all.
/// Beyond this many in a lifetime tokens are not believed, and a sign-in costs a round trip more.
const MAX_USED: usize = 1 << 18;

/// Remembers which tokens have been used, since a token used twice would make us answer a forged address at length.
#[derive(Debug, Default)]
pub(super) struct UsedTokens(Mutex<Generations>);

/// A generation lasts a lifetime; so a token is remembered until it has expired.
#[derive(Debug, Default)]
struct Generations {
    current: BTreeSet<u128>,
    former: BTreeSet<u128>,
    began: Option<SystemTime>,
}

impl TokenLog for UsedTokens {
    fn check_and_insert(&self, nonce: u128, _issued: SystemTime, lifetime: Duration) -> Result<(), TokenReuseError> {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if generations.is_new(nonce, lifetime, SystemTime::now()) { Ok(()) } else { Err(TokenReuseError) }
    }
}

impl Generations {
    fn is_new(&mut self, nonce: u128, lifetime: Duration, now: SystemTime) -> bool {
        let began = *self.began.get_or_insert(now);
        if now.duration_since(began).is_ok_and(|age| age >= lifetime) {
            self.former = std::mem::take(&mut self.current);
            self.began = Some(now);
        }
        self.current.len() < MAX_USED && !self.former.contains(&nonce) && self.current.insert(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_serves_once_as_long_as_it_lives() {
        let mut used = Generations::default();
        let start = SystemTime::UNIX_EPOCH;
        let mut is_new = |nonce, hours: u64| used.is_new(nonce, LIFETIME, start + Duration::from_secs(hours * 3600));
        assert!(is_new(0, 0));
        assert!(is_new(1, 23));
        assert!(!is_new(1, 23));
        assert!(is_new(2, 24));
        assert!(!is_new(1, 46), "it may have been issued in the hour of its use");
        assert!(!is_new(2, 47));
        assert!(is_new(1, 48), "it has expired, which quinn has looked at before it asks");
    }

    #[test]
    fn a_full_memory_believes_nobody() {
        let mut used = Generations::default();
        let all = (0..MAX_USED as u128 + 5).filter(|nonce| used.is_new(*nonce, LIFETIME, SystemTime::UNIX_EPOCH));
        assert_eq!(all.count(), MAX_USED);
    }
}
