//! Waiting for conditions. Limits are generous: they only end a test that fails anyway.

use std::future::Future;
use std::time::{Duration, Instant};

/// How often a condition is looked at.
const PAUSE: Duration = Duration::from_millis(250);
/// For what takes seconds: a pod that starts, a failover.
pub const SOON: Duration = Duration::from_secs(90);
/// For what takes many pods one after the other.
pub const LONG: Duration = Duration::from_secs(240);

/// Waits until `check` gives a value. `Err` says why not yet.
///
/// # Panics
/// After `limit`, with the last reason.
pub async fn until<T, F, R>(what: &str, limit: Duration, mut check: F) -> T
where
    F: FnMut() -> R,
    R: Future<Output = Result<T, String>>,
{
    let begin = Instant::now();
    loop {
        let reason = match check().await {
            Ok(value) => return value,
            Err(reason) => reason,
        };
        assert!(
            begin.elapsed() < limit,
            "waited {limit:?} in vain: {what}: {reason}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Watches for a while that something stays as it is.
///
/// # Panics
/// When `check` gives a reason why not.
pub async fn stays<F, R>(what: &str, period: Duration, mut check: F)
where
    F: FnMut() -> R,
    R: Future<Output = Result<(), String>>,
{
    let begin = Instant::now();
    while begin.elapsed() < period {
        if let Err(reason) = check().await {
            panic!("{what}: no more after {:?}: {reason}", begin.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// `Ok` when it holds, else the reason.
pub fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}
