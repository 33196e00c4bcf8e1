//! The primary hands over on purpose: not one acknowledged write is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;

use crate::support::database::{Database, replication};
use crate::support::faults::{delete_pod, evict};
use crate::support::hera::is_ready;
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, SOON, ensure, until};
use crate::support::witness::Witness;
use crate::support::writer::Writer;

/// A database under load whose primary will hand over.
struct Act {
    s: Scenario,
    db: Database,
    old: String,
    uids: BTreeMap<String, String>,
    writer: Writer,
    witness: Witness,
}

impl Act {
    async fn begin(name: &'static str) -> Self {
        let s = Scenario::shared(name).await;
        let db = s.ready("db", replication(3)).await;
        let writer = Writer::start(&db).await;
        let witness = Witness::start(&db).await;
        writer.more(100).await;
        Self {
            old: db.primary().await,
            uids: db.uids().await,
            s,
            db,
            writer,
            witness,
        }
    }

    /// All is well again, and nothing was lost.
    async fn end(self, what: &str) -> (Scenario, Database, String) {
        let new = self.db.another_primary(&self.old).await;
        self.writer.more(100).await;
        self.db.event("HandOverCompleted").await;
        self.db.ready().await;
        let report = self.writer.finish().await;
        self.s.report(&format!("{what}: {report}"));
        assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
        assert!(report.gap < Duration::from_secs(15), "{report}");
        assert_eq!(self.db.one_primary().await, new);
        assert_eq!(self.witness.tenures(), [self.old, new.clone()]);
        self.db
            .no_event(&["FailingOver", "HandOverFailed", "DataSetEmpty"])
            .await;
        (self.s, self.db, new)
    }
}

#[tokio::test]
async fn the_pod_of_the_primary_is_evicted() {
    let act = Act::begin("evict").await;
    let (old, uids) = (act.old.clone(), act.uids.clone());
    evict(&act.db, &old).await;
    let (_s, db, _) = act.end("eviction of the primary").await;
    assert_ne!(db.uids().await[&old], uids[&old], "its pod is another one");
}

#[tokio::test]
async fn the_pod_of_the_primary_is_deleted() {
    let act = Act::begin("delete").await;
    let (old, uids) = (act.old.clone(), act.uids.clone());
    delete_pod(&act.db, &old).await;
    let (_s, db, _) = act.end("deletion of the primary's pod").await;
    assert_ne!(db.uids().await[&old], uids[&old], "its pod is another one");
}

#[tokio::test]
async fn the_annotation_names_a_replica() {
    let act = Act::begin("switchover").await;
    let uids = act.uids.clone();
    let wanted = uids.keys().rfind(|pod| **pod != act.old).cloned();
    let wanted = wanted.expect("a replica");
    act.db
        .annotate("redis.hera.dev/switchover", Some(&wanted))
        .await;
    let (_s, db, new) = act.end("hand-over by annotation").await;
    assert_eq!(new, wanted);
    assert_eq!(db.uids().await, uids, "no pod was replaced");
}

/// As `kubectl drain` does it on a cluster with one node: every pod is evicted, one after the other, as the budget allows.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn every_pod_is_drained() {
    let act = Act::begin("drain").await;
    let (db, uids) = (act.db.clone(), act.uids.clone());
    for pod in uids.keys() {
        evict(&db, pod).await;
        until(&format!("{pod} is another one and Ready"), LONG, || async {
            let found: Pod = db.api().get(pod).await.map_err(|e| e.to_string())?;
            ensure(
                found.uid().as_ref() != uids.get(pod) && is_ready(&found),
                || "not yet".into(),
            )
        })
        .await;
    }
    act.writer.more(100).await;
    db.ready().await;
    let report = act.writer.finish().await;
    act.s.report(&format!("drain of all pods: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    let primary = db.one_primary().await;
    let tenures = act.witness.tenures();
    assert_eq!(tenures.last(), Some(&primary));
    assert!(tenures.len() <= uids.len() + 1, "{tenures:?}");
    db.no_event(&["FailingOver", "DataSetEmpty"]).await;
}

/// The second pod has to wait for the first one's successor: the client asks again as long as it is refused.
#[tokio::test]
async fn the_budget_lets_only_one_pod_go() {
    let s = Scenario::shared("budget").await;
    let db = s.ready("db", replication(3)).await;
    until("one pod may go", SOON, || async {
        let budget: PodDisruptionBudget = db.api().get("db").await.map_err(|e| e.to_string())?;
        let allowed = budget.status.map(|s| s.disruptions_allowed);
        ensure(allowed == Some(1), || format!("{allowed:?}"))
    })
    .await;
    let (primary, uids) = (db.primary().await, db.uids().await);
    let replicas: Vec<&String> = uids.keys().filter(|pod| **pod != primary).collect();
    for replica in &replicas {
        evict(&db, replica).await;
    }
    let first = db.pod(replicas[0]).await;
    assert_ne!(first.uid().as_ref(), uids.get(replicas[0]));
    assert!(is_ready(&first), "{:?}", first.status);
    db.ready().await;
    db.no_event(&["FailingOver", "HandingOver"]).await;
}
