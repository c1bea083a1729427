//! The keys that a connection gives for the time after it.

use knothole_proto::envelope::{EXPORTER_LABEL, Epoch, EpochName};
use knothole_proto::frames::Frame;
use knothole_proto::traversal::ContactId;

use super::Letters;
use crate::engine::Engine;
use crate::engine::contact::Link;

impl Engine {
    /// Keeps the epoch of a contact's connection, once there is one: a session that was resumed may be up before its
    /// handshake is done, and has no secret until then.
    pub(in crate::engine) fn keep_epoch(&mut self, id: ContactId) {
        let Some(contact) = self.contacts.get_mut(&id) else { return };
        let Some(Link { id: link, up: true, .. }) = contact.link else { return };
        if contact.letters.epoch_of == Some(link) {
            return;
        }
        // The conversation takes over.
        contact.letters.waiting.clear();
        let Some(secret) = self.links.exported_secret(link, EXPORTER_LABEL) else { return };
        contact.letters.epoch_of = Some(link);
        let peer = contact.peer;
        let epoch = Epoch::new(secret, &self.me, &peer);
        let name = epoch.name;
        self.after(self.store.keep_epoch(peer, epoch), move |engine, result| match result {
            Ok(()) => {
                let contact = engine.contacts.get_mut(&id);
                let used = contact.filter(|contact| contact.link.as_ref().is_some_and(|used| used.id == link));
                if let Some(contact) = used {
                    contact.letters.kept = Some(name);
                    engine.pump(id);
                }
            }
            Err(error) => tracing::info!(%error, "no keys were kept for letters"),
        });
    }

    /// The contact has this epoch in durable storage.
    pub(in crate::engine) fn handle_epoch(&mut self, id: ContactId, name: EpochName) {
        // It may say so before we have looked.
        self.keep_epoch(id);
        let Some(contact) = self.contacts.get(&id) else { return };
        self.after(self.store.share_epoch(contact.peer, name), |_, result| {
            if let Err(error) = result {
                tracing::info!(%error, "no keys are shared for letters");
            }
        });
    }
}

impl Letters {
    /// What is to be said on the present connection.
    pub(in crate::engine) fn poll_frame(&mut self) -> Option<Frame> {
        self.kept.take().map(|name| Frame::Epoch { name })
    }

    /// There is another connection.
    pub(in crate::engine) fn handle_link(&mut self) {
        self.kept = None;
    }
}
