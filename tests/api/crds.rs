//! The definitions of the kinds on a real API server: they are accepted, no field is lost, and what is refused names its field.
//!
//! Every rule that looks at one object alone is also in `validate`, because old objects never meet a new rule of the
//! definition; both run over the same table.
use hera::operators::{
    self,
    redis::{
        api::{Redis, RedisStatus},
        model::Observed,
        validate::validate,
    },
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, ResourceExt,
    api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams},
    core::Resource,
};
use serde_json::{Value, json};

use crate::{
    access::bad_access,
    apiserver::eventually,
    auth::bad_auth,
    bootstrap::bad_bootstrap,
    fixtures::{live, start},
    monitoring::bad_monitoring,
};

/// Applies the definitions and waits until they are served.
pub async fn install(client: &Client) {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in operators::crds() {
        let name = definition.name_any();
        let params = PatchParams::apply("test").force();
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .expect("the definition is accepted");
        eventually("the definition is established", async || {
            let status = api.get(&name).await.ok()?.status?;
            let conditions = status.conditions.unwrap_or_default();
            let structural = conditions
                .iter()
                .all(|c| c.type_ != "NonStructuralSchema" || c.status == "False");
            assert!(structural, "{name}: {conditions:?}");
            conditions
                .iter()
                .any(|c| c.type_ == "Established" && c.status == "True")
                .then_some(())
        })
        .await;
    }
}

pub fn untyped(client: &Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &ApiResource::erase::<Redis>(&()))
}

pub fn object(name: &str, spec: &Value) -> Value {
    json!({
        "apiVersion": Redis::api_version(&()), "kind": Redis::kind(&()),
        "metadata": {"name": name}, "spec": spec
    })
}

/// What the server says about creating the object: nothing, or why not.
async fn refusal(client: &Client, namespace: &str, object: &Value) -> Option<String> {
    let object: DynamicObject = serde_json::from_value(object.clone()).expect("an object");
    let params = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    match untyped(client, namespace).create(&params, &object).await {
        Ok(_) => None,
        Err(kube::Error::Api(status)) => Some(status.message),
        Err(error) => panic!("{error}"),
    }
}

/// Specs that are refused, and the field that the message names.
fn bad_specs() -> Vec<(Value, &'static str)> {
    let long = "x".repeat(513);
    vec![
        (json!({"replicas": 0}), "spec.replicas"),
        (json!({"replicas": 21}), "spec.replicas"),
        (
            json!({"mode": "Standalone", "replicas": 2}),
            "spec.replicas",
        ),
        (json!({"mode": "Cluster", "replicas": 3}), "spec.replicas"),
        (json!({"mode": "Cluster", "shards": 2}), "spec.shards"),
        (json!({"shards": 3}), "spec.shards"),
        (json!({"tls": {}}), "spec.tls"),
        (json!({"tls": {"secretName": ""}}), "spec.tls.secretName"),
        (
            json!({"tls": {"secretName": "s", "issuerRef": {"name": "i"}}}),
            "spec.tls",
        ),
        (
            json!({"mode": "Sentinel", "tls": {"secretName": "s", "plaintext": "Allowed"}}),
            "spec.tls.plaintext",
        ),
        (
            json!({"tls": {"issuerRef": {"name": ""}}}),
            "spec.tls.issuerRef.name",
        ),
        (
            json!({"mode": "Cluster", "replicasPerShard": 6}),
            "spec.replicasPerShard",
        ),
        (json!({"replicasPerShard": 1}), "spec.replicasPerShard"),
        (
            json!({"mode": "Cluster", "availability": {"minReplicasToWrite": 2}}),
            "spec.availability.minReplicasToWrite",
        ),
        (
            json!({"config": {"cluster-announce-ip": "10.0.0.1"}}),
            "spec.config",
        ),
        (json!({"version": "latest"}), "spec.version"),
        (json!({"version": "8"}), "spec.version"),
        (json!({"image": ""}), "spec.image"),
        (json!({"image": long}), "spec.image"),
        (
            json!({"memory": {"maxMemoryPercent": 9}}),
            "spec.memory.maxMemoryPercent",
        ),
        (
            json!({"memory": {"maxMemoryPercent": 96}}),
            "spec.memory.maxMemoryPercent",
        ),
        (
            json!({"config": {"replicaof": "elsewhere 6379"}}),
            "spec.config",
        ),
        (json!({"config": {"user": "x on nopass"}}), "spec.config"),
        (json!({"config": {"Bad_Name": "1"}}), "spec.config"),
        (json!({"config": {"": "1"}}), "spec.config"),
        (
            json!({"config": {"appendonly": "yes\nreplicaof elsewhere 6379"}}),
            "spec.config",
        ),
        (
            json!({"config": {"appendonly": "yes\rreplicaof elsewhere 6379"}}),
            "spec.config",
        ),
        (json!({"storage": {"size": "0"}}), "spec.storage.size"),
        (json!({"storage": {"size": "-1Gi"}}), "spec.storage.size"),
        (json!({"storage": {"size": "much"}}), "spec.storage.size"),
        (
            json!({"storage": {"size": "1Gi", "storageClassName": ""}}),
            "spec.storage.storageClassName",
        ),
        (
            json!({"auth": {"passwordSecretRef": {"name": "", "key": "k"}}}),
            "spec.auth.passwordSecretRef.name",
        ),
        (
            json!({"auth": {"passwordSecretRef": {"name": "s", "key": ""}}}),
            "spec.auth.passwordSecretRef.key",
        ),
    ]
}

