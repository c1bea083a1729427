//! Measures what Knothole promises of networks, in the namespace lab, and writes docs/measurements.md.
#![expect(clippy::print_stdout, reason = "a command line tool")]

#[cfg(target_os = "linux")]
mod arguments;
#[cfg(target_os = "linux")]
mod campaign;
#[cfg(target_os = "linux")]
mod report;

#[cfg(target_os = "linux")]
fn main() -> anyhow::Result<()> {
    use arguments::{Arguments, Measure};
    use clap::Parser as _;
    use knothole_lab::namespaces::run_program;
    use knothole_lab::trial::Setting;

    let arguments = Arguments::parse();
    let documents = arguments.measure.output().documents();
    if let Measure::Report(_) = arguments.measure {
        return report::write(&documents);
    }
    if let Measure::Matrix(matrix) = &arguments.measure {
        // A mistyped name is no reason to build and to wait for a lab.
        matrix.pairs()?;
    }
    let programs = arguments.programs()?;
    run_program("measure", |lab| {
        let setting = Setting::new(lab, programs)?;
        campaign::measure(&setting, &arguments.measure)?;
        report::write(&documents)
    })
}

#[cfg(not(target_os = "linux"))]
fn main() {
    println!("the namespace lab needs Linux");
}
