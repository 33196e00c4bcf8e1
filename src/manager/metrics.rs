//! The metrics of the process: one registry, bounded labels, controller-runtime's names where the meaning is the same.
//!
//! No label carries a name or a namespace of an object. `docs/metrics.md` lists every metric; a test holds the two equal.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use prometheus::{
    Counter, GaugeVec, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, TextEncoder,
};

use super::{catalog::Catalog, process};

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    catalog: Catalog,
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
    cpu: Counter,
    open_files: IntGauge,
}

impl Metrics {
    /// Creates and registers all metrics.
    ///
    /// # Errors
    /// When two metrics have the same name: a mistake in this file.
    #[allow(clippy::too_many_lines)] // One line for each metric, and more once they are formatted.
    pub fn new() -> prometheus::Result<Self> {
        let all = Catalog::default();
        let controller = &["controller"];
        let build = all.gauges(
            "hera_build_info",
            "Always 1; the label says which build runs",
            &["version"],
        )?;
        build.with_label_values(&[crate::VERSION]).set(1);
        let start = all.gauge(
            "process_start_time_seconds",
            "Start of the process, in seconds since 1970",
        )?;
        start.set(jiff::Timestamp::now().as_second());
        Ok(Self {
            reconciles: all.counters(
                "controller_runtime_reconcile_total",
                "Reconciles by result",
                &["controller", "result"],
            )?,
            reconcile_errors: all.counters(
                "controller_runtime_reconcile_errors_total",
                "Failed reconciles",
                controller,
            )?,
            reconcile_reasons: all.counters(
                "hera_reconcile_errors_total",
                "Failed reconciles by reason",
                &["controller", "reason"],
            )?,
            reconcile_panics: all.counters(
                "controller_runtime_reconcile_panics_total",
                "Reconciles that panicked",
                controller,
            )?,
            reconcile_timeouts: all.counters(
                "controller_runtime_reconcile_timeouts_total",
                "Reconciles ended by their deadline",
                controller,
            )?,
            reconcile_seconds: all.histograms(
                "controller_runtime_reconcile_time_seconds",
                "Seconds of a reconcile",
                controller,
            )?,
            active_workers: all.gauges(
                "controller_runtime_active_workers",
                "Reconciles under way",
                controller,
            )?,
            max_workers: all.gauges(
                "controller_runtime_max_concurrent_reconciles",
                "Limit of reconciles under way",
                controller,
            )?,
            queue_depth: all.gauges(
                "workqueue_depth",
                "Objects that wait for a reconcile",
                &["name"],
            )?,
            in_backoff: all.gauges(
                "hera_objects_in_backoff",
                "Objects whose last reconcile failed and is tried again",
                controller,
            )?,
            requests: all.counters(
                "rest_client_requests_total",
                "Calls to the API server",
                &["code", "method", "verb", "resource"],
            )?,
            request_seconds: all.histograms(
                "rest_client_request_duration_seconds",
                "Seconds until the API server answered, watches left out",
                &["verb"],
            )?,
            api_writes: all.counters(
                "hera_api_writes_total",
                "Calls that change something in the API, Leases left out",
                &["verb", "resource"],
            )?,
            requests_in_flight: all.gauge(
                "hera_api_requests_in_flight",
                "Calls to the API server under way, watches left out",
            )?,
            watch_restarts: all.counters(
                "hera_watch_restarts_total",
                "Watches that ended with an error and were started again",
                &["resource"],
            )?,
            watch_age: all.float_gauges(
                "hera_watch_seconds_since_last_event",
                "Seconds since a watch of the resource sent anything, bookmarks included",
                &["resource"],
            )?,
            cached_objects: all.gauges(
                "hera_cached_objects",
                "Objects in the caches",
                &["resource"],
            )?,
            cache_synced: all.gauges(
                "hera_cache_synced",
                "1 when the cache holds all objects of the resource",
                &["resource"],
            )?,
            leader: all.gauges(
                "leader_election_master_status",
                "1 when this process leads",
                &["name"],
            )?,
            rollouts: all.gauge(
                "hera_rollouts_in_progress",
                "Databases that hold a slot of the rollout budget",
            )?,
            resident: all.gauge(
                "process_resident_memory_bytes",
                "Resident memory of the process in bytes",
            )?,
            open_files: all.gauge("process_open_fds", "Open file descriptors of the process")?,
            cpu: all.counter(
                "process_cpu_seconds_total",
                "User and system CPU time of the process in seconds",
            )?,
            watch_seen: Mutex::default(),
            catalog: all,
        })
    }

