//! Why a contact is not reached, or not directly: every phrase that a `path` event, or the path of a listed contact, may bear. They
//! are for a person; an interface in another language knows them by their text.

use knothole_proto::traversal::Unreachable;

use crate::link::Down;

pub(super) const LOOKING: &str = "looking for a direct path";
pub(super) const PATH_LOST: &str = "the direct path stopped answering; looking for another";
pub(super) const RELAY_CLOSED: &str = "the relay has closed; looking for another way";
pub(super) const RESTS: &str = "nothing was said for a while; the connection comes back with the next message";
pub(super) const SILENT: &str = "the contact is not talked to any more";
pub(super) const HIDDEN: &str = "you are invisible to this contact";

/// What keeps the two from each other.
pub(super) const fn unreachable(why: Unreachable) -> &'static str {
    match why {
        Unreachable::NoRendezvous => "no rendezvous of this contact answers",
        Unreachable::Absent => "the contact is offline",
        Unreachable::Refused => "the rendezvous is busy",
        Unreachable::NoPath => "no direct path was found between the two networks",
        Unreachable::BothHard => {
            "both networks give every connection an unforeseeable port; no direct path can be found"
        }
        Unreachable::TacticFailed => {
            "one network gives every connection another port, and it could not be found; it is tried again later"
        }
        Unreachable::NoUdp => "this network lets no UDP out",
        Unreachable::RelayOnly => "you chose relay only for this contact",
        Unreachable::RelayOnlyThere => "the contact chose relay only",
        Unreachable::NoUdpThere => "the contact's network lets no UDP out",
    }
}

/// How a connection ended.
pub(super) const fn ended(why: &Down) -> &'static str {
    match why {
        Down::Goodbye | Down::Replaced | Down::Resting => "the contact has left",
        Down::TimedOut => "the contact does not answer any more",
        Down::Reset => "the contact has started anew",
        Down::Refused => "the contact refused the connection",
        Down::Failed(_) => "the connection broke",
    }
}
