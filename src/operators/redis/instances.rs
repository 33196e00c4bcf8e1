//! The connections to servers: one monitor for each pod, which triggers a reconcile when something changes, and what the servers
//! accepted or refused since they started.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::runtime::reflector::ObjectRef;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use super::api::Redis;
use super::certificates::Material;
use super::model::{Info, PORT, Route, Server, Told};
use crate::engines::redis::{
    Address, Change, Client, Credentials, Failure, Limits, Monitor, Target, Tls,
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

/// For so long after a change of the Secret servers read their files again, and that often.
const REREAD_FOR: Duration = Duration::from_secs(150);
const REREAD_EVERY: Duration = Duration::from_secs(20);

/// What is known of the files that a server reads its certificate and CA from.
#[derive(Clone, Default)]
struct Files {
    /// Version of the Secret.
    version: Option<String>,
    /// Until when the kubelet may still bring it.
    until: Option<Instant>,
    /// When the server was told to read them last.
    read_at: Option<Instant>,
}

/// After this the next way to reach a server is tried.
const IN_VAIN: Duration = Duration::from_secs(5);

/// How a server may be reached.
#[derive(Clone, Copy)]
pub struct Reach<'a> {
    /// Address of the pod.
    pub host: &'a str,
    /// Who logs in.
    pub login: &'a Credentials,
    /// How to speak TLS.
    pub certificate: Option<&'a Material>,
    /// The ways to try, the likeliest first.
    pub routes: &'a [Route],
}

struct Connection {
    monitor: Monitor,
    credentials: Credentials,
    /// The way that was likeliest when the present one was chosen.
    preferred: Route,
    /// The present way.
    route: Route,
    /// When that was chosen, or worked last.
    good_at: Instant,
    /// Since when the server is silent on every way.
    silent_since: Option<Instant>,
    /// Version of the certificate that the monitor connects with.
    certificate: Option<String>,
    /// Version of the certificate that the server was seen to serve.
    served: Option<String>,
    files: Files,
    memory: Memory,
}

impl Connection {
    /// Since when the server gives no answer; `None` while it does.
    fn silence(&self) -> Option<Instant> {
        let since = self.monitor.state().failing_since?;
        Some(self.silent_since.map_or(since, |before| before.min(since)))
    }

    /// That nothing listens on this port proves that the process is gone: in every state of encryption something does.
    fn is_common(&self) -> bool {
        self.route.port == PORT
    }

    /// The way to go on with: the present one, or another when it is in vain.
    fn next(&mut self, routes: &[Route]) -> Route {
        if self.monitor.client().is_some() {
            self.silent_since = None;
            self.good_at = Instant::now();
            return self.route;
        }
        let gone = self.monitor.state().failure == Some(Failure::Refused) && self.is_common();
        let vain = !gone && self.good_at.elapsed() >= IN_VAIN;
        let mut others = routes.iter().cycle().skip_while(|r| **r != self.route);
        let other = others.nth(1).filter(|_| vain);
        other.copied().unwrap_or(self.route)
    }
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

