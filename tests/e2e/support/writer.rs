//! A client that writes all the time through the Service of the primary, remembers every write that was acknowledged, and at the
//! end reads all of them back.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::RedisError;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinHandle;

use super::database::Database;
use super::server::{Endpoint, HASTY, kind};
use super::wait::{SOON, ensure, until};

/// Between two writes: it bounds the load, and is the resolution of the gap.
const PACE: Duration = Duration::from_millis(10);
/// Keys that are read back with one command.
const BATCH: usize = 500;

/// What a writer went through.
#[derive(Clone, Debug)]
pub struct Report {
    /// Writes that the server acknowledged.
    pub acknowledged: usize,
    /// Acknowledged writes that are not there any more.
    pub lost: Vec<String>,
    /// The longest time between two acknowledged writes.
    pub gap: Duration,
    /// Failed writes by kind.
    pub errors: BTreeMap<String, usize>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} writes acknowledged, {} lost, gap {} ms, errors {:?}",
            self.acknowledged,
            self.lost.len(),
            self.gap.as_millis(),
            self.errors
        )
    }
}

#[derive(Default)]
struct Log {
    /// Sequence numbers of acknowledged writes and when the reply came.
    acknowledged: Vec<(u64, Instant)>,
    errors: BTreeMap<String, usize>,
}

/// A client that writes.
pub struct Writer {
    log: Arc<Mutex<Log>>,
    endpoint: Arc<Mutex<Endpoint>>,
    task: JoinHandle<()>,
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Writer {
    /// Starts to write, and waits for the first acknowledged write.
    pub async fn start(database: &Database) -> Self {
        Self::start_at(database.primary_endpoint().await).await
    }

    /// The same at a server that need not be Hera's.
    pub async fn start_at(endpoint: Endpoint) -> Self {
        let endpoint = Arc::new(Mutex::new(endpoint));
        let log = Arc::new(Mutex::new(Log::default()));
        let task = tokio::spawn(write(endpoint.clone(), log.clone()));
        let writer = Self {
            log,
            endpoint,
            task,
        };
        writer.more(1).await;
        writer
    }

    /// Leads the client to another server: it goes there as soon as its present connection fails.
    pub fn move_to(&self, endpoint: Endpoint) {
        *locked(&self.endpoint) = endpoint;
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn more(&self, count: usize) {
        let before = self.log().acknowledged.len();
        until("writes are acknowledged", SOON, || async {
            let log = self.log();
            ensure(log.acknowledged.len() >= before + count, || {
                format!(
                    "{} since, errors {:?}",
                    log.acknowledged.len() - before,
                    log.errors
                )
            })
        })
        .await;
    }

    /// The longest time without an acknowledged write so far, the present one included.
    pub fn gap(&self) -> Duration {
        let log = self.log();
        let times = log.acknowledged.iter().map(|(_, at)| *at);
        let next = times.clone().skip(1).chain([Instant::now()]);
        times
            .zip(next)
            .map(|(from, to)| to - from)
            .max()
            .unwrap_or_default()
    }

    /// Stops to write, and reads everything back from the present primary.
    pub async fn finish(self) -> Report {
        let gap = self.gap();
        self.task.abort();
        let (sequences, errors) = {
            let log = self.log();
            let sequences: Vec<u64> = log.acknowledged.iter().map(|(n, _)| *n).collect();
            (sequences, log.errors.clone())
        };
        let mut lost = Vec::new();
        for batch in sequences.chunks(BATCH) {
            let found = until("the writes are read back", SOON, || async {
                self.read(batch).await.map_err(|e| e.to_string())
            })
            .await;
            lost.extend(
                batch
                    .iter()
                    .zip(found)
                    .filter(|(n, value)| value.as_deref() != Some(n.to_string().as_str()))
                    .map(|(n, _)| key(*n)),
            );
        }
        Report {
            acknowledged: sequences.len(),
            lost,
            gap,
            errors,
        }
    }

    async fn read(&self, sequences: &[u64]) -> Result<Vec<Option<String>>, RedisError> {
        let endpoint = locked(&self.endpoint).clone();
        let mut connection = endpoint.connect(HASTY).await?;
        let keys: Vec<String> = sequences.iter().map(|n| key(*n)).collect();
        redis::cmd("MGET")
            .arg(keys)
            .query_async(&mut connection)
            .await
    }
}

fn key(sequence: u64) -> String {
    format!("write:{sequence:08}")
}

/// Each write has a key of its own, so that one that failed and was done all the same hides nothing.
async fn write(endpoint: Arc<Mutex<Endpoint>>, log: Arc<Mutex<Log>>) {
    let mut connection: Option<MultiplexedConnection> = None;
    for sequence in 1.. {
        let result = match connection.as_mut() {
            Some(open) => set(open, sequence).await,
            None => match connect(&endpoint).await {
                Ok(mut open) => {
                    let result = set(&mut open, sequence).await;
                    connection = Some(open);
                    result
                }
                Err(error) => Err(error),
            },
        };
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(()) => log.acknowledged.push((sequence, Instant::now())),
                Err(error) => {
                    *log.errors.entry(kind(&error)).or_default() += 1;
                    connection = None;
                }
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

fn locked(endpoint: &Mutex<Endpoint>) -> MutexGuard<'_, Endpoint> {
    endpoint.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(endpoint: &Mutex<Endpoint>) -> Result<MultiplexedConnection, RedisError> {
    let present = locked(endpoint).clone();
    present.connect(HASTY).await
}

async fn set(connection: &mut MultiplexedConnection, sequence: u64) -> Result<(), RedisError> {
    redis::cmd("SET")
        .arg(key(sequence))
        .arg(sequence)
        .query_async(connection)
        .await
}