/// The same of availability.
fn bad_availability() -> Vec<(Value, &'static str)> {
    vec![
        (
            json!({"availability": {"minReplicasToWrite": -1}}),
            "spec.availability.minReplicasToWrite",
        ),
        (
            json!({"availability": {"minReplicasToWrite": 3}}),
            "spec.availability.minReplicasToWrite",
        ),
        (
            json!({"replicas": 2, "availability": {"minReplicasToWrite": 2}}),
            "spec.availability.minReplicasToWrite",
        ),
        (
            json!({"mode": "Standalone", "availability": {"minReplicasToWrite": 1}}),
            "spec.availability.minReplicasToWrite",
        ),
        (
            json!({"availability": {"unresponsiveAfterSeconds": 2}}),
            "spec.availability.unresponsiveAfterSeconds",
        ),
        (
            json!({"availability": {"unresponsiveAfterSeconds": 601}}),
            "spec.availability.unresponsiveAfterSeconds",
        ),
    ]
}

/// The same of the sentinels.
fn bad_sentinels() -> Vec<(Value, &'static str)> {
    let sentinel = |value: Value| json!({"mode": "Sentinel", "sentinel": value});
    vec![
        (json!({"sentinel": {"replicas": 3}}), "spec.sentinel"),
        (sentinel(json!({"replicas": 2})), "spec.sentinel.replicas"),
        (sentinel(json!({"replicas": 10})), "spec.sentinel.replicas"),
        (sentinel(json!({"quorum": 0})), "spec.sentinel.quorum"),
        (sentinel(json!({"quorum": 4})), "spec.sentinel.quorum"),
        (
            sentinel(json!({"replicas": 5, "quorum": 6})),
            "spec.sentinel.quorum",
        ),
        (
            sentinel(json!({"downAfter": "500ms"})),
            "spec.sentinel.downAfter",
        ),
        (
            sentinel(json!({"downAfter": "11m"})),
            "spec.sentinel.downAfter",
        ),
        (
            sentinel(json!({"downAfter": "5"})),
            "spec.sentinel.downAfter",
        ),
        (
            sentinel(json!({"failoverTimeout": "1s"})),
            "spec.sentinel.failoverTimeout",
        ),
        (
            sentinel(json!({"failoverTimeout": "1h"})),
            "spec.sentinel.failoverTimeout",
        ),
        (json!({"mode": "Sentinel", "shards": 3}), "spec.shards"),
    ]
}

