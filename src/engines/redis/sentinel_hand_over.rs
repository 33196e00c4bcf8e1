//! A planned change of the primary under Sentinel, without the loss of an acknowledged write.
//!
//! A plain `SENTINEL FAILOVER` promotes a replica while the old primary goes on taking writes, until a sentinel turns it into a
//! replica about ten seconds later; all of these are lost. So its writes are paused until it is one.

use std::time::Duration;

use futures::future::join_all;
use thiserror::Error;
use tokio::time::{Instant, sleep};

use super::address::Address;
use super::client::Client;
use super::failure::Failure;
use super::info::{Info, Role};
use super::monitor::Target;
use super::sentinel::{SentinelFailoverKind, SentinelFailoverStart};

/// How long writes are paused with one command, longer than a question to a replica that hangs takes. It is repeated; should
/// Hera end in the middle, the server goes on after this.
const PAUSE: Duration = Duration::from_secs(6);
/// Until the pause is repeated.
const PAUSE_AGAIN: Duration = Duration::from_secs(1);
/// How long the replicas may take to have everything.
const CATCH_UP: Duration = Duration::from_secs(1);
/// How long the sentinel may take until a replica is primary. It usually takes one to two seconds.
const PROMOTION: Duration = Duration::from_secs(15);
/// Between two questions.
const STEP: Duration = Duration::from_millis(10);

/// Who takes part in a hand-over.
#[derive(Clone, Copy, Debug)]
pub struct SentinelHandOver<'a> {
    /// The sentinel that leads it.
    pub sentinel: &'a Client,
    /// The name that the primary is monitored under.
    pub name: &'a str,
    /// The primary.
    pub primary: &'a Client,
    /// All its replicas: the sentinel chooses one of them by itself. They are connected to here, because a sentinel cuts all
    /// connections of whom it promotes.
    pub replicas: &'a [Target],
}

/// Why a hand-over did not come about. The primary is still the primary.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SentinelHandOverError {
    /// A replica does not have all writes, so that choosing it would lose some.
    #[error("the replica at {0} is not in sync")]
    NotInSync(Address),
    /// The replicas took so long to answer that writes may have gone on meanwhile.
    #[error("the servers answer too slowly")]
    TooSlow,
    /// The sentinel knows no fit replica, or is in a failover.
    #[error("the sentinel did not begin: {0:?}")]
    NotBegun(SentinelFailoverStart),
    /// No replica was promoted within 15 s, and the sentinel was made to forget the primary, so that it promotes none later. It has to be
    /// told whom to watch anew.
    #[error("no replica was promoted in time")]
    NotPromoted,
    /// A call failed.
    #[error(transparent)]
    Server(#[from] Failure),
}

