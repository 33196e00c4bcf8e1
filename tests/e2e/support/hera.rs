//! Hera itself: installed once by its chart, for all tests; those that disturb it have it for themselves.

use std::collections::BTreeMap;
use std::env;
use std::process::{Child, Stdio};
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::json;
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::cluster::{self, kubectl, path, root, run};
use super::faults::CHAIN;
use super::scenario::LABEL;
use super::wait::{SOON, ensure, until};

/// Namespace of the release.
pub const NAMESPACE: &str = "hera-system";
/// Name of the release, and so of the Deployment, its ServiceAccount and the Lease.
pub const RELEASE: &str = "hera";
/// Pods of the release.
pub const REPLICAS: i32 = 2;

static INSTALLED: OnceCell<()> = OnceCell::const_new();
static IN_USE: RwLock<()> = RwLock::const_new(());
static GUARDIAN: Mutex<Option<Child>> = Mutex::new(None);

/// The right to use Hera: with others, or alone.
#[allow(dead_code)]
pub enum Use {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// Waits until Hera runs and no other test disturbs it.
pub async fn shared() -> Use {
    let lock = IN_USE.read().await;
    INSTALLED.get_or_init(install).await;
    Use::Shared(lock)
}

/// Waits until Hera runs and no other test uses it. A test that failed may have left it without pods.
pub async fn alone(client: &Client) -> Use {
    let lock = IN_USE.write().await;
    INSTALLED.get_or_init(install).await;
    scale(client, REPLICAS).await;
    Use::Alone(lock)
}

async fn install() {
    until("the namespace of a former run is gone", SOON, || async {
        let all = Api::<Namespace>::all(cluster::client().await);
        let found = all.get_opt(NAMESPACE).await.map_err(|e| e.to_string())?;
        let ending = found.is_some_and(|n| n.metadata.deletion_timestamp.is_some());
        ensure(!ending, || "it is being deleted".into())
    })
    .await;
    // Another image under the same name, or what a former run left behind, is taken over by new pods.
    let run_id = format!("{}-{}", std::process::id(), jiff::Timestamp::now());
    helm_upgrade(&[&format!("podAnnotations.run=\"{run_id}\"")])
        .await
        .expect("the chart is installed");
    watch_over();
}

/// `helm upgrade --install` with these settings beside those of the tests; waits until the release is ready.
pub async fn helm_upgrade(settings: &[&str]) -> Result<String, String> {
    let repository = env::var("HERA_IMAGE_REPOSITORY").unwrap_or_else(|_| "hera".into());
    let image = format!(
        "image.repository={repository},image.tag={}",
        env!("CARGO_PKG_VERSION")
    );
    let mut arguments = vec![
        "upgrade",
        "--install",
        RELEASE,
        "charts/hera",
        "--namespace",
        NAMESPACE,
        "--create-namespace",
        "--reset-then-reuse-values",
        "--wait",
        "--timeout=5m",
        "--set",
        &image,
        "--set",
        r"logFilter=info\,hera=debug",
    ];
    for setting in settings {
        arguments.extend(["--set-string", setting]);
    }
    run("helm", &arguments).await
}

/// Removes the release when this process ends, however it ends, by a shell that waits for the end of its standard input.
/// With `HERA_E2E_KEEP=1` the release stays.
fn watch_over() {
    if env::var_os("HERA_E2E_KEEP").is_some() {
        return;
    }
    let script = format!(
        "trap '' INT TERM HUP; cat; \
         kubectl get --raw /readyz --request-timeout=5s || exit 0; \
         tests/cluster/cluster enter iptables -w -t mangle -F {CHAIN}; \
         kubectl delete namespace --selector {LABEL} --timeout=120s; \
         helm uninstall {RELEASE} --namespace {NAMESPACE} --wait; kubectl delete namespace {NAMESPACE} --timeout=120s",
    );
    let child = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("PATH", path())
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell");
    *GUARDIAN.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
}

/// The pods of the release that are not being deleted.
pub async fn pods(client: &Client) -> Vec<Pod> {
    let selector =
        format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=manager");
    Api::<Pod>::namespaced(client.clone(), NAMESPACE)
        .list(&ListParams::default().labels(&selector))
        .await
        .map(|list| {
            list.items
                .into_iter()
                .filter(|p| p.metadata.deletion_timestamp.is_none())
                .collect()
        })
        .unwrap_or_default()
}

/// The Lease.
pub async fn lease(client: &Client) -> Result<Lease, String> {
    Api::<Lease>::namespaced(client.clone(), NAMESPACE)
        .get(RELEASE)
        .await
        .map_err(|error| error.to_string())
}

/// Name of the pod that leads: the holder of the Lease, when that is one of the pods.
pub async fn leader(client: &Client) -> Result<String, String> {
    let holder = lease(client)
        .await?
        .spec
        .and_then(|s| s.holder_identity)
        .unwrap_or_default();
    pods(client)
        .await
        .iter()
        .map(ResourceExt::name_any)
        .find(|pod| holder.starts_with(pod.as_str()))
        .ok_or_else(|| format!("{holder:?} is none of Hera's pods"))
}

/// Sets the number of pods and waits until there are so many, all ready, and one leads.
pub async fn scale(client: &Client, replicas: i32) {
    Api::<Deployment>::namespaced(client.clone(), NAMESPACE)
        .patch(
            RELEASE,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"replicas": replicas}})),
        )
        .await
        .expect("the Deployment is scaled");
    settled(client, replicas).await;
}

/// Waits until there are so many pods, all ready, none ending, and one leads.
pub async fn settled(client: &Client, replicas: i32) {
    until("Hera's pods are ready", SOON * 2, || async {
        let selector =
            format!("app.kubernetes.io/instance={RELEASE},app.kubernetes.io/component=manager");
        let all = Api::<Pod>::namespaced(client.clone(), NAMESPACE)
            .list(&ListParams::default().labels(&selector))
            .await
            .map_err(|e| e.to_string())?
            .items;
        let ready = all.iter().filter(|p| is_ready(p)).count();
        let wanted = usize::try_from(replicas).unwrap_or_default();
        ensure(all.len() == wanted && ready == wanted, || {
            format!("{ready} of {} pods are ready", all.len())
        })?;
        if replicas > 0 {
            leader(client).await?;
        }
        Ok(())
    })
    .await;
}

/// The pod is Ready.
pub fn is_ready(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .and_then(|s| s.conditions.as_ref())
        .is_some_and(|c| c.iter().any(|c| c.type_ == "Ready" && c.status == "True"))
}

/// The metrics of one of Hera's pods: from `name{labels}` to the value.
pub async fn metrics(pod: &str) -> BTreeMap<String, f64> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}:8080/proxy/metrics");
    let text = kubectl(&["get", "--raw", &path])
        .await
        .expect("the metrics of Hera");
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?)))
        .collect()
}

/// The sum of a metric over all its labels; only those series whose labels have all of `values`.
pub fn sum(metrics: &BTreeMap<String, f64>, name: &str, values: &[&str]) -> f64 {
    let wanted = |series: &str| {
        series.split('{').next() == Some(name)
            && values
                .iter()
                .all(|value| series.contains(&format!("=\"{value}\"")))
    };
    metrics
        .iter()
        .filter(|(series, _)| wanted(series))
        .map(|(_, value)| value)
        .sum()
}
