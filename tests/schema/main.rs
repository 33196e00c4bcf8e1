//! No input panics: whatever the schema of a kind lets through, and what it does not, is read, validated, built and planned.
#![allow(clippy::unwrap_used, clippy::panic)]

mod way;

use hera::operators::redis::api::Redis;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use serde_json::{Map, Value, json};

use crate::way::goes_through;

/// Values of a type that the schema does not describe further.
fn anything() -> BoxedStrategy<Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(name(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
    .boxed()
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        2 => "[a-z][a-z0-9-]{0,12}",
        1 => prop::sample::select(vec!["spec", "metadata", "containers", "name", "maxmemory", "save", "databases"]).prop_map(str::to_owned),
        1 => any::<String>(),
    ]
}

fn text() -> BoxedStrategy<Value> {
    let known = [
        "",
        " ",
        "0",
        "-1",
        "1Gi",
        "-1Gi",
        "1e400",
        "9999999999999Ei",
        "0.0000001m",
        "8.0",
        "9.9.9",
        "99999999999.0",
        "23:59",
        "24:60",
        "Europe/Berlin",
        "Nowhere/Land",
        "~* +@all",
        "off",
        "\u{0}",
        "\n",
        "\u{1F980}",
        "a\"b\\c",
        "%",
        "é",
    ];
    prop_oneof![
        3 => prop::sample::select(known.to_vec()).prop_map(Value::from),
        1 => any::<String>().prop_map(Value::from),
        1 => "[a-z]{1,80}".prop_map(Value::from),
        1 => Just(Value::from("x".repeat(5000))),
    ]
    .boxed()
}

fn number() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => (-2_i64..70).prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => prop::sample::select(vec![i64::MIN, i64::MAX, i64::from(i32::MAX)]).prop_map(Value::from),
    ]
    .boxed()
}

/// Values as the schema describes them, and now and then of another type.
fn value(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    let right = described(schema);
    prop_oneof![100 => right, 1 => anything()].boxed()
}

fn described(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    if let Some(values) = &schema.enum_ {
        let values: Vec<Value> = values.iter().map(|v| v.0.clone()).collect();
        return prop::sample::select(values).boxed();
    }
    if schema.x_kubernetes_int_or_string == Some(true) {
        return prop_oneof![text(), number()].boxed();
    }
    match schema.type_.as_deref() {
        Some("object") => object(schema),
        Some("array") => {
            let items = match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(schema)) => value(schema),
                _ => anything(),
            };
            prop::collection::vec(items, 0..4)
                .prop_map(Value::from)
                .boxed()
        }
        Some("integer" | "number") => number(),
        Some("boolean") => any::<bool>().prop_map(Value::from).boxed(),
        Some("string") => text(),
        _ => anything(),
    }
}

fn object(schema: &JSONSchemaProps) -> BoxedStrategy<Value> {
    if let Some(properties) = &schema.properties {
        let required = schema.required.clone().unwrap_or_default();
        let mut all = Just(Map::new()).boxed();
        for (name, property) in properties {
            let needed = required.contains(name);
            let chance = if needed { 0.98 } else { 0.2 };
            let one = prop::option::weighted(chance, value(property));
            let name = name.clone();
            all = (all, one)
                .prop_map(move |(mut map, value)| {
                    if let Some(value) = value {
                        map.insert(name.clone(), value);
                    }
                    map
                })
                .boxed();
        }
        return all.prop_map(Value::Object).boxed();
    }
    let values = match &schema.additional_properties {
        Some(JSONSchemaPropsOrBool::Schema(schema)) => value(schema),
        _ => anything(),
    };
    prop::collection::btree_map(name(), values, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
        .boxed()
}

/// A `Redis` of any spec, with any status and any annotations that Hera reads.
fn any_redis() -> impl Strategy<Value = Value> {
    let crd = Redis::crd();
    let schema = crd.spec.versions[0].schema.as_ref().unwrap();
    let properties = schema
        .open_api_v3_schema
        .as_ref()
        .unwrap()
        .properties
        .as_ref()
        .unwrap();
    let annotations = prop::sample::select(vec![
        "redis.hera.dev/switchover",
        "redis.hera.dev/approve-primary",
        "redis.hera.dev/approve-update",
        "redis.hera.dev/accept-data-loss",
        "redis.hera.dev/rotate-password",
        "hera.dev/reconcile",
        "hera.dev/restarted-at",
    ]);
    let annotations = prop::collection::btree_map(annotations, any::<String>(), 0..3);
    let status = prop::option::of(value(&properties["status"]));
    (value(&properties["spec"]), status, annotations).prop_map(|(spec, status, annotations)| {
        json!({
            "apiVersion": "redis.hera.dev/v1alpha1", "kind": "Redis",
            "metadata": {"name": "db", "namespace": "shop", "uid": "u", "generation": 3, "annotations": annotations},
            "spec": spec, "status": status,
        })
    })
}

proptest! {
    #[test]
    fn no_redis_panics(redis in any_redis()) {
        goes_through(redis);
    }
}

/// Otherwise the property says nothing.
#[test]
fn many_of_them_come_as_far_as_the_plan() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let strategy = any_redis();
    let count = (0..400)
        .filter(|_| {
            let tree = strategy.new_tree(&mut runner).unwrap();
            goes_through(tree.current())
        })
        .count();
    assert!(count > 40, "only {count} of 400");
}
