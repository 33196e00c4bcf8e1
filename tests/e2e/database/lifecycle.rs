//! From nothing to a database, and back.

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication};
use crate::support::scenario::Scenario;
use crate::support::server::{Endpoint, kind};
use crate::support::wait::{SOON, ensure, until};

#[tokio::test]
async fn a_replication_serves_and_goes_without_a_trace() {
    let s = Scenario::shared("lifecycle").await;
    let db = s.ready("db", replication(3)).await;
    let primary = db.one_primary().await;

    let status = db.status().await;
    assert_eq!(status.ready_replicas, 3);
    assert_eq!(status.replicas, 3);
    assert_eq!(status.summary.as_deref(), Some("3/3"));
    assert!(status.blockers.is_empty(), "{:?}", status.blockers);
    assert!(
        status
            .version
            .as_deref()
            .is_some_and(|v| v.starts_with("Redis 8.0"))
    );
    let row = kubectl(&["-n", &s.namespace, "get", "redis", "db", "--no-headers"])
        .await
        .unwrap();
    let words: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(
        words[..5],
        ["db", "True", "AllInstancesReady", "3/3", &primary]
    );

    clients_log_in_with_the_connection_secret(&db).await;
    hera_cannot_touch_the_data(&db, &primary).await;
    pods_are_restricted(&db).await;
    until("the disruption budget lets one pod go", SOON, || async {
        let budgets = db.list::<PodDisruptionBudget>().await;
        let status = budgets.first().and_then(|b| b.status.clone());
        ensure(
            status.as_ref().is_some_and(|s| s.disruptions_allowed == 1),
            || format!("{status:?}"),
        )
    })
    .await;
    db.event("AllInstancesReady").await;
    db.no_event(&[
        "FailingOver",
        "InstanceUnresponsiveDeleted",
        "SecondPrimaryDemoted",
    ])
    .await;

    db.delete().await;
    until("everything is gone", SOON, || async {
        let left = left_of(&db).await;
        ensure(left.is_empty(), || left.join(", "))
    })
    .await;
}

async fn clients_log_in_with_the_connection_secret(db: &Database) {
    let name = format!("{}-connection", db.name);
    assert_eq!(
        db.secret(&name, "host").await,
        format!("{}.{}.svc", db.name, db.namespace)
    );
    assert_eq!(db.secret(&name, "port").await, "6379");
    assert_eq!(db.secret(&name, "username").await, "default");
    let password = db.password().await;
    assert_eq!(
        db.secret(&name, "uri").await,
        format!(
            "redis://default:{password}@{}.{}.svc:6379/0",
            db.name, db.namespace
        )
    );
    let primary = db.primary_endpoint().await;
    db.set("hello", "world").await;
    let replicas = db.service_endpoint(&format!("{}-replicas", db.name)).await;
    until("the write is read from a replica", SOON, || async {
        let value: Option<String> = replicas
            .ask(&["GET", "hello"])
            .await
            .map_err(|e| e.to_string())?;
        ensure(value.as_deref() == Some("world"), || format!("{value:?}"))
    })
    .await;
    let refused = replicas.ask::<String>(&["SET", "hello", "there"]).await;
    assert_eq!(kind(&refused.unwrap_err()), "READONLY");
    let stranger = Endpoint {
        password: "wrong".into(),
        ..primary
    };
    assert!(stranger.ask::<String>(&["PING"]).await.is_err());
}

async fn hera_cannot_touch_the_data(db: &Database, primary: &str) {
    let hera = Endpoint {
        user: "hera".into(),
        password: db
            .secret(&format!("{}-credentials", db.name), "operator-password")
            .await,
        ..db.server(primary).await
    };
    assert_eq!(hera.role().await.unwrap(), "master");
    for forbidden in [
        &["GET", "hello"][..],
        &["SET", "hello", "x"],
        &["DEL", "hello"],
        &["KEYS", "*"],
        &["FLUSHALL"],
        &["FLUSHDB"],
        &["EVAL", "return 1", "0"],
        &["ACL", "LIST"],
    ] {
        let refused = hera.ask::<redis::Value>(forbidden).await.unwrap_err();
        assert_eq!(kind(&refused), "NOPERM", "{forbidden:?}: {refused}");
    }
}

/// The namespace enforces the restricted Pod Security Standard already; this is what it leaves open.
async fn pods_are_restricted(db: &Database) {
    for pod in db.list::<Pod>().await {
        let spec = pod.spec.unwrap();
        assert_eq!(spec.automount_service_account_token, Some(false));
        for container in spec.containers {
            let security = container.security_context.unwrap();
            assert_eq!(security.read_only_root_filesystem, Some(true));
        }
    }
}

async fn left_of(db: &Database) -> Vec<String> {
    let mut left = Vec::new();
    macro_rules! look {
        ($($kind:ident)*) => {$(
            left.extend(db.list::<$kind>().await.iter().map(|o| format!("{}/{}", stringify!($kind), o.name_any())));
        )*};
    }
    look!(StatefulSet Pod Service EndpointSlice ConfigMap Secret PodDisruptionBudget);
    left
}
