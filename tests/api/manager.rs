//! The manager as a process with the permissions of its generated role and no others: what it writes, and that it writes
//! nothing when there is nothing to do.
use std::{collections::BTreeMap, fs, time::Duration};

use hera::operators::{self, manifests, redis::api::Redis};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::StatefulSet,
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

use crate::{
    apiserver::{ApiServer, eventually},
    crds,
    fixtures::start,
    process::Manager,
};

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

async fn manager(namespace: &str) -> Manager {
    let kubeconfig = ApiServer::shared().kubeconfig_as(&user(namespace));
    let only = format!("--namespaces={namespace}");
    // Every pass is repeated soon, so that the test sees many of them.
    Manager::start_with(&kubeconfig, namespace, &[&only, "--resync-interval=1s"]).await
}

fn reconciles(manager: &Manager) -> f64 {
    manager
        .metric("controller_runtime_reconcile_total")
        .unwrap_or_default()
}

fn writes(manager: &Manager) -> f64 {
    manager.metric("hera_api_writes_total").unwrap_or_default()
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
    let mut first = manager(&ns).await;
    let settled = settled(&client, &ns, &first).await;
    assert!(
        settled.len() > 5 * DATABASES as usize,
        "the objects of all are there: {}",
        settled.len()
    );
    let passes = reconciles(&first);
    let written = writes(&first);
    assert!(
        written >= f64::from(5 * DATABASES),
        "the metric counts what was written before"
    );
    eventually("everything was looked at twice more", async || {
        let more = reconciles(&first) - passes;
        (more >= f64::from(2 * DATABASES)).then_some(())
    })
    .await;
    assert_eq!(versions(&client, &ns).await, settled);
    let now = writes(&first);
    assert!(
        (now - written).abs() < 0.5,
        "{} writes at rest",
        now - written
    );
    first.signal("TERM");
    assert!(first.end().await.success());

    let second = manager(&ns).await;
    eventually("everything was looked at again", async || {
        let passes = reconciles(&second);
        (passes >= f64::from(2 * DATABASES)).then_some(())
    })
    .await;
    assert_eq!(
        versions(&client, &ns).await,
        settled,
        "a restart changes nothing"
    );
    assert!(writes(&second) < 0.5, "and sends nothing that could");
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
        let before = reconciles(manager);
        let seen = versions(client, namespace).await;
        let same = seen == last;
        last = seen;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let passes = reconciles(manager) - before;
        (same && passes > 0.0).then(|| last.clone())
    })
    .await
}
