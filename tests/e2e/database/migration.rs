//! The page on migration, command by command, on the objects that the chart or the operator makes.

use std::fs;
use std::time::Duration;

use serde_json::json;

use crate::support::cluster::kubectl;
use crate::support::database::Database;
use crate::support::foreign;
use crate::support::scenario::Scenario;
use crate::support::server::Endpoint;
use crate::support::sharded::Sharded;
use crate::support::shell::{Shell, blocks_below};
use crate::support::wait::{SOON, ensure, stays, until};
use crate::support::writer::Writer;

const PAGE: &str = "docs/migration.md";
/// Longer than a sentinel takes to look at all servers again.
const WATCHED: Duration = Duration::from_secs(15);

/// Runs what stands below a heading for one database: its example, then the commands up to the next example. The client moves as soon as
/// the page says so.
async fn migrate(s: &Scenario, name: &str, heading: &str, nth: usize, old: Endpoint) -> Database {
    let shell = Shell::new(s).await;
    let writer = Writer::start_at(old).await;
    writer.more(200).await;
    let example = &blocks_below(PAGE, heading, "yaml")[nth];
    let file = shell.folder().join("example.yaml");
    fs::write(&file, example).expect("a file");
    shell
        .types(&format!("kubectl apply -f {}", file.display()))
        .await;
    let db = Database {
        client: s.client.clone(),
        namespace: s.namespace.clone(),
        name: name.to_owned(),
    };
    let commands = blocks_below(PAGE, heading, "sh");
    let own = commands
        .iter()
        .skip_while(|c| !c.contains(&format!("/{name} ")));
    for command in own.take_while(|c| !other_database(c, name)) {
        shell.types(command).await;
        if command.contains("--for=condition=Bootstrapped") {
            writer.move_to(db.primary_endpoint().await);
        }
    }
    writer.more(100).await;
    db.ready().await;
    let report = writer.finish().await;
    s.report(&format!("{name}: {report}"));
    assert!(
        report.lost.is_empty() && report.acknowledged > 300,
        "{report}"
    );
    db
}

fn other_database(command: &str, name: &str) -> bool {
    command.contains("wait redis") && !command.contains(&format!("/{name} "))
}

#[tokio::test]
async fn from_the_bitnami_chart() {
    let s = Scenario::shared("from-bitnami").await;
    foreign::apply(&s, include_str!("../objects/bitnami.yaml")).await;
    let old = foreign::endpoint(&s, "shop-redis-master", "p4ss:w/rd").await;
    let db = migrate(&s, "shop", "From the Bitnami chart", 0, old).await;
    db.one_primary().await;
    assert_eq!(db.password().await, "p4ss:w/rd");
}

/// With sentinels that go on watching the old servers: they never take the copy for one of theirs.
#[tokio::test]
async fn from_a_redis_failover() {
    let s = Scenario::shared("from-failover").await;
    foreign::apply(&s, include_str!("../objects/redisfailover.yaml")).await;
    let failover = json!({
        "apiVersion": "databases.spotahome.com/v1", "kind": "RedisFailover", "metadata": {"name": "cache"},
        "spec": {"auth": {"secretPath": "cache-auth"}, "redis": {"replicas": 2}, "sentinel": {"replicas": 3}}
    });
    foreign::apply(&s, &failover.to_string()).await;
    // Its operator does this.
    label(&s, "rfr-cache-0", "redisfailovers-role=master").await;
    let old = foreign::endpoint(&s, "rfrm-cache", "cache-secret").await;
    until("the sentinels watch both servers", SOON, || async {
        let known = replicas(&s).await?;
        ensure(known == 1, || format!("{known} replicas"))
    })
    .await;
    let db = migrate(&s, "cache", "From a RedisFailover", 0, old).await;
    db.one_primary().await;
}

