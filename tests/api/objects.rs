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

const MANAGER: &str = "hera-redis";

fn credentials() -> Credentials {
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

async fn create(client: &Client, namespace: &str, name: &str, spec: &Value) -> Redis {
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

#[tokio::test]
async fn what_is_no_longer_wanted_is_gone_as_if_it_had_never_been() {
    let (client, ns) = start().await;
    crds::install(&client).await;
    let full = json!({
        "storage": {"size": "1Gi"}, "config": {"maxclients": "100"},
        "resources": {"limits": {"memory": "1Gi"}},
        "services": {"primary": {"type": "LoadBalancer", "annotations": {"a": "b"}, "labels": {"c": "d"}}},
        "podTemplate": {"spec": {"priorityClassName": "high"}, "metadata": {"annotations": {"x": "y"}}}
    });
    let plain = json!({"storage": {"size": "1Gi"}});
    let redis = create(&client, &ns, "r", &full).await;
    let twin = create(&client, &ns, "t", &plain).await;
    let build = |redis: &Redis, spec: &Value| {
        let mut redis = redis.clone();
        redis.spec = serde_json::from_value(spec.clone()).expect("a spec");
        let observed = Observed::default();
        let valid = validate(&redis, &observed).expect("valid");
        build::build(&valid, &observed, &credentials()).expect("it can be built")
    };
    for (owner, spec, fresh) in [
        (&redis, &full, true),
        (&redis, &plain, false),
        (&twin, &plain, true),
    ] {
        let items = items(&client, &ns, &build(owner, spec), &[], fresh).await;
        apply::apply_groups(&client, MANAGER, vec![items])
            .await
            .expect("applied");
    }
    // The twin never had what was taken away from the other one.
    let comparable = |object: Value, name: &str| {
        let text = object
            .to_string()
            .replace(&format!("\"{name}-"), "\"NAME-")
            .replace(&format!("\"{name}\""), "\"NAME\"");
        let mut object: Value = serde_json::from_str(&text).expect("JSON");
        let kept = json!({
            "labels": object["metadata"]["labels"],
            "annotations": object["metadata"]["annotations"].as_object().map(|a| a.keys().cloned().collect::<Vec<_>>())
        });
        object["metadata"] = kept;
        for own in ["clusterIP", "clusterIPs"] {
            if let Some(spec) = object["spec"].as_object_mut() {
                spec.remove(own);
            }
        }
        object.as_object_mut().expect("an object").remove("status");
        object
    };
    let sets = [
        comparable(as_json(&live::<StatefulSet>(&client, &ns, "r").await), "r"),
        comparable(as_json(&live::<StatefulSet>(&client, &ns, "t").await), "t"),
    ];
    assert_eq!(sets[0]["spec"]["template"], sets[1]["spec"]["template"]);
    assert_eq!(sets[0], sets[1]);
    let services = Api::<Service>::namespaced(client.clone(), &ns)
        .list(&kube::api::ListParams::default())
        .await
        .expect("listed");
    let of = |name: &str| -> Vec<Value> {
        let mut all: Vec<_> = services
            .items
            .iter()
            .filter(|s| {
                s.labels()
                    .get("app.kubernetes.io/instance")
                    .map(String::as_str)
                    == Some(name)
            })
            .map(|s| comparable(as_json(s), name))
            .collect();
        all.sort_by_key(ToString::to_string);
        all
    };
    assert!(!of("r").is_empty());
    assert_eq!(of("r"), of("t"));
}

fn as_json(object: &impl serde::Serialize) -> Value {
    serde_json::to_value(object).expect("JSON")
}
