//! Plans of mode Replication.

use std::collections::BTreeSet;

use serde_json::json;

use super::all_replaced;
use super::hera::Hera;
use crate::support::database::{Database, replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::snapshot;
use crate::support::wait::{SOON, ensure, until};
use crate::support::writer::Writer;

/// Kind and name of everything that belongs to a database, without its own name and what Kubernetes puts behind one.
async fn objects(db: &Database) -> BTreeSet<String> {
    let all = snapshot::of(db).await;
    let own = |key: String| {
        let name = key.replace(&db.namespace, "").replace(&db.name, "*");
        let random = name.rsplit_once('-').filter(|(_, end)| end.len() == 5);
        let slice = random.filter(|_| name.contains("/EndpointSlice/"));
        slice.map_or(name.clone(), |(name, _)| name.to_owned())
    };
    all.into_keys().map(own).collect()
}

/// A database that is made while something goes wrong is what it is without.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn it_is_made() {
    let s = Scenario::alone("fault-create").await;
    let hera = Hera::start(&s).await;
    let spec = || with(replication(2), json!({"storage": {"size": "1Gi"}}));
    let calm = s.ready("calm", spec()).await;
    calm.ready().await;
    let wanted = objects(&calm).await;
    let plans = [
        ("PATCH statefulsets.apps", "crash-after@1"),
        ("PATCH secrets", "error=500@1"),
        ("REPLICAOF NO ONE", "lost-reply@1"),
        ("PATCH redises.redis.hera.dev", "drop=pods@1"),
    ];
    for (n, (at, fault)) in plans.into_iter().enumerate() {
        hera.plan(at, fault);
        let db = s.create(&format!("made{n}"), spec()).await;
        hera.done(&db).await;
        db.one_primary().await;
        assert_eq!(objects(&db).await, wanted, "{at} {fault}");
    }
    hera.stop().await;
}

/// One change after the other, with something that goes wrong in each: no write is lost, and no pod is replaced that should live.
#[tokio::test]
async fn it_changes() {
    let s = Scenario::alone("fault-change").await;
    let hera = Hera::start(&s).await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let (wanted, uids) = (objects(&db).await, db.uids().await);
    let writer = Writer::start(&db).await;

    for (at, fault) in [
        ("FAILOVER TO", "crash-after@1"),
        ("FAILOVER TO", "crash-before@1"),
        ("PATCH redises.redis.hera.dev", "lost-reply@1"),
    ] {
        let from = db.primary().await;
        let to = uids.keys().find(|pod| **pod != from).expect("a replica");
        hera.plan(at, fault);
        db.annotate("redis.hera.dev/switchover", Some(to)).await;
        db.primary_becomes(to).await;
        hera.done(&db).await;
        assert_eq!(db.one_primary().await, *to, "{at} {fault}");
        assert_eq!(db.uids().await, uids, "{at} {fault}");
        writer.more(50).await;
    }
    db.annotate("redis.hera.dev/switchover", None).await;

    hera.plan("ACL SETUSER", "crash-after@2");
    let before = db.password().await;
    db.annotate("redis.hera.dev/rotate-password", Some("default=1"))
        .await;
    until("a new password is published", SOON, || async {
        ensure(db.password().await != before, || "not yet".into())
    })
    .await;
    writer.move_to(db.primary_endpoint().await);
    hera.done(&db).await;
    db.annotate("redis.hera.dev/rotate-password", None).await;
    until("nothing is left of the rotation", SOON, || async {
        let present = objects(&db).await;
        ensure(present == wanted, || format!("{present:?}"))
    })
    .await;
    assert_eq!(db.uids().await, uids, "no pod is replaced");

    hera.plan("DELETE pods", "lost-reply@1");
    db.annotate("hera.dev/restarted-at", Some("now")).await;
    all_replaced(&db, &uids).await;
    hera.done(&db).await;
    assert_eq!(objects(&db).await, wanted);
    let uids = db.uids().await;

    hera.plan("PATCH statefulsets.apps", "crash-after@1");
    db.patch(json!({"spec": {"replicas": 2}})).await;
    hera.done(&db).await;
    until("the pod is gone, and no other", SOON, || async {
        let left = db.uids().await;
        let kept = uids.iter().filter(|(pod, _)| *pod != "db-2");
        let right = left.iter().eq(kept);
        ensure(right, || format!("{left:?} are left of {uids:?}"))
    })
    .await;
    db.one_primary().await;

    let report = writer.finish().await;
    s.report(&format!("changes with faults: {report}"));
    assert!(report.lost.is_empty(), "{report}");
    hera.stop().await;
}

/// The primary dies, and something goes wrong in the failover.
#[tokio::test]
async fn it_fails_over() {
    let s = Scenario::alone("fault-failover").await;
    let hera = Hera::start(&s).await;
    let db = s.ready("db", with(replication(3), killable())).await;
    let (wanted, uids) = (objects(&db).await, db.uids().await);
    for (at, fault) in [
        ("PATCH redises.redis.hera.dev", "crash-after@1"),
        ("REPLICAOF NO ONE", "lost-reply@1"),
    ] {
        let old = db.primary().await;
        db.set(fault, at).await;
        // What one client wrote is with the replicas before the primary dies.
        let server = db.server(&old).await;
        let copies: i64 = server.ask(&["WAIT", "2", "5000"]).await.expect("an answer");
        assert_eq!(copies, 2, "{fault}");
        hera.plan(at, fault);
        signal(&db, &old, "KILL").await;
        let new = db.another_primary(&old).await;
        hera.done(&db).await;
        assert_eq!(db.one_primary().await, new, "{fault}");
        assert_eq!(value(&db.server(&new).await, fault).await, at);
        assert_eq!(db.uids().await, uids, "no pod is replaced: {fault}");
        assert_eq!(objects(&db).await, wanted, "{fault}");
    }
    hera.stop().await;
}

async fn value(server: &Endpoint, key: &str) -> String {
    server.ask(&["GET", key]).await.expect("a value")
}
