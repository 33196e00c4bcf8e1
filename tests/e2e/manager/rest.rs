//! At rest nothing is written, and a new version of Hera restarts no database.

use std::time::Duration;

use serde_json::json;

use super::absence::quiet;
use crate::support::database::{Database, replication, standalone, with};
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::snapshot;
use crate::support::wait::{ensure, stays};

#[tokio::test]
async fn nothing_is_written_for_a_minute() {
    let s = Scenario::alone("rest").await;
    let spec = with(replication(3), json!({"config": {"maxclients": "500"}}));
    let databases = [
        s.ready("one", spec).await,
        s.ready(
            "two",
            with(
                standalone(),
                json!({"storage": {"size": "1Gi", "whenDeleted": "Delete"}}),
            ),
        )
        .await,
    ];
    rests(&s, &databases, Duration::from_secs(60)).await;
}

#[tokio::test]
#[ignore = "takes more than ten minutes"]
async fn nothing_is_written_for_ten_minutes() {
    let s = Scenario::alone("rest-long").await;
    let one = s.ready("db", replication(3)).await;
    rests(&s, &[one], Duration::from_secs(600)).await;
}

#[tokio::test]
#[ignore = "takes more than ten minutes"]
async fn nothing_is_written_for_fifty_databases_for_ten_minutes() {
    let s = Scenario::alone("rest-fifty").await;
    let tiny = json!({
        "mode": "Standalone",
        "resources": {"requests": {"cpu": "1m", "memory": "8Mi"}, "limits": {"memory": "32Mi"}},
    });
    let mut databases = Vec::new();
    for number in 0..50 {
        databases.push(s.create(&format!("db-{number:02}"), tiny.clone()).await);
    }
    for database in &databases {
        database.ready().await;
    }
    rests(&s, &databases, Duration::from_secs(600)).await;
}

async fn rests(s: &Scenario, databases: &[Database], period: Duration) {
    quiet(databases).await;
    let leader = hera::leader(&s.client).await.expect("a leader");
    let before = snapshot::of_all(databases).await;
    let metrics = hera::metrics(&leader).await;
    let writes = hera::sum(&metrics, "hera_api_writes_total", &[]);
    let calls = hera::sum(&metrics, "rest_client_requests_total", &[]);
    stays("at rest", period, || async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        let changed = snapshot::difference(&before, &snapshot::of_all(databases).await);
        ensure(changed.is_empty(), || format!("{changed:?}"))
    })
    .await;
    let metrics = hera::metrics(&leader).await;
    let since = hera::sum(&metrics, "hera_api_writes_total", &[]) - writes;
    assert!(since == 0.0, "{since} writes: {metrics:?}");
    let calls = hera::sum(&metrics, "rest_client_requests_total", &[]) - calls;
    s.report(&format!(
        "{} databases at rest for {} s: no write, {calls} calls, the Lease's included",
        databases.len(),
        period.as_secs()
    ));
    assert_eq!(
        hera::leader(&s.client).await.as_ref(),
        Ok(&leader),
        "the leader stayed"
    );
}

/// Both pods of Hera are replaced, one after the other; the databases do not notice.
#[tokio::test]
async fn an_upgrade_restarts_no_database() {
    let s = Scenario::alone("upgrade").await;
    let databases = [
        s.ready("one", replication(2)).await,
        s.ready("two", standalone()).await,
    ];
    quiet(&databases).await;
    let before = snapshot::of_all(&databases).await;
    let pods = hera::pods(&s.client).await;
    let other = format!(
        "podAnnotations.upgraded={}",
        jiff::Timestamp::now().as_second()
    );
    hera::helm_upgrade(&[&other])
        .await
        .expect("the release is upgraded");
    hera::settled(&s.client, hera::REPLICAS).await;
    let now = hera::pods(&s.client).await;
    let kept = now
        .iter()
        .any(|n| pods.iter().any(|p| p.metadata.uid == n.metadata.uid));
    assert!(!kept, "Hera's pods were replaced");
    for database in &databases {
        database.ready().await;
    }
    quiet(&databases).await;
    let changed = snapshot::difference(&before, &snapshot::of_all(&databases).await);
    assert!(changed.is_empty(), "{changed:?}");
}
