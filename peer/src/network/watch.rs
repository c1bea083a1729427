//! Word of every change of the network.
//!
//! The system wakes us when something about links, addresses or routes changes; a little later, when the burst that a
//! change comes in is over, the network is looked at, and only a different [`Picture`] is told. So containers that
//! come and go cost nothing but a look.
//!
//! On Linux the kernel's routing socket wakes us, which also tells of cables and routes; elsewhere `if-watch`, which
//! tells of addresses.

use std::io;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Picture;

/// One change comes in a burst: a link, its addresses, its routes, within some tens of milliseconds. What comes later is
/// another change. It also bounds how often the network is looked at.
const BURST: Duration = Duration::from_millis(40);

/// Tells `changes` of every picture that differs from the one before, `known` being the first. Ends when nobody listens,
/// or when the system does not tell: then it is gone without, and silence has to show that something changed.
pub(crate) async fn watch(mut known: Picture, changes: mpsc::Sender<Picture>) {
    let mut signals = match signals::Signals::new() {
        Ok(signals) => signals,
        Err(error) => return tracing::info!(%error, "the network cannot be watched; changes are noticed late"),
    };
    loop {
        // At first, too: between the picture that is known and the first signal that is heard, a cable may have been found.
        let picture = Picture::take();
        if picture != known {
            tracing::debug!(?picture, "the network has changed");
            known = picture.clone();
            if changes.send(picture).await.is_err() {
                return;
            }
        }
        let signal = tokio::select! {
            signal = signals.next() => signal,
            () = changes.closed() => return,
        };
        if let Err(error) = signal {
            return tracing::info!(%error, "the network is watched no longer; changes are noticed late");
        }
        tokio::time::sleep(BURST).await;
        signals.forget();
    }
}

#[cfg(target_os = "linux")]
mod signals {
    use std::os::fd::{AsRawFd, OwnedFd};

    use nix::errno::Errno;
    use nix::libc::{RTMGRP_IPV4_IFADDR, RTMGRP_IPV4_ROUTE, RTMGRP_IPV6_IFADDR, RTMGRP_IPV6_ROUTE, RTMGRP_LINK};
    use nix::sys::socket::{
        AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;

    use super::io;

    const GROUPS: i32 = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;

    /// The kernel's announcements of changes (rtnetlink(7)), of which only the fact is looked at.
    pub(super) struct Signals(AsyncFd<OwnedFd>);

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
            let raw = socket(AddressFamily::Netlink, SockType::Raw, flags, SockProtocol::NetlinkRoute)?;
            bind(raw.as_raw_fd(), &NetlinkAddr::new(0, GROUPS.cast_unsigned()))?;
            #[expect(
                deprecated,
                reason = "what is unsound about it is closing the descriptor early, which an OwnedFd does not"
            )]
            let raw = AsyncFd::with_interest(raw, Interest::READABLE)?;
            Ok(Self(raw))
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            loop {
                if let Ok(read) = self.0.readable().await?.try_io(|raw| read(raw.get_ref())) {
                    return read;
                }
            }
        }

        /// Passes over what has been announced so far. More than fits the kernel's buffer is told with the next.
        pub(super) fn forget(&mut self) {
            while read(self.0.get_ref()).is_ok() {}
        }
    }

    fn read(raw: &OwnedFd) -> io::Result<()> {
        // What does not fit is cut off, and not looked at either.
        match recv(raw.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT) {
            // So much has changed that the kernel could not keep it all: that is news, too.
            Ok(_) | Err(Errno::ENOBUFS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod signals {
    use if_watch::tokio::IfWatcher;

    use super::io;

    pub(super) struct Signals(IfWatcher);

    impl Signals {
        pub(super) fn new() -> io::Result<Self> {
            IfWatcher::new().map(Self)
        }

        pub(super) async fn next(&mut self) -> io::Result<()> {
            std::future::poll_fn(|context| self.0.poll_if_event(context)).await.map(|_| ())
        }

        pub(super) fn forget(&mut self) {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::Gateway;
    use super::*;

    #[tokio::test]
    async fn what_changed_before_it_is_watched_is_told() {
        let gone = Gateway { interface: "gone0".into(), address: [192, 0, 2, 1].into() };
        let before = Picture { gateways: vec![gone], ..Picture::take() };
        let (changes, mut told) = mpsc::channel(1);
        let watching = tokio::spawn(watch(before.clone(), changes));
        // What else changes on this machine meanwhile is its own affair.
        let picture = told.recv().await.expect("the system tells of changes: is netlink refused here (a sandbox)?");
        assert_ne!(picture, before);
        watching.abort();
    }
}