/// The same, but nobody stops the sentinels after the cut-over. They ask each server anew every ten seconds.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn sentinels_of_the_old_server_leave_the_copy_alone() {
    let s = Scenario::shared("from-sentinels").await;
    foreign::apply(&s, include_str!("../objects/redisfailover.yaml")).await;
    label(&s, "rfr-cache-0", "redisfailovers-role=master").await;
    foreign::endpoint(&s, "rfrm-cache", "cache-secret").await;
    let reference = json!({"name": "cache-auth", "key": "password"});
    let spec = json!({
        "auth": {"passwordSecretRef": reference}, "replicas": 2,
        "bootstrap": {"external": {"host": "rfrm-cache", "passwordSecretRef": reference}}
    });
    let db = s.create("db", spec).await;
    db.wait_for("Bootstrapped", "False", &["BootstrapFollowing"])
        .await;
    let only_their_own = async || {
        let known = replicas(&s).await?;
        ensure(known == 1, || format!("{known} replicas"))
    };
    until("the sentinels watch both servers", SOON, &only_their_own).await;
    stays("what the sentinels know", WATCHED, &only_their_own).await;
    db.patch(json!({"spec": {"bootstrap": {"cutOver": true}}}))
        .await;
    db.ready().await;
    let primary = db.one_primary().await;
    stays("the primary", WATCHED, || async {
        let now = db.one_primary().await;
        ensure(now == primary, || now)
    })
    .await;
}

/// The clients stand still while the keys are copied.
#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn from_a_cluster() {
    let s = Scenario::shared("from-cluster").await;
    foreign::apply(&s, include_str!("../objects/opstree-cluster.yaml")).await;
    let shell = Shell::new(&s).await;
    // Its operator does this.
    shell.types(FORM).await;
    let heading = "From a cluster";
    for example in blocks_below(PAGE, heading, "yaml") {
        let file = shell.folder().join("example.yaml");
        fs::write(&file, example).expect("a file");
        shell
            .types(&format!("kubectl apply -f {}", file.display()))
            .await;
    }
    let db = Database {
        client: s.client.clone(),
        namespace: s.namespace.clone(),
        name: "big-db".into(),
    };
    let commands = blocks_below(PAGE, heading, "sh");
    let (ready, rest) = commands.split_first().expect("commands");
    shell.types(ready).await;
    shell.types(FILL).await;
    for command in rest {
        shell.types(command).await;
    }
    let mut client = Sharded::at(db.primary_endpoint().await);
    for n in 0..KEYS {
        let key = format!("k{n}");
        let value: Option<String> = client.ask(&key, &["GET", &key]).await.expect("an answer");
        assert_eq!(value, Some(n.to_string()), "{key}");
    }
    db.ready().await;
}

const KEYS: u32 = 1000;
const FORM: &str = r"
kubectl rollout status statefulset big-leader --timeout=3m
nodes=$(kubectl get pods -l app=big-leader -o jsonpath='{range .items[*]}{.status.podIP}:6379 {end}')
kubectl exec big-leader-0 -- redis-cli --no-auth-warning -a big-secret --cluster create $nodes --cluster-yes
";
const FILL: &str = r#"
kubectl exec workbench -- sh -ec '
  export REDISCLI_AUTH="$OLD"
  until redis-cli -h big-leader cluster info | grep -q cluster_state:ok; do sleep 0.2; done
  for n in $(seq 0 999); do echo "set k$n $n"; done | redis-cli -c -h big-leader > /dev/null'
"#;

/// How many replicas of the master a sentinel knows.
async fn replicas(s: &Scenario) -> Result<u32, String> {
    let script = "redis-cli -p 26379 sentinel master mymaster | grep -A1 num-slaves | tail -1";
    let namespace = &s.namespace;
    let text = kubectl(&[
        "exec",
        "--namespace",
        namespace,
        "deployment/rfs-cache",
        "--",
        "sh",
        "-c",
        script,
    ])
    .await?;
    text.trim().parse().map_err(|_| text)
}

#[tokio::test]
#[ignore = "one more of its kind: make test-long"]
async fn from_the_opstree_kinds() {
    let s = Scenario::shared("from-opstree").await;
    foreign::apply(&s, include_str!("../objects/opstree.yaml")).await;
    // Its operator does this.
    label(&s, "orders-0", "redis-role=master").await;
    let heading = "From OT-CONTAINER-KIT";
    let old = foreign::endpoint(&s, "orders-master", "orders-secret").await;
    let db = migrate(&s, "orders-db", heading, 0, old).await;
    db.one_primary().await;
    let old = foreign::endpoint(&s, "sessions", "").await;
    migrate(&s, "sessions-db", heading, 1, old).await;
}

async fn label(s: &Scenario, pod: &str, label: &str) {
    let namespace = &s.namespace;
    until("the pod is labelled", SOON, || async {
        kubectl(&[
            "label",
            "--overwrite",
            "--namespace",
            namespace,
            "pod",
            pod,
            label,
        ])
        .await
    })
    .await;
}
