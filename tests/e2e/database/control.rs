//! Annotations that hold Hera back.

use std::time::Duration;

use serde_json::json;

use crate::support::database::{Database, replication};
use crate::support::scenario::Scenario;
use crate::support::wait::{SOON, ensure, stays, until};

/// Nothing of a paused database is changed.
#[tokio::test]
async fn paused_and_resumed() {
    let s = Scenario::shared("pause").await;
    let db = s.ready("db", replication(2)).await;
    let uids = db.uids().await;
    db.annotate("hera.dev/reconcile", Some("paused")).await;
    db.wait_for("Paused", "True", &["Paused"]).await;
    db.patch(json!({"spec": {"config": {"maxclients": "1234"}, "image": "localhost/redis:8.0"}}))
        .await;
    nothing_changes(&db, &uids).await;
    db.annotate("hera.dev/reconcile", None).await;
    db.ready().await;
    let primary = db.one_primary().await;
    assert_eq!(
        db.server(&primary)
            .await
            .config("maxclients")
            .await
            .unwrap(),
        "1234"
    );
    assert!(db.uids().await.iter().all(|(pod, uid)| uids[pod] != *uid));
}

/// The plan is shown, and carried out only when the annotation goes.
#[tokio::test]
async fn only_the_plan_is_shown() {
    let s = Scenario::shared("plan").await;
    let db = s.ready("db", replication(2)).await;
    let uids = db.uids().await;
    db.annotate("hera.dev/plan-only", Some("true")).await;
    db.wait_for("Paused", "True", &["PlanOnly"]).await;
    db.patch(json!({"spec": {"config": {"maxclients": "1234"}}}))
        .await;
    until("the plan is shown", SOON, || async {
        let plan = db.status().await.plan;
        ensure(plan.iter().any(|step| step.contains("maxclients")), || {
            format!("{plan:?}")
        })
    })
    .await;
    nothing_changes(&db, &uids).await;
    db.annotate("hera.dev/plan-only", None).await;
    db.ready().await;
    let primary = db.primary().await;
    assert_eq!(
        db.server(&primary)
            .await
            .config("maxclients")
            .await
            .unwrap(),
        "1234"
    );
    assert!(db.status().await.plan.is_empty());
}

async fn nothing_changes(db: &Database, uids: &std::collections::BTreeMap<String, String>) {
    stays("nothing is changed", Duration::from_secs(5), || async {
        let now = db.uids().await;
        ensure(now == *uids, || format!("{now:?}"))?;
        for pod in now.into_keys() {
            let value = db.server(&pod).await.config("maxclients").await?;
            ensure(value != "1234", || format!("{pod} was configured"))?;
        }
        Ok(())
    })
    .await;
}
