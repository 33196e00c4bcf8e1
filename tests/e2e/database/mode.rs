//! A single server becomes a primary with replicas, and again a single server.

use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::json;

use crate::support::database::{Database, standalone, with};
use crate::support::scenario::Scenario;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::Writer;

#[tokio::test]
async fn from_one_server_to_three_and_back() {
    let s = Scenario::shared("mode").await;
    let storage = json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}});
    let db = s.ready("db", with(standalone(), storage)).await;
    let uid = db.uids().await["db-0"].clone();
    let writer = Writer::start(&db).await;
    writer.more(50).await;

    db.patch(json!({"spec": {"mode": "Replication", "replicas": 3}}))
        .await;
    until("the first pod is restarted too", LONG, || async {
        let pods = db.uids().await;
        ensure(pods.len() == 3 && pods["db-0"] != uid, || {
            format!("{pods:?}")
        })
    })
    .await;
    db.ready().await;
    writer.more(50).await;
    let primary = db.one_primary().await;
    leads_only_to(&db, &primary).await;

    db.patch(json!({"spec": {"mode": "Standalone", "replicas": 1}}))
        .await;
    until("one pod is left, and was restarted", LONG, || async {
        let pods = db.pods().await;
        let gates = pods
            .get("db-0")
            .and_then(|p| p.spec.as_ref()?.readiness_gates.clone());
        ensure(pods.len() == 1 && gates.is_none(), || {
            format!("{:?}", pods.keys().collect::<Vec<_>>())
        })
    })
    .await;
    db.ready().await;
    writer.more(50).await;
    leads_only_to(&db, "db-0").await;
    let report = writer.finish().await;
    s.report(&format!("mode changed there and back: {report}"));
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);
    db.no_event(&["FailingOver", "DataSetEmpty"]).await;
}

/// The slices of the primary's Service, whoever wrote them, name this pod and no other.
async fn leads_only_to(db: &Database, pod: &str) {
    until("the Service leads to the primary alone", LONG, || async {
        let slices = db.list::<EndpointSlice>().await;
        let of_service = slices.iter().filter(|slice| {
            let labels = slice.metadata.labels.as_ref();
            labels.and_then(|l| l.get("kubernetes.io/service-name")) == Some(&db.name)
        });
        let names: Vec<_> = of_service
            .flat_map(|slice| &slice.endpoints)
            .filter_map(|e| e.target_ref.as_ref()?.name.clone())
            .collect();
        ensure(names == [pod], || format!("{names:?}"))
    })
    .await;
}
