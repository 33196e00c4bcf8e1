//! What leads Prometheus to the exporters, and which alerts it raises.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::model::{DATA_VOLUME, METRICS_PORT_NAME, Validated};
use super::{identity, metadata};
use crate::k8s::labels;
use crate::k8s::prometheus::{
    PodMetricsEndpoint, PodMonitor, PodMonitorSpec, PrometheusRule, PrometheusRuleSpec, Rule,
    RuleGroup,
};

/// The PodMonitor, when the spec asks for it.
pub fn pod_monitor(v: &Validated) -> Option<PodMonitor> {
    let template = v.monitoring.pod_monitor.as_ref()?;
    Some(PodMonitor {
        metadata: with_labels(v, &template.labels),
        spec: PodMonitorSpec {
            selector: LabelSelector {
                match_labels: Some(identity(v).selector()),
                ..LabelSelector::default()
            },
            pod_target_labels: vec![labels::INSTANCE.into()],
            pod_metrics_endpoints: vec![PodMetricsEndpoint {
                port: Some(METRICS_PORT_NAME.into()),
                interval: template.interval.clone(),
            }],
        },
    })
}

/// The PrometheusRule, when the spec asks for it.
pub fn prometheus_rule(v: &Validated) -> Option<PrometheusRule> {
    let template = v.monitoring.rules.as_ref()?;
    Some(PrometheusRule {
        metadata: with_labels(v, &template.labels),
        spec: PrometheusRuleSpec {
            groups: vec![RuleGroup {
                name: format!("redis.{}.{}", v.namespace, v.name),
                rules: rules(v),
            }],
        },
    })
}

fn with_labels(
    v: &Validated,
    own: &BTreeMap<String, String>,
) -> k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta {
    let mut meta = metadata(v, v.name.clone());
    let mut labels = own.clone();
    labels.extend(meta.labels.take().unwrap_or_default());
    meta.labels = Some(labels);
    meta
}

fn rules(v: &Validated) -> Vec<Rule> {
    // The name that a Prometheus operator gives to what a PodMonitor finds.
    let job = format!("job=\"{}/{}\"", v.namespace, v.name);
    let mut rules = vec![
        rule(
            v,
            "RedisDown",
            "critical",
            "2m",
            format!("redis_up{{{job}}} == 0"),
            "The exporter of {{ $labels.pod }} does not reach its server.",
        ),
        rule(
            v,
            "RedisReplicaNotLinked",
            "warning",
            "5m",
            format!("redis_master_link_up{{{job}}} == 0"),
            "{{ $labels.pod }} has no link to its primary.",
        ),
        rule(
            v,
            "RedisFullSyncs",
            "warning",
            "0m",
            format!("increase(redis_replica_resyncs_full{{{job}}}[1h]) > 5"),
            "{{ $labels.pod }} sent its whole data set to replicas more than five times in an hour.",
        ),
        rule(
            v,
            "RedisConnectionsRefused",
            "warning",
            "0m",
            format!("increase(redis_rejected_connections_total{{{job}}}[5m]) > 0"),
            "{{ $labels.pod }} refuses connections: maxclients is reached.",
        ),
    ];
    let instances = v.replicas * v.shards.max(1);
    if !v.hibernate {
        rules.push(rule(
            v,
            "RedisInstancesMissing",
            "warning",
            "10m",
            format!("(sum(redis_up{{{job}}}) or vector(0)) < {instances}"),
            &format!("Fewer than {instances} servers answer."),
        ));
    }
    if v.memory_policy == "noeviction" {
        rules.push(rule(
            v,
            "RedisMemoryNearlyFull",
            "warning",
            "5m",
            format!(
                "redis_memory_used_bytes{{{job}}} / (redis_memory_max_bytes{{{job}}} > 0) > 0.9"
            ),
            "{{ $labels.pod }} has used 90 % of maxmemory and refuses writes when all is used.",
        ));
    }
    if v.storage.is_some() {
        rules.extend(on_volumes(v, &job));
    }
    rules
}

fn on_volumes(v: &Validated, job: &str) -> [Rule; 2] {
    let claims = format!(
        "namespace=\"{}\",persistentvolumeclaim=~\"{DATA_VOLUME}-{}(-s[0-9]+)?-[0-9]+\"",
        v.namespace, v.name
    );
    [
        rule(
            v,
            "RedisPersistenceFailing",
            "critical",
            "1m",
            format!(
                "redis_aof_last_write_status{{{job}}} == 0 or redis_rdb_last_bgsave_status{{{job}}} == 0"
            ),
            "{{ $labels.pod }} could not write its data to its volume and refuses writes.",
        ),
        rule(
            v,
            "RedisVolumeNearlyFull",
            "warning",
            "5m",
            format!(
                "kubelet_volume_stats_available_bytes{{{claims}}} / kubelet_volume_stats_capacity_bytes{{{claims}}} < 0.15"
            ),
            "{{ $labels.persistentvolumeclaim }} has less than 15 % left.",
        ),
    ]
}

fn rule(
    v: &Validated,
    alert: &str,
    severity: &str,
    after: &str,
    expr: String,
    words: &str,
) -> Rule {
    let text = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Rule {
        alert: Some(alert.to_owned()),
        expr,
        for_: Some(after.to_owned()),
        labels: BTreeMap::from([
            text("severity", severity),
            text("namespace", &v.namespace),
            text("redis", &v.name),
        ]),
        annotations: BTreeMap::from([
            text(
                "summary",
                &format!("Redis {}/{}: {words}", v.namespace, v.name),
            ),
            text(
                "description",
                &format!(
                    "`kubectl describe redis {} -n {}` shows its conditions and what to do.",
                    v.name, v.namespace
                ),
            ),
        ]),
    }
}
