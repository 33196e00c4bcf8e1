//! Mode Sentinel: sentinels fail over, Hera follows and hands over by them, and heals them.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::support::database::{Database, replication, standalone, with};
use crate::support::faults::{delete_pod, evict, killable, signal};
use crate::support::hera;
use crate::support::replacements::Replacements;
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::watch::{commands, told, watched};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

fn sentinel() -> Value {
    with(replication(3), json!({"mode": "Sentinel"}))
}

async fn delete_by_force(db: &Database, pods: &[String]) {
    for pod in pods {
        let now = DeleteParams::default().grace_period(0);
        let deleted = db.api::<Pod>().delete(pod, &now).await;
        deleted.expect("the pod is deleted");
    }
}

async fn all_replaced(db: &Database, before: &BTreeSet<String>) {
    until("every pod is another one", LONG, || async {
        let mut now = db.pods().await;
        now.extend(db.sentinels().await);
        let kept = now
            .values()
            .filter(|p| before.contains(&p.uid().unwrap_or_default()));
        let kept = kept.count();
        ensure(kept == 0 && now.len() == before.len(), || {
            format!("{kept} of {} kept", now.len())
        })
    })
    .await;
}

async fn all_uids(db: &Database) -> BTreeSet<String> {
    let mut pods = db.pods().await;
    pods.extend(db.sentinels().await);
    pods.values().filter_map(ResourceExt::uid).collect()
}

/// It restarts in place with nothing, before any sentinel takes it for lost.
#[tokio::test]
async fn the_process_of_a_watched_primary_is_killed() {
    let s = Scenario::shared("sentinel-kill").await;
    let db = s.ready("db", with(sentinel(), killable())).await;
    let old = watched(&db, 2).await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(100).await;

    signal(&db, &old, "KILL").await;

    let new = db.another_primary(&old).await;
    writer.more(100).await;
    assert_eq!(watched(&db, 2).await, new);
    assert_eq!(db.one_primary().await, new);
    let report = writer.finish().await;
    s.report(&format!("kill -9 of a primary without a volume: {report}"));
    assert!(report.lost.len() <= report.acknowledged / 20, "{report}");
    assert_eq!(witness.tenures(), [old, new]);
    db.event("FailoverCompleted").await;
    db.no_event(&["DataSetEmpty", "SecondPrimaryDemoted"]).await;
    for pod in db.sentinels().await.values() {
        let sent = commands(&db, pod).await;
        assert!(!sent.contains_key("sentinel|reset"), "{sent:?}");
    }
}

#[tokio::test]
async fn a_watched_primary_is_deleted_and_evicted() {
    handed_over("sentinel-leave", sentinel()).await;
}

/// Its sentinels let the servers hand over by themselves.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn a_watched_primary_of_valkey_is_deleted_and_evicted() {
    let valkey = json!({"engine": "Valkey", "image": "localhost/valkey:9"});
    handed_over("sentinel-valkey", with(sentinel(), valkey)).await;
}

