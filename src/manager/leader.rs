//! Leader election: what a candidate does next. Pure; `lease` carries it out.
//!
//! Correct as in client-go (`tools/leaderelection`): no clock is compared with that of another machine. A candidate
//! counts, on its own monotonic clock, how long the Lease has not changed since it *saw* the last change. A leader
//! counts from the moment *before* it sent the last renewal that succeeded. As seeing comes after writing, and the renew
//! deadline is well below the duration, the old leader has given up before the next one begins, also when their
//! clocks differ in rate (by 10 % with the limits that the settings enforce). Every write carries the resourceVersion that
//! the decision was made on, so of several writers one wins, and a delayed write of an old leader does nothing.
//!
//! All times are local: the time since some start of this process.

use std::time::Duration;

/// The periods of the election.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A Lease that did not change for this long is free.
    pub duration: Duration,
    /// A leader that could not renew for this long gives up.
    pub renew_deadline: Duration,
    /// Time between two renewals; a standby looks twice as often.
    pub retry: Duration,
}

/// The Lease as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Identity of the holder; `None` when it was released.
    pub holder: Option<String>,
    /// The duration that the holder asks others to wait.
    pub duration: Duration,
    /// The resourceVersion.
    pub version: String,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Wait for this long, then ask again.
    Wait(Duration),
    /// Read the Lease.
    Read,
    /// Create the Lease, held by this candidate.
    Create,
    /// Write this candidate as holder over the given resourceVersion.
    Write {
        /// The resourceVersion that must still be current.
        version: String,
    },
    /// Leadership is lost: end the process.
    Stop,
}

/// One candidate.
#[derive(Debug, Clone)]
pub struct Candidate {
    identity: String,
    timing: Timing,
    /// The Lease as last seen, also after it was deleted.
    seen: Option<Record>,
    /// When `seen` was seen to change.
    changed: Duration,
    /// Whether the Lease is there.
    exists: bool,
    /// When to act next.
    next: Duration,
    /// Whether `seen` may have changed since.
    stale: bool,
    /// When the last renewal that succeeded was sent; `None` when this candidate does not lead.
    renewed: Option<Duration>,
}

impl Candidate {
    /// A candidate that has seen nothing yet. `identity` must be unique among all processes that ever run.
    pub fn new(identity: impl Into<String>, timing: Timing) -> Self {
        Self {
            identity: identity.into(),
            timing,
            seen: None,
            changed: Duration::ZERO,
            exists: false,
            next: Duration::ZERO,
            stale: true,
            renewed: None,
        }
    }

    /// Until when this candidate leads, whatever happens; `None` when it does not lead.
    pub fn leads_until(&self) -> Option<Duration> {
        self.renewed
            .map(|renewed| renewed + self.timing.renew_deadline)
    }

    /// What to do at the local time `now`.
    pub fn decide(&self, now: Duration) -> Step {
        match self.leads_until() {
            Some(deadline) if now >= deadline => Step::Stop,
            // A wait must not sleep over the deadline.
            Some(deadline) if now < self.next => {
                Step::Wait(self.next.min(deadline).saturating_sub(now))
            }
            None if now < self.next => Step::Wait(self.next.saturating_sub(now)),
            _ if self.stale => Step::Read,
            Some(_) => self.renew(),
            None => self.acquire(now),
        }
    }

    fn renew(&self) -> Step {
        match &self.seen {
            Some(record) if !self.exists || record.holder.as_ref() == Some(&self.identity) => {
                self.claim()
            }
            // Somebody else holds it, or took our name off it: either way it is not ours any more.
            _ => Step::Stop,
        }
    }

    fn acquire(&self, now: Duration) -> Step {
        let Some(record) = &self.seen else {
            return Step::Create;
        };
        let free = match &record.holder {
            None => self.changed,
            // A write of ours went through although its answer was lost.
            Some(holder) if *holder == self.identity => self.changed,
            // A deleted Lease says nothing about whether its holder gave up: wait as if it were there.
            Some(_) => self.changed + self.timing.duration.max(record.duration),
        };
        if now >= free {
            self.claim()
        } else {
            Step::Wait(free.saturating_sub(now).min(self.look()))
        }
    }

    fn claim(&self) -> Step {
        match &self.seen {
            Some(record) if self.exists => Step::Write {
                version: record.version.clone(),
            },
            _ => Step::Create,
        }
    }

    /// Time between two looks of a standby.
    fn look(&self) -> Duration {
        self.timing.retry / 2
    }

    /// The Lease was read at `now` (the time at which the answer came); `None` when it does not exist.
    pub fn read(&mut self, now: Duration, record: Option<Record>) {
        self.stale = false;
        self.exists = record.is_some();
        if let Some(record) = record {
            // Any change is a sign of life.
            if self
                .seen
                .as_ref()
                .is_none_or(|seen| seen.version != record.version)
            {
                self.changed = now;
            }
            self.seen = Some(record);
        }
        self.next = now;
        if let (None, Step::Wait(wait)) = (self.renewed, self.decide(now)) {
            self.next = now + wait;
            self.stale = true;
        }
    }

    /// A write that was sent at `sent` succeeded; its answer came at `now` and says how the Lease is now.
    pub fn written(&mut self, sent: Duration, now: Duration, record: Record) {
        self.seen = Some(record);
        self.exists = true;
        self.changed = now;
        self.stale = false;
        // An answer that comes too late makes no leader; the next write, at once, may.
        let in_time = now < sent + self.timing.renew_deadline;
        if self.renewed.is_some() || in_time {
            self.renewed = Some(sent);
            self.next = sent + self.timing.retry;
        } else {
            self.next = now;
        }
    }

    /// A write was refused at `now` because the Lease has changed, or appeared, or disappeared.
    pub fn refused(&mut self, now: Duration) {
        self.stale = true;
        // Not at once: writers that keep getting in the way of each other would do so as fast as they can.
        self.next = now + self.timing.retry / 20;
    }

    /// A call failed at `now`, or nobody knows whether it succeeded.
    pub fn failed(&mut self, now: Duration) {
        self.stale = true;
        self.next = now + self.look();
    }
}

#[cfg(test)]
#[path = "leader_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "leader_simulation.rs"]
mod simulation;
