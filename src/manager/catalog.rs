//! The registry of the metrics, which knows what was registered: the documentation is held equal to it.

use std::sync::{Mutex, PoisonError};

use prometheus::{
    Counter, GaugeVec, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, core::Collector, proto::MetricFamily,
};

/// Upper bounds of the time histograms, in seconds (those of controller-runtime, thinned out).
const SECONDS: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// A metric as documented: name, type and labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Described {
    /// The name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of the labels.
    pub labels: Vec<String>,
}

/// The registry, and what was registered.
#[derive(Debug, Default)]
pub struct Catalog {
    registry: Registry,
    described: Mutex<Vec<Described>>,
}

/// Makes a metric and registers it. Every function fails when the name or a label is not allowed or the name is taken.
#[allow(clippy::missing_errors_doc)]
impl Catalog {
    /// Counters of whole numbers.
    pub fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntCounterVec> {
        self.add(
            name,
            "counter",
            labels,
            IntCounterVec::new(Opts::new(name, help), labels)?,
        )
    }

    /// Gauges of whole numbers.
    pub fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<IntGaugeVec> {
        self.add(
            name,
            "gauge",
            labels,
            IntGaugeVec::new(Opts::new(name, help), labels)?,
        )
    }

    /// Gauges of fractions.
    pub fn float_gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<GaugeVec> {
        self.add(
            name,
            "gauge",
            labels,
            GaugeVec::new(Opts::new(name, help), labels)?,
        )
    }

    /// Histograms of seconds.
    pub fn histograms(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
        self.add(
            name,
            "histogram",
            labels,
            HistogramVec::new(options, labels)?,
        )
    }

    /// A gauge without labels.
    pub fn gauge(&self, name: &str, help: &str) -> prometheus::Result<IntGauge> {
        self.add(name, "gauge", &[], IntGauge::new(name, help)?)
    }

    /// A counter of fractions without labels.
    pub fn counter(&self, name: &str, help: &str) -> prometheus::Result<Counter> {
        self.add(name, "counter", &[], Counter::new(name, help)?)
    }

    /// The values of all metrics.
    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }

    /// What was registered, in the order of names.
    pub fn described(&self) -> Vec<Described> {
        let mut described = self
            .described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        described.sort();
        described
    }

    fn add<M: Collector + Clone + 'static>(
        &self,
        name: &str,
        kind: &'static str,
        labels: &[&str],
        metric: M,
    ) -> prometheus::Result<M> {
        self.registry.register(Box::new(metric.clone()))?;
        let labels = labels.iter().map(ToString::to_string).collect();
        let described = Described {
            name: name.to_owned(),
            kind,
            labels,
        };
        self.described
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(described);
        Ok(metric)
    }
}
