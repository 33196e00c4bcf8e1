//! Figures of each database for the metrics: how long it was without a primary, how far replicas are behind, how much room is left.
//!
//! What changes quickly is taken from what the monitors of the servers last heard, all ten seconds and without asking anybody; the rest
//! from each reconcile.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use prometheus::{GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::api::{Election, ElectionKind, RedisStatus};
use super::model::capacity::volume_percent;
use super::model::{Info, Instance, Observed, Role, Server, Validated};
use super::status::PRIMARY_AVAILABLE;
use crate::k8s::conditions;
use crate::manager::catalog::Catalog;

/// How often the figures of the monitors are taken over.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Growth below this is none, in bytes.
const NOTABLE: u64 = 1 << 20;

/// Labels of the figures of one database. The series go with it.
const OF_ONE: &[&str] = &["namespace", "name"];

/// The metrics.
#[derive(Debug)]
pub struct Figures {
    lag: IntGaugeVec,
    memory: GaugeVec,
    volume: GaugeVec,
    certificate: IntGaugeVec,
    election: IntGaugeVec,
    full_syncs: IntCounterVec,
    gaps: HistogramVec,
    failovers: HistogramVec,
    known: Mutex<HashMap<String, Known>>,
}

/// What is remembered of a database.
#[derive(Debug, Default)]
struct Known {
    mode: String,
    /// Memory that is used up refuses writes.
    noeviction: bool,
    /// Since when it has no primary.
    lost_since: Option<Timestamp>,
    /// Full synchronizations that each process has given, by its run id.
    full_syncs: HashMap<String, u64>,
    /// What the last reconcile saw of it.
    usage: Usage,
}

/// How much memory and how large files the largest server has, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    memory: u64,
    files: u64,
}

impl Usage {
    fn of<'a>(servers: impl IntoIterator<Item = &'a Info>) -> Self {
        let largest = |usage: Self, info: &Info| Self {
            memory: usage.memory.max(info.used_memory),
            files: usage.files.max(info.aof_size),
        };
        servers.into_iter().fold(Self::default(), largest)
    }

    /// It needs notably more than before: a reconcile is due, which compares that with the limits.
    fn has_grown_since(self, before: Self) -> bool {
        let grew = |now: u64, then: u64| {
            now > then
                .saturating_add(then / 4)
                .max(then.saturating_add(NOTABLE))
        };
        grew(self.memory, before.memory) || grew(self.files, before.files)
    }
}