/// Specs that do not even parse: an unknown word.
fn unknown_words() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"engine": "KeyDB"}), "spec.engine"),
        (json!({"mode": "Multi"}), "spec.mode"),
        (json!({"memory": {"policy": "never"}}), "spec.memory.policy"),
        (
            json!({"auth": {"defaultUser": "Maybe"}}),
            "spec.auth.defaultUser",
        ),
        (
            json!({"storage": {"size": "1Gi", "whenDeleted": "Maybe"}}),
            "spec.storage.whenDeleted",
        ),
        (
            json!({"storage": {"size": "1Gi", "whenScaled": "Maybe"}}),
            "spec.storage.whenScaled",
        ),
        (
            json!({"services": {"primary": {"type": "ExternalName"}}}),
            "spec.services.primary.type",
        ),
    ]
}

/// A spec that uses every field.
pub fn full_spec() -> Value {
    json!({
        "engine": "Valkey", "version": "9.0", "image": "localhost/valkey:9", "mode": "Replication", "replicas": 3,
        "resources": {"limits": {"memory": "1Gi"}, "requests": {"cpu": "100m", "memory": "1Gi"}},
        "memory": {"maxMemoryPercent": 60, "policy": "allkeys-lru"},
        "config": {"appendonly": "yes", "save": ""},
        "storage": {
            "size": "10Gi", "storageClassName": "fast", "whenDeleted": "Delete", "whenScaled": "Delete",
            "claimTemplate": "redis-data", "existingClaims": ["redis-data-full-0"]
        },
        "auth": {
            "passwordSecretRefs": [{"name": "s", "key": "k"}, {"name": "t", "key": "k"}], "defaultUser": "Disabled",
            "users": [
                {"name": "app", "rules": "~app:* &news +@all -@admin (~tmp:* +get) resetkeys %R~x:*", "enabled": false,
                 "passwordSecretRefs": [{"name": "s", "key": "k"}]},
                {"name": "on-call", "rules": "+onx"}
            ]
        },
        "availability": {"minReplicasToWrite": 2, "unresponsiveAfterSeconds": 20},
        "bootstrap": {
            "external": {
                "host": "old.shop.svc", "port": 6380, "username": "copy", "passwordSecretRef": {"name": "s", "key": "k"}, "tls": false
            },
            "cutOver": true
        },
        "hibernate": true,
        "services": {
            "ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"],
            "primary": {
                "type": "LoadBalancer", "annotations": {"a": "b"}, "labels": {"c": "d"}, "loadBalancerClass": "x",
                "loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local"
            },
            "replicas": {"type": "NodePort", "nodePort": 30001},
            "external": {
                "type": "LoadBalancer", "host": "{pod}.example.org", "annotations": {"a": "{pod}"}, "labels": {"c": "d"},
                "loadBalancerClass": "x", "loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local"
            }
        },
        "monitoring": {
            "exporter": {"image": "localhost/redis-exporter:1", "args": ["--debug"], "resources": {"limits": {"memory": "64Mi"}}},
            "podMonitor": {"interval": "30s", "labels": {"a": "b"}}, "rules": {"labels": {"a": "b"}}
        },
        "networkPolicy": {
            "clients": [
                {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}},
                {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}, "podSelector": {"matchLabels": {"a": "b"}}}
            ],
            "monitoring": [{"namespaceSelector": {}}]
        },
        "podTemplate": {"spec": {"priorityClassName": "high", "containers": [{"name": "redis", "tty": true}]}}
    })
}