    /// Holds a connection to this pod from now on. Where one way is in vain the next is tried; without any nothing is held.
    pub fn hold(&self, redis: &str, object: &ObjectRef<Redis>, pod: &str, reach: &Reach<'_>) {
        let Some(preferred) = reach.routes.first().copied() else {
            self.with(redis, |pods| pods.remove(pod));
            return;
        };
        self.with(redis, |pods| {
            let route = match pods.get_mut(pod) {
                Some(c) if c.preferred == preferred && reach.routes.contains(&c.route) => {
                    c.next(reach.routes)
                }
                _ => preferred,
            };
            let material = reach.certificate.filter(|_| route.tls);
            let certificate = material.map(|m| m.version.as_str());
            let same = pods.get(pod).is_some_and(|c| {
                // The connection that is there is what makes the server read a new certificate: it is kept until the server has.
                let waits = c.served.as_deref() != certificate;
                c.route == route
                    && c.monitor.address().host == reach.host
                    && (c.certificate.as_deref() == certificate || waits)
                    && c.credentials.password.expose_secret()
                        == reach.login.password.expose_secret()
            });
            if same {
                return;
            }
            let credentials = Credentials {
                tls: material.map(|m| m.tls.clone()),
                ..reach.login.clone()
            };
            let address = Address::new(reach.host, route.port);
            let monitor = Monitor::start(
                Target::new(address, credentials.clone()),
                object.clone(),
                self.changes.clone(),
            );
            // What the same server was told before, it has not forgotten.
            let former = pods.remove(pod);
            let (served, files, memory, silent_since) = former
                .map(|c| {
                    (
                        c.served.clone(),
                        c.files.clone(),
                        c.memory.clone(),
                        c.silence(),
                    )
                })
                .unwrap_or_default();
            pods.insert(
                pod.to_owned(),
                Connection {
                    monitor,
                    credentials,
                    preferred,
                    route,
                    good_at: Instant::now(),
                    silent_since,
                    certificate: certificate.map(str::to_owned),
                    served,
                    files,
                    memory,
                },
            );
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
                pods.get(pod).map(|c| {
                    let silent_for = c.silence().map_or(Duration::ZERO, |at| at.elapsed());
                    (
                        c.monitor.client(),
                        c.monitor.states(),
                        silent_for,
                        c.is_common(),
                    )
                })
            })
        };
        let Some((_, mut states, ..)) = look() else {
            return Server::Silent(Duration::ZERO);
        };
        let known = states.wait_for(|s| s.last_answer.is_some() || s.failure.is_some());
        let state = match timeout(FIRST_ANSWER, known).await {
            Ok(Ok(state)) => state.clone(),
            _ => return Server::Silent(Duration::ZERO),
        };
        let Some((client, _, silent_for, common)) = look() else {
            return Server::Silent(Duration::ZERO);
        };
        let failure = match (client, &state.failure) {
            (Some(client), _) if state.consecutive_failures == 0 => match client.info().await {
                Ok(info) if info.loading => return Server::Loading,
                Ok(info) => return Server::Up(Box::new(info)),
                Err(failure) => failure,
            },
            (_, Some(failure)) => failure.clone(),
            _ => return Server::Silent(Duration::ZERO),
        };
        match judge(&failure, silent_for) {
            Server::Down if !common => Server::Silent(silent_for),
            found => found,
        }
    }

    /// How a connection to this pod is encrypted.
    pub fn encryption(&self, redis: &str, pod: &str) -> Option<Tls> {
        self.with(redis, |pods| pods.get(pod)?.credentials.tls.clone())
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
    pub async fn serves(
        &self,
        redis: &str,
        pod: &str,
        port: u16,
        material: &Material,
    ) -> Option<bool> {
        let (host, served) = self.with(redis, |pods| {
            pods.get(pod)
                .map(|c| (c.monitor.address().host.clone(), c.served.clone()))
        })?;
        let address = Address::new(host, port);
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

    /// In how long the server is to read its files again. A changed CA is not seen from outside, as a new certificate is, so it is read
    /// for as long as the kubelet takes to bring it; and once when Hera starts, which may have missed a change.
    pub fn rereads(&self, redis: &str, pod: &str, material: &Material) -> Option<Duration> {
        self.with(redis, |pods| {
            let c = pods.get_mut(pod)?;
            let version = material.resource_version();
            if c.files.version.as_deref() != version {
                let window = c
                    .files
                    .version
                    .as_ref()
                    .map_or(Duration::ZERO, |_| REREAD_FOR);
                c.files = Files {
                    version: version.map(str::to_owned),
                    until: Some(Instant::now() + window),
                    read_at: None,
                };
            }
            match c.files.read_at {
                None => Some(Duration::ZERO),
                Some(_) if c.files.until.is_none_or(|until| until < Instant::now()) => None,
                Some(at) => Some(REREAD_EVERY.saturating_sub(at.elapsed())),
            }
        })
    }

    /// The server has read its files.
    pub fn reread(&self, redis: &str, pod: &str) {
        self.with(redis, |pods| {
            if let Some(c) = pods.get_mut(pod) {
                c.files.read_at = Some(Instant::now());
            }
        });
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
