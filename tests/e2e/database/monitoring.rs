//! The exporter, the objects for a Prometheus operator, the NetworkPolicy, and warnings before room runs out.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, PostParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use ::hera::k8s::prometheus::{PodMonitor, PrometheusRule};

use super::cluster::{cluster, whole};
use crate::support::certificates as tls;
use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication, standalone, with};
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::server::{Endpoint, PATIENT};
use crate::support::sharded::{Sharded, ShardedWriter};
use crate::support::wait::{LONG, SOON, ensure, until};
use crate::support::writer::Writer;

fn exporter() -> Value {
    json!({"exporter": {"resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}}})
}

/// What the exporter of a pod shows: from `name{labels}` to the value.
async fn scrape(db: &Database, pod: &str) -> Result<BTreeMap<String, f64>, String> {
    let path = format!(
        "/api/v1/namespaces/{}/pods/{pod}:9121/proxy/metrics",
        db.namespace
    );
    let text = kubectl(&["get", "--raw", &path]).await?;
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    Ok(series
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect())
}

/// Every pod has an exporter that reaches its server and sees what the server is.
async fn reports(db: &Database) {
    for pod in db.pods().await.into_keys() {
        let role = db.server(&pod).await.role().await.expect("a role");
        until("the exporter reports its server", SOON, || async {
            let series = scrape(db, &pod).await?;
            let up = series.get("redis_up").copied();
            ensure(up == Some(1.0), || format!("{pod}: redis_up is {up:?}"))?;
            let info = series.keys().find(|s| s.starts_with("redis_instance_info"));
            let info = info.ok_or("no redis_instance_info")?;
            ensure(info.contains(&format!("role=\"{role}\"")), || info.clone())
        })
        .await;
    }
}

fn containers(pod: &Pod) -> Vec<String> {
    let spec = pod.spec.as_ref().expect("a spec");
    spec.containers.iter().map(|c| c.name.clone()).collect()
}

#[tokio::test]
async fn an_exporter_is_rolled_out_and_taken_away_without_losing_a_write() {
    let s = Scenario::shared("exporter").await;
    let db = s.ready("db", replication(3)).await;
    let before = db.uids().await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"monitoring": exporter()}})).await;
    db.ready().await;
    let with_exporter = db.uids().await;
    assert!(before.iter().all(|(pod, uid)| with_exporter[pod] != *uid));
    reports(&db).await;

    // Its user sees figures, no data, no password of another user.
    let file = db.secret("db-server", "exporter.json").await;
    let file: BTreeMap<String, String> = serde_json::from_str(&file).unwrap();
    let exporter = Endpoint {
        user: "hera-exporter".into(),
        password: file["redis://hera-exporter@127.0.0.1:6379"].clone(),
        ..db.primary_endpoint().await
    };
    exporter.info("server", "run_id").await.unwrap();
    for forbidden in [
        &["GET", "key"][..],
        &["CONFIG", "GET", "*"],
        &["SLOWLOG", "GET"],
        &["ACL", "LIST"],
        &["FLUSHALL"],
    ] {
        let code = until("the server answers", SOON, || async {
            let error = exporter.ask::<redis::Value>(forbidden).await.unwrap_err();
            let code = error.code().map(str::to_owned);
            code.ok_or_else(|| error.to_string())
        });
        assert_eq!(code.await, "NOPERM", "{forbidden:?}");
    }

    db.patch(json!({"spec": {"monitoring": null}})).await;
    db.ready().await;
    for (name, pod) in db.pods().await {
        assert_eq!(containers(&pod), ["redis"], "{name}");
    }
    exporter.ask::<String>(&["PING"]).await.unwrap_err();
    let report = writer.finish().await;
    s.report(&format!("exporter added and removed: {report}"));
    assert!(report.lost.is_empty(), "{report}");
}

/// The first replica waits, the primary is not touched, and a corrected spec heals it.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn an_exporter_that_does_not_start_stops_at_the_first_replica() {
    let s = Scenario::shared("no-exporter").await;
    let db = s.ready("db", replication(2)).await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    let image = |image: &str| json!({"spec": {"monitoring": {"exporter": {"image": image}}}});
    db.patch(image("localhost/no-such-exporter:1")).await;
    db.blocked("ExporterNotRunning").await;
    assert_eq!(db.uids().await["db-0"], uids["db-0"]);
    db.patch(image("localhost/redis-exporter:1")).await;
    db.ready().await;
    reports(&db).await;
    let report = writer.finish().await;
    assert!(report.lost.is_empty(), "{report}");
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn an_exporter_speaks_tls_and_shows_the_certificate() {
    let s = Scenario::shared("tls-exporter").await;
    let authority = tls::Authority::new();
    let host = format!("db.{}.svc", s.namespace);
    tls::create(&s, &authority.secret(&host)).await;
    let spec = with(
        replication(2),
        json!({"tls": {"secretName": tls::SECRET, "clientAuth": "Optional"}, "monitoring": exporter()}),
    );
    let db = s.ready("db", spec).await;
    reports(&db).await;
}