async fn handed_over(name: &'static str, spec: Value) {
    let s = Scenario::shared(name).await;
    let db = s.ready("db", spec).await;
    let first = watched(&db, 2).await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    writer.more(50).await;
    delete_pod(&db, &first).await;
    db.another_primary(&first).await;
    let second = watched(&db, 2).await;
    evict(&db, &second).await;
    db.another_primary(&second).await;
    let third = watched(&db, 2).await;
    writer.more(50).await;
    let wanted = db.pods().await.into_keys().find(|pod| *pod != third);
    let wanted = wanted.expect("a replica");
    db.annotate("redis.hera.dev/switchover", Some(&wanted))
        .await;
    db.primary_becomes(&wanted).await;
    assert_eq!(watched(&db, 2).await, wanted);
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("deletion, eviction and switch-over: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert_eq!(witness.tenures(), [first, second, third, wanted]);
    db.event("HandOverCompleted").await;
    db.no_event(&["FailingOver", "HandOverFailed"]).await;
}

#[tokio::test]
async fn all_sentinels_and_the_primary_are_deleted_together() {
    let s = Scenario::shared("sentinel-all").await;
    let db = s.ready("db", sentinel()).await;
    let old = watched(&db, 2).await;
    let writer = Writer::start(&db).await;
    writer.more(100).await;
    let mut pods: Vec<String> = db.sentinels().await.into_keys().collect();
    pods.push(old.clone());
    delete_by_force(&db, &pods).await;
    db.another_primary(&old).await;
    watched(&db, 2).await;
    writer.more(100).await;
    let report = writer.finish().await;
    s.report(&format!(
        "all sentinels and the primary deleted by force: {report}"
    ));
    assert!(report.lost.len() <= report.acknowledged / 20, "{report}");
    db.no_event(&["DataSetEmpty"]).await;
}

#[tokio::test]
async fn a_watched_database_is_rolled_under_load() {
    let s = Scenario::shared("sentinel-roll").await;
    let db = s.ready("db", sentinel()).await;
    let old = watched(&db, 2).await;
    let before = all_uids(&db).await;
    let writer = Writer::start(&db).await;
    let witness = Witness::start(&db).await;
    let replacements = Replacements::start(&db).await;
    writer.more(50).await;
    db.annotate("hera.dev/restarted-at", Some("2026-01-01T00:00:00Z"))
        .await;
    all_replaced(&db, &before).await;
    watched(&db, 2).await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("rolling change under sentinels: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    let order = replacements.order();
    assert_eq!((order.len(), order.last()), (3, Some(&old)), "{order:?}");
    assert_eq!(replacements.most_missing(), 1, "one pod at a time");
    assert_eq!(witness.tenures().len(), 2, "one change of the primary");
    db.no_event(&["FailingOver", "HandOverFailed"]).await;
}

/// There and back without a restart, since servers start alike in both modes.
#[tokio::test]
async fn from_replication_to_sentinel_and_back() {
    let s = Scenario::shared("sentinel-mode").await;
    let db = s.ready("db", replication(3)).await;
    let uids = db.uids().await;
    let writer = Writer::start(&db).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"mode": "Sentinel"}})).await;
    let primary = watched(&db, 2).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"mode": "Replication"}})).await;
    until("the sentinels are gone", LONG, || async {
        let left = db.sentinels().await.len();
        ensure(left == 0, || format!("{left} are left"))
    })
    .await;
    db.ready().await;
    assert_eq!(db.one_primary().await, primary);
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("Replication to Sentinel and back: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    assert_eq!(db.uids().await, uids, "no server was restarted");
    db.no_event(&["FailingOver", "HandingOver"]).await;
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn from_one_server_to_sentinel_and_back() {
    let s = Scenario::shared("sentinel-one").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s.ready("db", with(standalone(), storage)).await;
    let writer = Writer::start(&db).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"mode": "Sentinel", "replicas": 3}}))
        .await;
    watched(&db, 2).await;
    writer.more(50).await;
    db.patch(json!({"spec": {"mode": "Standalone", "replicas": 1}}))
        .await;
    until("one pod is left, and was restarted", LONG, || async {
        let pods = db.pods().await;
        let gates = pods
            .get("db-0")
            .and_then(|p| p.spec.as_ref()?.readiness_gates.clone());
        let sentinels = db.sentinels().await.len();
        ensure(pods.len() == 1 && gates.is_none() && sentinels == 0, || {
            format!(
                "{:?}, {sentinels} sentinels",
                pods.keys().collect::<Vec<_>>()
            )
        })
    })
    .await;
    db.ready().await;
    writer.more(50).await;
    let report = writer.finish().await;
    s.report(&format!("Standalone to Sentinel and back: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["FailingOver", "DataSetEmpty"]).await;
}

/// Addresses are given anew; sentinels of one database never take those of the other for their own.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn two_databases_are_restarted_whole() {
    let s = Scenario::shared("sentinel-two").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let one = s.create("one", with(sentinel(), storage.clone())).await;
    let two = s.create("two", with(sentinel(), storage)).await;
    for db in [&one, &two] {
        watched(db, 2).await;
        db.set("whose", &db.name).await;
    }
    let before = [all_uids(&one).await, all_uids(&two).await];
    for db in [&one, &two] {
        let mut pods: Vec<String> = db.pods().await.into_keys().collect();
        pods.extend(db.sentinels().await.into_keys());
        delete_by_force(db, &pods).await;
    }
    for (db, before) in [&one, &two].into_iter().zip(&before) {
        all_replaced(db, before).await;
        let primary = watched(db, 2).await;
        let value: String = db
            .server(&primary)
            .await
            .ask(&["GET", "whose"])
            .await
            .expect("a read");
        assert_eq!(value, db.name);
        db.no_event(&["DataSetEmpty"]).await;
    }
}

/// Hera is away: the sentinels fail over by themselves, and it follows them when it is back.
#[tokio::test]
async fn sentinels_fail_over_while_hera_is_away() {
    let s = Scenario::alone("sentinel-alone").await;
    let db = s.ready("db", sentinel()).await;
    let old = watched(&db, 2).await;
    let writer = Writer::start(&db).await;
    writer.more(50).await;
    hera::scale(&s.client, 0).await;
    delete_by_force(&db, std::slice::from_ref(&old)).await;
    let pods = db.sentinels().await;
    let sentinel = pods.values().next().expect("a sentinel");
    let new = until("the sentinels name another primary", LONG, || async {
        let told = told(&db, sentinel).await?;
        ensure(told != old, || format!("they name {told}"))?;
        Ok(told)
    })
    .await;
    until("it takes writes", LONG, || async {
        let server = db.server(&new).await;
        let set = server.ask::<String>(&["SET", "meanwhile", "yes"]);
        set.await.map_err(|e| e.to_string())
    })
    .await;
    hera::scale(&s.client, hera::REPLICAS).await;
    assert_eq!(watched(&db, 2).await, new);
    assert_eq!(db.one_primary().await, new);
    writer.more(50).await;
    let value: String = db
        .server(&old)
        .await
        .ask(&["GET", "meanwhile"])
        .await
        .expect("a read");
    assert_eq!(value, "yes");
    let report = writer.finish().await;
    s.report(&format!("failover without Hera: {report}"));
    db.no_event(&["DataSetEmpty", "SecondPrimaryDemoted"]).await;
}
