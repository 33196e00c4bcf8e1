//! Clients outside of the Kubernetes cluster: each pod has an address of its own, and the nodes of a cluster tell it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use redis::{ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, Value};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::sharded::ShardedWriter;
use crate::support::wait::{LONG, SOON, ensure, until};

fn cluster(replicas_per_shard: i32) -> serde_json::Value {
    json!({
        "mode": "Cluster", "shards": 3, "replicasPerShard": replicas_per_shard,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    })
}

/// What makes load balancers elsewhere: gives each Service that wants one an address at which clients of this test reach it.
struct Balancers(JoinHandle<()>);

impl Balancers {
    fn start(db: &Database) -> Self {
        let db = db.clone();
        Self(tokio::spawn(async move {
            loop {
                for service in db.list::<Service>().await {
                    balance(&db, &service).await;
                }
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
        }))
    }
}

impl Drop for Balancers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn balance(db: &Database, service: &Service) {
    let spec = service.spec.clone().unwrap_or_default();
    let status = service.status.clone().and_then(|s| s.load_balancer);
    let has_one = status
        .and_then(|s| s.ingress)
        .is_some_and(|i| !i.is_empty());
    if has_one || spec.type_.as_deref() != Some("LoadBalancer") {
        return;
    }
    let ingress = json!({"status": {"loadBalancer": {"ingress": [{"ip": spec.cluster_ip}]}}});
    let api = db.api::<Service>();
    // The Service may be going.
    let _ = api
        .patch_status(
            &service.name_any(),
            &PatchParams::default(),
            &Patch::Merge(ingress),
        )
        .await;
}

/// `host:port` of each pod, by the status.
async fn places(db: &Database) -> BTreeMap<String, String> {
    let instances = db.status().await.instances;
    let places = instances
        .into_iter()
        .filter_map(|i| Some((i.pod, i.external?)));
    places.collect()
}

/// One command at `host:port`.
async fn ask<T: redis::FromRedisValue>(
    db: &Database,
    place: &str,
    words: &[&str],
) -> Result<T, String> {
    let (host, port) = place.rsplit_once(':').ok_or("no port")?;
    let port = port.parse().map_err(|_| "a bad port")?;
    let login = RedisConnectionInfo::default()
        .set_username("default")
        .set_password(db.password().await)
        .set_skip_set_lib_name();
    let info = ConnectionAddr::Tcp(host.to_owned(), port)
        .into_connection_info()
        .map_err(|e| e.to_string())?
        .set_redis_settings(login);
    let client = redis::Client::open(info).map_err(|e| e.to_string())?;
    let connection = client.get_multiplexed_async_connection();
    let mut connection = connection.await.map_err(|e| e.to_string())?;
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    let answer = command.query_async(&mut connection).await;
    answer.map_err(|e| e.to_string())
}

/// `host:port` of every node that a client is told of by this one.
async fn told(db: &Database, place: &str) -> Result<BTreeSet<String>, String> {
    let slots: Vec<Vec<Value>> = ask(db, place, &["CLUSTER", "SLOTS"]).await?;
    let nodes = slots
        .into_iter()
        .flat_map(|range| range.into_iter().skip(2));
    let node = |value| {
        let (host, port, ..): (String, u16, String, Value) =
            redis::from_redis_value(value).map_err(|e| e.to_string())?;
        Ok(format!("{host}:{port}"))
    };
    nodes.map(node).collect()
}

/// Every node tells clients exactly these places.
async fn all_tell(db: &Database, wanted: &BTreeSet<String>) {
    until("every node tells the same addresses", LONG, || async {
        for (pod, object) in db.pods().await {
            let ip = object.status.and_then(|s| s.pod_ip).ok_or("no address")?;
            let told = told(db, &format!("{ip}:6379")).await?;
            ensure(&told == wanted, || {
                format!("{pod}: {told:?}, not {wanted:?}")
            })?;
        }
        Ok(())
    })
    .await;
}

/// Added to a running cluster and taken away again, without a restart; replication stays inside.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn nodes_tell_the_addresses_of_load_balancers() {
    let s = Scenario::shared("external").await;
    let db = s.ready("db", cluster(1)).await;
    let uids = db.uids().await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(50).await;

    db.patch(json!({"spec": {"services": {"external": {"type": "LoadBalancer"}}}}))
        .await;
    db.wait_for("ExternalAccess", "False", &["ExternalAddressPending"])
        .await;
    db.blocked("ExternalAddressPending").await;
    let balancers = Balancers::start(&db);
    db.wait_for("ExternalAccess", "True", &[]).await;
    db.ready().await;
    assert_eq!(db.uids().await, uids, "no pod was restarted");
    let outside = places(&db).await;
    assert_eq!(outside.len(), 6);
    all_tell(&db, &outside.values().cloned().collect()).await;
    for place in outside.values() {
        let pong: String = ask(&db, place, &["PING"]).await.expect("it answers");
        assert_eq!(pong, "PONG");
    }
    inside(&db).await;

