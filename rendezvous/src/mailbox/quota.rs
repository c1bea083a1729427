//! How much is kept: for one peer, of one sender, in all.
//!
//! A mailbox has room for [`RESERVED`] letters of each sender that its owner has named, and for [`COMMON`] more, of which each
//! sender may have some. So nobody can fill it for the others, whoever else may have written before.
//!
//! All mailboxes share the disk in the same spirit. Half of it is for the [`FIRST`] bytes of each; of the other half, a mailbox
//! takes no letter beyond a part of what is *still free* there. So somebody who fills mailboxes on purpose gets less with each,
//! and needs fifty thousand of them before there is no room for a few letters in the next one's.

/// A letter is charged at least this, and what stands around it: small ones cost the memory that is spent on each.
const LEAST_CHARGE: u64 = 256;
/// What a letter costs besides its bytes: its row and its place in the index.
const LETTER_CHARGE: u64 = 256;
/// What a mailbox costs, letters apart.
pub(super) const MAILBOX_CHARGE: u64 = 1024;
/// What a named sender costs, in memory and on the disk.
pub(super) const SENDER_CHARGE: u64 = 64;

/// Who may leave letters in one mailbox at most: all contacts of nearly everybody.
pub(super) const SENDERS: usize = 512;
/// Letters of one sender in one mailbox: the longest text is 75, and there is room for a day's talk besides.
pub(super) const OF_ONE_SENDER: u16 = 128;
/// So many of them have a place that nobody else can take.
pub(super) const RESERVED: u16 = 16;
/// Letters beyond what is reserved, of all senders together: eight of them may use all that they may.
pub(super) const COMMON: u32 = 1024;
/// Letters in one mailbox, 9 MiB: what is reserved for all senders that may be named, and what is common.
pub(super) const IN_ONE_MAILBOX: usize = SENDERS * RESERVED as usize + COMMON as usize;

/// So much of each mailbox, in bytes as charged, has half of the disk: eight letters of the greatest length.
pub(super) const FIRST: u64 = 8 * charge(1024);
/// Of what is still free of the other half, a mailbox holds at most this part, …
const MAILBOX_SHARE: u64 = 16;
/// … and this part of it in letters that are not reserved.
const COMMON_SHARE: u64 = 128;

/// Letters are kept for 14 days: holidays.
pub(super) const LETTER_S: u64 = 14 * DAY_S;
/// Mailboxes whose owner did not register for so long are destroyed.
pub(super) const ABSENCE_S: u64 = 30 * DAY_S;
/// A mailbox is looked at so often while its owner is here, and that written down.
pub(super) const DAY_S: u64 = 24 * 60 * 60;

/// Why a letter is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// Its sender has as many there as one may have.
    Sender,
    /// The mailbox is full for it.
    Mailbox,
    /// All mailboxes together are too full for it.
    Disk,
}

/// Where a letter stands that is to be kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// What all mailboxes may take, what they do, and what of that is beyond the first bytes of each; in bytes as charged.
    pub(super) limit: u64,
    pub(super) used: u64,
    pub(super) beyond: u64,
    /// The letters of this mailbox, and their bytes as charged.
    pub(super) letters: usize,
    pub(super) bytes: u64,
    /// Those among them that nothing is reserved for.
    pub(super) common: u32,
    /// This sender's there.
    pub(super) of_sender: u16,
}

/// What a letter of this length costs.
pub(super) const fn charge(length: u16) -> u64 {
    let length = length as u64;
    LETTER_CHARGE + if length > LEAST_CHARGE { length } else { LEAST_CHARGE }
}

impl Room {
    /// Whether a letter of this length is kept.
    pub(super) fn takes(self, length: u16) -> Result<(), Bound> {
        let charge = charge(length);
        if self.of_sender >= OF_ONE_SENDER {
            return Err(Bound::Sender);
        }
        let unreserved = self.of_sender >= RESERVED;
        if self.letters >= IN_ONE_MAILBOX || (unreserved && self.common >= COMMON) {
            return Err(Bound::Mailbox);
        }
        let grown = self.bytes + charge;
        // As if each were of the greatest length.
        let common = u64::from(self.common) * FIRST / 8;
        let free = (self.limit / 2).saturating_sub(self.beyond);
        let small = grown <= FIRST || (grown <= free / MAILBOX_SHARE && !(unreserved && common > free / COMMON_SHARE));
        if small && self.used + charge <= self.limit { Ok(()) } else { Err(Bound::Disk) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: Room = Room { limit: 1 << 30, used: 0, beyond: 0, letters: 0, bytes: 0, common: 0, of_sender: 0 };

    #[test]
    fn one_sender_has_its_bound_and_no_effect_on_what_is_reserved_for_another() {
        assert_eq!(Room { of_sender: OF_ONE_SENDER, ..EMPTY }.takes(100), Err(Bound::Sender));
        let full = Room { common: COMMON, letters: 1024, bytes: 1 << 20, ..EMPTY };
        assert_eq!(Room { of_sender: RESERVED, ..full }.takes(100), Err(Bound::Mailbox));
        assert_eq!(Room { of_sender: RESERVED - 1, ..full }.takes(100), Ok(()));
    }

    /// Each letter of another sender, who has fewer than are reserved for it.
    #[test]
    fn mailboxes_filled_on_purpose_leave_room_for_the_first_letters_in_the_next() {
        let (mut used, mut beyond) = (0, 0);
        let mut held = Vec::new();
        for _ in 0..20_000 {
            let mut room = Room { used, beyond, ..EMPTY };
            while room.takes(1024).is_ok() {
                room.letters += 1;
                room.bytes += charge(1024);
                room.used += charge(1024);
            }
            (used, beyond) = (room.used, beyond + room.bytes.saturating_sub(FIRST));
            held.push(room.letters);
        }
        assert_eq!(held[0], IN_ONE_MAILBOX);
        assert_eq!(held.last(), Some(&8));
        assert!(used < EMPTY.limit);
    }

    #[test]
    fn a_disk_without_room_takes_nothing() {
        for (limit, used) in [(0, 0), (1 << 20, 1 << 20), (1 << 20, 1 << 30), (1_000, 0)] {
            assert_eq!(Room { limit, used, ..EMPTY }.takes(1024), Err(Bound::Disk), "{limit} {used}");
        }
    }
}
