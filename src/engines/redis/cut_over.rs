//! The end of copying a server that Hera does not manage: its writes are paused until the copy has all of them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::client::Client;
use super::failure::Failure;
use super::hand_over::follows;

/// How long the copy may take to have everything.
const CATCH_UP: Duration = Duration::from_secs(1);
/// Between two questions.
const STEP: Duration = Duration::from_millis(5);

/// How a copy came to have everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutOver {
    /// The copy has every write, and no further one is accepted until the pause ends.
    Paused,
    /// The server does not let this user pause writes, or cannot: the copy has everything, and nothing was written meanwhile.
    StoodStill,
    /// The copy does not have everything yet. Writes go on.
    Behind,
}

impl Client {
    /// Pauses the writes of this primary for `pause`, and waits until `copy` has all of them, at most a second.
    ///
    /// When it fails, or the copy is behind, writes go on.
    pub async fn pause_until_copied(
        &self,
        copy: &Self,
        pause: Duration,
    ) -> Result<CutOver, Failure> {
        let paused = match self.pause_writes(pause).await {
            Ok(()) => true,
            Err(Failure::Command(_)) => false,
            Err(failure) => return Err(failure),
        };
        let copied = self.is_copied(copy).await;
        match (&copied, paused) {
            (Ok(true), true) => return Ok(CutOver::Paused),
            (Ok(true), false) => return Ok(CutOver::StoodStill),
            (_, true) => self.unpause_writes().await?,
            (_, false) => {}
        }
        copied.map(|_| CutOver::Behind)
    }

    /// Whether `copy` has all that this primary wrote, and nothing was written while that was asked.
    async fn is_copied(&self, copy: &Self) -> Result<bool, Failure> {
        let start = Instant::now();
        while start.elapsed() < CATCH_UP {
            let written = self.info_of_any_version().await?;
            let read = copy.info().await?;
            if !follows(&read, &written) {
                return Ok(false);
            }
            let after = self.info_of_any_version().await?;
            let still = after.offset == written.offset && after.run_id == written.run_id;
            if still && read.offset >= written.offset {
                return Ok(true);
            }
            sleep(STEP).await;
        }
        Ok(false)
    }
}
