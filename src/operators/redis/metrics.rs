//! What the metrics say of all databases together: how many are ready, and how changes of the primary went.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus::{HistogramVec, IntGaugeVec};

use super::api::{Election, RedisStatus};
use super::figures::Figures;
use super::status::READY;
use crate::k8s::conditions::{self, ConditionStatus};
use crate::manager::catalog::Catalog;

/// The metrics of the Redis operator.
#[derive(Debug)]
pub struct Metrics {
    resources: IntGaugeVec,
    elections: HistogramVec,
    /// Of each database.
    pub figures: Figures,
    ready: Mutex<HashMap<String, &'static str>>,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When a name is taken: a mistake in this file.
    pub fn register(catalog: &Catalog) -> prometheus::Result<Self> {
        Ok(Self {
            resources: catalog.gauges(
                "hera_redis_resources",
                "Redis resources by their condition Ready",
                &["ready"],
            )?,
            elections: catalog.histograms(
                "hera_redis_election_duration_seconds",
                "Seconds from the decision on a primary until clients were led to it",
                &["kind"],
            )?,
            figures: Figures::register(catalog)?,
            ready: Mutex::default(),
        })
    }

    /// The status of a resource, as it was written.
    pub fn seen(&self, key: &str, status: &RedisStatus) {
        let ready = match conditions::status(&status.conditions, READY) {
            ConditionStatus::True => "True",
            ConditionStatus::False => "False",
            ConditionStatus::Unknown => "Unknown",
        };
        self.change(key, Some(ready));
    }

    /// The resource is gone.
    pub fn gone(&self, key: &str) {
        self.change(key, None);
        self.figures.gone(key);
    }

    fn change(&self, key: &str, ready: Option<&'static str>) {
        let mut all = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        let before = match ready {
            Some(ready) => all.insert(key.to_owned(), ready),
            None => all.remove(key),
        };
        if let Some(before) = before {
            self.resources.with_label_values(&[before]).dec();
        }
        if let Some(ready) = ready {
            self.resources.with_label_values(&[ready]).inc();
        }
    }

    /// A decision was carried out.
    pub fn elected(&self, election: &Election, now: Timestamp) {
        let took = now.duration_since(election.decided_at.0).as_secs_f64();
        self.elections
            .with_label_values(&[&format!("{:?}", election.kind)])
            .observe(took.max(0.0));
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::operators::redis::api::ElectionKind;

    fn status(ready: bool) -> RedisStatus {
        let mut status = RedisStatus::default();
        conditions::set(
            &mut status.conditions,
            READY,
            ready,
            "Any",
            "",
            None,
            Timestamp::UNIX_EPOCH,
        );
        status
    }

    #[test]
    fn each_resource_counts_once_as_it_is_now() {
        let catalog = Catalog::default();
        let metrics = Metrics::register(&catalog).unwrap();
        let count = |ready| metrics.resources.with_label_values(&[ready]).get();
        metrics.seen("a", &status(false));
        metrics.seen("b", &status(true));
        assert_eq!((count("True"), count("False")), (1, 1));
        metrics.seen("a", &status(true));
        metrics.seen("a", &status(true));
        assert_eq!((count("True"), count("False")), (2, 0));
        metrics.gone("a");
        metrics.gone("never seen");
        assert_eq!((count("True"), count("False")), (1, 0));
    }

    #[test]
    fn the_time_of_a_decision_is_told_by_its_kind() {
        let metrics = Metrics::register(&Catalog::default()).unwrap();
        let election = Election {
            epoch: 1,
            kind: ElectionKind::Failover,
            candidate: "db-1".into(),
            candidate_uid: "uid".into(),
            run_id: "run".into(),
            from: None,
            decided_at: Time(Timestamp::from_second(100).unwrap()),
            completed: true,
        };
        metrics.elected(&election, Timestamp::from_millisecond(100_250).unwrap());
        let of_kind = metrics.elections.with_label_values(&["Failover"]);
        assert_eq!(of_kind.get_sample_count(), 1);
        assert!((of_kind.get_sample_sum() - 0.25).abs() < 0.001);
    }

    #[test]
    fn the_page_lists_every_metric() {
        let catalog = Catalog::default();
        Metrics::register(&catalog).unwrap();
        let page = include_str!("../../../docs/metrics.md");
        let documented = page.lines().filter(|l| l.starts_with("| `hera_redis_"));
        assert_eq!(documented.count(), catalog.described().len());
        for metric in catalog.described() {
            let labels = metric.labels.join("`, `");
            let row = format!("| `{}` | {} | `{labels}` |", metric.name, metric.kind);
            assert!(page.contains(&row), "docs/metrics.md lacks {row}");
        }
    }
}
