//! A client of the database that writes all the time and remembers which writes were acknowledged.

use std::time::Duration;

/// Between two writes.
const PAUSE: Duration = Duration::from_millis(100);

/// The client.
#[derive(Default)]
pub struct Writer {
    /// The endpoint slice that leads to where it writes.
    pub slice: String,
    /// It writes.
    pub on: bool,
    /// Never two servers may take writes.
    pub single: bool,
    /// Keys whose write was acknowledged.
    pub acknowledged: Vec<u64>,
    last: u64,
    next: Duration,
}

impl Writer {
    /// Whether it writes now.
    pub fn is_due(&mut self, now: Duration) -> bool {
        let due = self.on && now >= self.next;
        if due {
            self.next = now + PAUSE;
        }
        due
    }

    pub fn next_key(&mut self) -> u64 {
        self.last += 1;
        self.last
    }
}
