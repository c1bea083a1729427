//! The thread that runs the world on the real clock, between the TUN devices.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read, Write},
    os::{fd::AsFd, unix::net::UnixStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use nix::{
    poll::{PollFd, PollFlags, ppoll},
    sys::time::TimeSpec,
};

use super::wire;
use crate::world::{HostId, World};

/// Packets taken from one device before the others and what is due have their turn: at 20 µs each, about a millisecond.
const TURN: usize = 64;

/// The world, shared between its thread and whoever changes it.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// A byte here, or its end, makes the thread look at the state again.
    wake: UnixStream,
}

#[derive(Debug)]
struct State {
    world: World,
    devices: BTreeMap<HostId, Arc<File>>,
    stopping: bool,
}

/// Runs until dropped.
#[derive(Debug)]
pub(super) struct Pump {
    pub(super) shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Pump {
    pub(super) fn new(world: World) -> Result<Self> {
        let (wake, woken) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        woken.set_nonblocking(true)?;
        let state = Mutex::new(State { world, devices: BTreeMap::new(), stopping: false });
        let shared = Arc::new(Shared { state, wake });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new().name("world".into()).spawn(move || theirs.pump(&woken));
        Ok(Self { shared, thread: Some(thread.context("cannot start the world's thread")?) })
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shared.change(|state| state.stopping = true);
        if let Some(thread) = self.thread.take() {
            // Its panic has already been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Looks at the world or changes it.
    pub(super) fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.change(|state| look(&mut state.world))
    }

    /// Joins a device to a host of the world.
    pub(super) fn join(&self, host: HostId, device: File) {
        self.change(|state| state.devices.insert(host, Arc::new(device)));
    }

    /// Takes a host's device out of the world. The world's host stays, and nobody answers there.
    pub(super) fn leave(&self, host: HostId) {
        self.change(|state| state.devices.remove(&host));
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let outcome = change(&mut self.lock());
        // A full pipe wakes the thread as well.
        let _ = (&self.wake).write(&[0]);
        outcome
    }

    /// A panic elsewhere leaves the world as it is between two packets, so it may be used on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pump(&self, woken: &UnixStream) {
        let mut buffer = vec![0; 65_536];
        loop {
            let mut state = self.lock();
            if state.stopping {
                return;
            }
            let more = state.take_in(&mut buffer);
            state.give_out();
            let devices: Vec<Arc<File>> = state.devices.values().cloned().collect();
            let wait = state.world.poll_timeout().map(|at| at.saturating_duration_since(Instant::now()));
            drop(state);
            if !more && sleep(&devices, woken, wait) {
                while (&*woken).read(&mut buffer).is_ok_and(|count| count > 0) {}
            }
        }
    }
}

impl State {
    /// Takes what hosts have sent into the world; whether there may be more.
    fn take_in(&mut self, buffer: &mut [u8]) -> bool {
        let mut more = false;
        for (&host, device) in &self.devices {
            let mut taken = 0;
            while taken < TURN {
                // There is nothing, or the device is down.
                let Ok(length) = (&**device).read(buffer) else { break };
                taken += 1;
                if let Some(packet) = buffer.get(..length).and_then(wire::decode) {
                    self.world.send(Instant::now(), host, packet);
                }
            }
            more |= taken == TURN;
        }
        more
    }

    /// Hands out what has arrived.
    fn give_out(&mut self) {
        while let Some((host, packet)) = self.world.poll_delivery(Instant::now()) {
            if let (Some(device), Some(bytes)) = (self.devices.get(&host), wire::encode(&packet)) {
                // A host whose device is down or full loses the packet, as a host does.
                let _ = (&**device).write(&bytes);
            }
        }
    }
}

/// Waits for packets, a change, or the time; whether there was a change.
fn sleep(devices: &[Arc<File>], woken: &UnixStream, wait: Option<Duration>) -> bool {
    let mut fds: Vec<PollFd> = devices.iter().map(|device| PollFd::new(device.as_fd(), PollFlags::POLLIN)).collect();
    fds.push(PollFd::new(woken.as_fd(), PollFlags::POLLIN));
    if ppoll(&mut fds, wait.map(TimeSpec::from), None).is_err() {
        // Interrupted by a signal: the caller looks again.
        return false;
    }
    fds.last().and_then(PollFd::any).unwrap_or(false)
}
