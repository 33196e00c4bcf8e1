//! A Redis takes over what another server left on a volume.

use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, SOON, ensure, stays, until};

const CLAIM: &str = "redis-data-old-0";

/// A server that nobody manages, with this claim and snapshots only, as many charts set it up.
fn server() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "before"},
        "spec": {
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 1001, "fsGroup": 1001, "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "redis", "image": "docker.io/library/redis:8.0", "command": ["redis-server", "--dir", "/data"],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}},
            }],
            "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": CLAIM}}],
        },
    })
}

async fn cli(s: &Scenario, words: &[&str]) -> Result<String, String> {
    let exec = [
        "--namespace",
        &s.namespace,
        "exec",
        "before",
        "--",
        "redis-cli",
    ];
    kubectl(&[&exec[..], words].concat()).await
}

/// A volume with a thousand keys in a snapshot, and the server that still has it.
async fn left_behind(s: &Scenario) -> Api<Pod> {
    let claim = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    });
    let claim: PersistentVolumeClaim = serde_json::from_value(claim).expect("a claim");
    let claims = Api::<PersistentVolumeClaim>::namespaced(s.client.clone(), &s.namespace);
    let new = PostParams::default();
    claims
        .create(&new, &claim)
        .await
        .expect("the claim is made");
    let pods = Api::<Pod>::namespaced(s.client.clone(), &s.namespace);
    let pod: Pod = serde_json::from_value(server()).expect("a pod");
    pods.create(&new, &pod).await.expect("the pod is made");
    let script = "for i=1,1000 do redis.call('SET', 'key:'..i, i) end return 'done'";
    until("the server has data", LONG, || async {
        cli(s, &["EVAL", script, "0"]).await
    })
    .await;
    let saved = cli(s, &["SAVE"]).await.expect("a snapshot");
    assert!(saved.contains("OK"), "{saved}");
    pods
}

/// It is refused until it is named, waited for as long as another pod has it, and then used with its data.
#[tokio::test]
async fn a_claim_of_another_server_is_taken_over_when_it_is_named() {
    let s = Scenario::shared("adopt").await;
    let pods = left_behind(&s).await;
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "claimTemplate": "redis-data"}}),
    );
    let db = s.create("old", spec).await;
    db.wait_for("StorageReady", "False", &["ForeignClaim"])
        .await;
    db.blocked("ForeignClaim").await;
    stays("no pod is made", Duration::from_secs(3), || async {
        let made = db.uids().await;
        ensure(made.is_empty(), || format!("{made:?}"))
    })
    .await;

    db.patch(json!({"spec": {"storage": {"existingClaims": [CLAIM]}}}))
        .await;
    db.wait_for("StorageReady", "False", &["ClaimInUse"]).await;
    assert!(db.uids().await.is_empty(), "two servers on one volume");
    let delete = DeleteParams::default();
    pods.delete("before", &delete)
        .await
        .expect("the pod is deleted");
    db.ready().await;
    db.event("ClaimAdopted").await;
    assert_eq!(db.one_primary().await, "old-0", "the pod with the data");
    kept(&db).await;
    let server = db.server("old-0").await;
    assert_eq!(server.config("appendonly").await.expect("a value"), "yes");

    // From now on the data is in the append-only file.
    db.set("later", "1").await;
    for pod in db.uids().await.into_keys() {
        let uid = db.uids().await[&pod].clone();
        db.api::<Pod>()
            .delete(&pod, &delete)
            .await
            .expect("the pod is deleted");
        until("the pod is another one", LONG, || async {
            let now = db.uids().await.get(&pod).cloned();
            ensure(now.is_some_and(|now| now != uid), || "not yet".into())
        })
        .await;
        db.ready().await;
    }
    kept(&db).await;
    let primary = db.primary_endpoint().await;
    let value: String = primary.ask(&["GET", "later"]).await.expect("a value");
    assert_eq!(value, "1");
}

async fn kept(db: &Database) {
    let primary = db.primary_endpoint().await;
    until("the data is there", SOON, || async {
        let value = primary.ask::<String>(&["GET", "key:1000"]).await;
        let value = value.map_err(|e| e.to_string())?;
        ensure(value == "1000", || value)
    })
    .await;
}
