//! A witness that two servers never accept writes at the same time: it tries to write to every server, all the time.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::task::JoinHandle;

use super::database::Database;
use super::server::{Endpoint, HASTY};

const PACE: Duration = Duration::from_millis(40);
/// How often new pods are looked for.
const LOOK: Duration = Duration::from_millis(300);

/// A write that a server accepted.
#[derive(Clone, Debug)]
struct Accepted {
    server: String,
    sent: Instant,
    replied: Instant,
}

type Log = Arc<Mutex<Vec<Accepted>>>;

/// Watches the servers of a database.
pub struct Witness {
    log: Log,
    task: JoinHandle<()>,
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Witness {
    /// Starts to watch.
    pub async fn start(database: &Database) -> Self {
        let log = Log::default();
        let password = database.password().await;
        let task = tokio::spawn(watch(database.clone(), password, log.clone()));
        Self { log, task }
    }

    /// The servers that accepted writes, in the order in which each took over. One that accepts a write after another one did
    /// starts a new tenure, so two that accept writes at the same time give more tenures than there were changes of the primary.
    pub fn tenures(&self) -> Vec<String> {
        let mut all = self
            .log
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        all.sort_by_key(|a| a.sent);
        let mut tenures: Vec<Accepted> = Vec::new();
        for accepted in all {
            match tenures.last_mut() {
                Some(last) if last.server == accepted.server => *last = accepted,
                // A write that was under way while the other one ended could have been accepted before.
                Some(last) if accepted.sent < last.replied => {}
                _ => tenures.push(accepted),
            }
        }
        tenures.into_iter().map(|t| t.server).collect()
    }
}

/// One task for each server that was ever seen. They end with this one.
async fn watch(database: Database, password: String, log: Log) {
    let (encryption, port) = (database.encryption().await, database.port().await);
    let mut tasks = tokio::task::JoinSet::new();
    let mut known = BTreeMap::new();
    loop {
        for pod in database.list::<Pod>().await {
            let ip = pod.status.as_ref().and_then(|s| s.pod_ip.clone());
            let Some(host) = ip.filter(|ip| !ip.is_empty()) else {
                continue;
            };
            let name = pod.name_any();
            if known.insert(host.clone(), name.clone()).is_none() {
                let endpoint = Endpoint {
                    host,
                    port,
                    user: "default".into(),
                    password: password.clone(),
                    encryption: encryption.clone(),
                };
                tasks.spawn(try_to_write(endpoint, name, log.clone()));
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn try_to_write(endpoint: Endpoint, server: String, log: Log) {
    let mut connection = None;
    loop {
        if connection.is_none() {
            connection = endpoint.connect(HASTY).await.ok();
        }
        if let Some(open) = connection.as_mut() {
            let sent = Instant::now();
            let mut command = redis::cmd("SET");
            command.arg("witness").arg(&server);
            match command.query_async::<()>(open).await {
                Ok(()) => log
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .push(Accepted {
                        server: server.clone(),
                        sent,
                        replied: Instant::now(),
                    }),
                // A refusal is an answer: the connection is good.
                Err(error) if error.code().is_some() => {}
                Err(_) => connection = None,
            }
        }
        tokio::time::sleep(PACE).await;
    }
}
