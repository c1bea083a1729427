//! Two peers who talk without pause: each sends a numbered message every 20 ms, and notes when the other's arrive.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use serde_json::{Value, json};

use crate::person::Person;

/// As often as voice has a packet.
const EVERY: Duration = Duration::from_millis(20);
/// What was sent before the end arrives within this, or is lost.
const LAST_WORDS: Duration = Duration::from_secs(40);

/// What one side noted.
#[derive(Debug, Default)]
pub struct Heard {
    /// Number and arrival of each message, in the order of the events.
    pub messages: Vec<(usize, Instant)>,
    /// Each change of the path: when, and of which kind it is now.
    pub paths: Vec<(Instant, String)>,
    /// How many the other side has sent.
    pub expected: usize,
    /// When listening ended without all of them; a silence that nothing broke lasts until then.
    gave_up: Option<Instant>,
}

impl Heard {
    /// What is wrong with what came: lost, doubled, out of order.
    #[must_use]
    pub fn wrong(&self) -> Option<String> {
        let numbers: Vec<_> = self.messages.iter().map(|(number, _)| *number).collect();
        let mut sorted = numbers.clone();
        sorted.sort_unstable();
        let disorder = sorted != numbers;
        sorted.dedup();
        let (doubled, lost) = (numbers.len() - sorted.len(), self.expected.saturating_sub(sorted.len()));
        let right = !disorder && doubled == 0 && lost == 0;
        (!right)
            .then(|| format!("of {} messages {lost} lost, {doubled} doubled, out of order: {disorder}", self.expected))
    }

    /// The longest silence after `from`. One that had begun before counts from then on.
    #[must_use]
    pub fn silence_after(&self, from: Instant) -> Duration {
        let arrivals = self.messages.iter().map(|(_, at)| *at).chain(self.gave_up);
        longest(arrivals.map(|at| at.max(from)))
    }

    /// The longest silence that ended before `until`.
    #[must_use]
    pub fn silence_before(&self, until: Instant) -> Duration {
        longest(self.messages.iter().map(|(_, at)| *at).filter(|at| *at < until))
    }
}

fn longest(arrivals: impl Iterator<Item = Instant> + Clone) -> Duration {
    let gaps = arrivals.clone().zip(arrivals.skip(1)).map(|(begin, end)| end.saturating_duration_since(begin));
    gaps.max().unwrap_or_default()
}

/// One side while the stream runs.
struct Side<'a> {
    person: &'a mut Person,
    /// What it calls the other.
    other: &'a str,
    sent: &'a AtomicUsize,
    arrived: &'a AtomicUsize,
    path: &'a AtomicUsize,
    asked: &'a AtomicBool,
}

/// What can be seen of a stream while it runs.
#[derive(Debug)]
pub struct Progress<'a> {
    arrived: &'a [AtomicUsize; 2],
    paths: &'a [AtomicUsize; 2],
    asked: &'a AtomicBool,
}

/// The kinds of path, by the number that [`Progress`] keeps.
const KINDS: [&str; 3] = ["none", "relay", "direct"];

impl Progress<'_> {
    /// Waits until each side has heard so many more messages.
    ///
    /// # Errors
    /// They do not come in time.
    pub fn wait_for_messages(&self, count: usize, patience: Duration) -> Result<()> {
        let begin = [0, 1].map(|side| self.arrived[side].load(Ordering::Relaxed));
        let heard = |side: usize| self.arrived[side].load(Ordering::Relaxed) >= begin[side] + count;
        wait(patience, || heard(0) && heard(1)).map_err(|_| anyhow!("the stream does not flow"))
    }

    /// Waits until both sides' paths are of this kind.
    ///
    /// # Errors
    /// They are not in time.
    pub fn wait_for_path(&self, kind: &str, patience: Duration) -> Result<()> {
        wait(patience, || [0, 1].iter().all(|side| self.path(*side) == kind))
            .map_err(|_| anyhow!("the path is {} and {} instead of {kind}", self.path(0), self.path(1)))
    }

    /// Has one side ask for a better path now, as a person may who knows that there is one, until it is direct.
    ///
    /// # Errors
    /// It is not in time.
    pub fn ask_for_direct(&self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            self.asked.store(true, Ordering::Relaxed);
            let outcome = self.wait_for_path("direct", Duration::from_secs(1));
            if outcome.is_ok() || Instant::now() >= until {
                return outcome;
            }
        }
    }

    fn path(&self, side: usize) -> &'static str {
        KINDS[self.paths[side].load(Ordering::Relaxed).min(KINDS.len() - 1)]
    }
}

