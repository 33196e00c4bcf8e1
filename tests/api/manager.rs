//! The manager as a process: leadership between two of them, and what it writes when there is nothing to do. It runs with the
//! permissions of its ClusterRole and no others.
use std::{
    collections::BTreeMap,
    fs,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use hera::operators::{self, manifests, redis::api::Redis};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
        coordination::v1::Lease,
        core::v1::{ConfigMap, Secret, Service},
        discovery::v1::EndpointSlice,
        policy::v1::PodDisruptionBudget,
        rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ListParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    apiserver::{ApiServer, eventually, free_ports},
    crds,
    fixtures::start,
};

/// A running manager. It is killed when the test is over.
struct Manager {
    child: Child,
    port: u16,
    log: tempfile::NamedTempFile,
}

impl Manager {
    fn start(namespace: &str, more: &[&str]) -> Self {
        let [port] = free_ports();
        let log = tempfile::NamedTempFile::new().expect("a temporary file");
        // The manager ends with the thread of its test, also when that ends in a way that drops nothing.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", env!("CARGO_BIN_EXE_hera"), "run"])
            .arg(format!("--bind-address=127.0.0.1:{port}"))
            .arg(format!("--namespaces={namespace}"))
            .arg(format!("--lease-namespace={namespace}"))
            .args(more)
            .env(
                "KUBECONFIG",
                ApiServer::shared().kubeconfig_as(&user(namespace)),
            )
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().expect("the file was just made"))
            .spawn()
            .expect("the manager can be started (by setpriv of util-linux)");
        Self { child, port, log }
    }

    fn signal(&self, signal: &str) {
        let id = self.child.id().to_string();
        let status = Command::new("kill")
            .args([signal, &id])
            .status()
            .expect("kill can be run");
        assert!(status.success());
    }

    async fn end(&mut self) -> ExitStatus {
        eventually("the manager ends", async || {
            self.child.try_wait().expect("it can be asked")
        })
        .await
    }

    async fn http(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }

    /// The sum of a metric over the label sets that contain `labels`.
    async fn metric(&self, name: &str, labels: &str) -> f64 {
        let page = self.http("/metrics").await.unwrap_or_default();
        let ours = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(labels))
        });
        ours.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    async fn leads(&self) -> bool {
        self.metric("leader_election_master_status", "").await > 0.0
    }

    async fn is_ready(&self) -> bool {
        self.http("/readyz").await.is_some()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            println!(
                "the log of a manager:\n{}",
                fs::read_to_string(self.log.path()).unwrap_or_default()
            );
        }
    }
}

fn user(namespace: &str) -> String {
    format!("hera-{namespace}")
}

/// Gives the manager's user what the generated role and the role of the election allow.
async fn permit(client: &Client, namespace: &str) {
    let params = PatchParams::apply("test").force();
    let text = manifests::manager_role(&operators::rbac()).expect("a role");
    let role: ClusterRole = serde_saphyr::from_str(&text).expect("a ClusterRole");
    let name = role.name_any();
    let api: Api<ClusterRole> = Api::all(client.clone());
    api.patch(&name, &params, &Patch::Apply(&role))
        .await
        .expect("made");
    let subjects =
        json!([{"kind": "User", "name": user(namespace), "apiGroup": "rbac.authorization.k8s.io"}]);
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": user(namespace)}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    }))
    .expect("a binding");
    Api::all(client.clone())
        .create(&PostParams::default(), &binding)
        .await
        .expect("made");

    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/config/rbac/leader_election_role.yaml"
    );
    let text = fs::read_to_string(path).expect("the file");
    let mut role: Role =
        serde_saphyr::from_str(text.split("\n---").next().unwrap_or_default()).expect("a Role");
    role.metadata.namespace = Some(namespace.to_owned());
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &role)
        .await
        .expect("made");
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": {"name": "hera-leader-election"}, "subjects": subjects,
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role.name_any()}
    }))
    .expect("a binding");
    Api::namespaced(client.clone(), namespace)
        .create(&PostParams::default(), &binding)
        .await
        .expect("made");
}

async fn prepared() -> (Client, String) {
    let (client, ns) = start().await;
    crds::install(&client).await;
    permit(&client, &ns).await;
    (client, ns)
}

async fn holder(client: &Client, namespace: &str) -> Option<String> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    api.get_opt("hera")
        .await
        .ok()??
        .spec?
        .holder_identity
        .filter(|holder| !holder.is_empty())
}

/// Two managers: the one that leads and the one that stands by, both ready.
async fn two(namespace: &str, timing: &[&str]) -> (Manager, Manager) {
    let first = Manager::start(namespace, timing);
    eventually("the first leads", async || {
        first.leads().await.then_some(())
    })
    .await;
    let second = Manager::start(namespace, timing);
    eventually("both are ready", async || {
        (first.is_ready().await && second.is_ready().await).then_some(())
    })
    .await;
    assert!(first.leads().await && !second.leads().await);
    (first, second)
}

/// So long that nothing in a test can happen because a Lease expired.
const LONG: [&str; 3] = [
    "--lease-duration=600s",
    "--lease-renew-deadline=400s",
    "--lease-retry-period=200ms",
];
const SHORT: [&str; 3] = [
    "--lease-duration=3s",
    "--lease-renew-deadline=2s",
    "--lease-retry-period=300ms",
];

#[tokio::test]
async fn a_leader_that_is_stopped_hands_over_at_once() {
    let (client, ns) = prepared().await;
    let (mut first, second) = two(&ns, &LONG).await;
    let before = holder(&client, &ns)
        .await
        .expect("the first holds the Lease");
    first.signal("-TERM");
    assert!(first.end().await.success(), "a clean stop ends with 0");
    eventually("the second leads", async || {
        second.leads().await.then_some(())
    })
    .await;
    assert_ne!(holder(&client, &ns).await, Some(before));
}