#[tokio::test]
async fn no_field_of_a_spec_is_lost() {
    let (client, ns) = start().await;
    install(&client).await;
    let full: DynamicObject =
        serde_json::from_value(object("full", &full_spec())).expect("an object");
    untyped(&client, &ns)
        .create(&PostParams::default(), &full)
        .await
        .expect("accepted");
    let kept = live::<Redis>(&client, &ns, "full").await;
    assert_eq!(serde_json::to_value(&kept.spec).expect("JSON"), full_spec());

    let minimal: DynamicObject =
        serde_json::from_value(object("minimal", &json!({}))).expect("an object");
    let minimal = untyped(&client, &ns)
        .create(&PostParams::default(), &minimal)
        .await
        .expect("accepted");
    assert_eq!(
        minimal.data["spec"],
        json!({"engine": "Redis", "hibernate": false, "mode": "Replication"}),
        "all that the schema defaults"
    );
}

#[tokio::test]
async fn no_field_of_a_status_is_lost() {
    let (client, ns) = start().await;
    install(&client).await;
    let minimal: DynamicObject =
        serde_json::from_value(object("r", &json!({}))).expect("an object");
    untyped(&client, &ns)
        .create(&PostParams::default(), &minimal)
        .await
        .expect("accepted");
    let time = "2026-01-02T03:04:05Z";
    let full: RedisStatus = serde_json::from_value(json!({
        "observedGeneration": 1, "phase": "Running", "primary": "r-0", "endpoint": "r:6379", "connectionSecret": "r",
        "replicas": 3, "readyReplicas": 2, "summary": "2/3", "selector": "a=b", "version": "8.0.0",
        "instances": [
            {"pod": "r-0", "role": "Primary", "ready": true, "plaintext": false, "external": "192.0.2.1:6379"},
            {"pod": "r-1", "role": "Replica", "ready": false, "message": "loads"}
        ],
        "election": {
            "epoch": 1, "kind": "Failover", "candidate": "r-0", "candidateUid": "u", "runId": "i", "from": "r-1",
            "decidedAt": time, "completed": true
        },
        "users": [{"name": "app", "applied": true, "connectionSecret": "r-connection-app"}],
        "bootstrap": {"source": "old:6379", "pod": "r-0", "state": "Completed", "completedAt": time},
        "surge": {"pod": "r-1", "ending": true}, "replicationId": "x",
        "conditions": [{
            "type": "Ready", "status": "True", "reason": "AllReady", "message": "m", "observedGeneration": 1,
            "lastTransitionTime": time
        }],
        "blockers": [{"code": "C", "since": time, "object": "Pod/r-1", "message": "m", "action": "a"}],
        "plan": ["first", "second"]
    }))
    .expect("a status");
    let before = live::<Redis>(&client, &ns, "r").await;
    hera::k8s::status::write(&client, "hera-redis", &before, &full, None)
        .await
        .expect("written");
    let after = live::<Redis>(&client, &ns, "r").await;
    assert_eq!(after.status.as_ref(), Some(&full));
    let less = RedisStatus {
        election: None,
        instances: vec![],
        ..full
    };
    hera::k8s::status::write(&client, "hera-redis", &after, &less, after.status.as_ref())
        .await
        .expect("written");
    assert_eq!(live::<Redis>(&client, &ns, "r").await.status, Some(less));
}

#[tokio::test]
async fn the_server_refuses_bad_specs_and_names_the_field() {
    let (client, ns) = start().await;
    install(&client).await;
    for (spec, field) in bad_specs()
        .into_iter()
        .chain(bad_auth())
        .chain(bad_availability())
        .chain(bad_bootstrap())
        .chain(bad_monitoring())
        .chain(bad_sentinels())
        .chain(bad_access())
        .chain(unknown_words())
    {
        let refusal = refusal(&client, &ns, &object("r", &spec)).await;
        let names = refusal
            .as_deref()
            .is_some_and(|message| message.contains(field));
        assert!(
            names,
            "{spec} must be refused with a message that names {field}: {refusal:?}"
        );
    }
    for name in ["a".repeat(41).as_str(), "1abc", "a.b"] {
        let refusal = refusal(&client, &ns, &object(name, &json!({}))).await;
        assert!(
            refusal.is_some_and(|message| message.contains("metadata.name")),
            "{name}"
        );
    }
    assert_eq!(
        refusal(&client, &ns, &object(&"a".repeat(40), &json!({}))).await,
        None
    );
    assert_eq!(
        refusal(&client, &ns, &object("r", &full_spec())).await,
        None
    );
}

