//! The connections to servers: one monitor for each pod, which triggers a reconcile when something changes, and what the servers
//! accepted or refused since they started.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::api::Redis;
use super::certificates::Material;
use super::model::{Info, Server, Told};
use crate::engines::redis::{
    Address, Change, Client, Credentials, Failure, Limits, Monitor, Target,
};

/// Directives that a server took, with what it then reported, and those that it did not take, with its words; and the same of users.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    run_id: String,
    /// `(name, value)` and the value that the server reported after it.
    pub accepted: BTreeMap<(String, String), String>,
    /// `(name, value)` and the server's words.
    pub refused: BTreeMap<(String, String), String>,
    /// What it was told of each user.
    pub told: BTreeMap<String, Told>,
}

/// How long the first answer of a server is waited for, once: a Hera that just started would take every server for silent.
const FIRST_ANSWER: Duration = Duration::from_secs(2);

struct Connection {
    monitor: Monitor,
    credentials: Credentials,
    /// Version of the certificate that the monitor connects with.
    certificate: Option<String>,
    /// Version of the certificate that the server was seen to serve.
    served: Option<String>,
    memory: Memory,
}

/// All connections of this process, by `namespace/name` of the `Redis` and UID of the pod.
pub struct Instances {
    connections: Mutex<HashMap<String, HashMap<String, Connection>>>,
    changes: mpsc::UnboundedSender<Change<ObjectRef<Redis>>>,
}

impl Instances {
    /// No connections yet; changes of servers are sent to `changes`.
    pub fn new(changes: mpsc::UnboundedSender<Change<ObjectRef<Redis>>>) -> Self {
        Self {
            connections: Mutex::default(),
            changes,
        }
    }

    fn with<T>(&self, redis: &str, f: impl FnOnce(&mut HashMap<String, Connection>) -> T) -> T {
        let mut all = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        f(all.entry(redis.to_owned()).or_default())
    }

    /// Holds a connection to this pod from now on.
    pub fn hold(
        &self,
        redis: &str,
        object: &ObjectRef<Redis>,
        pod: &str,
        address: &Address,
        credentials: &Credentials,
        certificate: Option<&str>,
    ) {
        self.with(redis, |pods| {
            let same = pods.get(pod).is_some_and(|c| {
                // The connection that is there is what makes the server read a new certificate: it is kept until the server has.
                let waits = c.served.as_deref() != certificate;
                c.monitor.address() == address
                    && (c.certificate.as_deref() == certificate || waits)
                    && c.credentials.password.expose_secret()
                        == credentials.password.expose_secret()
            });
            if !same {
                let monitor = Monitor::start(
                    Target::new(address.clone(), credentials.clone()),
                    object.clone(),
                    self.changes.clone(),
                );
                // What the same server was told before, it has not forgotten.
                let former = pods.remove(pod);
                let (served, memory) = former.map(|c| (c.served, c.memory)).unwrap_or_default();
                pods.insert(
                    pod.to_owned(),
                    Connection {
                        monitor,
                        credentials: credentials.clone(),
                        certificate: certificate.map(str::to_owned),
                        served,
                        memory,
                    },
                );
            }
        });
    }

    /// Ends the connections to all pods of a `Redis` but these.
    pub fn keep_only(&self, redis: &str, pods: &HashSet<String>) {
        self.with(redis, |held| held.retain(|pod, _| pods.contains(pod)));
    }

    /// Ends all connections of a `Redis`.
    pub fn forget(&self, redis: &str) {
        self.connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(redis);
    }

    /// What the server says now. A server that the monitor knows to be silent is not asked again, so that it holds up nobody.
    pub async fn ask(&self, redis: &str, pod: &str) -> Server {
        let look = || {
            self.with(redis, |pods| {
                pods.get(pod)
                    .map(|c| (c.monitor.client(), c.monitor.states()))
            })
        };
        let Some((_, mut states)) = look() else {
            return Server::Down;
        };
        let known = states.wait_for(|s| s.last_answer.is_some() || s.failure.is_some());
        let state = match timeout(FIRST_ANSWER, known).await {
            Ok(Ok(state)) => state.clone(),
            _ => return Server::Silent(Duration::ZERO),
        };
        let client = look().and_then(|(client, _)| client);
        let silent_for = state
            .failing_since
            .map_or(Duration::ZERO, |since| since.elapsed());
        let failure = match (client, &state.failure) {
            (Some(client), _) if state.consecutive_failures == 0 => match client.info().await {
                Ok(info) if info.loading => return Server::Loading,
                Ok(info) => return Server::Up(Box::new(info)),
                Err(failure) => failure,
            },
            (_, Some(failure)) => failure.clone(),
            _ => return Server::Silent(Duration::ZERO),
        };
        judge(&failure, silent_for)
    }