impl SentinelHandOver<'_> {
    /// Hands over, and returns the address of the new primary.
    ///
    /// Coordinated by the servers where the sentinel can ([`Client::sentinel_failover_kind`]). Otherwise the writes of the
    /// primary are paused, all replicas have to have everything within a second, and the old primary is made a replica as
    /// soon as another one is primary; writes stand still for one to two seconds. The sentinels point the other replicas to
    /// the new primary. Clients of the old one are disconnected, or stay connected to it and get `READONLY`.
    pub async fn run(&self) -> Result<Address, SentinelHandOverError> {
        let mut replicas: Vec<_> = self.replicas.iter().map(Replica::new).collect();
        if self.sentinel.sentinel_failover_kind().await? == SentinelFailoverKind::Coordinated {
            self.begin(SentinelFailoverKind::Coordinated).await?;
            return self.promoted(&mut replicas, None).await;
        }
        let mut begun = false;
        let mut outcome = self.hand_over_paused(&mut replicas, &mut begun).await;
        let refused = matches!(outcome, Err(SentinelHandOverError::NotBegun(_)));
        if outcome.is_err() && begun && !refused {
            // A failover that goes on would throw away what the primary takes from here on; one that came about meanwhile counts. Should
            // the sentinel not answer, the pause runs out by itself.
            self.sentinel.sentinel_remove(self.name).await?;
            if let Some(address) = primary_among(&mut replicas).await {
                self.primary.replica_of(&address).await?;
                outcome = Ok(address);
            }
        }
        let unpaused = self.primary.unpause_writes().await;
        let address = outcome?;
        unpaused?;
        Ok(address)
    }

    async fn hand_over_paused(
        &self,
        replicas: &mut [Replica<'_>],
        begun: &mut bool,
    ) -> Result<Address, SentinelHandOverError> {
        self.primary.pause_writes(PAUSE).await?;
        let paused = Instant::now();
        let written = self.primary.info().await?;
        for replica in &mut *replicas {
            replica.wait_for(&written, paused + CATCH_UP).await?;
        }
        let again = Instant::now();
        self.primary.pause_writes(PAUSE).await?;
        if paused.elapsed() >= PAUSE {
            return Err(SentinelHandOverError::TooSlow);
        }
        // Also when the answer is lost.
        *begun = true;
        self.begin(SentinelFailoverKind::Plain).await?;
        let address = self.promoted(replicas, Some(again)).await?;
        self.primary.replica_of(&address).await?;
        Ok(address)
    }

    async fn begin(&self, kind: SentinelFailoverKind) -> Result<(), SentinelHandOverError> {
        match self.sentinel.sentinel_failover(self.name, kind).await? {
            SentinelFailoverStart::Started => Ok(()),
            other => Err(SentinelHandOverError::NotBegun(other)),
        }
    }

    /// Waits until one of the replicas is primary; keeps the writes paused that were paused at the given time.
    async fn promoted(
        &self,
        replicas: &mut [Replica<'_>],
        mut paused: Option<Instant>,
    ) -> Result<Address, SentinelHandOverError> {
        let deadline = Instant::now() + PROMOTION;
        while Instant::now() < deadline {
            if let Some(since) = &mut paused
                && since.elapsed() >= PAUSE_AGAIN
            {
                *since = Instant::now();
                self.primary.pause_writes(PAUSE).await?;
            }
            if let Some(address) = primary_among(replicas).await {
                return Ok(address);
            }
            sleep(STEP).await;
        }
        Err(SentinelHandOverError::NotPromoted)
    }
}

/// One that does not answer cannot be seen to be primary; the others can, and are not kept waiting for it.
async fn primary_among(replicas: &mut [Replica<'_>]) -> Option<Address> {
    let asked = replicas.iter_mut().map(|replica| async {
        let info = replica.info().await.ok()?;
        (info.role == Role::Primary).then(|| replica.target.address.clone())
    });
    join_all(asked).await.into_iter().flatten().next()
}

/// A replica, and the connection to it while there is one.
struct Replica<'a> {
    target: &'a Target,
    client: Option<Client>,
}

impl<'a> Replica<'a> {
    fn new(target: &'a Target) -> Self {
        Self {
            target,
            client: None,
        }
    }

    async fn info(&mut self) -> Result<Info, Failure> {
        let kept = self.client.take().filter(|client| !client.is_closed());
        let client = if let Some(client) = kept {
            client
        } else {
            let Target {
                address,
                credentials,
                limits,
                ..
            } = self.target;
            Client::connect(address, credentials, *limits).await?
        };
        let info = client.info().await?;
        self.client = Some(client);
        Ok(info)
    }

    /// Waits until it has what the primary wrote before its writes were paused.
    async fn wait_for(
        &mut self,
        written: &Info,
        deadline: Instant,
    ) -> Result<(), SentinelHandOverError> {
        loop {
            let read = self.info().await?;
            if read.link_up && read.replid == written.replid && read.offset >= written.offset {
                return Ok(());
            }
            if Instant::now() >= deadline {
                let address = self.target.address.clone();
                return Err(SentinelHandOverError::NotInSync(address));
            }
            sleep(STEP).await;
        }
    }
}
