//! The rendezvous as a program: it reads its arguments and its key, serves, and stops when told.

mod arguments;
mod identity;
mod size;

use std::alloc::System;
use std::io::Write as _;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use knothole_rendezvous::Policy;
use knothole_rendezvous::serve::{Config, Serving, wipe_stack};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;
use zeroizing_alloc::ZeroAlloc;

use crate::arguments::Arguments;

/// Freed memory is overwritten: who has said goodbye is not to be found in a dump of this process, nor in swap.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    // Handshakes run on these threads, and leave peers' keys on their stacks.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().on_thread_park(wipe_stack).build();
    let outcome = runtime.context("the system gives no threads").and_then(|runtime| runtime.block_on(run(arguments)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A log that nobody can write to is no reason to fail in another way.
            let _ = writeln!(std::io::stderr(), "knothole-rendezvous: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Each peer that comes by TCP takes a file descriptor, and the usual limit of 1,024 is meant for programs that use `select`;
/// what the administrator allows is the hard limit.
fn raise_open_files() {
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(error) = raised {
        tracing::info!(%error, "the limit of open files stays as it is");
    }
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    // From the first moment on: who reads "ready" may send a signal at once.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;

    raise_open_files();
    let state = arguments.state_directory()?;
    let serving = Serving::start(Config {
        identity: identity::load_or_create(&state)?,
        listen: arguments.listen,
        alternate: arguments.alternate,
        public: arguments.public,
        policy: Policy { mailbox_bytes: arguments.mailbox_size.0, ..Policy::default() },
        mailboxes: Some(state),
    })
    .await?;

    let mut stdout = std::io::stdout();
    writeln!(stdout, "ready {}", serving.address())
        .and_then(|()| stdout.flush())
        .context("cannot write to standard output")?;

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    serving.shutdown().await;
    Ok(())
}