#[tokio::test]
async fn a_network_policy_comes_and_goes_with_its_field() {
    let s = Scenario::shared("policy").await;
    let clients = json!([{"podSelector": {"matchLabels": {"app": "web"}}}]);
    let spec = with(standalone(), json!({"networkPolicy": {"clients": clients}}));
    let db = s.ready("db", spec).await;
    let policy: NetworkPolicy = db.api().get("db").await.expect("the policy");
    let rules = policy.spec.unwrap().ingress.unwrap();
    assert_eq!(json!(rules[1].from), clients);
    // Hera's own pods are let in: its labels and its namespace are what the policy says.
    let hera = rules[0].from.clone().unwrap().remove(1);
    let labels = hera.pod_selector.unwrap().match_labels.unwrap();
    let labels: Vec<String> = labels.iter().map(|(k, v)| format!("{k}={v}")).collect();
    let namespace = hera.namespace_selector.unwrap().match_labels.unwrap();
    assert_eq!(namespace["kubernetes.io/metadata.name"], hera::NAMESPACE);
    let pods = Api::<Pod>::namespaced(s.client.clone(), hera::NAMESPACE)
        .list(&ListParams::default().labels(&labels.join(",")))
        .await
        .unwrap();
    assert!(!pods.items.is_empty(), "{labels:?}");

    db.api::<NetworkPolicy>()
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    until("the policy is made anew", SOON, || async {
        let found = db.api::<NetworkPolicy>().get_opt("db").await;
        let found = found.map_err(|e| e.to_string())?.ok_or("it is gone")?;
        ensure(found.uid() != policy.metadata.uid, || "the old one".into())
    })
    .await;
    let uids = db.uids().await;
    db.patch(json!({"spec": {"networkPolicy": null}})).await;
    gone::<NetworkPolicy>(&db).await;
    assert_eq!(db.uids().await, uids);
}

async fn gone<K>(db: &Database)
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    until("it is removed", SOON, || async {
        let found = db.api::<K>().get_opt(&db.name).await;
        let found = found.map_err(|e| e.to_string())?;
        ensure(found.is_none(), || "it is there".into())
    })
    .await;
}

/// The definition of a kind of the Prometheus operator, without its schema.
fn definition(kind: &str, plural: &str) -> CustomResourceDefinition {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    serde_json::from_value(json!({
        "metadata": {"name": format!("{plural}.monitoring.coreos.com")},
        "spec": {
            "group": "monitoring.coreos.com",
            "scope": "Namespaced",
            "names": {"kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase()},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open}}},
            }],
        },
    }))
    .expect("a definition")
}

async fn there<K>(db: &Database) -> K
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    until("the object is made", LONG, || async {
        let found = db.api::<K>().get_opt(&db.name).await;
        found
            .map_err(|e| e.to_string())?
            .ok_or_else(|| "it is not there".into())
    })
    .await
}

/// Kinds that the cluster lacks are no error; when they come, the objects are made.
#[tokio::test]
async fn objects_for_prometheus_follow_their_kinds_and_fields() {
    let s = Scenario::shared("monitors").await;
    let definitions = Api::<CustomResourceDefinition>::all(s.client.clone());
    let wanted = [
        definition("PodMonitor", "podmonitors"),
        definition("PrometheusRule", "prometheusrules"),
    ];
    let mut made = Vec::new();
    let monitoring = with(
        exporter(),
        json!({"podMonitor": {"interval": "15s", "labels": {"release": "p"}}, "rules": {}}),
    );
    let db = s
        .ready("db", with(standalone(), json!({"monitoring": monitoring})))
        .await;
    for definition in &wanted {
        if definitions
            .get_opt(&definition.name_any())
            .await
            .unwrap()
            .is_none()
        {
            definitions
                .create(&PostParams::default(), definition)
                .await
                .expect("the definition is made");
            made.push(definition.name_any());
        }
    }
    let monitor: PodMonitor = there(&db).await;
    assert_eq!(monitor.labels()["release"], "p");
    let selector: Vec<String> = monitor
        .spec
        .selector
        .match_labels
        .unwrap()
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let pods = db
        .api::<Pod>()
        .list(&ListParams::default().labels(&selector.join(",")))
        .await
        .unwrap();
    assert_eq!(pods.items.len(), 1);
    let rule: PrometheusRule = there(&db).await;
    assert!(!rule.spec.groups[0].rules.is_empty());

    db.api::<PrometheusRule>()
        .delete("db", &DeleteParams::default())
        .await
        .unwrap();
    let again: PrometheusRule = there(&db).await;
    assert_ne!(again.uid(), rule.uid());
    let uids = db.uids().await;
    db.patch(json!({"spec": {"monitoring": {"podMonitor": null}}}))
        .await;
    gone::<PodMonitor>(&db).await;
    let _: PrometheusRule = there(&db).await;
    for name in made {
        definitions
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
    }
    db.patch(json!({"spec": {"monitoring": {"rules": {"labels": {"a": "b"}}}}}))
        .await;
    db.ready().await;
    assert_eq!(db.uids().await, uids, "no pod is restarted for them");
}