/// There is nothing to block on: what is waited for happens in other threads, seldom, and is stamped there.
fn wait(patience: Duration, mut is: impl FnMut() -> bool) -> Result<()> {
    let until = Instant::now() + patience;
    while !is() {
        if Instant::now() >= until {
            bail!("not in time");
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Lets both talk while `change` does what it likes, and then until everything that was sent has arrived or is lost. Alice
/// calls the other "bob", Bob calls her "alice". The path that each has at the beginning is `kind`.
///
/// # Errors
/// Those of `change`, or a peer has ended.
pub fn stream<T>(
    alice: &mut Person,
    bob: &mut Person,
    kind: &str,
    change: impl FnOnce(&Progress<'_>) -> Result<T>,
) -> Result<(T, [Heard; 2])> {
    let at_first = || AtomicUsize::new(KINDS.iter().position(|is| *is == kind).unwrap_or_default());
    let zero = || AtomicUsize::new(0);
    let (sent, arrived, paths) = ([zero(), zero()], [zero(), zero()], [at_first(), at_first()]);
    let (ending, asked) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let persons = [(alice, "bob"), (bob, "alice")];
        let sides = persons.into_iter().enumerate().map(|(index, (person, other))| {
            let (sent, arrived, path) = (&sent[index], &arrived[index], &paths[index]);
            Side { person, other, sent, arrived, path, asked: &asked }
        });
        let threads: Vec<_> = sides
            .enumerate()
            .map(|(index, side)| {
                let (theirs, ending) = (&sent[1 - index], &ending);
                scope.spawn(move || side.run(theirs, ending))
            })
            .collect();
        let outcome = change(&Progress { arrived: &arrived, paths: &paths, asked: &asked });
        ending.store(true, Ordering::Release);
        let mut heard = Vec::new();
        for thread in threads {
            heard.push(thread.join().map_err(|_| anyhow!("a side of the stream panicked"))??);
        }
        let heard = <[Heard; 2]>::try_from(heard).map_err(|_| anyhow!("two sides"))?;
        Ok((outcome?, heard))
    })
}

impl Side<'_> {
    fn run(self, theirs: &AtomicUsize, ending: &AtomicBool) -> Result<Heard> {
        let mut heard = Heard::default();
        let mut due = Instant::now();
        while !ending.load(Ordering::Acquire) {
            let number = self.sent.fetch_add(1, Ordering::AcqRel);
            self.person.tell("message.send", json!({"to": self.other, "text": format!("stream {number}")}))?;
            if self.asked.swap(false, Ordering::Relaxed) {
                self.person.tell("contact.connect", json!({"peer": self.other}))?;
            }
            due += EVERY;
            while let Some((at, line)) = self.person.read(due)? {
                self.take(at, &line, &mut heard)?;
                if Instant::now() >= due {
                    break;
                }
            }
        }
        let until = Instant::now() + LAST_WORDS;
        // The other side may just be counting its last one.
        while heard.messages.len() < theirs.load(Ordering::Acquire) || Instant::now() < due + EVERY * 5 {
            if Instant::now() >= until {
                heard.gave_up = Some(until);
                break;
            }
            if let Some((at, line)) = self.person.read(due.max(Instant::now()) + EVERY)? {
                self.take(at, &line, &mut heard)?;
            }
        }
        heard.expected = theirs.load(Ordering::Acquire);
        Ok(heard)
    }

    fn take(&self, at: Instant, line: &Value, heard: &mut Heard) -> Result<()> {
        let params = &line["params"];
        match params["type"].as_str() {
            Some("message") => {
                let text = params["text"].as_str().unwrap_or_default();
                if let Some(number) = text.strip_prefix("stream ").and_then(|number| number.parse().ok()) {
                    heard.messages.push((number, at));
                    self.arrived.store(heard.messages.len(), Ordering::Relaxed);
                }
            }
            Some("path") => {
                let kind = params["kind"].as_str().unwrap_or_default();
                self.path.store(KINDS.iter().position(|is| *is == kind).unwrap_or_default(), Ordering::Relaxed);
                heard.paths.push((at, kind.to_owned()));
            }
            Some("lagged") => bail!("the peer did not tell every event: {params}"),
            _ if line.get("error").is_some_and(|error| !error.is_null()) => bail!("not sent: {}", line["error"]),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(numbers: &[usize], expected: usize) -> Heard {
        let begin = Instant::now();
        let messages = numbers.iter().enumerate().map(|(index, number)| (*number, begin + EVERY * index as u32));
        Heard { messages: messages.collect(), expected, ..Heard::default() }
    }

    #[test]
    fn what_is_lost_doubled_or_disordered_is_noticed() {
        assert_eq!(heard(&[0, 1, 2], 3).wrong(), None);
        for (numbers, expected, told) in [
            (&[0, 2][..], 3, "of 3 messages 1 lost, 0 doubled, out of order: false"),
            (&[0, 1, 1], 2, "of 2 messages 0 lost, 1 doubled, out of order: false"),
            (&[1, 0], 2, "of 2 messages 0 lost, 0 doubled, out of order: true"),
            (&[], 2, "of 2 messages 2 lost, 0 doubled, out of order: false"),
        ] {
            assert_eq!(heard(numbers, expected).wrong().as_deref(), Some(told));
        }
    }

    #[test]
    fn a_silence_counts_from_the_change_and_until_listening_ended() {
        let mut heard = heard(&[0, 1, 2], 4);
        let [first, _, last] = [0, 1, 2].map(|index| heard.messages[index].1);
        assert_eq!((heard.silence_before(last), heard.silence_after(first)), (EVERY, EVERY));
        assert_eq!(heard.silence_after(last), Duration::ZERO);
        heard.gave_up = Some(last + EVERY * 5);
        assert_eq!(heard.silence_after(last + EVERY), EVERY * 4);
    }
}
