//! The runbooks, command by command, where possible in the trouble that they are for.

use k8s_openapi::api::storage::v1::StorageClass;
use kube::Api;
use serde_json::{Value, json};

use crate::support::cluster::kubectl;
use crate::support::database::{Database, replication, with};
use crate::support::faults::{killable, signal};
use crate::support::scenario::Scenario;
use crate::support::shell::{Shell, blocks_above, blocks_below};
use crate::support::wait::{LONG, SOON, until};
use crate::support::writer::Writer;

const PAGE: &str = "docs/runbooks.md";

async fn follow(s: &Scenario, heading: &str) {
    let shell = Shell::new(s).await;
    let commands = blocks_below(PAGE, heading, "sh");
    assert!(commands.len() > 1);
    for command in commands {
        let said = shell.types(&command).await;
        assert!(!said.is_empty(), "{command}");
    }
}

fn with_volumes(class: &str, replicas: i32) -> Value {
    let storage = json!({"size": "1Gi", "storageClassName": class, "whenDeleted": "Delete"});
    with(
        replication(replicas),
        with(killable(), json!({"storage": storage})),
    )
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn failover() {
    let s = Scenario::shared("runbook-failover").await;
    let db = s.ready("example", with_volumes("local", 3)).await;
    let shell = Shell::new(&s).await;
    for command in blocks_above(PAGE, "sh") {
        shell.types(&command).await;
    }
    let writer = Writer::start(&db).await;
    let primary = db.primary().await;
    signal(&db, &primary, "KILL").await;
    db.another_primary(&primary).await;
    follow(&s, "Failover").await;
    db.ready().await;
    writer.more(10).await;
}

#[tokio::test]
async fn quorum_loss_and_restore_of_a_shard() {
    let s = Scenario::shared("runbook-quorum").await;
    let small = json!({
        "mode": "Cluster", "shards": 3, "replicasPerShard": 1,
        "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "96Mi"}},
    });
    let db = s.ready("sharded", with(small, killable())).await;
    let shards = db.status().await.shards;
    let primaries: Vec<String> = shards.into_iter().filter_map(|s| s.primary).collect();
    for primary in &primaries[..2] {
        signal(&db, primary, "KILL").await;
    }
    follow(&s, "Quorum loss").await;
    follow_any(&s, "Restore of a shard").await;
    db.ready().await;
}

/// The same, where commands may have nothing to say.
async fn follow_any(s: &Scenario, heading: &str) {
    let shell = Shell::new(s).await;
    for command in blocks_below(PAGE, heading, "sh") {
        shell.types(&command).await;
    }
}

#[tokio::test]
async fn disk_full() {
    let s = Scenario::shared("runbook-disk").await;
    let classes: Api<StorageClass> = Api::all(s.client.clone());
    let class = classes.get_opt("local-xfs").await.expect("an answer");
    if class.is_none() {
        return s.report("left out: the cluster has no such storage class");
    }
    let db = s.ready("example", with_volumes("local-xfs", 1)).await;
    let primary = db.primary_endpoint().await;
    let fill = "head -c 4G /dev/zero > /data/ballast || true";
    exec(&db, fill).await;
    until("writes are refused", SOON, || async {
        match primary
            .ask::<String>(&["SET", "k", &"v".repeat(4096)])
            .await
        {
            Err(error) if error.code() == Some("MISCONF") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;
    follow(&s, "Disk full").await;
    until("writes are accepted", LONG, || async {
        let answer = primary.ask::<String>(&["SET", "k", "v"]).await;
        answer.map_err(|error| error.to_string())
    })
    .await;
}

async fn exec(db: &Database, script: &str) {
    let namespace = &db.namespace;
    let pod = format!("{}-0", db.name);
    let words = [
        "exec",
        "--namespace",
        namespace,
        &pod,
        "-c",
        "redis",
        "--",
        "sh",
        "-c",
        script,
    ];
    kubectl(&words).await.expect("the command runs");
}

#[tokio::test]
async fn stuck_roll() {
    let s = Scenario::shared("runbook-roll").await;
    let db = s.ready("example", replication(3)).await;
    let writer = Writer::start(&db).await;
    db.patch(json!({"spec": {"image": "example.org/none:1", "version": "8.0"}}))
        .await;
    db.wait_for("Ready", "False", &["ImagePullFailed"]).await;
    follow(&s, "Stuck roll").await;
    db.ready().await;
    let report = writer.finish().await;
    assert!(
        report.lost.is_empty() && report.errors.is_empty(),
        "{report}"
    );
}