    /// The connection for commands.
    pub async fn client(&self, redis: &str, pod: &str) -> Result<Client, Failure> {
        let found = self.with(redis, |pods| {
            pods.get(pod).map(|c| {
                (
                    c.monitor.client(),
                    c.monitor.address().clone(),
                    c.credentials.clone(),
                )
            })
        });
        match found {
            Some((Some(client), ..)) => Ok(client),
            Some((None, address, credentials)) => {
                Client::connect(&address, &credentials, Limits::default()).await
            }
            None => Err(Failure::Refused),
        }
    }

    /// How Hera logs in at this server, for connections of its own.
    pub fn login(&self, redis: &str, pod: &str) -> Result<Credentials, Failure> {
        let found = self.with(redis, |pods| pods.get(pod).map(|c| c.credentials.clone()));
        found.ok_or(Failure::Refused)
    }

    /// Whether the server serves this certificate. It is asked until it does, and then not again until the version changes.
    pub async fn serves(&self, redis: &str, pod: &str, material: &Material) -> Option<bool> {
        let (address, served) = self.with(redis, |pods| {
            pods.get(pod)
                .map(|c| (c.monitor.address().clone(), c.served.clone()))
        })?;
        if served.as_ref() == Some(&material.version) {
            return Some(true);
        }
        let found = material
            .tls
            .served_certificate(&address, Limits::default())
            .await
            .ok()?;
        let current = found.serial == material.certificate.serial;
        if current {
            self.with(redis, |pods| {
                if let Some(c) = pods.get_mut(pod) {
                    c.served = Some(material.version.clone());
                }
            });
        }
        Some(current)
    }

    /// What the monitors last heard, by `namespace/name` of the `Redis`. Nobody is asked.
    pub fn last_known(&self) -> Vec<(String, Vec<Info>)> {
        let all = self
            .connections
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        all.iter()
            .map(|(redis, pods)| {
                let states = pods.values().map(|c| c.monitor.state());
                let answering = states.filter(|state| state.failing_since.is_none());
                (redis.clone(), answering.filter_map(|s| s.last).collect())
            })
            .collect()
    }

    /// Triggers a reconcile of this `Redis`, given as `namespace/name`.
    pub fn look_at(&self, redis: &str) {
        if let Some((namespace, name)) = redis.split_once('/') {
            let tag = ObjectRef::new(name).within(namespace);
            // A receiver that is gone has nobody left to tell.
            let _ = self.changes.send(Change { tag, what: vec![] });
        }
    }

    /// Looks at the server again at once.
    pub fn poll_now(&self, redis: &str, pod: &str) {
        self.with(redis, |pods| {
            pods.get(pod).inspect(|c| c.monitor.poll_now()).is_some()
        });
    }

    /// What is remembered of the server with this run id; another one has forgotten what it was told.
    pub fn memory(&self, redis: &str, pod: &str, run_id: &str) -> Memory {
        self.with(redis, |pods| match pods.get_mut(pod) {
            Some(c) => {
                if c.memory.run_id != run_id {
                    c.memory = Memory {
                        run_id: run_id.to_owned(),
                        ..Memory::default()
                    };
                }
                c.memory.clone()
            }
            None => Memory::default(),
        })
    }

    /// Remembers what the server was told of a user, and its answer.
    pub fn remember_user(&self, redis: &str, pod: &str, user: &str, told: Told) {
        self.with(redis, |pods| {
            if let Some(c) = pods.get_mut(pod) {
                c.memory.told.insert(user.to_owned(), told);
            }
        });
    }

    /// Remembers what the server answered to a directive: the value that it then reported, or its refusal.
    pub fn remember(
        &self,
        redis: &str,
        pod: &str,
        directive: (String, String),
        answer: Result<String, String>,
    ) {
        self.with(redis, |pods| {
            if let Some(c) = pods.get_mut(pod) {
                match answer {
                    Ok(value) => c.memory.accepted.insert(directive, value),
                    Err(words) => c.memory.refused.insert(directive, words),
                };
            }
        });
    }
}

/// The state that a failed call tells of. A refused connection proves that the process is gone; a closed one does not yet.
pub(super) fn judge(failure: &Failure, silent_for: Duration) -> Server {
    match failure {
        Failure::Refused => Server::Down,
        Failure::Busy => Server::Busy,
        Failure::Loading => Server::Loading,
        Failure::Auth(words)
        | Failure::Command(words)
        | Failure::Protocol(words)
        | Failure::Tls(words) => Server::Denied(words.clone()),
        Failure::Closed | Failure::Timeout | Failure::Unreachable(_) => Server::Silent(silent_for),
        Failure::MasterDown => Server::Silent(Duration::ZERO),
    }
}
