//! Carries out what [`super::leader`] decides, on one `coordination.k8s.io/v1` Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::MicroTime,
};
use kube::{
    Api, Client,
    api::{ObjectMeta, PostParams},
};
use prometheus::IntGauge;

use super::{
    Leadership,
    leader::{Candidate, Record, Step, Timing},
    metrics::Metrics,
};

/// Takes part in the election and keeps [`Leadership`] up to date.
pub struct Elector {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    candidate: Candidate,
    /// The Lease as last read or written, so that labels and annotations of others survive our writes.
    lease: Option<Lease>,
    leadership: Leadership,
    gauge: IntGauge,
}

/// The Lease was lost: another process may lead now, so this one must end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("leadership is lost: the Lease was not renewed in time or somebody else took it")]
pub struct Lost;

impl Elector {
    /// A candidate for the Lease `name` in `namespace`. `client` must not try calls again by itself.
    pub fn new(
        client: Client,
        namespace: &str,
        name: &str,
        timing: Timing,
        metrics: &Metrics,
    ) -> Self {
        let identity = identity();
        let leadership = Leadership::none();
        let gauge = metrics.leader.with_label_values(&[name]);
        gauge.set(0);
        Self {
            api: Api::namespaced(client, namespace),
            name: name.to_owned(),
            candidate: Candidate::new(identity.clone(), timing),
            identity,
            timing,
            lease: None,
            leadership,
            gauge,
        }
    }

    /// The handle that says whether this process leads.
    pub fn leadership(&self) -> Leadership {
        self.leadership.clone()
    }

    /// Whether this process has led, and has not been told since that it is over.
    pub fn leads(&self) -> bool {
        self.candidate.leads_until().is_some()
    }

    /// Waits until this process leads.
    pub async fn acquire(&mut self) {
        tracing::info!(
            lease = self.name,
            identity = self.identity,
            "waiting for leadership"
        );
        // A candidate that never led is never told to stop.
        while !self.leadership.is_leader() {
            self.step().await;
        }
        self.gauge.set(1);
        tracing::info!(lease = self.name, identity = self.identity, "leading");
    }

    /// Renews the Lease. Returns only when it is lost.
    pub async fn hold(&mut self) -> Lost {
        while self.step().await {}
        self.leadership.end();
        self.gauge.set(0);
        Lost
    }

    /// Gives the Lease back, so that a standby takes over at once. Call it when nothing that needs leadership runs any more.
    pub async fn release(&mut self) {
        if !self.leadership.is_leader() {
            return;
        }
        self.leadership.end();
        self.gauge.set(0);
        // A renewal that was interrupted may have gone through: then the version is another, which a second try finds out.
        for _ in 0..2 {
            let Some(mut lease) = self.lease.clone() else {
                return;
            };
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() != Some(&self.identity) {
                return;
            }
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            spec.renew_time = Some(MicroTime(Timestamp::now()));
            match self
                .limited(self.api.replace(&self.name, &PostParams::default(), &lease))
                .await
            {
                Ok(_) => {
                    tracing::info!(lease = self.name, "released the lease");
                    return;
                }
                Err(error) => {
                    tracing::debug!(lease = self.name, %error, "releasing the lease failed");
                }
            }
            self.lease = self
                .limited(self.api.get_opt(&self.name))
                .await
                .ok()
                .flatten();
        }
        tracing::warn!(
            lease = self.name,
            "the lease could not be released, a standby waits for its end"
        );
    }

    /// Takes one step. `false` when leadership is lost.
    async fn step(&mut self) -> bool {
        let sent = self.leadership.now();
        match self.candidate.decide(sent) {
            Step::Stop => return false,
            Step::Wait(wait) => tokio::time::sleep(wait).await,
            Step::Read => self.read().await,
            Step::Create => self.write(sent, None).await,
            Step::Write { version } => self.write(sent, Some(version)).await,
        }
        true
    }

