//! What goes wrong by a wrong spec or a missing thing: it is told with reason and action, the data stays served, and it heals when it is
//! put right, without a hand on any pod.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{DeleteParams, ObjectMeta, PostParams};
use serde_json::{Value, json};

use crate::support::database::{Database, replication, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{SOON, ensure, until};
use crate::support::writer::Writer;

/// A change that the first replica cannot start with, and the way back.
async fn told_and_healed(name: &'static str, bad: Value, good: Value, reason: &str) {
    let s = Scenario::shared(name).await;
    let db = s.ready("db", replication(3)).await;
    let primary = db.primary().await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;

    db.patch(json!({ "spec": bad })).await;
    let told = db.wait_for("Ready", "False", &[reason]).await;
    db.blocked(reason).await;
    db.event(reason).await;
    writer.more(100).await;
    let now = db.uids().await;
    let replaced = uids
        .iter()
        .filter(|(pod, uid)| now.get(*pod) != Some(uid))
        .count();
    assert_eq!(
        replaced, 1,
        "the roll stops at the first pod: {}",
        told.message
    );
    assert_eq!(now[&primary], uids[&primary], "the primary serves");

    db.patch(json!({ "spec": good })).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&report.to_string());
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
    assert_eq!(db.one_primary().await, primary);
    assert_eq!(db.uids().await[&primary], uids[&primary]);
}

#[tokio::test]
async fn an_image_that_does_not_exist() {
    told_and_healed(
        "bad-image",
        json!({"image": "localhost/no-such-image:1"}),
        json!({"image": null}),
        "ImagePullFailed",
    )
    .await;
}

#[tokio::test]
async fn a_replica_that_finds_no_node() {
    told_and_healed(
        "bad-request",
        json!({"resources": {"requests": {"cpu": "1000"}}}),
        json!({"resources": {"requests": {"cpu": "10m"}}}),
        "PodUnschedulable",
    )
    .await;
}

/// Only the pod that is restarted for it reads the directive.
#[tokio::test]
async fn a_directive_that_servers_do_not_start_with() {
    told_and_healed(
        "bad-start",
        json!({"config": {"io-threads": "100000"}}),
        json!({"config": null}),
        "PodCrashing",
    )
    .await;
}

fn password(name: &str, value: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(BTreeMap::from([("password".to_owned(), value.to_owned())])),
        ..Secret::default()
    }
}

#[tokio::test]
async fn a_password_that_is_not_there_yet_then_goes_and_changes() {
    let s = Scenario::shared("password").await;
    let spec = with(
        replication(2),
        json!({"auth": {"passwordSecretRef": {"name": "mine", "key": "password"}}}),
    );
    let db = s.create("db", spec).await;
    db.wait_for("Ready", "False", &["SecretNotFound"]).await;
    db.blocked("SecretNotFound").await;
    assert!(db.uids().await.is_empty(), "no server without a password");

    let secrets = db.api::<Secret>();
    let create = |value: &'static str| {
        let (secrets, secret) = (secrets.clone(), password("mine", value));
        async move {
            secrets
                .create(&PostParams::default(), &secret)
                .await
                .expect("the Secret is made")
        }
    };
    create("first").await;
    db.ready().await;
    assert_eq!(db.password().await, "first");
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    secrets
        .delete("mine", &DeleteParams::default())
        .await
        .expect("the Secret is deleted");
    db.wait_for("Ready", "False", &["SecretNotFound"]).await;
    writer.more(50).await;
    create("first").await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );

    secrets
        .delete("mine", &DeleteParams::default())
        .await
        .expect("the Secret is deleted");
    create("second").await;
    until("the new password is published and works", SOON, || async {
        let published = db.password().await;
        ensure(published == "second", || {
            format!("{published} is published")
        })?;
        log_in_everywhere(&db).await
    })
    .await;
    db.ready().await;
    assert_eq!(db.uids().await, uids, "no pod was replaced");
}

async fn log_in_everywhere(db: &Database) -> Result<(), String> {
    for pod in db.uids().await.into_keys() {
        let server = db.server(&pod).await;
        server
            .ask::<String>(&["PING"])
            .await
            .map_err(|error| format!("{pod}: {error}"))?;
    }
    Ok(())
}

#[tokio::test]
async fn a_storage_class_that_does_not_exist() {
    let s = Scenario::shared("class").await;
    let spec = with(
        replication(2),
        json!({"storage": {"size": "1Gi", "storageClassName": "no-such-class", "whenDeleted": "Delete"}}),
    );
    let db = s.create("db", spec).await;
    db.wait_for("StorageReady", "False", &["StorageClassNotFound"])
        .await;
    db.wait_for("Ready", "False", &["StorageClassNotFound"])
        .await;
    db.blocked("StorageClassNotFound").await;
    // The cluster's default class.
    db.patch(json!({"spec": {"storage": {"storageClassName": null}}}))
        .await;
    db.ready().await;
    db.one_primary().await;
}

/// The same for a database that serves: its next pod gets no volume, the others go on.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_storage_class_that_does_not_exist_for_one_more_pod() {
    let s = Scenario::shared("class-scale").await;
    let spec = with(
        replication(1),
        json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}}),
    );
    let db = s.ready("db", spec).await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"storage": {"storageClassName": "no-such-class"}}}))
        .await;
    until("new claims would get the class", SOON, || async {
        let set: StatefulSet = db.api().get("db").await.map_err(|e| e.to_string())?;
        let class = claim_class(set);
        ensure(class.as_deref() == Some("no-such-class"), || {
            format!("{class:?}")
        })
    })
    .await;
    db.patch(json!({"spec": {"replicas": 2}})).await;
    db.wait_for("StorageReady", "False", &["StorageClassNotFound"])
        .await;
    db.blocked("StorageClassNotFound").await;
    writer.more(50).await;
    db.patch(json!({"spec": {"storage": {"storageClassName": null}}}))
        .await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(report.lost.is_empty(), "{report}");
    assert_eq!(db.one_primary().await, "db-0");
}

fn claim_class(set: StatefulSet) -> Option<String> {
    let templates = set.spec?.volume_claim_templates?;
    templates.into_iter().next()?.spec?.storage_class_name
}

/// What somebody else made is not touched, and named.
#[tokio::test]
async fn an_object_of_somebody_else_is_in_the_way() {
    let s = Scenario::shared("conflict").await;
    let theirs = ConfigMap {
        metadata: ObjectMeta {
            name: Some("db-config".into()),
            namespace: Some(s.namespace.clone()),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("theirs".to_owned(), "yes".to_owned())])),
        ..ConfigMap::default()
    };
    let maps = kube::Api::<ConfigMap>::namespaced(s.client.clone(), &s.namespace);
    maps.create(&PostParams::default(), &theirs)
        .await
        .expect("the ConfigMap is made");
    let db = s.create("db", replication(1)).await;
    let told = db.wait_for("Ready", "False", &["NameConflict"]).await;
    assert!(told.message.contains("db-config"), "{}", told.message);
    let left = maps.get("db-config").await.expect("it is still there");
    assert_eq!(left.data, theirs.data);
    maps.delete("db-config", &DeleteParams::default())
        .await
        .expect("the ConfigMap is deleted");
    db.ready().await;
}
