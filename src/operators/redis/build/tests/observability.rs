//! The exporter, what leads Prometheus to it, and who may connect.

use serde_json::{Value, json};

use super::super::{Resources, build};
use super::{credentials, redis};
use crate::operators::redis::model::{EXPORTER, Observed};
use crate::operators::redis::validate::validate;

fn built(spec: &Value) -> Resources {
    let o = Observed {
        manager_namespace: "hera-system".into(),
        ..Observed::default()
    };
    let v = validate(&redis(spec), &o).unwrap_or_else(|e| panic!("{spec}: {e:?}"));
    build(&v, &o, &credentials()).unwrap()
}

fn pod(r: &Resources) -> Value {
    let template = &r.statefulsets[0].spec.as_ref().unwrap().template;
    serde_json::to_value(template.spec.as_ref().unwrap()).unwrap()
}

fn secret(r: &Resources, key: &str) -> Option<String> {
    let data = r.server_secret.data.as_ref().unwrap();
    let value = data.get(key)?;
    Some(String::from_utf8(value.0.clone()).unwrap())
}

/// What adds no exporter changes no pod.
#[test]
fn without_an_exporter_pods_and_users_are_as_before() {
    let plain = built(&json!({}));
    let policy = built(&json!({"monitoring": {}, "networkPolicy": {}}));
    assert_eq!(pod(&plain), pod(&policy));
    assert_eq!(secret(&plain, "exporter.json"), None);
    assert_eq!(secret(&plain, "users.acl"), secret(&policy, "users.acl"));
    assert!(plain.network_policy.is_none() && policy.network_policy.is_some());
}

#[test]
fn the_exporter_logs_in_with_a_file_that_only_it_has() {
    let r = built(&json!({"monitoring": {"exporter": {"args": ["--debug"]}}}));
    let pod = pod(&r);
    let [server, exporter] = pod["containers"].as_array().unwrap().as_slice() else {
        panic!("two containers");
    };
    assert_eq!(exporter["name"], EXPORTER);
    assert_eq!(exporter["ports"][0]["containerPort"], 9121);
    assert_eq!(
        exporter["image"],
        "docker.io/oliver006/redis_exporter:v1.80.1"
    );
    assert!(exporter["env"].is_null() && exporter["readinessProbe"].is_null());
    let context = &exporter["securityContext"];
    assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(context["allowPrivilegeEscalation"], false);

    let file = secret(&r, "exporter.json").unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    let password = file["redis://hera-exporter@127.0.0.1:6379"]
        .as_str()
        .unwrap();
    assert_eq!(password.len(), 64);
    assert_eq!(file["redis://127.0.0.1:6379"], password, "for older ones");
    let args = exporter["args"].to_string();
    assert!(
        !args.contains(password) && args.contains("--debug"),
        "{args}"
    );
    let users = secret(&r, "users.acl").unwrap();
    let hash = crate::engines::redis::password_hash(password);
    let line = users
        .lines()
        .find(|l| l.starts_with("user hera-exporter on "))
        .unwrap();
    assert!(line.contains(&hash) && !line.contains("+@"), "{line}");
    for other in ["two", "three", "four"] {
        assert_ne!(password, other);
    }

    let mounts = |container: &Value| container["volumeMounts"].to_string();
    assert!(mounts(exporter).contains("/etc/hera-exporter"));
    assert!(!mounts(exporter).contains("/etc/hera\""), "no other secret");
    assert!(!mounts(server).contains("/etc/hera-exporter"));
    let volumes = pod["volumes"].as_array().unwrap();
    let own = volumes.iter().find(|v| v["name"] == EXPORTER).unwrap();
    assert_eq!(
        own["secret"]["items"],
        json!([{"key": "exporter.json", "path": "exporter.json"}])
    );
}

#[test]
fn with_tls_the_exporter_speaks_it_and_shows_the_certificate() {
    let spec = json!({"tls": {"secretName": "c", "clientAuth": "Required"}, "monitoring": {"exporter": {}}});
    let r = built(&spec);
    let exporter = &pod(&r)["containers"][1];
    let args = exporter["args"].to_string();
    assert!(args.contains("rediss://127.0.0.1:6379"), "{args}");
    assert!(args.contains("--tls-client-cert-file=/etc/hera-tls/tls.crt"));
    assert!(
        exporter["volumeMounts"]
            .to_string()
            .contains("/etc/hera-tls")
    );
    let file = secret(&r, "exporter.json").unwrap();
    assert!(file.contains("rediss://hera-exporter@127.0.0.1:6379"));
}

