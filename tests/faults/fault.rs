//! What goes wrong, and when: at the nth write that Hera makes, to Kubernetes or to a server.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Hera ends right before the write, and starts again.
    CrashBefore,
    /// Hera ends right after the write, without having seen the answer, and starts again.
    CrashAfter,
    /// The write is done, and the connection breaks before the answer.
    LostReply,
    /// The write is done, and no answer comes.
    Silence,
    /// The connection breaks before the write is done.
    Reset,
    /// The write is refused with this code; by a server with an error that stands for it.
    Error(u16),
    /// Watches of the resource stand still for three seconds, then tell what happened meanwhile.
    Freeze(&'static str),
    /// The same, but then what happened is never told: they end as too old.
    Drop(&'static str),
    /// A second Hera starts while the first still acts, as after a leader that stood still.
    Overlap,
}

/// The resources whose watches can stand still.
pub const WATCHED: [&str; 6] = [
    "redises.redis.hera.dev",
    "statefulsets.apps",
    "pods",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];

impl What {
    /// All that goes wrong with a single write.
    pub fn of_writes() -> Vec<Self> {
        let errors = [409, 429, 500, 503].map(Self::Error);
        [
            Self::CrashBefore,
            Self::CrashAfter,
            Self::LostReply,
            Self::Silence,
            Self::Reset,
            Self::Overlap,
        ]
        .into_iter()
        .chain(errors)
        .collect()
    }

    /// All that goes wrong with watches.
    pub fn of_watches() -> Vec<Self> {
        let both = |resource| [Self::Freeze(resource), Self::Drop(resource)];
        WATCHED.into_iter().flat_map(both).collect()
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CrashBefore => f.write_str("crash-before"),
            Self::CrashAfter => f.write_str("crash-after"),
            Self::LostReply => f.write_str("lost-reply"),
            Self::Silence => f.write_str("silence"),
            Self::Reset => f.write_str("reset"),
            Self::Overlap => f.write_str("overlap"),
            Self::Error(code) => write!(f, "error={code}"),
            Self::Freeze(resource) => write!(f, "freeze={resource}"),
            Self::Drop(resource) => write!(f, "drop={resource}"),
        }
    }
}

/// One thing that goes wrong, at one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    pub what: What,
    pub nth: u32,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.what, self.nth)
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no fault");
        let (what, nth) = text.split_once('@').ok_or_else(wrong)?;
        let nth = nth.parse().map_err(|_| wrong())?;
        let all = What::of_writes().into_iter().chain(What::of_watches());
        let what = all.into_iter().find(|w| w.to_string() == what);
        what.map(|what| Self { what, nth }).ok_or_else(wrong)
    }
}

/// What becomes of one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done and answered.
    Done,
    /// Hera ended before it.
    NotSent,
    /// It is done, and Hera ended.
    Unseen,
    /// It is done, and the connection breaks.
    Lost,
    /// It is done, and no answer comes.
    Silent,
    /// It is not done, and the connection breaks.
    Reset,
    /// It is refused.
    Refused(u16),
}

/// The writes so far, and what is to go wrong.
#[derive(Default)]
pub struct Faults {
    plan: Vec<Fault>,
    armed: bool,
    /// Writes since it was armed.
    pub count: u32,
    /// All writes, for the question whether it is quiet.
    pub total: u64,
    /// When the last write was over.
    pub last: Duration,
    /// What was written since it was armed.
    pub log: Vec<String>,
    /// The first and the last process whose writes are taken.
    pub alive: (u32, u32),
    /// Told when a process ended or a second one is to start.
    pub changed: Arc<Notify>,
    /// A second process is to start.
    pub overlap: bool,
    /// Watches that stand still, until when, and whether they end then.
    pub frozen: Vec<(&'static str, Duration, bool)>,
}

/// How long Hera waits for an answer, and so for what it does next.
const ANSWER: Duration = Duration::from_secs(10);
/// How long watches stand still.
const STILL: Duration = Duration::from_secs(3);

impl Faults {
    /// From now on writes count, and `plan` goes wrong.
    pub fn arm(&mut self, plan: &[Fault]) {
        self.plan = plan.to_vec();
        self.armed = true;
        self.count = 0;
        self.log.clear();
    }

    /// Whether this process has ended.
    pub fn is_dead(&self, process: u32) -> bool {
        process < self.alive.0
    }

    /// A write of a process. Returns what becomes of it, and the resource whose watches stand still from now on.
    pub fn write(&mut self, words: &str, now: Duration) -> (Fate, Option<&'static str>) {
        self.total += 1;
        self.last = now;
        if !self.armed {
            return (Fate::Done, None);
        }
        self.count += 1;
        self.log.push(format!(
            "{:>9.3} {:>4} {words}",
            now.as_secs_f64(),
            self.count
        ));
        let due = self.plan.iter().find(|f| f.nth == self.count).copied();
        let Some(fault) = due else {
            return (Fate::Done, None);
        };
        self.log.push(format!("          ---- {}", fault.what));
        let fate = match fault.what {
            What::CrashBefore => Fate::NotSent,
            What::CrashAfter => Fate::Unseen,
            What::LostReply => Fate::Lost,
            What::Silence => {
                self.last = now + ANSWER;
                Fate::Silent
            }
            What::Reset => Fate::Reset,
            What::Error(code) => Fate::Refused(code),
            What::Overlap => {
                self.overlap = true;
                self.changed.notify_one();
                Fate::Done
            }
            What::Freeze(resource) | What::Drop(resource) => {
                let ends = matches!(fault.what, What::Drop(_));
                self.frozen.push((resource, now + STILL, ends));
                return (Fate::Done, Some(resource));
            }
        };
        if matches!(fate, Fate::NotSent | Fate::Unseen) {
            // All processes end: with two of them it is not told which one wrote.
            self.alive.0 = self.alive.1 + 1;
            self.changed.notify_one();
        }
        (fate, None)
    }

    /// The watches whose time is over.
    pub fn thawed(&mut self, now: Duration) -> Vec<(&'static str, bool)> {
        let (over, still) = self.frozen.drain(..).partition(|f| f.1 <= now);
        self.frozen = still;
        let over: Vec<(&'static str, Duration, bool)> = over;
        over.into_iter().map(|f| (f.0, f.2)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_read_as_it_is_printed() {
        for what in What::of_writes().into_iter().chain(What::of_watches()) {
            let fault = Fault { what, nth: 7 };
            assert_eq!(fault.to_string().parse(), Ok(fault));
        }
        assert!("crash-before".parse::<Fault>().is_err());
    }
}