impl Figures {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken: a mistake in this file.
    pub fn register(catalog: &Catalog) -> prometheus::Result<Self> {
        Ok(Self {
            lag: catalog.gauges(
                "hera_redis_replication_lag_bytes",
                "Bytes of the replication stream that the slowest linked replica has not acknowledged",
                OF_ONE,
            )?,
            memory: catalog.float_gauges(
                "hera_redis_memory_headroom_ratio",
                "Lowest share of maxmemory that a server has left, with the policy noeviction",
                OF_ONE,
            )?,
            volume: catalog.float_gauges(
                "hera_redis_volume_headroom_ratio",
                "Lowest share of a volume that is left when the files are written anew, estimated",
                OF_ONE,
            )?,
            certificate: catalog.gauges(
                "hera_redis_certificate_expiry_timestamp_seconds",
                "End of the certificate's validity, in seconds since 1970",
                OF_ONE,
            )?,
            election: catalog.gauges(
                "hera_redis_last_election_timestamp_seconds",
                "Last decision on the primary, in seconds since 1970",
                OF_ONE,
            )?,
            full_syncs: catalog.counters(
                "hera_redis_full_syncs_total",
                "Full synchronizations that servers gave to replicas",
                &["mode"],
            )?,
            gaps: catalog.histograms(
                "hera_redis_write_gap_seconds",
                "Seconds in which a database had no primary, estimated",
                &["mode"],
            )?,
            failovers: catalog.histograms(
                "hera_redis_failover_duration_seconds",
                "Seconds from the loss of a primary until clients were led to the next one",
                &["mode"],
            )?,
            known: Mutex::default(),
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut HashMap<String, Known>) -> T) -> T {
        f(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes over what a reconcile saw and wrote.
    pub fn seen(&self, v: &Validated, o: &Observed, status: &RedisStatus, now: Timestamp) {
        let labels = [v.namespace.as_str(), v.name.as_str()];
        let certificate = o.certificate.as_ref().map(|c| c.not_after.as_second());
        set(&self.certificate, &labels, certificate);
        let election = status.election.as_ref().map(|e| e.decided_at.0.as_second());
        set(&self.election, &labels, election);
        let fullest = o
            .instances
            .iter()
            .filter_map(|i| volume_percent(i, &o.claims))
            .max();
        set_share(&self.volume, &labels, fullest.map(left));
        let mode = format!("{:?}", v.mode);
        let lost = self.with(|all| {
            let known = all.entry(o.key.clone()).or_default();
            known.mode.clone_from(&mode);
            known.noeviction = v.memory_policy == "noeviction";
            known.usage = Usage::of(o.instances.iter().filter_map(Instance::info));
            if conditions::is_true(&status.conditions, PRIMARY_AVAILABLE) || v.hibernate {
                return known.lost_since.take().filter(|_| !v.hibernate);
            }
            // One that never had a primary has lost none.
            let decided = status.election.as_ref();
            let had_one = decided.is_some_and(|e| e.completed || e.epoch > 1)
                || status.cluster_formed == Some(true);
            if had_one {
                known.lost_since.get_or_insert_with(|| now - silence(o));
            }
            None
        });
        if let Some(since) = lost {
            let seconds = now.duration_since(since).as_secs_f64().max(0.0);
            self.gaps.with_label_values(&[&mode]).observe(seconds);
            let failover =
                |e: &Election| e.kind == ElectionKind::Failover && e.decided_at.0 >= since;
            if status.election.as_ref().is_some_and(failover) {
                self.failovers.with_label_values(&[&mode]).observe(seconds);
            }
        }
    }

    /// Takes over what the monitors of the servers of a database last heard. It says whether the database needs notably more memory or
    /// larger files than when it was last reconciled.
    pub fn refresh(&self, key: &str, servers: &[Info]) -> bool {
        let Some((namespace, name)) = key.split_once('/') else {
            return false;
        };
        // One that is gone is not brought back.
        let Some((mode, noeviction, syncs, grew)) = self.with(|all| {
            let known = all.get_mut(key)?;
            let syncs = known.new_full_syncs(servers);
            let grew = Usage::of(servers).has_grown_since(known.usage);
            Some((known.mode.clone(), known.noeviction, syncs, grew))
        }) else {
            return false;
        };
        let labels = [namespace, name];
        self.full_syncs.with_label_values(&[&mode]).inc_by(syncs);
        let lag = lag(servers).and_then(|bytes| i64::try_from(bytes).ok());
        set(&self.lag, &labels, lag);
        let memory = memory_left(servers).filter(|_| noeviction);
        set_share(&self.memory, &labels, memory);
        grew
    }

    /// The database is gone.
    pub fn gone(&self, key: &str) {
        if self.with(|all| all.remove(key)).is_none() {
            return;
        }
        let Some((namespace, name)) = key.split_once('/') else {
            return;
        };
        let labels = [namespace, name];
        for gauge in [&self.lag, &self.certificate, &self.election] {
            set(gauge, &labels, None);
        }
        for gauge in [&self.memory, &self.volume] {
            set_share(gauge, &labels, None);
        }
    }
}

impl Known {
    /// How many full synchronizations were given since the last look. Those from before the first one are not known to be new.
    fn new_full_syncs(&mut self, servers: &[Info]) -> u64 {
        let first = self.full_syncs.is_empty();
        let now: HashMap<String, u64> = servers
            .iter()
            .map(|info| (info.run_id.clone(), info.sync_full))
            .collect();
        let since = |(run_id, count): (&String, &u64)| {
            count.saturating_sub(self.full_syncs.get(run_id).copied().unwrap_or(0))
        };
        let new = if first {
            0
        } else {
            now.iter().map(since).sum()
        };
        self.full_syncs = now;
        new
    }
}

/// How long the former primary had been silent when it was given up.
fn silence(o: &Observed) -> SignedDuration {
    let primary = o.status.primary.as_deref();
    let found = o.instances.iter().find(|i| Some(i.pod.as_str()) == primary);
    match found.map(|i| &i.server) {
        Some(Server::Silent(silence)) => SignedDuration::try_from(*silence).unwrap_or_default(),
        _ => SignedDuration::ZERO,
    }
}

/// By the words of the primaries, so that both figures are of the same moment.
fn lag(servers: &[Info]) -> Option<u64> {
    let primaries = servers.iter().filter(|info| info.role == Role::Primary);
    primaries
        .flat_map(|info| {
            let links = info.replicas.iter().filter(|link| link.is_online());
            links.map(|link| info.offset.saturating_sub(link.offset))
        })
        .max()
}

fn memory_left(servers: &[Info]) -> Option<f64> {
    let limited = servers.iter().filter(|info| info.maxmemory > 0);
    #[allow(clippy::cast_precision_loss)] // A share, not a sum.
    let shares = limited.map(|info| {
        let used = info.used_memory.saturating_sub(info.uncounted_memory);
        (1.0 - used as f64 / info.maxmemory as f64).max(0.0)
    });
    shares.reduce(f64::min)
}

fn left(percent: u64) -> f64 {
    let percent = u32::try_from(percent.min(100)).unwrap_or(100);
    1.0 - f64::from(percent) / 100.0
}

fn set(gauge: &IntGaugeVec, labels: &[&str], value: Option<i64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        // An error says that there was none.
        None => drop(gauge.remove_label_values(labels)),
    }
}

fn set_share(gauge: &GaugeVec, labels: &[&str], value: Option<f64>) {
    match value {
        Some(value) => gauge.with_label_values(labels).set(value),
        None => drop(gauge.remove_label_values(labels)),
    }
}

#[cfg(test)]
#[path = "figures_tests.rs"]
mod tests;
