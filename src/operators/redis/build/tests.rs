//! What is built: a golden pod template, purity, and that no field of the spec is silently ignored.

mod claims;
mod external;
mod families;
mod leaves;
mod observability;

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Service;
use kube::CustomResourceExt;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::super::api::{Redis, RedisSpec};
use super::super::model::{Credentials, Instance, Observed, Server};
use super::super::validate::validate;
use super::{Published, build, endpoint_slices};
use leaves::base;

fn redis(spec: &Value) -> Redis {
    let spec: RedisSpec = serde_json::from_value(spec.clone()).unwrap();
    let mut redis = Redis::new("db", spec);
    redis.metadata.namespace = Some("shop".into());
    redis.metadata.uid = Some("uid".into());
    redis.metadata.generation = Some(1);
    redis
}

fn credentials() -> Credentials {
    let secret = |text: &str| SecretString::from(text);
    Credentials {
        default: secret("one"),
        operator: secret("two"),
        replication: secret("three"),
        probe: secret("four"),
    }
}

/// Everything that a spec leads to, as text.
fn built(spec: &Value) -> String {
    let redis = redis(spec);
    let mut o = Observed {
        instances: vec![serving()],
        ..Observed::default()
    };
    o.objects.services = vec![balanced("db-0-external")];
    let v = validate(&redis, &o).unwrap_or_else(|e| panic!("{spec}: {e:?}"));
    let r = build(&v, &o, &credentials()).unwrap();
    let slices = endpoint_slices(
        &v,
        &Published {
            primary: o.instances.first(),
            readers: vec![],
        },
    );
    let live = super::super::directives::live(&v, &o);
    let plan_relevant = (
        v.unresponsive_after,
        v.min_replicas_to_write,
        v.password_refs.clone(),
        v.default_user_enabled,
        v.users.clone(),
        v.storage.as_ref().map(|s| (s.when_deleted, s.when_scaled)),
        v.update.clone(),
        v.bootstrap.clone(),
        v.sentinel.clone(),
        super::super::external::place(&v, &o, &o.instances[0]),
    );
    json!({
        "secrets": [r.server_secret, r.sentinel_secret, r.connection_secret, super::credentials_secret(&v, &credentials())],
        "configMaps": [r.config_map, r.start_config_map], "services": r.services, "policy": r.network_policy, "monitor": r.pod_monitor, "rule": r.prometheus_rule, "budgets": r.disruption_budgets, "sets": r.statefulsets,
        "slices": slices, "certificate": super::certificate(&v), "live": live, "plan": format!("{plan_relevant:?}"),
    })
    .to_string()
}

/// A Service for which there is a load balancer.
fn balanced(name: &str) -> Service {
    let service = json!({
        "metadata": {"name": name}, "spec": {"ports": [{"port": 6379, "nodePort": 30100}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}},
    });
    serde_json::from_value(service).unwrap()
}

fn serving() -> Instance {
    Instance {
        pod: "db-0".into(),
        uid: "pod".into(),
        ip: Some("10.0.0.1".into()),
        has_certificate: true,
        server: Server::Up(Box::default()),
        ..Instance::default()
    }
}

#[test]
fn every_leaf_of_the_spec_changes_what_is_built() {
    let before = built(&base());
    for (path, patch) in leaves::changes() {
        let mut spec = base();
        super::patch::merge(&mut spec, &patch);
        assert_ne!(built(&spec), before, "spec.{path} is ignored");
    }
}

#[test]
fn every_leaf_of_the_sentinels_changes_what_is_built() {
    let mut sentinel = base();
    super::patch::merge(
        &mut sentinel,
        &json!({"mode": "Sentinel", "bootstrap": null}),
    );
    let before = built(&sentinel);
    for (path, patch) in leaves::sentinels() {
        let mut spec = base();
        super::patch::merge(&mut spec, &patch);
        assert_ne!(built(&spec), before, "spec.{path} is ignored");
    }
}

#[test]
fn every_field_of_the_issuer_changes_what_is_asked_for() {
    let spec = |over: Value| {
        let mut issuer = json!({"name": "ca"});
        super::patch::merge(&mut issuer, &over);
        let spec = json!({"tls": {"issuerRef": issuer}});
        let v = validate(&redis(&spec), &Observed::default()).unwrap();
        super::certificate(&v).unwrap().spec
    };
    let before = spec(json!({}));
    assert_eq!(before.secret_name, "db-certificate");
    assert!(before.dns_names.contains(&"db.shop.svc".to_owned()));
    for over in [
        json!({"name": "other"}),
        json!({"kind": "ClusterIssuer"}),
        json!({"group": "example.org"}),
    ] {
        assert_ne!(spec(over.clone()).issuer_ref, before.issuer_ref, "{over}");
    }
}

