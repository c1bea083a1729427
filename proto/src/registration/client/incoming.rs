//! What comes from the rendezvous: control messages, tickets, and answers to keepalives.

use std::net::SocketAddr;
use std::time::Instant;

use super::active::Held;
use super::{Client, Event, Phase, first};
use crate::control::{Opened, ToPeer};
use crate::datagram::{CONTROL, Header, RETURNED, TICKET};
use crate::keepalive::{self, FromRendezvous};
use crate::registration::ticket::{self, Resumption};

impl Client {
    /// Takes one of Knothole's datagrams that came from `from`.
    pub fn handle_datagram(&mut self, from: SocketAddr, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_ref().filter(|active| active.remote == from) else { return };
        match header.kind {
            RETURNED => self.handle_returned(from, header, datagram, now),
            _ if active.slot != header.slot => {}
            CONTROL => self.handle_control(header, datagram, now),
            TICKET => self.handle_ticket(header, datagram, now),
            _ => self.handle_answer(header, datagram, now),
        }
    }

    fn handle_control(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut().filter(|_| self.phase == Phase::Registered) else { return };
        match active.channel.handle(header, datagram) {
            Opened::Fresh(Some(ToPeer::Closing)) => {
                // The acknowledgement is the last that goes this way.
                while let Some(payload) = active.channel.poll_transmit(now) {
                    active.transmit(payload, &mut self.outgoing);
                }
                self.lose();
                // It may be there again in a moment, and open our ticket.
                self.attempts = 1;
                self.pause_then_attempt(now);
            }
            Opened::Fresh(Some(message)) => self.events.push_back(Event::Control(message)),
            Opened::Fresh(None) | Opened::Repeated | Opened::Invalid => {}
        }
    }

    fn handle_ticket(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut().filter(|active| active.renewing == Some(header.number)) else { return };
        if let Some(ticket) = ticket::parse_renewed(&active.key, header, datagram) {
            active.renewing = None;
            active.asked = None;
            let resumption = Resumption::of(&active.secret);
            self.ticket = Some(Held { ticket: ticket.to_vec(), resumption, since: now });
        }
    }

    fn handle_answer(&mut self, header: Header, datagram: &[u8], now: Instant) {
        let Some(active) = self.active.as_mut() else { return };
        match keepalive::parse_from_rendezvous(&active.key, header, datagram) {
            // One that is not later than the last is a replay, and so is an answer to nothing.
            Some(FromRendezvous::Observed { counter, address }) if active.is_answer(counter) => {
                let (asked, moved) = (active.asked.take().is_some(), std::mem::take(&mut active.moving));
                // What it was told from elsewhere is not acknowledged here, and what was said in vain may now be heard.
                if moved || asked && active.channel.is_doubtful() {
                    active.channel.repeat(now);
                }
                let changed = std::mem::replace(&mut active.observed, address) != address;
                match self.phase {
                    Phase::Registered if (asked || moved) && changed => {
                        self.events.push_back(Event::Registered { observed: address });
                    }
                    Phase::Registered | Phase::Returning { .. } => {}
                    Phase::Asking { .. } | Phase::SigningIn { .. } | Phase::Pausing { .. } => self.found(address),
                }
            }
            Some(FromRendezvous::Challenge { token }) => {
                active.prove(token, &mut self.outgoing);
                // Should it be lost, a question follows.
                active.asked.get_or_insert((1, now + first(self.profile.ask_again())));
            }
            Some(FromRendezvous::UnknownSlot { echo, token }) if active.sent(echo) => self.handle_unknown(token, now),
            _ => {}
        }
    }
}
