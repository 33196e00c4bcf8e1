//! A manager and what its metrics say.

use std::env;
use std::ops::{Add as _, Sub};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::apiserver::{ApiServer, eventually};
use crate::common::machine;
use crate::process::Manager;

/// Between two looks at the metrics.
const PAUSE: Duration = Duration::from_millis(5);
/// No write for so long and nothing to do: it has settled.
const QUIET: Duration = Duration::from_secs(3);
/// Only ends a measurement that fails anyway.
const LIMIT: Duration = Duration::from_secs(300);

/// Names the program to measure: the one of the image. Without it, the one that cargo built together with this benchmark.
const PROGRAM: &str = "HERA_BENCH_PROGRAM";

/// The `hera` to measure.
pub fn program() -> PathBuf {
    env::var_os(PROGRAM).map_or_else(|| env!("CARGO_BIN_EXE_hera").into(), PathBuf::from)
}

/// What kind of build that is.
pub fn build() -> &'static str {
    match (env::var_os(PROGRAM).is_some(), cfg!(debug_assertions)) {
        (true, _) => "the program of its image",
        (false, true) => "a debug build",
        (false, false) => "a release build",
    }
}

/// A manager that is measured.
pub struct Measured {
    /// The process.
    pub process: Manager,
}

/// Sums over the metrics at one moment. The Lease is left out everywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// Calls to the API server, watches included.
    pub requests: f64,
    /// Calls that start a watch.
    pub watches: f64,
    /// Calls that change something.
    pub writes: f64,
    /// Reconciles.
    pub reconciles: f64,
    /// Resources that wait for a reconcile or are in one.
    pub open: f64,
}

impl Sub for Snapshot {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            requests: self.requests - before.requests,
            watches: self.watches - before.watches,
            writes: self.writes - before.writes,
            reconciles: self.reconciles - before.reconciles,
            open: self.open,
        }
    }
}

impl Snapshot {
    fn of(metrics: &str) -> Self {
        let sum = |name: &str, matches: &dyn Fn(&str) -> bool| -> f64 {
            let series = metrics.lines().filter_map(|line| {
                let labels = line.strip_prefix(name)?;
                let (labels, value) = labels.rsplit_once(' ')?;
                (labels.is_empty() || labels.starts_with('{')).then_some((labels, value))
            });
            series
                .filter(|(labels, _)| matches(labels))
                .filter_map(|(_, value)| value.parse::<f64>().ok())
                .fold(0.0, f64::add)
        };
        let requests = "rest_client_requests_total";
        let other = |labels: &str| !labels.contains("resource=\"leases.");
        Self {
            requests: sum(requests, &other),
            watches: sum(requests, &|labels| labels.contains("verb=\"watch\"")),
            writes: sum("hera_api_writes_total", &|_| true),
            reconciles: sum("controller_runtime_reconcile_total", &|_| true),
            open: sum("workqueue_depth", &|_| true)
                + sum("controller_runtime_active_workers", &|_| true),
        }
    }
}

impl Measured {
    /// Starts a manager.
    pub async fn start(
        program: &Path,
        server: &ApiServer,
        namespace: &str,
        flags: &[&str],
    ) -> Self {
        let process = Manager::start_program(program, &server.kubeconfig(), namespace, flags).await;
        Self { process }
    }

    /// What the metrics say now.
    pub fn snapshot(&self) -> Snapshot {
        let text = self.process.http("GET", "/metrics", "");
        Snapshot::of(&text.expect("the manager answers").1)
    }

    /// Seconds of processor time so far.
    pub fn cpu(&self) -> f64 {
        self.process
            .metric("process_cpu_seconds_total")
            .expect("the manager answers")
    }

    /// Its resident memory in MiB, now and at its highest.
    pub fn memory(&self) -> (f64, f64) {
        let path = format!("/proc/{}/status", self.process.pid());
        let mebibytes = |name| {
            machine::field(&path, name)
                .and_then(|text| text.strip_suffix(" kB")?.parse::<f64>().ok())
                .map_or(f64::NAN, |kib| kib / 1024.0)
        };
        (mebibytes("VmRSS"), mebibytes("VmHWM"))
    }

    /// Waits until it leads.
    pub async fn leads(&self) {
        eventually("the manager leads", async || {
            self.process.leads().then_some(())
        })
        .await;
    }

    /// Waits until it writes nothing more. Returns when the last write was.
    ///
    /// It may go on reconciling: what waits for something is looked at again and again.
    pub async fn settled(&self) -> Instant {
        let begin = Instant::now();
        let mut last = (self.snapshot(), Instant::now());
        loop {
            tokio::time::sleep(PAUSE).await;
            let now = self.snapshot();
            if now.writes > last.0.writes {
                last = (now, Instant::now());
            } else if last.1.elapsed() > QUIET {
                return last.1;
            }
            assert!(begin.elapsed() < LIMIT, "it does not settle: {now:?}");
        }
    }

    /// Waits until it leads and has reconciled every one of `count` resources: as many reconciles, and none is left to do.
    /// Returns when it led, when all was done, and what was counted then.
    pub async fn reconciled_all(&self, count: usize) -> (Instant, Instant, Snapshot) {
        let begin = Instant::now();
        let mut leading = None;
        loop {
            if leading.is_none() && self.process.leads() {
                leading = Some(Instant::now());
            }
            let now = self.snapshot();
            match leading {
                Some(leading) if now.open == 0.0 && now.reconciles >= count as f64 => {
                    return (leading, Instant::now(), now);
                }
                _ => {}
            }
            assert!(begin.elapsed() < LIMIT, "only {now:?}");
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends it cleanly, so that the next one leads at once.
    pub async fn stop(mut self) {
        self.process.signal("TERM");
        let status = self.process.end().await;
        assert!(status.success(), "{status}");
    }
}
