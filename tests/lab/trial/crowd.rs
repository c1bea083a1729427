//! Many trials at a time.

use std::sync::mpsc::channel;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

/// Does every job, at most `at_once` at a time, and hands each outcome to `done` in this thread, in the order in which
/// they come. After `until` no further job is begun.
pub fn crowd<Job: Send, Outcome: Send>(
    jobs: impl IntoIterator<Item = Job, IntoIter: Send>,
    at_once: usize,
    until: Instant,
    work: impl Fn(Job) -> Outcome + Sync,
    mut done: impl FnMut(Outcome),
) {
    let jobs = Mutex::new(jobs.into_iter());
    let (sender, outcomes) = channel();
    let next = || jobs.lock().unwrap_or_else(PoisonError::into_inner).next().filter(|_| Instant::now() < until);
    thread::scope(|scope| {
        for _ in 0..at_once.max(1) {
            let (sender, next, work) = (sender.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(job) = next() {
                    if sender.send(work(job)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        outcomes.into_iter().for_each(&mut done);
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn every_job_is_done_once_and_none_after_the_end() {
        let mut seen = Vec::new();
        crowd(0..100, 7, Instant::now() + Duration::from_secs(60), |job| job * 2, |outcome| seen.push(outcome));
        seen.sort_unstable();
        assert!(seen.into_iter().eq((0..100).map(|job| job * 2)));
        crowd(0..100, 7, Instant::now(), |job| job, |_| panic!("begun after the end"));
    }
}
