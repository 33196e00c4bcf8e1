//! A planned change of the primary that keeps writes waiting for milliseconds, not for a second.
//!
//! `FAILOVER` by itself pauses the writes first and then waits until the replica has *acknowledged* all of them, which a
//! replica does once a second. So the replica is asked by itself whether it has everything, and the server is told to go
//! on without the acknowledgement.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::address::Address;
use super::client::Client;
use super::failure::Failure;
use super::info::{Info, Role};

/// How long writes are paused at most. Should Hera end in the middle, the server goes on by itself after this.
const PAUSE: Duration = Duration::from_secs(3);
/// How long the replica may take to have everything. What is left of the pause is for the command that depends on it.
const CATCH_UP: Duration = Duration::from_millis(800);
/// The server's own wait for the acknowledgement that is not needed.
const ACKNOWLEDGEMENT: Duration = Duration::from_millis(10);
/// Between two questions.
const STEP: Duration = Duration::from_millis(3);

impl Client {
    /// Hands the role of this primary over to `replica`, without losing a write that was acknowledged.
    ///
    /// `listed` is the replica's address exactly as this primary shows it in [`Info::replicas`]. When the replica does not
    /// have everything within 800 ms, the writes go on and the server's own hand-over is started, which gives up after
    /// `limit`. Success says that the hand-over began: poll [`Info::failover_state`] and [`Info::role`].
    pub async fn hand_over_to(
        &self,
        replica: &Self,
        listed: &Address,
        limit: Duration,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        self.pause_writes(PAUSE).await?;
        if !self
            .has_everything(replica, start)
            .await
            .unwrap_or_default()
        {
            self.unpause_writes().await?;
            return self.failover_to(listed, limit).await;
        }
        let began = self.failover_without_wait(listed, ACKNOWLEDGEMENT).await;
        if began.is_ok() {
            self.gave_up_its_role(start).await;
        }
        // What waits is refused by a replica at once, and goes on at a primary that refused the command.
        let unpaused = self.unpause_writes().await;
        began.and(unpaused)
    }

    /// Whether `replica` has all that this primary wrote before its writes were paused.
    async fn has_everything(&self, replica: &Self, start: Instant) -> Result<bool, Failure> {
        let written = self.info().await?;
        while start.elapsed() < CATCH_UP {
            let read = replica.info().await?;
            if !follows(&read, &written) {
                return Ok(false);
            }
            if read.offset >= written.offset {
                return Ok(start.elapsed() < CATCH_UP);
            }
            sleep(STEP).await;
        }
        Ok(false)
    }

    async fn gave_up_its_role(&self, start: Instant) {
        while start.elapsed() < PAUSE {
            match self.info().await {
                Ok(info) if info.role == Role::Primary => sleep(STEP).await,
                _ => return,
            }
        }
    }
}

/// The replica has the history of this primary, and nothing but the newest part of it may be missing.
pub(super) fn follows(replica: &Info, primary: &Info) -> bool {
    replica.role == Role::Replica
        && replica.link_up
        && !replica.sync_in_progress
        && replica.replid == primary.replid
}
