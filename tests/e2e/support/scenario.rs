//! One test: a namespace of its own, removed at the end, and what a person needs to know when it fails.

use std::collections::BTreeMap;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use serde_json::Value;

use super::cluster::{self, kubectl_blocking};
use super::database::Database;
use super::diagnosis;
use super::hera::{self, Use};

/// Label of the namespaces of these tests.
pub const LABEL: &str = "e2e.hera.dev/test";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A namespace, and the right to use Hera as long as this lives.
pub struct Scenario {
    /// The client.
    pub client: Client,
    /// The namespace, with the restricted Pod Security Standard enforced.
    pub namespace: String,
    name: &'static str,
    begin: Instant,
    _use: Use,
}

impl Scenario {
    /// A test that leaves Hera alone, and runs beside others.
    pub async fn shared(name: &'static str) -> Self {
        let client = cluster::client().await;
        Self::start(name, client, hera::shared().await).await
    }

    /// A test that disturbs Hera, or needs to know all that it does.
    pub async fn alone(name: &'static str) -> Self {
        let client = cluster::client().await;
        let used = hera::alone(&client).await;
        Self::start(name, client, used).await
    }

    async fn start(name: &'static str, client: Client, used: Use) -> Self {
        // Shown at once, not at the end of all tests, which may not come.
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            std::panic::set_hook(Box::new(|panic| cluster::say(&panic.to_string())));
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let namespace = format!("e2e-{name}-{}-{number}", std::process::id());
        let object = Namespace {
            metadata: ObjectMeta {
                name: Some(namespace.clone()),
                labels: Some(BTreeMap::from([
                    (LABEL.to_owned(), name.to_owned()),
                    (
                        "pod-security.kubernetes.io/enforce".to_owned(),
                        "restricted".to_owned(),
                    ),
                ])),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::<Namespace>::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .expect("the namespace is made");
        Self {
            client,
            namespace,
            name,
            begin: Instant::now(),
            _use: used,
        }
    }

    /// Creates a `Redis`; it is not waited for.
    pub async fn create(&self, name: &str, spec: Value) -> Database {
        Database::create(self.client.clone(), &self.namespace, name, spec).await
    }

    /// Creates a `Redis` and waits until it is ready.
    pub async fn ready(&self, name: &str, spec: Value) -> Database {
        let database = self.create(name, spec).await;
        database.ready().await;
        database
    }

    /// Says what was measured; it is shown also when the test passes.
    pub fn report(&self, words: &str) {
        cluster::say(&format!("{}: {words}", self.name));
    }
}

impl Drop for Scenario {
    fn drop(&mut self) {
        if std::thread::panicking() {
            cluster::say(&diagnosis::of(&self.namespace, self.begin.elapsed()));
            if std::env::var_os("HERA_E2E_KEEP").is_some() {
                return;
            }
        }
        kubectl_blocking(&["delete", "namespace", &self.namespace, "--wait=false"]);
    }
}