    /// Where operators register metrics of their own.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
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
            self.cpu
                .inc_by((usage.cpu_seconds - self.cpu.get()).max(0.0));
        }
        TextEncoder::new().encode_to_string(&self.catalog.gather())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manager::catalog::Described;

    /// The rows of the tables in the page: name, type, labels.
    fn documented(page: &str) -> Vec<Described> {
        let unquoted = |cell: &str| cell.trim().trim_matches('`').to_owned();
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let mut rows: Vec<_> = rows
            .map(|row| {
                let cells: Vec<&str> = row.split('|').collect();
                let kind = match cells[1].trim() {
                    "counter" => "counter",
                    "gauge" => "gauge",
                    "histogram" => "histogram",
                    other => panic!("{other:?} is no type of a metric"),
                };
                let labels = cells[2]
                    .split(',')
                    .map(unquoted)
                    .filter(|label| !label.is_empty())
                    .collect();
                Described {
                    name: unquoted(cells[0]),
                    kind,
                    labels,
                }
            })
            .collect();
        rows.sort();
        rows
    }

    #[test]
    fn the_page_lists_every_metric() {
        let page = documented(include_str!("../../docs/metrics.md"));
        let process = Metrics::new().unwrap().catalog().described();
        for metric in &process {
            assert!(page.contains(metric), "docs/metrics.md lacks {metric:?}");
        }
        // Operators register theirs when they start; their own tests hold them equal to the page.
        let own = page.iter().filter(|metric| {
            !OPERATORS
                .iter()
                .any(|prefix| metric.name.starts_with(prefix))
        });
        for metric in own {
            assert!(
                process.contains(metric),
                "docs/metrics.md lists {metric:?}, which is not there"
            );
        }
    }

    const OPERATORS: &[&str] = &["hera_redis_", "hera_mongodb_", "hera_secrets_"];

    #[test]
    fn no_label_names_an_object() {
        for metric in Metrics::new().unwrap().catalog().described() {
            // `name` of the work queue is the controller, `name` of the election is the Lease.
            let bounded =
                metric.name == "workqueue_depth" || metric.name == "leader_election_master_status";
            let unbounded = |label: &String| label == "namespace" || (label == "name" && !bounded);
            assert!(!metric.labels.iter().any(unbounded), "{metric:?}");
        }
    }

    #[test]
    fn a_name_is_taken_once() {
        let metrics = Metrics::new().unwrap();
        assert!(
            metrics
                .catalog()
                .counters("hera_build_info", "again", &[])
                .is_err()
        );
        metrics
            .catalog()
            .counters("hera_redis_failovers_total", "Failovers", &["reason"])
            .unwrap();
    }

    #[test]
    fn the_series_of_a_controller_are_there_from_the_start() {
        let metrics = Metrics::new().unwrap();
        metrics.prepare("redis");
        let text = metrics.text().unwrap();
        for series in [
            r#"controller_runtime_reconcile_errors_total{controller="redis"} 0"#,
            r#"controller_runtime_reconcile_total{controller="redis",result="success"} 0"#,
            r#"workqueue_depth{name="redis"} 0"#,
        ] {
            assert!(text.contains(series), "{series}");
        }
    }
}