    // Restarted nodes have to tell again; clients that follow the addresses lose nothing.
    writer.more(50).await;
    db.annotate("hera.dev/restarted-at", Some("now")).await;
    until("every pod is another one", LONG, || async {
        let now = db.uids().await;
        let same = now.iter().filter(|(pod, uid)| uids.get(*pod) == Some(uid));
        ensure(now.len() == 6 && same.count() == 0, || format!("{now:?}"))
    })
    .await;
    db.ready().await;
    assert_eq!(places(&db).await, outside, "a Service outlives its pod");
    all_tell(&db, &outside.values().cloned().collect()).await;
    inside(&db).await;
    writer.more(50).await;
    writer.always_covered();
    let report = writer.finish().await;
    s.report(&format!("addresses outside, and a roll: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);

    let writer = ShardedWriter::start(&db).await;
    db.patch(json!({"spec": {"services": {"external": null}}}))
        .await;
    db.ready().await;
    let ips = db.pods().await.into_values();
    let ips = ips.filter_map(|p| Some(format!("{}:6379", p.status?.pod_ip?)));
    all_tell(&db, &ips.collect()).await;
    until("the Services are gone", SOON, || async {
        let left: Vec<String> = db
            .list::<Service>()
            .await
            .iter()
            .map(ResourceExt::name_any)
            .collect();
        ensure(!left.iter().any(|n| n.ends_with("-external")), || {
            format!("{left:?}")
        })
    })
    .await;
    drop(balancers);
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("back to the addresses inside: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
}

/// Each replica follows its primary at the address of the pod.
async fn inside(db: &Database) {
    let pods = db.pods().await;
    let ips: BTreeSet<String> = pods
        .values()
        .filter_map(|p| p.status.as_ref()?.pod_ip.clone())
        .collect();
    for pod in pods.keys() {
        let server = db.server(pod).await;
        if server.role().await.expect("a role") == "slave" {
            let host = server
                .info("replication", "master_host")
                .await
                .expect("a host");
            let port = server
                .info("replication", "master_port")
                .await
                .expect("a port");
            assert!(ips.contains(&host), "{pod} follows {host}");
            assert_eq!(port, "6379");
        }
    }
}

/// The port of a node differs from the one that replicas use: Valkey 9 can tell it to clients alone.
#[tokio::test]
async fn nodes_tell_the_ports_of_nodes_where_they_can() {
    let s = Scenario::shared("node-port").await;
    let spec = json!({
        "engine": "Valkey", "image": "localhost/valkey:9", "services": {"external": {"type": "NodePort"}},
    });
    let db = s.ready("db", with(cluster(1), spec)).await;
    let outside = places(&db).await;
    let ports: BTreeSet<&str> = outside
        .values()
        .filter_map(|p| p.rsplit(':').next())
        .collect();
    assert_eq!(ports.len(), 6, "{outside:?}");
    all_tell(&db, &outside.values().cloned().collect()).await;
    for place in outside.values() {
        let text: String = ask(&db, place, &["CLUSTER", "INFO"])
            .await
            .expect("it answers");
        assert!(text.contains("cluster_state:ok"), "{place}: {text}");
    }
    inside(&db).await;
}

#[tokio::test]
async fn a_port_that_cannot_be_told_is_refused_and_the_cluster_serves_inside() {
    let s = Scenario::shared("no-port").await;
    let spec = json!({"services": {"external": {"type": "NodePort"}}});
    let db = s.create("db", with(cluster(0), spec)).await;
    db.wait_for("ExternalAccess", "False", &["ExternalPortUnsupported"])
        .await;
    db.blocked("ExternalPortUnsupported").await;
    db.wait_for("PrimaryAvailable", "True", &[]).await;
    let writer = ShardedWriter::start(&db).await;
    writer.more(20).await;
    assert!(writer.finish().await.lost.is_empty());
    db.patch(json!({"spec": {"services": null}})).await;
    db.ready().await;
}

/// In mode Replication the status says where each pod is; the Service of the primary has a port of its own.
#[tokio::test]
async fn each_replica_is_reached_from_outside() {
    let s = Scenario::shared("outside").await;
    let services = json!({"services": {
        "primary": {"type": "NodePort", "externalTrafficPolicy": "Local"}, "external": {"type": "NodePort"},
    }});
    let db = s.ready("db", with(replication(2), services)).await;
    let primary = db.one_primary().await;
    let outside = places(&db).await;
    assert_eq!(outside.len(), 2);
    for (pod, place) in &outside {
        let role: Vec<Value> = ask(&db, place, &["ROLE"]).await.expect("it answers");
        let role: String = redis::from_redis_value(role[0].clone()).expect("a word");
        assert_eq!(role == "master", *pod == primary, "{pod} is {role}");
    }
    let service: Service = db.api().get("db").await.expect("the Service");
    let port = service
        .spec
        .and_then(|s| s.ports?.first()?.node_port)
        .expect("a port");
    let host = outside[&primary].rsplit_once(':').expect("a host").0;
    let place = format!("{host}:{port}");
    let role: Vec<Value> = ask(&db, &place, &["ROLE"]).await.expect("it answers");
    let role: String = redis::from_redis_value(role[0].clone()).expect("a word");
    assert_eq!(role, "master");
}
