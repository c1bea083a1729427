//! Nothing written is lost, doubled or shown out of order, and nothing is shown as delivered that is not on the other side's
//! disk, whatever is done to the real binaries (docs/protocol.md, "Conversation"). This is the smallest honest part; the whole is
//! `cargo run --release -p knothole-tests --example measure -- torture`.

use anyhow::{Result, ensure};
use knothole_lab::namespaces::run_alone;
use knothole_lab::person::binaries;
use knothole_lab::trial::Setting;
use knothole_lab::trial::torture::Torture;

#[test]
fn nothing_is_lost_by_loss_kills_full_disks_and_moves() -> Result<()> {
    run_alone("torture::nothing_is_lost_by_loss_kills_full_disks_and_moves", |lab| {
        let setting = Setting::new(lab, binaries()?)?;
        let seed = std::env::var("KNOTHOLE_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
        let tortured = Torture { seed, messages: 300, kills: 6, loss: 0.2, disk: 64 << 20 }.inflict(&setting);
        println!("{tortured:#?}");
        if let Some(failure) = tortured.failure {
            anyhow::bail!("{failure} (KNOTHOLE_SEED={seed})");
        }
        ensure!(tortured.kills.iter().sum::<usize>() == 6 && tortured.moves == 3, "not all of it was done");
        ensure!(tortured.refused.iter().all(|refused| *refused > 0), "a disk was never full");
        Ok(())
    })
}
