//! A client of a cluster that follows redirections, writes all the time, remembers every write that was acknowledged, and reads all of
//! them back at the end. Beside it the slots are counted all the time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError};
use tokio::task::JoinHandle;

use super::database::Database;
use super::server::{Endpoint, HASTY, PATIENT, kind};
use super::wait::{LONG, ensure, until};
use super::writer::Report;

/// Between two writes.
const PACE: Duration = Duration::from_millis(10);
/// Between two counts of the slots.
const SAMPLE: Duration = Duration::from_millis(200);
/// A slot moves once at a time; more redirections are a circle.
const REDIRECTIONS: usize = 5;

/// A client that knows which node serves which slot as far as it was told.
pub struct Sharded {
    service: Endpoint,
    limit: Duration,
    connections: HashMap<String, MultiplexedConnection>,
    owners: HashMap<u16, String>,
}

/// The slot of a key: the CRC16 (XMODEM) of it, or of its hash tag, as the cluster specification says.
pub fn slot(key: &str) -> u16 {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty());
    let crc = tag.unwrap_or(key).bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    });
    crc % 16_384
}

impl Sharded {
    /// Begins at this address.
    pub fn at(service: Endpoint) -> Self {
        Self {
            service,
            limit: PATIENT,
            connections: HashMap::new(),
            owners: HashMap::new(),
        }
    }

    async fn connection(&mut self, address: &str) -> Result<MultiplexedConnection, RedisError> {
        if let Some(open) = self.connections.get(address) {
            return Ok(open.clone());
        }
        let (host, port) = address.rsplit_once(':').expect("an address with a port");
        let endpoint = Endpoint {
            host: host.to_owned(),
            port: port.parse().expect("a port"),
            ..self.service.clone()
        };
        let open = endpoint.connect(self.limit).await?;
        self.connections.insert(address.to_owned(), open.clone());
        Ok(open)
    }

    /// A command on one key, at the node that serves it.
    pub async fn ask<T: FromRedisValue>(
        &mut self,
        key: &str,
        words: &[&str],
    ) -> Result<T, RedisError> {
        let slot = slot(key);
        let mut asking = false;
        let mut last = None;
        for _ in 0..REDIRECTIONS {
            let known = self.owners.get(&slot).cloned();
            let host = last
                .take()
                .or(known)
                .unwrap_or_else(|| format!("{}:{}", self.service.host, self.service.port));
            let result = self.once(&host, asking, words).await;
            asking = false;
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            match (error.code(), error.redirect_node()) {
                (Some("MOVED"), Some((to, _))) => {
                    self.owners.insert(slot, to.to_owned());
                }
                (Some("ASK"), Some((to, _))) => {
                    (asking, last) = (true, Some(to.to_owned()));
                }
                _ => {
                    self.connections.remove(&host);
                    self.owners.retain(|_, owner| *owner != host);
                    return Err(error);
                }
            }
        }
        self.owners.remove(&slot);
        Err(RedisError::from((
            redis::ErrorKind::Client,
            "too many redirections",
        )))
    }

