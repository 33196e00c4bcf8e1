//! The connections to sentinels, kept from pass to pass, and since when a sentinel is silent.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use super::certificates::Material;
use super::instances::judge;
use super::model::Server;
use crate::engines::redis::{Address, Client, Credentials, Failure, Limits};

/// What is kept of one sentinel.
#[derive(Default)]
struct Held {
    client: Option<Client>,
    silent_since: Option<Instant>,
    /// Version of the certificate that it was seen to serve.
    served: Option<String>,
    /// Version of the certificate that the connection was made with.
    certificate: Option<String>,
}

/// All connections to sentinels of this process, by `namespace/name` of the `Redis` and UID of the pod.
#[derive(Default)]
pub struct Connections(Mutex<HashMap<String, HashMap<String, Held>>>);

impl Connections {
    fn with<T>(&self, redis: &str, pod: &str, f: impl FnOnce(&mut Held) -> T) -> T {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pods = all.entry(redis.to_owned()).or_default();
        f(pods.entry(pod.to_owned()).or_default())
    }

    /// The open connection to a sentinel, or a new one.
    pub async fn client(
        &self,
        redis: &str,
        pod: &str,
        address: &Address,
        login: &Credentials,
        certificate: Option<&Material>,
    ) -> Result<Client, Failure> {
        let version = certificate.map(|c| c.version.clone());
        let open = self.with(redis, pod, |held| {
            let same = held.certificate == version;
            held.client
                .clone()
                .filter(|c| same && !c.is_closed() && c.address() == address)
        });
        if let Some(client) = open {
            return Ok(client);
        }
        let client = Client::connect(address, login, Limits::default()).await?;
        self.with(redis, pod, |held| {
            held.client = Some(client.clone());
            held.certificate = version;
        });
        Ok(client)
    }

    /// The connection that was used last, for commands.
    pub fn open(&self, redis: &str, pod: &str) -> Result<Client, Failure> {
        let client = self.with(redis, pod, |held| held.client.clone());
        client.filter(|c| !c.is_closed()).ok_or(Failure::Closed)
    }

    /// It answered.
    pub fn answered(&self, redis: &str, pod: &str) {
        self.with(redis, pod, |held| held.silent_since = None);
    }

    /// It did not answer: what that tells of it.
    pub fn failed(&self, redis: &str, pod: &str, failure: &Failure) -> Server {
        let silent_for = self.with(redis, pod, |held| {
            held.client = None;
            held.silent_since.get_or_insert_with(Instant::now).elapsed()
        });
        judge(failure, silent_for)
    }

    /// Whether it serves this certificate. It is asked until it does, and then not again until the version changes.
    pub async fn serves(
        &self,
        redis: &str,
        pod: &str,
        address: &Address,
        material: &Material,
    ) -> Option<bool> {
        let served = self.with(redis, pod, |held| held.served.clone());
        if served.as_ref() == Some(&material.version) {
            return Some(true);
        }
        let found = material.tls.served_certificate(address, Limits::default());
        let current = found.await.ok()?.serial == material.certificate.serial;
        if current {
            self.with(redis, pod, |held| {
                held.served = Some(material.version.clone());
            });
        }
        Some(current)
    }

    /// Ends the connections to all sentinels of a `Redis` but these.
    pub fn keep_only(&self, redis: &str, pods: &HashSet<String>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = all.get_mut(redis) {
            held.retain(|pod, _| pods.contains(pod));
        }
    }

    /// Ends all connections of a `Redis`.
    pub fn forget(&self, redis: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(redis);
    }
}
