//! What happened, in numbers.

/// Counts since the start. Whatever is dropped is counted under its reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Sign-ins that made or renewed a registration.
    pub signed_in: u64,
    /// Sign-ins refused: the table is full, or the rendezvous closes.
    pub sign_in_refused: u64,
    /// Registrations that a ticket brought back.
    pub returned: u64,
    /// Tickets that do not open, have expired, or are shown by somebody else.
    pub tickets_refused: u64,
    /// Registrations that ended because no keepalive came.
    pub expired: u64,
    /// Registrations that ended because the peer said goodbye.
    pub goodbyes: u64,
    /// Authentic keepalives, whether answered or not.
    pub keepalives: u64,
    /// Challenges sent to addresses from which a known peer seemed to speak.
    pub challenged: u64,
    /// Registrations that moved to another address.
    pub moved: u64,
    /// Errors "no such slot" sent.
    pub unknown_slot: u64,
    /// Authentic control datagrams, repetitions included.
    pub control: u64,
    /// Delayed echoes promised.
    pub echoes: u64,
    /// Invitations relayed.
    pub invited: u64,
    /// Invitations to peers that keep no registration here.
    pub absent: u64,
    /// Invitations refused: too many from this inviter, too many unacknowledged at the invitee, or closing.
    pub refused: u64,
    /// Acceptances and "opened" relayed.
    pub relayed: u64,
    /// Letters posted, whatever became of them.
    pub letters_posted: u64,
    /// Letters passed straight to a peer that is here.
    pub letters_passed: u64,
    /// Letters returned: the recipient is away, or does not keep up, and no mailbox took them; or one of the bounds below.
    pub letters_returned: u64,
    /// Letters returned because their sender posted too many too fast.
    pub letters_refused_rate: u64,
    /// Letters returned because their recipient has too many of peers that it has not named.
    pub letters_refused_strangers: u64,
    /// Peers named to be watched, or to hide from.
    pub watched: u64,
    /// Messages of who has come or gone.
    pub presence: u64,
    /// Letters that hidden recipients got; their senders were told that they are away.
    pub letters_discreet: u64,
    /// Letters kept in a mailbox, on the disk.
    pub letters_kept: u64,
    /// Letters pushed from a mailbox; more than once if not collected.
    pub letters_pushed: u64,
    /// Letters that their recipients have, and that were destroyed.
    pub letters_collected: u64,
    /// Letters destroyed because they were old.
    pub letters_expired: u64,
    /// Letters that were passed to a recipient which never acknowledged them, and for which its mailbox had no room.
    pub letters_lost: u64,
    /// Letters that could not be read back from the disk.
    pub letters_unreadable: u64,
    /// Letters not kept: the recipient has not named their sender.
    pub letters_refused_unnamed: u64,
    /// Letters not kept: their sender has as many in that mailbox as one may have.
    pub letters_refused_sender: u64,
    /// Letters not kept: the mailbox is full but for what is reserved for others.
    pub letters_refused_mailbox: u64,
    /// Letters not kept: too little is free in all, or the disk is full, fails, or does not keep up.
    pub letters_refused_disk: u64,
    /// Mailboxes not opened, or senders not named: too many, or no room, or the disk fails.
    pub mailboxes_refused: u64,
    /// Mailboxes destroyed because their owner was away for long.
    pub mailboxes_expired: u64,
    /// Mailboxes that there are now.
    pub mailboxes: u64,
    /// Letters that wait now.
    pub letters_waiting: u64,
    /// What both take now, in bytes as charged.
    pub mailbox_bytes: u64,
    /// Relay channels offered with an invitation.
    pub channels_offered: u64,
    /// Relay channels that came into use by an acceptance.
    pub channels_opened: u64,
    /// Relay channels refused: all in use, or too many offered to one registration, or closing.
    pub channels_refused: u64,
    /// Relay channels closed because one of the two has as many as one may have, and a newer; or the table is full, and
    /// nobody was idle for longer.
    pub channels_replaced: u64,
    /// Relay channels closed because nobody accepted them, or because one of the two wants no more.
    pub channels_declined: u64,
    /// Relay channels closed because they carried nothing for long.
    pub channels_idle: u64,
    /// Relay frames passed on.
    pub forwarded: u64,
    /// Their bytes, as UDP payload.
    pub forwarded_bytes: u64,
    /// Streams of peers whose network lets no UDP through.
    pub streams_opened: u64,
    /// Connections refused for them, or ended in their handshake for newer ones: too many at once or too fast, in all or of
    /// one network.
    pub streams_refused: u64,
    /// Connections that ended for a handshake that failed or was slow, or for a length that no datagram has.
    pub streams_failed: u64,
    /// STUN requests answered.
    pub stun: u64,
    /// Dropped: neither STUN nor Knothole, or no sound datagram of its kind.
    pub dropped_malformed: u64,
    /// Dropped: a tag or seal that does not verify.
    pub dropped_unauthentic: u64,
    /// Dropped: seen before.
    pub dropped_repeated: u64,
    /// Dropped: the sender's network had its share of answers.
    pub dropped_unadmitted: u64,
    /// Dropped: an acceptance or an "opened" for a peer that is not here or does not keep up, or beyond the rate.
    pub dropped_relay: u64,
    /// Dropped: peers named to be watched, beyond the rate, or beyond what one or all may watch.
    pub dropped_watch: u64,
    /// Dropped: a relay frame for no channel, or from neither of its two peers, or one of them is gone.
    pub dropped_foreign: u64,
    /// Dropped: a relay frame beyond the first flight, or its answer, on a channel that is only offered.
    pub dropped_offered: u64,
    /// Dropped: a relay frame beyond its sender's bytes.
    pub dropped_quota: u64,
    /// Dropped: a datagram for a stream that has too many waiting, or has ended.
    pub dropped_stream: u64,
    /// Dropped: a UDP datagram from an address that stands for a stream.
    pub dropped_forged: u64,
}