    async fn once<T: FromRedisValue>(
        &mut self,
        host: &str,
        asking: bool,
        words: &[&str],
    ) -> Result<T, RedisError> {
        let mut connection = self.connection(host).await?;
        let (name, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(name);
        command.arg(arguments);
        // The error of a pipeline does not say where the slot is.
        if !asking {
            return command.query_async(&mut connection).await;
        }
        let mut pipeline = redis::pipe();
        pipeline.cmd("ASKING").ignore().add_command(command);
        let (value,): (T,) = pipeline.query_async(&mut connection).await?;
        Ok(value)
    }
}

#[derive(Default)]
struct Log {
    acknowledged: Vec<(u64, Instant)>,
    errors: BTreeMap<String, usize>,
    /// Slots without an owner, by what a node of the cluster said.
    uncovered: Vec<u16>,
    samples: usize,
}

/// The client at work.
pub struct ShardedWriter {
    service: Endpoint,
    prefix: String,
    log: Arc<Mutex<Log>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for ShardedWriter {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn open(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(prefix: &str, sequence: u64) -> String {
    format!("{prefix}:{sequence:08}")
}

impl ShardedWriter {
    /// Starts to write, and waits for the first acknowledged write.
    pub async fn start(database: &Database) -> Self {
        Self::start_with(database, "write").await
    }

    /// The same, with keys that begin so: with a hash tag, all of them are in one slot.
    pub async fn start_with(database: &Database, prefix: &str) -> Self {
        let service = database.primary_endpoint().await;
        let log = Arc::new(Mutex::new(Log::default()));
        let tasks = vec![
            tokio::spawn(write(
                Sharded {
                    limit: HASTY,
                    ..Sharded::at(service.clone())
                },
                prefix.to_owned(),
                log.clone(),
            )),
            tokio::spawn(count(service.clone(), log.clone())),
        ];
        let writer = Self {
            service,
            prefix: prefix.to_owned(),
            log,
            tasks,
        };
        writer.more(1).await;
        writer
    }

    /// Waits until so many more writes are acknowledged.
    pub async fn more(&self, count: usize) {
        let before = open(&self.log).acknowledged.len();
        until("writes are acknowledged", LONG, || async {
            let log = open(&self.log);
            ensure(log.acknowledged.len() >= before + count, || {
                format!("{:?}", log.errors)
            })
        })
        .await;
    }

    /// No node that took part ever knew of a slot without an owner.
    pub fn always_covered(&self) {
        let log = open(&self.log);
        assert!(
            log.samples > 0 && log.uncovered.is_empty(),
            "{:?}",
            log.uncovered
        );
    }

    /// Stops to write, and reads everything back.
    pub async fn finish(self) -> Report {
        self.tasks.iter().for_each(JoinHandle::abort);
        let (sequences, errors, gap) = {
            let log = open(&self.log);
            let times = log.acknowledged.iter().map(|(_, at)| *at);
            let next = times.clone().skip(1).chain([Instant::now()]);
            let gap = times.zip(next).map(|(from, to)| to - from).max();
            let sequences: Vec<u64> = log.acknowledged.iter().map(|(n, _)| *n).collect();
            (sequences, log.errors.clone(), gap.unwrap_or_default())
        };
        let mut reader = Sharded::at(self.service.clone());
        let mut lost = Vec::new();
        for n in &sequences {
            let key = key(&self.prefix, *n);
            let mut found = Err("not asked".to_owned());
            for _ in 0..50 {
                let answer = reader.ask::<Option<String>>(&key, &["GET", &key]).await;
                found = answer.map_err(|e| e.to_string());
                if found.is_ok() {
                    break;
                }
                tokio::time::sleep(SAMPLE).await;
            }
            if found.expect("it can be read") != Some(n.to_string()) {
                lost.push(key);
            }
        }
        Report {
            acknowledged: sequences.len(),
            lost,
            gap,
            errors,
        }
    }
}

async fn write(mut cluster: Sharded, prefix: String, log: Arc<Mutex<Log>>) {
    for sequence in 1.. {
        let (key, value) = (key(&prefix, sequence), sequence.to_string());
        let result = cluster.ask::<String>(&key, &["SET", &key, &value]).await;
        {
            let mut log = open(&log);
            match result {
                Ok(_) => log.acknowledged.push((sequence, Instant::now())),
                Err(error) => *log.errors.entry(kind(&error)).or_default() += 1,
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Counts the slots by what one node after the other says; one that has not joined yet knows nothing.
async fn count(service: Endpoint, log: Arc<Mutex<Log>>) {
    loop {
        if let Ok(text) = service.ask::<String>(&["CLUSTER", "INFO"]).await {
            let field = |name: &str| {
                let line = text.lines().find_map(|l| l.trim().strip_prefix(name));
                line.and_then(|v| v.strip_prefix(':')?.parse::<u16>().ok())
            };
            let joined = field("cluster_known_nodes").is_some_and(|n| n > 1);
            let mut log = open(&log);
            if let Some(slots) = field("cluster_slots_assigned").filter(|_| joined) {
                log.samples += 1;
                if slots < 16_384 {
                    log.uncovered.push(16_384 - slots);
                }
            }
        }
        tokio::time::sleep(SAMPLE).await;
    }
}

#[test]
fn the_slot_of_a_key_is_that_of_the_specification() {
    assert_eq!((slot("123456789"), slot("foo")), (0x31C3, 12182));
    assert_eq!((slot("{foo}:1"), slot("a{foo}")), (12182, 12182));
}