fn ingress(spec: &Value) -> Vec<Value> {
    let policy = serde_json::to_value(built(spec).network_policy.unwrap()).unwrap();
    assert_eq!(
        policy["spec"]["podSelector"]["matchLabels"],
        json!({"redis.hera.dev/name": "db"})
    );
    assert_eq!(policy["spec"]["policyTypes"], json!(["Ingress"]));
    policy["spec"]["ingress"].as_array().unwrap().clone()
}

#[test]
fn a_policy_always_lets_in_the_database_itself_and_hera() {
    let rules = ingress(&json!({"networkPolicy": {}}));
    assert_eq!(rules.len(), 1, "no client, not everybody");
    assert!(rules[0]["ports"].is_null(), "every port, the bus too");
    assert_eq!(
        rules[0]["from"],
        json!([
            {"podSelector": {"matchLabels": {"redis.hera.dev/name": "db"}}},
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "hera-system"}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/part-of": "hera", "app.kubernetes.io/component": "manager"}}
            }
        ])
    );
}

#[test]
fn clients_reach_the_server_and_monitoring_the_exporter() {
    let apps = json!({"namespaceSelector": {"matchLabels": {"team": "shop"}}});
    let prometheus = json!({"podSelector": {"matchLabels": {"app": "prometheus"}}});
    let policy = json!({"clients": [apps], "monitoring": [prometheus]});
    let rules = ingress(&json!({"networkPolicy": policy, "monitoring": {"exporter": {}}}));
    assert_eq!(
        rules[1..],
        [
            json!({"from": [apps], "ports": [{"port": 6379, "protocol": "TCP"}]}),
            json!({"from": [prometheus], "ports": [{"port": 9121, "protocol": "TCP"}]}),
        ]
    );
    let rules = ingress(&json!({"networkPolicy": policy}));
    assert_eq!(rules.len(), 2, "no exporter, no port of it");
}

#[test]
fn prometheus_finds_every_pod_by_the_port_of_its_exporter() {
    let spec = json!({"monitoring": {"exporter": {}, "podMonitor": {"interval": "10s", "labels": {"release": "p", "app.kubernetes.io/managed-by": "me"}}}});
    let r = built(&spec);
    let monitor = serde_json::to_value(r.pod_monitor.clone().unwrap()).unwrap();
    let endpoint = &monitor["spec"]["podMetricsEndpoints"][0];
    assert_eq!(endpoint["interval"], "10s");
    let ports = pod(&r)["containers"][1]["ports"].clone();
    assert_eq!(ports[0]["name"], endpoint["port"]);
    let template = r.statefulsets[0].spec.as_ref().unwrap().template.clone();
    let labels = json!(template.metadata.unwrap().labels);
    let selector = monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap();
    for (key, value) in selector {
        assert_eq!(labels[key], *value);
    }
    let own = &monitor["metadata"]["labels"];
    assert_eq!(own["release"], "p");
    assert_eq!(
        own["app.kubernetes.io/managed-by"], "hera",
        "else it is not found again"
    );
}

#[test]
fn alerts_are_about_this_database_alone_and_about_what_it_has() {
    let names = |spec: Value| -> Vec<String> {
        let rule = built(&spec).prometheus_rule.unwrap();
        let rules = &rule.spec.groups[0].rules;
        for rule in rules {
            let own = rule.expr.contains("\"shop/db\"") || rule.expr.contains("\"data-db(-s");
            assert!(own && rule.labels["redis"] == "db", "{}", rule.expr);
        }
        rules.iter().filter_map(|r| r.alert.clone()).collect()
    };
    let monitoring = json!({"exporter": {}, "rules": {}});
    let plain = names(json!({ "monitoring": monitoring }));
    assert!(plain.contains(&"RedisMemoryNearlyFull".to_owned()));
    assert!(!plain.contains(&"RedisVolumeNearlyFull".to_owned()));
    let evicting = names(json!({"monitoring": monitoring, "memory": {"policy": "allkeys-lru"}}));
    assert!(!evicting.contains(&"RedisMemoryNearlyFull".to_owned()));
    let asleep =
        names(json!({"monitoring": monitoring, "storage": {"size": "1Gi"}, "hibernate": true}));
    assert!(asleep.contains(&"RedisVolumeNearlyFull".to_owned()));
    assert!(!asleep.contains(&"RedisInstancesMissing".to_owned()));
}