/// Writes so many values of 220 KiB.
async fn fill(db: &Database, values: usize) {
    let primary = db.primary_endpoint().await;
    let mut connection = primary.connect(PATIENT).await.expect("a connection");
    let value = vec![b'x'; 220 * 1024];
    for number in 0..values {
        let () = redis::cmd("SET")
            .arg(format!("fill-{number}"))
            .arg(&value)
            .query_async(&mut connection)
            .await
            .expect("a write");
    }
}

/// While nothing changes Hera looks at a database only every ten minutes; growth is seen before.
#[tokio::test]
async fn a_warning_comes_before_a_volume_is_full() {
    let s = Scenario::shared("volume").await;
    let spec = with(
        standalone(),
        json!({"storage": {"size": "24Mi", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    db.wait_for("VolumeHeadroom", "True", &["VolumesHaveRoom"])
        .await;
    fill(&db, 46).await;
    let told = db
        .wait_for("VolumeHeadroom", "False", &["VolumeNearlyFull"])
        .await;
    assert!(told.message.starts_with("db-0: "), "{}", told.message);
    db.event("VolumeNearlyFull").await;
    db.wait_for("Ready", "True", &[]).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    let metrics = hera::metrics(&leader).await;
    let left = hera::sum(
        &metrics,
        "hera_redis_volume_headroom_ratio",
        &[&db.namespace, "db"],
    );
    assert!(left < 0.1, "{left}");

    db.patch(json!({"spec": {"storage": {"size": "1Gi"}}}))
        .await;
    db.wait_for("VolumeHeadroom", "True", &["VolumesHaveRoom"])
        .await;
    db.ready().await;
}

#[tokio::test]
async fn a_warning_comes_before_the_memory_is_full() {
    let s = Scenario::shared("memory").await;
    let spec = with(replication(2), json!({"memory": {"maxMemoryPercent": 30}}));
    let db = s.ready("db", spec).await;
    // maxmemory is 28.8 MiB, and an empty server with a replica takes two or three.
    fill(&db, 112).await;
    db.wait_for("MemoryHeadroom", "False", &["MemoryNearlyFull"])
        .await;
    db.event("MemoryNearlyFull").await;
    db.wait_for("Ready", "True", &[]).await;
    let primary = db.primary_endpoint().await;
    primary.ask::<String>(&["FLUSHALL"]).await.unwrap();
    db.wait_for("MemoryHeadroom", "True", &["MemoryHasRoom"])
        .await;
}

/// All of it in a cluster: the exporter comes and goes in a roll of the shards, and the shard that fills up is told.
#[tokio::test]
async fn a_cluster_is_watched_as_well() {
    let s = Scenario::shared("watched-shards").await;
    let spec = with(
        cluster(),
        json!({"memory": {"maxMemoryPercent": 30}, "networkPolicy": {}}),
    );
    let db = s.ready("db", spec).await;
    let policy: NetworkPolicy = db.api().get("db").await.expect("the policy");
    let selector = policy.spec.unwrap().pod_selector.unwrap().match_labels;
    let labels = db.pods().await.into_values().map(|pod| pod.metadata.labels);
    let selected = |labels: BTreeMap<String, String>| {
        selector
            .iter()
            .flatten()
            .all(|(k, v)| labels.get(k) == Some(v))
    };
    assert!(labels.flatten().all(selected), "every pod of every shard");
    let writer = ShardedWriter::start(&db).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"monitoring": exporter()}})).await;
    whole(&db, 3, 1).await;
    reports(&db).await;
    let report = writer.finish().await;
    s.report(&format!("exporter added to a cluster: {report}"));
    assert!(report.lost.is_empty(), "{report}");

    let mut client = Sharded::at(db.primary_endpoint().await);
    let value = "x".repeat(220 * 1024);
    for number in 0..112 {
        let key = format!("{{one}}{number}");
        let words = ["SET", &key, &value];
        if client.ask::<String>(&key, &words).await.is_err() {
            break;
        }
    }
    db.wait_for("MemoryHeadroom", "False", &["MemoryNearlyFull"])
        .await;
    db.wait_for("Ready", "True", &[]).await;
}
