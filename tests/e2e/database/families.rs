//! Addresses of both families.

use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::Api;
use kube::api::ListParams;
use serde_json::json;

use crate::support::database::{Database, replication, with};
use crate::support::faults::delete_pod;
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::wait::{LONG, SOON, ensure, until};
use crate::support::writer::Writer;

/// Clients that speak IPv6 reach the primary, also the next one.
#[tokio::test]
async fn services_of_both_families_lead_to_the_primary() {
    let s = Scenario::shared("dual").await;
    let nodes = Api::<Node>::all(s.client.clone());
    let nodes = nodes.list(&ListParams::default()).await.expect("the nodes");
    let addresses = nodes
        .iter()
        .flat_map(|n| n.status.iter().flat_map(|s| s.addresses.iter().flatten()));
    if !addresses.into_iter().any(|a| a.address.contains(':')) {
        return s.report("left out: the cluster has no IPv6");
    }
    let services =
        json!({"services": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}});
    let db = s.ready("db", with(replication(3), services)).await;
    for service in db.list::<Service>().await {
        let families = service.spec.and_then(|s| s.ip_families).unwrap_or_default();
        assert_eq!(families, ["IPv4", "IPv6"]);
    }
    let six = over_ipv6(&db).await;
    let writer = Writer::start(&db).await;
    for round in ["1", "2"] {
        leads_to_the_primary(&db, &six).await;
        let written: String = six.ask(&["SET", "round", round]).await.expect("a write");
        assert_eq!(written, "OK");
        let old = db.primary().await;
        delete_pod(&db, &old).await;
        db.another_primary(&old).await;
        db.ready().await;
        let kept: String = six.ask(&["GET", "round"]).await.expect("a read");
        assert_eq!(kept, round);
    }
    writer.more(50).await;
    let report = writer.finish().await;
    assert!(report.lost.is_empty(), "{report}: {:?}", report.lost);

    // One family again: nothing of the other is left.
    db.patch(
        json!({"spec": {"services": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}}}),
    )
    .await;
    until("the slices of IPv6 are gone", SOON, || async {
        let slices = db.list::<EndpointSlice>().await;
        let types: Vec<String> = slices.into_iter().map(|s| s.address_type).collect();
        ensure(types.iter().all(|t| t == "IPv4"), || format!("{types:?}"))
    })
    .await;
    db.ready().await;
}

async fn over_ipv6(db: &Database) -> Endpoint {
    let service: Service = db.api().get(&db.name).await.expect("the Service");
    let all = service.spec.and_then(|s| s.cluster_ips).unwrap_or_default();
    Endpoint {
        host: all
            .into_iter()
            .find(|ip| ip.contains(':'))
            .expect("an IPv6 address"),
        ..db.primary_endpoint().await
    }
}

async fn leads_to_the_primary(db: &Database, six: &Endpoint) {
    until("IPv6 leads to the primary", LONG, || async {
        let role = six.role().await?;
        let id = six.info("server", "run_id").await?;
        let primary = db.status().await.primary.ok_or("no primary")?;
        let same = db.server(&primary).await.info("server", "run_id").await?;
        ensure(role == "master" && id == same, || role.clone())
    })
    .await;
}
