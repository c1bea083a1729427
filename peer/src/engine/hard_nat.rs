//! What hard NATs' tactics have learnt, kept from one run to the next: which worked between which networks, and which in vain.

use std::time::Instant;

use knothole_proto::hard_nat::{from_bytes, to_bytes};

use super::{Engine, wall_clock};

/// The setting that remembers attempts.
pub(super) const SETTING: &str = "hard-nat-attempts";

impl Engine {
    /// Takes what [`SETTING`] held.
    pub(super) fn recall_attempts(&mut self, stored: Option<Vec<u8>>, now: Instant) {
        if let Some(remembered) = stored.and_then(|bytes| from_bytes(&bytes, wall_clock() / 1000)) {
            self.traversal.set_memory(&remembered, now);
        }
    }

    /// Stores what is remembered. Attempts take seconds and are minutes apart, so that this is rare.
    pub(super) fn remember_attempts(&mut self, now: Instant) {
        let stored = to_bytes(&self.traversal.memory(now), wall_clock() / 1000);
        let outcome = self.store.set_setting(SETTING, stored);
        self.after(outcome, |_, result| {
            if let Err(error) = result {
                tracing::warn!(%error, "what worked between networks is not remembered");
            }
        });
    }
}