#[tokio::test]
async fn a_leader_that_is_killed_is_replaced_and_one_that_slept_ends() {
    let (client, ns) = prepared().await;
    let (mut first, mut second) = two(&ns, &SHORT).await;
    first.signal("-KILL");
    first.end().await;
    eventually("the second leads", async || {
        second.leads().await.then_some(())
    })
    .await;

    let third = Manager::start(&ns, &SHORT);
    eventually("the third is ready", async || {
        third.is_ready().await.then_some(())
    })
    .await;
    second.signal("-STOP");
    eventually("the third leads", async || {
        third.leads().await.then_some(())
    })
    .await;
    let now = holder(&client, &ns).await;
    second.signal("-CONT");
    assert!(
        !second.end().await.success(),
        "a leader that lost the Lease ends, and not as if all was well"
    );
    assert!(third.leads().await);
    assert_eq!(holder(&client, &ns).await, now);
}

/// The resourceVersion of everything in the namespace that a manager may write.
async fn versions(client: &Client, namespace: &str) -> BTreeMap<String, String> {
    async fn add<K>(client: &Client, namespace: &str, all: &mut BTreeMap<String, String>)
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned,
    {
        let api: Api<K> = Api::namespaced(client.clone(), namespace);
        for object in api.list(&ListParams::default()).await.expect("a list") {
            let name = format!("{}/{}", K::kind(&()), object.name_any());
            all.insert(name, object.resource_version().unwrap_or_default());
        }
    }
    let mut all = BTreeMap::new();
    add::<Redis>(client, namespace, &mut all).await;
    add::<StatefulSet>(client, namespace, &mut all).await;
    add::<Service>(client, namespace, &mut all).await;
    add::<ConfigMap>(client, namespace, &mut all).await;
    add::<Secret>(client, namespace, &mut all).await;
    add::<PodDisruptionBudget>(client, namespace, &mut all).await;
    add::<EndpointSlice>(client, namespace, &mut all).await;
    all
}

const DATABASES: u32 = 20;

#[tokio::test]
async fn at_rest_and_after_a_restart_nothing_is_written() {
    let (client, ns) = prepared().await;
    let api: Api<Redis> = Api::namespaced(client.clone(), &ns);
    for number in 0..DATABASES {
        let spec = if number % 2 == 0 {
            json!({})
        } else {
            json!({"mode": "Standalone", "storage": {"size": "1Gi"}})
        };
        let object = json!({
            "apiVersion": Redis::api_version(&()), "kind": "Redis", "metadata": {"name": format!("r{number}")}, "spec": spec
        });
        let object: Redis = serde_json::from_value(object).expect("a Redis");
        api.create(&PostParams::default(), &object)
            .await
            .expect("accepted");
    }
    // Every pass is repeated soon, so that the test sees many of them.
    let often = ["--resync-interval=1s"];
    let mut first = Manager::start(&ns, &often);
    let settled = settled(&client, &ns, &first).await;
    assert!(
        settled.len() > 5 * DATABASES as usize,
        "the objects of all are there: {}",
        settled.len()
    );
    let passes = first
        .metric("controller_runtime_reconcile_total", "redis")
        .await;
    let written = first.metric("hera_api_writes_total", "").await;
    assert!(
        written >= f64::from(5 * DATABASES),
        "the metric counts what was written before"
    );
    eventually("everything was looked at twice more", async || {
        let more = first
            .metric("controller_runtime_reconcile_total", "redis")
            .await
            - passes;
        (more >= f64::from(2 * DATABASES)).then_some(())
    })
    .await;
    assert_eq!(versions(&client, &ns).await, settled);
    let now = first.metric("hera_api_writes_total", "").await;
    assert!(
        (now - written).abs() < 0.5,
        "{} writes at rest",
        now - written
    );
    first.signal("-TERM");
    assert!(first.end().await.success());

    let second = Manager::start(&ns, &often);
    eventually("everything was looked at again", async || {
        let passes = second
            .metric("controller_runtime_reconcile_total", "redis")
            .await;
        (passes >= f64::from(2 * DATABASES)).then_some(())
    })
    .await;
    assert_eq!(
        versions(&client, &ns).await,
        settled,
        "a restart changes nothing"
    );
    assert!(
        second.metric("hera_api_writes_total", "").await < 0.5,
        "and sends nothing that could"
    );
}

/// Waits until every Redis has a status for its generation and nothing has changed for a while, and gives the versions.
async fn settled(client: &Client, namespace: &str, manager: &Manager) -> BTreeMap<String, String> {
    let api: Api<Redis> = Api::namespaced(client.clone(), namespace);
    eventually("every Redis has its status", async || {
        let all = api.list(&ListParams::default()).await.ok()?;
        let done = all.iter().all(|redis| {
            redis.metadata.generation
                == redis
                    .status
                    .as_ref()
                    .and_then(|status| status.observed_generation)
        });
        done.then_some(())
    })
    .await;
    let mut last = BTreeMap::new();
    eventually("nothing changes any more", async || {
        let before = manager
            .metric("controller_runtime_reconcile_total", "redis")
            .await;
        let seen = versions(client, namespace).await;
        let same = seen == last;
        last = seen;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let passes = manager
            .metric("controller_runtime_reconcile_total", "redis")
            .await
            - before;
        (same && passes > 0.0).then(|| last.clone())
    })
    .await
}
