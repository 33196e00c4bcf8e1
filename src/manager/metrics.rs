//! The metrics of the process: one registry, bounded labels, controller-runtime's names where the meaning is the same.
//!
//! No label carries a name or a namespace of an object. `docs/metrics.md` lists every metric; a test holds the two equal.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::process;

/// Upper bounds of the time histograms, in seconds (those of controller-runtime, thinned out).
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Reconciles by controller and result (`success`, `requeue_after`, `error`).
    pub reconciles: IntCounterVec,
    /// Failed reconciles by controller.
    pub reconcile_errors: IntCounterVec,
    /// Failed reconciles by controller and reason; the reasons are the constants of the operators.
    pub reconcile_reasons: IntCounterVec,
    /// Reconciles that panicked, by controller.
    pub reconcile_panics: IntCounterVec,
    /// Reconciles ended by their deadline, by controller.
    pub reconcile_timeouts: IntCounterVec,
    /// Seconds of each reconcile, by controller.
    pub reconcile_seconds: HistogramVec,
    /// Reconciles under way, by controller.
    pub active_workers: IntGaugeVec,
    /// Limit of reconciles under way, by controller.
    pub max_workers: IntGaugeVec,
    /// Objects that wait for a reconcile, by controller.
    pub queue_depth: IntGaugeVec,
    /// Objects whose last reconcile failed, by controller.
    pub in_backoff: IntGaugeVec,
    /// Calls to the API server by code, HTTP method, verb and resource.
    pub requests: IntCounterVec,
    /// Seconds until the API server answered, by verb (watches left out).
    pub request_seconds: HistogramVec,
    /// Calls that change something, by verb and resource (Leases left out).
    pub api_writes: IntCounterVec,
    /// Calls to the API server under way, watches left out.
    pub requests_in_flight: IntGauge,
    /// Watches that ended with an error and were started again, by resource.
    pub watch_restarts: IntCounterVec,
    /// Objects in the caches, by resource.
    pub cached_objects: IntGaugeVec,
    /// Whether every object of a resource was listed (1) or not yet (0).
    pub cache_synced: IntGaugeVec,
    /// Whether this process leads (1) or stands by (0), by name of the Lease.
    pub leader: IntGaugeVec,
    /// Databases that hold a slot of the rollout budget.
    pub rollouts: IntGauge,
    watch_age: GaugeVec,
    watch_seen: Mutex<BTreeMap<String, Instant>>,
    resident: IntGauge,
    cpu: Gauge,
    open_files: IntGauge,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// When two metrics have the same name: a mistake in this file.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let counters =
            |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
                let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
                registry.register(Box::new(metric.clone()))?;
                Ok(metric)
            };
        let gauges = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let metric = IntGauge::new(name, help)?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let times = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<HistogramVec> {
            let metric = HistogramVec::new(
                HistogramOpts::new(name, help).buckets(SECONDS.to_vec()),
                labels,
            )?;
            registry.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let watch_age = GaugeVec::new(
            Opts::new(
                "hera_watch_seconds_since_last_event",
                "Seconds since a watch of the resource sent anything, bookmarks included",
            ),
            &["resource"],
        )?;
        registry.register(Box::new(watch_age.clone()))?;
        let cpu = Gauge::new(
            "process_cpu_seconds_total",
            "User and system CPU time of the process in seconds",
        )?;
        registry.register(Box::new(cpu.clone()))?;
        let build = gauges(
            "hera_build_info",
            "Always 1; the labels say which build runs",
            &["version"],
        )?;
        build.with_label_values(&[crate::VERSION]).set(1);
        let start = gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970",
        )?;
        start.set(jiff::Timestamp::now().as_second());
        Ok(Self {
            reconciles: counters(
                "controller_runtime_reconcile_total",
                "Reconciles by result",
                &["controller", "result"],
            )?,
            reconcile_errors: counters(
                "controller_runtime_reconcile_errors_total",
                "Failed reconciles",
                &["controller"],
            )?,
            reconcile_reasons: counters(
                "hera_reconcile_errors_total",
                "Failed reconciles by reason",
                &["controller", "reason"],
            )?,
            reconcile_panics: counters(
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked",
                &["controller"],
            )?,
            reconcile_timeouts: counters(
                "controller_runtime_reconcile_timeouts_total",
                "Reconciles ended by their deadline",
                &["controller"],
            )?,
            reconcile_seconds: times(
                "controller_runtime_reconcile_time_seconds",
                "Seconds of a reconcile",
                &["controller"],
            )?,
            active_workers: gauges(
                "controller_runtime_active_workers",
                "Reconciles under way",
                &["controller"],
            )?,
            max_workers: gauges(
                "controller_runtime_max_concurrent_reconciles",
                "Limit of reconciles under way",
                &["controller"],
            )?,
            queue_depth: gauges(
                "workqueue_depth",
                "Objects that wait for a reconcile",
                &["name"],
            )?,
            in_backoff: gauges(
                "hera_objects_in_backoff",
                "Objects whose last reconcile failed",
                &["controller"],
            )?,
            requests: counters(
                "rest_client_requests_total",
                "Calls to the API server",
                &["code", "method", "verb", "resource"],
            )?,
            request_seconds: times(
                "rest_client_request_duration_seconds",
                "Seconds until the API server answered",
                &["verb"],
            )?,
            api_writes: counters(
                "hera_api_writes_total",
                "Calls that change something in the API, Leases left out",
                &["verb", "resource"],
            )?,
            requests_in_flight: gauge(
                "hera_api_requests_in_flight",
                "Calls to the API server under way, watches left out",
            )?,
            watch_restarts: counters(
                "hera_watch_restarts_total",
                "Watches that ended with an error and were started again",
                &["resource"],
            )?,
            cached_objects: gauges(
                "hera_cached_objects",
                "Objects in the caches",
                &["resource"],
            )?,
            cache_synced: gauges(
                "hera_cache_synced",
                "1 when the cache holds all objects of the resource",
                &["resource"],
            )?,
            leader: gauges(
                "leader_election_master_status",
                "1 when this process leads",
                &["name"],
            )?,
            rollouts: gauge(
                "hera_rollouts_in_progress",
                "Databases that hold a slot of the rollout budget",
            )?,
            resident: gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process in bytes",
            )?,
            open_files: gauge("process_open_fds", "Open file descriptors of the process")?,
            watch_seen: Mutex::default(),
            watch_age,
            cpu,
            registry,
        })
    }

    /// Notes that a watch of `resource` sent something just now.
    pub fn watch_seen(&self, resource: &str) {
        let mut seen = self
            .watch_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        match seen.get_mut(resource) {
            Some(at) => *at = Instant::now(),
            None => {
                seen.insert(resource.to_owned(), Instant::now());
            }
        }
    }

    /// Observes the time of one reconcile.
    pub fn reconciled(&self, controller: &str, result: &str, took: Duration) {
        self.reconciles
            .with_label_values(&[controller, result])
            .inc();
        self.reconcile_seconds
            .with_label_values(&[controller])
            .observe(took.as_secs_f64());
    }

    /// Creates the series of `controller`, so that they are there with 0 before the first reconcile.
    pub fn prepare(&self, controller: &str) {
        for result in ["success", "requeue_after", "error"] {
            self.reconciles.with_label_values(&[controller, result]);
        }
        for counters in [
            &self.reconcile_errors,
            &self.reconcile_panics,
            &self.reconcile_timeouts,
        ] {
            counters.with_label_values(&[controller]);
        }
        self.reconcile_seconds.with_label_values(&[controller]);
        for gauges in [
            &self.active_workers,
            &self.max_workers,
            &self.queue_depth,
            &self.in_backoff,
        ] {
            gauges.with_label_values(&[controller]);
        }
    }

    /// All metrics in Prometheus' text format.
    ///
    /// # Errors
    /// When the text cannot be built: a mistake in the names of metrics.
    pub fn text(&self) -> prometheus::Result<String> {
        for (resource, at) in &*self
            .watch_seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
        {
            self.watch_age
                .with_label_values(&[resource])
                .set(at.elapsed().as_secs_f64());
        }
        if let Some(usage) = process::usage() {
            self.resident.set(usage.resident_bytes);
            self.open_files.set(usage.open_files);
            self.cpu.set(usage.cpu_seconds);
        }
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}