#[test]
fn every_leaf_of_the_schema_is_among_the_changes() {
    let crd = serde_json::to_value(Redis::crd()).unwrap();
    let mut leaves = BTreeSet::new();
    collect(
        "",
        &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"],
        &mut leaves,
    );
    let tested: BTreeSet<String> = leaves::changes()
        .into_iter()
        .map(|(path, _)| path.to_owned())
        .collect();
    assert_eq!(leaves, tested);
}

fn collect(path: &str, schema: &Value, leaves: &mut BTreeSet<String>) {
    let schema = if schema["items"].is_object() {
        &schema["items"]
    } else {
        schema
    };
    match schema["properties"].as_object() {
        Some(properties) => {
            for (name, inner) in properties {
                collect(&format!("{path}.{name}"), inner, leaves);
            }
        }
        None => {
            leaves.insert(path.trim_start_matches('.').to_owned());
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    assert_eq!(built(&base()), built(&base()));
}

/// A change of this file restarts every database of every user when Hera is upgraded: list it in docs/upgrade.md.
#[test]
fn the_pod_template_is_what_it_was() {
    let spec = json!({"mode": "Replication", "replicas": 3, "version": "8.0", "resources": {"limits": {"memory": "1Gi"}}, "config": {"databases": "4", "timeout": "30"}});
    let v = validate(&redis(&spec), &Observed::default()).unwrap();
    let r = build(&v, &Observed::default(), &credentials()).unwrap();
    insta::assert_yaml_snapshot!(
        "pod_template",
        r.statefulsets[0].spec.as_ref().unwrap().template
    );
    insta::assert_snapshot!("redis_conf", r.start_config_map.data.unwrap()["redis.conf"]);
}

/// The kernel takes connections in place of a process that is stopped, so that a connection is no sign of life.
#[test]
fn a_server_that_is_stopped_is_noticed_over_tls_as_well() {
    let tls = json!({"secretName": "certificate"});
    for spec in [
        json!({"mode": "Standalone"}),
        json!({"mode": "Replication", "tls": tls}),
        json!({"mode": "Cluster", "tls": tls}),
        json!({"mode": "Sentinel", "tls": tls}),
    ] {
        let v = validate(&redis(&spec), &Observed::default()).unwrap();
        let r = build(&v, &Observed::default(), &credentials()).unwrap();
        for set in &r.statefulsets {
            let pod = set.spec.as_ref().unwrap().template.spec.as_ref().unwrap();
            let probe = pod.containers[0].liveness_probe.as_ref().unwrap();
            let command = probe.exec.as_ref().and_then(|e| e.command.as_ref());
            let command = command.unwrap().join(" ");
            assert!(command.contains(" ping"), "{spec}: {command}");
            assert_eq!(command.contains("--tls"), v.tls.is_some(), "{spec}");
        }
    }
}

/// And what servers start with, in each mode and version, with and without volumes and encryption.
#[test]
fn the_start_configuration_of_each_version_is_what_it_was() {
    let storage = json!({"size": "1Gi"});
    let tls = json!({"secretName": "certificate"});
    for (name, spec) in [
        (
            "standalone_7_volume",
            json!({"mode": "Standalone", "version": "7.0", "storage": storage}),
        ),
        (
            "replication_valkey_8_tls",
            json!({"mode": "Replication", "engine": "Valkey", "version": "8.1", "tls": tls}),
        ),
        (
            "sentinel_8_volume",
            json!({"mode": "Sentinel", "version": "8.0", "storage": storage}),
        ),
        ("cluster_8", json!({"mode": "Cluster", "version": "8.0"})),
        (
            "cluster_valkey_9_volume_tls",
            json!({"mode": "Cluster", "engine": "Valkey", "version": "9.0", "storage": storage, "tls": tls}),
        ),
    ] {
        let v = validate(&redis(&spec), &Observed::default()).unwrap();
        let r = build(&v, &Observed::default(), &credentials()).unwrap();
        let files = r.start_config_map.data.unwrap();
        insta::assert_snapshot!(format!("redis_conf_{name}"), files["redis.conf"]);
    }
}

/// The same of the sentinels.
#[test]
fn the_pod_template_of_the_sentinels_is_what_it_was() {
    let spec = json!({"mode": "Sentinel", "version": "8.0"});
    let v = validate(&redis(&spec), &Observed::default()).unwrap();
    let r = build(&v, &Observed::default(), &credentials()).unwrap();
    let set = r.statefulsets[1].spec.as_ref().unwrap();
    insta::assert_yaml_snapshot!("sentinel_pod_template", set.template);
    let data = r.sentinel_secret.unwrap().data.unwrap();
    let text = String::from_utf8(data["sentinel.conf"].0.clone()).unwrap();
    insta::assert_snapshot!("sentinel_conf", text);
}

/// Servers start alike in both modes, but that no sentinel promotes one before Hera has seen it in sync: no pod is restarted.
#[test]
fn from_replication_to_sentinel_the_pod_template_stays() {
    let of = |mode: &str| {
        let v = validate(&redis(&json!({"mode": mode})), &Observed::default()).unwrap();
        let mut r = build(&v, &Observed::default(), &credentials()).unwrap();
        let file = r.start_config_map.data.unwrap()["redis.conf"].clone();
        (r.statefulsets.remove(0).spec.unwrap().template, file)
    };
    let (replication, sentinel) = (of("Replication"), of("Sentinel"));
    assert_eq!(replication.0, sentinel.0);
    assert!(!replication.1.contains("replica-priority"));
    assert!(sentinel.1.contains("replica-priority 0\n"));
}

#[test]
fn sentinels_know_only_hashes_of_the_passwords_of_clients() {
    let v = validate(
        &redis(&json!({"mode": "Sentinel", "bootstrap": null})),
        &Observed::default(),
    )
    .unwrap();
    let mut c = credentials();
    c.default = SecretString::from("correct horse battery staple");
    let r = build(&v, &Observed::default(), &c).unwrap();
    let secret = r.sentinel_secret.unwrap().data.unwrap();
    let users = String::from_utf8(secret["users.acl"].0.clone()).unwrap();
    assert!(!users.contains("battery") && users.contains("user default on #"));
    let conf = String::from_utf8(secret["sentinel.conf"].0.clone()).unwrap();
    assert!(conf.contains(c.sentinel().expose_secret()));
    let open = json!([r.statefulsets, r.services, r.disruption_budgets]).to_string();
    assert!(!open.contains(c.sentinel().expose_secret()));
}

#[test]
fn only_a_directive_that_needs_a_restart_changes_the_pod_template() {
    let template = |config: Value| {
        let v = validate(&redis(&json!({"config": config})), &Observed::default()).unwrap();
        build(&v, &Observed::default(), &credentials())
            .unwrap()
            .statefulsets
            .remove(0)
            .spec
            .unwrap()
            .template
    };
    assert_eq!(
        template(json!({})),
        template(json!({"timeout": "30", "maxclients": "100"}))
    );
    assert_ne!(template(json!({})), template(json!({"databases": "4"})));
}

#[test]
fn a_directive_stands_in_the_file_only_when_every_server_has_taken_it() {
    let v = validate(
        &redis(&json!({"config": {"timeout": "30", "databases": "4"}})),
        &Observed::default(),
    )
    .unwrap();
    let file = |o: &Observed| {
        build(&v, o, &credentials())
            .unwrap()
            .config_map
            .data
            .unwrap()["user.conf"]
            .clone()
    };
    let mut o = Observed {
        instances: vec![serving(), serving()],
        ..Observed::default()
    };
    assert_eq!(file(&Observed::default()), "", "no server has seen it");
    o.instances[0].config.insert("timeout".into(), "30".into());
    assert_eq!(file(&o), "", "one has not");
    o.instances[1].config.insert("timeout".into(), "30".into());
    assert_eq!(file(&o), "timeout 30\n");
}

/// One that a server cannot take may keep it from starting: it reaches only pods that are restarted for it.
#[test]
fn a_directive_that_needs_a_restart_stands_in_a_file_of_its_own_revision() {
    let files = |config: Value| {
        let v = validate(&redis(&json!({"config": config})), &Observed::default()).unwrap();
        let r = build(&v, &Observed::default(), &credentials()).unwrap();
        let mounted = json!(r.statefulsets[0].spec.as_ref().unwrap().template).to_string();
        let name = r.start_config_map.metadata.name.unwrap();
        assert!(mounted.contains(&name), "{name} is mounted");
        (name, r.start_config_map.data.unwrap()["redis.conf"].clone())
    };
    let (first, before) = files(json!({}));
    let (second, after) = files(json!({"databases": "4"}));
    assert_ne!(first, second);
    assert_eq!(after, format!("{before}databases 4\n"));
}

#[test]
fn no_password_stands_in_clear_text_outside_of_secrets() {
    let v = validate(&redis(&base()), &Observed::default()).unwrap();
    let mut c = credentials();
    c.default = SecretString::from("correct horse battery staple");
    let r = build(&v, &Observed::default(), &c).unwrap();
    let open = json!([
        r.config_map,
        r.start_config_map,
        r.services,
        r.statefulsets,
        r.disruption_budgets
    ])
    .to_string();
    assert!(!open.contains("battery"));
    let users = String::from_utf8(r.server_secret.data.unwrap()["users.acl"].0.clone()).unwrap();
    assert!(!users.contains("battery") && users.contains("user default on #"));
}