#[test]
fn validate_refuses_the_same_specs_and_names_the_field() {
    let mut wrong = vec![];
    for (spec, field) in bad_specs()
        .into_iter()
        .chain(bad_auth())
        .chain(bad_availability())
        .chain(bad_bootstrap())
        .chain(bad_monitoring())
        .chain(bad_sentinels())
        .chain(bad_access())
    {
        let mut redis: Redis = serde_json::from_value(object("r", &spec)).expect("it parses");
        redis.metadata.uid = Some("1".to_owned());
        match validate(&redis, &Observed::default()) {
            Ok(_) => wrong.push(format!("{spec} is taken")),
            Err(errors) if errors.iter().any(|error| error.field.starts_with(field)) => {}
            Err(errors) => wrong.push(format!("{spec}: {errors:?} name other fields than {field}")),
        }
    }
    for name in ["a".repeat(41).as_str(), "1abc", "a.b"] {
        let mut redis: Redis = serde_json::from_value(object(name, &json!({}))).expect("it parses");
        redis.metadata.uid = Some("1".to_owned());
        if validate(&redis, &Observed::default()).is_ok() {
            wrong.push(format!("the name {name} is taken"));
        }
    }
    for (spec, _) in unknown_words() {
        assert!(
            serde_json::from_value::<Redis>(object("r", &spec)).is_err(),
            "{spec}"
        );
    }
    let mut redis: Redis = serde_json::from_value(object("r", &full_spec())).expect("it parses");
    redis.metadata.uid = Some("1".to_owned());
    assert!(validate(&redis, &Observed::default()).is_ok());
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

#[tokio::test]
async fn what_cannot_change_is_refused_with_its_field() {
    let (client, ns) = start().await;
    install(&client).await;
    let api = untyped(&client, &ns);
    let small = json!({"storage": {"size": "2Gi"}});
    for (number, (before, change, field)) in [
        (json!({}), json!({"engine": "Valkey"}), "spec.engine"),
        (
            json!({}),
            json!({"storage": {"size": "1Gi"}}),
            "spec.storage",
        ),
        (small, json!({"storage": null}), "spec.storage"),
        (json!({}), json!({"mode": "Cluster"}), "spec.mode"),
        (
            json!({}),
            json!({"bootstrap": {"external": {"host": "old"}}}),
            "spec.bootstrap",
        ),
        (
            json!({"storage": {"size": "1Gi"}}),
            json!({"storage": {"claimTemplate": "other"}}),
            "spec.storage.claimTemplate",
        ),
        (
            json!({"services": {"ipFamilies": ["IPv4"]}}),
            json!({"services": {"ipFamilies": ["IPv6"]}}),
            "spec.services.ipFamilies",
        ),
        (
            json!({"services": {"ipFamilies": ["IPv6"]}}),
            json!({"services": null}),
            "spec.services.ipFamilies",
        ),
        (
            json!({"services": {"external": {}}}),
            json!({"services": {"external": {"loadBalancerClass": "x"}}}),
            "loadBalancerClass",
        ),
        (
            json!({}),
            json!({"tls": {"secretName": "s"}}),
            "spec.tls.plaintext",
        ),
        (
            json!({"tls": {"secretName": "s"}}),
            json!({"tls": null}),
            "spec.tls",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("r{number}");
        let made: DynamicObject =
            serde_json::from_value(object(&name, &before)).expect("an object");
        api.create(&PostParams::default(), &made)
            .await
            .expect("accepted");
        let patch = Patch::Merge(json!({"spec": change}));
        let error = api
            .patch(&name, &PatchParams::default(), &patch)
            .await
            .expect_err("refused");
        assert!(error.to_string().contains(field), "{change}: {error}");
    }
    // What cannot grow as far as was asked must be able to go back; below the size of a volume `validate` refuses it.
    for size in ["2.5Gi", "2Gi"] {
        let growth = Patch::Merge(json!({"spec": {"storage": {"size": size}}}));
        api.patch("r2", &PatchParams::default(), &growth)
            .await
            .expect("a size can be changed");
    }
    // Encryption comes and goes through the state in which both are accepted.
    let both = json!({"secretName": "s", "plaintext": "Allowed"});
    for tls in [
        both.clone(),
        json!({"plaintext": "Refused"}),
        both,
        json!(null),
    ] {
        let patch = Patch::Merge(json!({"spec": {"tls": tls}}));
        api.patch("r0", &PatchParams::default(), &patch)
            .await
            .expect("the encryption can be changed");
    }
}

#[tokio::test]
async fn the_scale_subresource_sets_the_replicas() {
    let (client, ns) = start().await;
    install(&client).await;
    let made: DynamicObject =
        serde_json::from_value(object("r", &json!({"replicas": 3}))).expect("an object");
    untyped(&client, &ns)
        .create(&PostParams::default(), &made)
        .await
        .expect("accepted");
    let api: Api<Redis> = Api::namespaced(client.clone(), &ns);
    let wanted = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scale = api
        .patch_scale("r", &PatchParams::default(), &wanted)
        .await
        .expect("scaled");
    assert_eq!(scale.spec.and_then(|s| s.replicas), Some(5));
    assert_eq!(
        live::<Redis>(&client, &ns, "r").await.spec.replicas,
        Some(5)
    );
    let refused = Patch::Merge(json!({"spec": {"replicas": 0}}));
    assert!(
        api.patch_scale("r", &PatchParams::default(), &refused)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn kubectl_get_shows_what_matters() {
    let (client, ns) = start().await;
    install(&client).await;
    let request = http::Request::get(format!(
        "/apis/redis.hera.dev/v1alpha1/namespaces/{ns}/redises"
    ))
    .header("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
    .body(vec![])
    .expect("a request");
    let table: Value = client.request(request).await.expect("a table");
    let columns = |priority: i64| -> Vec<String> {
        let all = table["columnDefinitions"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let shown = all
            .iter()
            .filter(|c| c["priority"].as_i64() <= Some(priority));
        shown
            .filter_map(|c| c["name"].as_str().map(str::to_owned))
            .collect()
    };
    assert_eq!(
        columns(0),
        [
            "Name",
            "Ready",
            "Reason",
            "Instances",
            "Primary",
            "Endpoint",
            "Age"
        ]
    );
    assert_eq!(columns(1).len(), 10);

    let names: Value = client
        .request(
            http::Request::get("/apis/redis.hera.dev/v1alpha1")
                .body(vec![])
                .expect("a request"),
        )
        .await
        .expect("the resources");
    let redises = names["resources"]
        .as_array()
        .and_then(|all| all.iter().find(|r| r["name"] == "redises").cloned());
    let redises = redises.expect("redises");
    assert_eq!(
        (&redises["shortNames"], &redises["categories"]),
        (&json!(["rd"]), &json!(["hera"]))
    );
}

#[test]
fn no_format_that_the_server_does_not_check() {
    fn formats(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                if let Some(format) = map.get("format").and_then(Value::as_str) {
                    found.push(format.to_owned());
                }
                map.values().for_each(|value| formats(value, found));
            }
            Value::Array(list) => list.iter().for_each(|value| formats(value, found)),
            _ => {}
        }
    }
    for definition in operators::crds() {
        let mut found = vec![];
        formats(
            &serde_json::to_value(&definition).expect("JSON"),
            &mut found,
        );
        found.retain(|format| !["int32", "int64", "date-time"].contains(&format.as_str()));
        assert!(found.is_empty(), "{}: {found:?}", definition.name_any());
    }
}
