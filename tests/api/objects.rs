//! The objects that the operators build, on a real API server: accepted, and once applied never written again. The server's
//! defaults, its own way to write quantities and what it leaves out must not look like a difference.
use std::fs;

use hera::{
    k8s::apply::{self, Item},
    operators::redis::{
        api::Redis,
        build::{self, Published, Resources},
        model::{Credentials, Instance, Observed, Validated},
        validate::validate,
    },
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service},
    discovery::v1::EndpointSlice,
    networking::v1::NetworkPolicy,
    policy::v1::PodDisruptionBudget,
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams};
use serde_json::{Value, json};

use crate::{
    crds,
    fixtures::{live, start},
};

pub const MANAGER: &str = "hera-redis";

pub fn credentials() -> Credentials {
    Credentials {
        default: "a".repeat(32).into(),
        operator: "b".repeat(32).into(),
        replication: "c".repeat(32).into(),
        probe: "d".repeat(32).into(),
    }
}

/// Specs of all kinds, the samples among them.
fn specs() -> Vec<Value> {
    let mut specs = vec![
        json!({}),
        crds::full_spec(),
        json!({"mode": "Standalone"}),
        json!({"mode": "Standalone", "storage": {"size": "1024Mi"}}),
        json!({"replicas": 1}),
        json!({
            "resources": {"limits": {"memory": "1024Mi", "cpu": "1000m"}, "requests": {"memory": "0.5Gi", "cpu": "0.5"}},
            "podTemplate": {
                "metadata": {"annotations": {"requests": "1000m"}},
                "spec": {
                    "tolerations": [{"key": "a", "operator": "Exists"}],
                    "containers": [{"name": "exporter", "image": "localhost/exporter:1", "resources": {"limits": {"cpu": "0.10"}}}]
                }
            }
        }),
    ];
    let samples = concat!(env!("CARGO_MANIFEST_DIR"), "/config/samples");
    for entry in fs::read_dir(samples).expect("the samples") {
        let path = entry.expect("a sample").path();
        let object: Value =
            serde_saphyr::from_str(&fs::read_to_string(&path).expect("it can be read"))
                .expect("YAML");
        if object["kind"] == "Redis" {
            specs.push(object["spec"].clone());
        }
    }
    assert!(specs.len() > 8, "the samples are among them");
    specs
}

pub async fn create(client: &Client, namespace: &str, name: &str, spec: &Value) -> Redis {
    let object: Redis = serde_json::from_value(json!({
        "apiVersion": Redis::api_version(&()), "kind": "Redis", "metadata": {"name": name}, "spec": spec
    }))
    .expect("a Redis");
    let api = Api::namespaced(client.clone(), namespace);
    api.create(&PostParams::default(), &object)
        .await
        .expect("accepted")
}

/// Reads all objects again, as a cache does after a restart, and gives them with what is wanted to the apply.
async fn items(
    client: &Client,
    ns: &str,
    wanted: &Resources,
    slices: &[EndpointSlice],
    fresh: bool,
) -> Vec<Item> {
    async fn item<K>(client: &Client, ns: &str, wanted: &K, fresh: bool) -> Item
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::Serialize
            + serde::de::DeserializeOwned,
    {
        let observed: Option<K> = if fresh {
            None
        } else {
            Some(live(client, ns, &wanted.name_any()).await)
        };
        Item::new(wanted, observed.as_ref()).expect("an item")
    }
    let Resources {
        server_secret,
        connection_secret,
        user_connection_secrets,
        config_map,
        start_config_map,
        sentinel_secret,
        services,
        network_policy,
        // The cluster of this test has no Prometheus operator.
        pod_monitor: _,
        prometheus_rule: _,
        disruption_budgets,
        statefulsets,
    } = wanted;
    let mut items = vec![
        item::<Secret>(client, ns, server_secret, fresh).await,
        item::<Secret>(client, ns, connection_secret, fresh).await,
        item::<ConfigMap>(client, ns, config_map, fresh).await,
        item::<ConfigMap>(client, ns, start_config_map, fresh).await,
    ];
    for secret in user_connection_secrets.iter().chain(sentinel_secret) {
        items.push(item::<Secret>(client, ns, secret, fresh).await);
    }
    for service in services {
        items.push(item::<Service>(client, ns, service, fresh).await);
    }
    if let Some(policy) = network_policy {
        items.push(item::<NetworkPolicy>(client, ns, policy, fresh).await);
    }
    for set in statefulsets {
        items.push(item::<StatefulSet>(client, ns, set, fresh).await);
    }
    for budget in disruption_budgets {
        items.push(item::<PodDisruptionBudget>(client, ns, budget, fresh).await);
    }
    for slice in slices {
        items.push(item::<EndpointSlice>(client, ns, slice, fresh).await);
    }
    items
}

fn slices(valid: &Validated, with_pods: bool) -> Vec<EndpointSlice> {
    let pod = |ordinal: i32| Instance {
        pod: format!("{}-{ordinal}", valid.name),
        uid: format!("uid-{ordinal}"),
        ip: Some(format!("10.0.0.{}", ordinal + 1)),
        node: Some("node".to_owned()),
        ..Instance::default()
    };
    let pods = [pod(0), pod(1)];
    let published = Published {
        primary: with_pods.then_some(&pods[0]),
        readers: if with_pods { vec![&pods[1]] } else { vec![] },
    };
    build::endpoint_slices(valid, &published)
}

#[tokio::test]
async fn what_is_built_is_accepted_and_converges() {
    let (client, ns) = start().await;
    crds::install(&client).await;
    for (number, spec) in specs().iter().enumerate() {
        let redis = create(&client, &ns, &format!("r{number}"), spec).await;
        let observed = Observed::default();
        let valid =
            validate(&redis, &observed).unwrap_or_else(|errors| panic!("{spec}: {errors:?}"));
        let wanted = build::build(&valid, &observed, &credentials()).expect("it can be built");
        for with_pods in [false, true] {
            let slices = slices(&valid, with_pods);
            let first = items(&client, &ns, &wanted, &slices, true).await;
            let count = first.len();
            let done = apply::apply_groups(&client, MANAGER, vec![first]).await;
            done.unwrap_or_else(|error| panic!("{spec}: {error}"));

            let again = items(&client, &ns, &wanted, &slices, false).await;
            let different: Vec<_> = again
                .iter()
                .filter(|item| item.is_needed())
                .map(Item::id)
                .collect();
            assert!(
                different.is_empty(),
                "{spec}: written for nothing: {different:?}"
            );
            let summary = apply::apply_groups(&client, MANAGER, vec![again])
                .await
                .expect("compared");
            assert_eq!(
                (summary.applied.len(), summary.unchanged),
                (0, count),
                "{spec}"
            );
        }
    }
}