    async fn read(&mut self) {
        let found = self.limited(self.api.get_opt(&self.name)).await;
        let now = self.leadership.now();
        match found {
            Ok(lease) => {
                self.candidate.read(now, lease.as_ref().map(record));
                self.lease = lease;
            }
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "reading the lease failed");
                self.candidate.failed(now);
            }
        }
    }

    async fn write(&mut self, sent: Duration, version: Option<String>) {
        let lease = claim(
            self.lease.as_ref(),
            version.as_deref(),
            &self.name,
            &self.identity,
            self.timing.duration,
        );
        let renews = version.is_some();
        let written = match version {
            Some(_) => {
                self.limited(self.api.replace(&self.name, &PostParams::default(), &lease))
                    .await
            }
            None => {
                self.limited(self.api.create(&PostParams::default(), &lease))
                    .await
            }
        };
        let now = self.leadership.now();
        match written {
            Ok(lease) => {
                self.candidate.written(sent, now, record(&lease));
                self.lease = Some(lease);
                if let Some(until) = self.candidate.leads_until() {
                    self.leadership.extend(until);
                }
            }
            Err(Problem::Api(kube::Error::Api(status)))
                if status.code == 409 || (renews && status.code == 404) =>
            {
                tracing::debug!(
                    lease = self.name,
                    reason = status.reason,
                    "the lease has changed"
                );
                self.candidate.refused(now);
            }
            Err(error) => {
                tracing::warn!(lease = self.name, %error, "writing the lease failed");
                self.candidate.failed(now);
            }
        }
    }

    /// Bounds a call so that it can be tried again before the deadline of the leader, and never waits over it.
    async fn limited<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
        let half = self.timing.renew_deadline / 2;
        let left = self
            .candidate
            .leads_until()
            .map(|until| until.saturating_sub(self.leadership.now()));
        let limit = left.map_or(half, |left| left.min(half));
        match tokio::time::timeout(limit, call).await {
            Ok(result) => result.map_err(Problem::Api),
            Err(_) => Err(Problem::Timeout(limit)),
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Api(kube::Error),
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// The Lease with us as holder, based on the one that was last seen.
fn claim(
    seen: Option<&Lease>,
    version: Option<&str>,
    name: &str,
    identity: &str,
    duration: Duration,
) -> Lease {
    let now = Some(MicroTime(Timestamp::now()));
    let before = seen
        .and_then(|lease| lease.spec.clone())
        .unwrap_or_default();
    let ours = before.holder_identity.as_deref() == Some(identity);
    let metadata = match (seen, version) {
        (Some(lease), Some(_)) => ObjectMeta {
            managed_fields: None,
            ..lease.metadata.clone()
        },
        _ => ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
    };
    let transitions = before.lease_transitions.unwrap_or_default();
    Lease {
        metadata: ObjectMeta {
            resource_version: version.map(ToOwned::to_owned),
            ..metadata
        },
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(duration.as_secs()).ok(),
            acquire_time: if ours {
                before.acquire_time.clone()
            } else {
                now.clone()
            },
            renew_time: now,
            lease_transitions: Some(if ours {
                transitions
            } else {
                transitions.saturating_add(1)
            }),
            ..before
        }),
    }
}

fn record(lease: &Lease) -> Record {
    let spec = lease.spec.as_ref();
    let seconds = spec
        .and_then(|spec| spec.lease_duration_seconds)
        .unwrap_or_default();
    Record {
        holder: spec
            .and_then(|spec| spec.holder_identity.clone())
            .filter(|holder| !holder.is_empty()),
        duration: Duration::from_secs(u64::try_from(seconds).unwrap_or_default()),
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
    }
}

/// The name of the pod (its host name) and a random part: a process that starts again is another candidate.
fn identity() -> String {
    let host = std::env::var("HOSTNAME")
        .ok()
        .filter(|name| !name.is_empty());
    let host = host.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    let host = host.as_deref().map_or("hera", str::trim);
    format!("{host}_{:016x}", rand::random::<u64>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_keeps_what_others_wrote() {
        let mut seen = Lease::default();
        seen.metadata.name = Some("hera".into());
        seen.metadata.resource_version = Some("7".into());
        seen.metadata.annotations = Some([("note".to_owned(), "kept".to_owned())].into());
        seen.spec = Some(LeaseSpec {
            holder_identity: Some("old".into()),
            lease_transitions: Some(3),
            ..LeaseSpec::default()
        });
        let claim = claim(
            Some(&seen),
            Some("7"),
            "hera",
            "new",
            Duration::from_secs(15),
        );
        let spec = claim.spec.unwrap();
        assert_eq!(claim.metadata.resource_version.as_deref(), Some("7"));
        assert!(claim.metadata.annotations.unwrap().contains_key("note"));
        assert_eq!(
            (spec.lease_transitions, spec.lease_duration_seconds),
            (Some(4), Some(15))
        );
        assert_eq!(spec.acquire_time, spec.renew_time);
    }

    #[test]
    fn a_renewal_keeps_the_time_of_acquisition() {
        let first = claim(None, None, "hera", "me", Duration::from_secs(15));
        assert_eq!(first.metadata.resource_version, None);
        let second = claim(
            Some(&first),
            Some("1"),
            "hera",
            "me",
            Duration::from_secs(15),
        );
        let (first, second) = (first.spec.unwrap(), second.spec.unwrap());
        assert_eq!(first.acquire_time, second.acquire_time);
        assert_eq!(first.lease_transitions, second.lease_transitions);
    }

    #[test]
    fn an_empty_holder_is_no_holder() {
        let spec = LeaseSpec {
            holder_identity: Some(String::new()),
            ..LeaseSpec::default()
        };
        let lease = Lease {
            spec: Some(spec),
            ..Lease::default()
        };
        assert_eq!(record(&lease).holder, None);
    }

    #[test]
    fn identities_differ() {
        assert_ne!(identity(), identity());
    }
}
