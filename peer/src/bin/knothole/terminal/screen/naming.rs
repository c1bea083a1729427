//! Names for our messages, chosen before they are sent: so that one can be sent again, and is stored once.

use aws_lc_rs::digest::{SHA256, digest};
use knothole_proto::frames::MessageId;

/// Gives a new name each time. Chance is an argument: the same seed gives the same names.
#[derive(Debug)]
pub(crate) struct Naming {
    seed: [u8; 32],
    given: u64,
}

impl Naming {
    pub(crate) const fn new(seed: [u8; 32]) -> Self {
        Self { seed, given: 0 }
    }

    pub(crate) fn next(&mut self) -> String {
        self.given += 1;
        let hash = digest(&SHA256, &[self.seed.as_slice(), &self.given.to_be_bytes()].concat());
        let mut id = [0; 16];
        id.iter_mut().zip(hash.as_ref()).for_each(|(byte, from)| *byte = *from);
        MessageId(id).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_differ_by_seed_and_number_and_are_message_ids() {
        let mut names: Vec<_> = (0..3).map(|seed| Naming::new([seed; 32])).collect();
        let all: std::collections::BTreeSet<_> =
            names.iter_mut().flat_map(|names| [names.next(), names.next()]).collect();
        assert_eq!(all.len(), 6);
        assert!(all.iter().all(|name| name.len() == 26 && name.parse::<MessageId>().is_ok()));
    }
}
