//! Volumes.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use k8s_openapi::api::storage::v1::StorageClass;
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::support::database::{Database, replication, standalone, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, SOON, ensure, until};
use crate::support::writer::Writer;

/// The claims, the volumes and the claim template all get the new size; no pod is replaced.
async fn grows(name: &'static str, class: &str) {
    let s = Scenario::shared(name).await;
    if !has_class(&s, class).await {
        return s.report("left out: the cluster has no such storage class");
    }
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "storageClassName": class, "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;

    db.patch(json!({"spec": {"storage": {"size": "512Mi"}}}))
        .await;
    let told = db.wait_for("Ready", "False", &["InvalidSpec"]).await;
    assert!(
        told.message.contains("spec.storage.size"),
        "{}",
        told.message
    );

    db.patch(json!({"spec": {"storage": {"size": "2Gi"}}}))
        .await;
    db.wait_for("StorageReady", "True", &["StorageBound"]).await;
    db.ready().await;
    for claim in db.claims().await.into_values() {
        let capacity = claim.status.and_then(|s| s.capacity).unwrap_or_default();
        assert_eq!(capacity["storage"].0, "2Gi");
    }
    until("new claims get the size", LONG, || async {
        let size = template_size(&db).await?;
        ensure(size == "2Gi", || size)
    })
    .await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.uids().await, uids, "no pod was replaced");

    db.patch(json!({"spec": {"replicas": 3}})).await;
    db.ready().await;
    assert_eq!(db.claims().await.len(), 3);
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn directories_grow() {
    grows("grow", "local").await;
}

#[tokio::test]
async fn file_systems_grow() {
    grows("grow-xfs", "local-xfs").await;
}

/// A file system that grows only when a pod mounts it anew: the pods are restarted, replicas first, and no write is lost.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn file_systems_that_cannot_grow_in_use_grow_by_a_roll() {
    let s = Scenario::shared("grow-offline").await;
    if !has_class(&s, "local-offline").await {
        return s.report("left out: the cluster has no such storage class");
    }
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "storageClassName": "local-offline", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"storage": {"size": "2Gi"}}}))
        .await;
    db.wait_for("StorageReady", "False", &["VolumeExpanding"])
        .await;
    until("every volume has its size", LONG, || async {
        let claims = db.claims().await.into_values();
        let sizes: Vec<_> = claims
            .filter_map(|c| Some(c.status?.capacity?["storage"].0.clone()))
            .collect();
        ensure(sizes == ["2Gi", "2Gi"], || format!("{sizes:?}"))
    })
    .await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("file systems grown by a roll: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    let now = db.uids().await;
    assert!(
        uids.iter().all(|(pod, uid)| now[pod] != *uid),
        "{uids:?} {now:?}"
    );
}

/// A class that cannot grow: it is said, the data stays served, and the size can be set back.
#[tokio::test]
async fn a_class_that_cannot_grow_is_told() {
    let s = Scenario::shared("fixed").await;
    if !has_class(&s, "local-fixed").await {
        return s.report("left out: the cluster has no such storage class");
    }
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "storageClassName": "local-fixed", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"storage": {"size": "2Gi"}}}))
        .await;
    db.wait_for("StorageReady", "False", &["VolumeExpansionUnsupported"])
        .await;
    db.blocked("VolumeExpansionUnsupported").await;
    db.patch(json!({"spec": {"storage": {"size": "1Gi"}}}))
        .await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
}

/// The storage refuses the size: it is said, and the former one heals, and one that the storage can give.
#[tokio::test]
async fn a_size_that_the_storage_refuses_is_told() {
    let s = Scenario::shared("limited").await;
    if !has_class(&s, "local-limited").await {
        return s.report("left out: the cluster has no such storage class");
    }
    let spec = with(
        standalone(),
        json!({"storage": {"size": "1Gi", "storageClassName": "local-limited", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    db.patch(json!({"spec": {"storage": {"size": "3Gi"}}}))
        .await;
    db.wait_for("StorageReady", "False", &["VolumeExpansionFailed"])
        .await;
    db.blocked("VolumeExpansionFailed").await;
    db.patch(json!({"spec": {"storage": {"size": "1Gi"}}}))
        .await;
    db.ready().await;
    db.patch(json!({"spec": {"storage": {"size": "2Gi"}}}))
        .await;
    db.ready().await;
    let claims = db.claims().await;
    let capacity = claims["data-db-0"]
        .status
        .as_ref()
        .and_then(|s| s.capacity.clone());
    assert_eq!(capacity.unwrap_or_default()["storage"].0, "2Gi");
}

/// By default the data outlives the Redis, and another one with the same name finds it.
#[tokio::test]
async fn data_outlives_the_redis() {
    let s = Scenario::shared("retain").await;
    let spec = with(replication(2), json!({"storage": {"size": "1Gi"}}));
    let db = s.ready("db", spec.clone()).await;
    let writer = Writer::start(&db).await;
    writer.more(100).await;
    let report = writer.finish().await;
    assert!(report.lost.is_empty(), "{report}");
    let keys = size(&db).await;
    db.delete().await;
    gone(&db).await;
    let claims: Vec<String> = db.claims().await.into_keys().collect();
    assert_eq!(claims, ["data-db-0", "data-db-1"]);

    let db = s.ready("db", spec).await;
    assert_eq!(size(&db).await, keys, "the data is there");
    assert_eq!(db.one_primary().await, db.primary().await);
}

#[tokio::test]
async fn data_goes_with_the_redis_when_it_shall() {
    let s = Scenario::shared("remove").await;
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    db.delete().await;
    gone(&db).await;
    until("the claims are gone", SOON, || async {
        let left: Vec<String> = db.claims().await.into_keys().collect();
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

async fn gone(db: &Database) {
    until("the pods are gone", SOON, || async {
        let left: Vec<String> = db.uids().await.into_keys().collect();
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}

async fn size(db: &Database) -> u64 {
    let primary = db.primary_endpoint().await;
    until("the primary answers", SOON, || async {
        primary
            .ask::<u64>(&["DBSIZE"])
            .await
            .map_err(|e| e.to_string())
    })
    .await
}

async fn has_class(s: &Scenario, class: &str) -> bool {
    Api::<StorageClass>::all(s.client.clone())
        .get_opt(class)
        .await
        .expect("the storage class is looked up")
        .is_some()
}

async fn template_size(db: &Database) -> Result<String, String> {
    let set: StatefulSet = db.api().get(&db.name).await.map_err(|e| e.to_string())?;
    let templates: Vec<PersistentVolumeClaim> = set
        .spec
        .and_then(|s| s.volume_claim_templates)
        .unwrap_or_default();
    let template = templates.into_iter().find(|t| t.name_any() == "data");
    template
        .and_then(|t| t.spec?.resources?.requests?.remove("storage"))
        .map(|q| q.0)
        .ok_or_else(|| "there is no template".into())
}
