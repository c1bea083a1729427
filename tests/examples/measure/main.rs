//! Measures what Knothole promises of networks, in the namespace lab, and writes docs/measurements.md.
#![expect(clippy::print_stdout, reason = "a command line tool")]

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod gaps;
#[cfg(target_os = "linux")]
mod matrix;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use arguments::{Arguments, Measure};
    use clap::Parser as _;
    use knothole_lab::namespaces::run_program;
    use knothole_lab::trial::Setting;

    let arguments = Arguments::parse();
    let programs = arguments.programs()?;
    run_program("measure", |lab| {
        let setting = Setting::new(lab, programs)?;
        match &arguments.measure {
            Measure::Matrix(options) => matrix::measure(&setting, options),
            Measure::Gaps(options) => gaps::measure(&setting, options),
        }
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the namespace lab needs Linux");
}

/// What stands above the records: the command, and on what it ran.
#[cfg(target_os = "linux")]
fn heading() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let build = if cfg!(debug_assertions) { "debug" } else { "release" };
    let command: Vec<_> = std::env::args().skip(1).collect();
    format!("measure {} ({cores} cores, {build} build)", command.join(" "))
}
