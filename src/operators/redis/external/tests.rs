//! Where clients outside reach the pods, and what nodes are made to say; the facts about the servers are those of
//! `tests/engine/external.rs`.

use serde_json::{Value, json};

use super::super::api::Redis;
use super::super::model::NodeView;
use super::super::validate::validate;
use super::*;
use crate::engines::redis::ClusterNode;

fn database(mode: &str, external: &Value) -> Validated {
    let mut spec = json!({"mode": mode, "services": {"external": external}});
    if mode == "Replication" {
        spec["replicas"] = json!(2);
    }
    let object = json!({
        "apiVersion": "redis.hera.dev/v1alpha1", "kind": "Redis",
        "metadata": {"name": "db", "namespace": "shop", "uid": "u"}, "spec": spec,
    });
    let redis: Redis = serde_json::from_value(object).unwrap();
    validate(&redis, &Observed::default()).unwrap()
}

/// Two pods with a server each that has these directives, and the Services of the pods as given.
fn observed(v: &Validated, directives: &[(&str, &str)], services: &[Value]) -> Observed {
    let instances = (0..2).map(|n| Instance {
        pod: if v.clustered() {
            format!("db-s0-{n}")
        } else {
            format!("db-{n}")
        },
        ordinal: n,
        uid: format!("pod-{n}"),
        host_ip: Some("192.0.2.9".into()),
        config: directives
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..Instance::default()
    });
    let mut o = Observed {
        instances: instances.collect(),
        ..Observed::default()
    };
    for (i, service) in o.instances.iter().zip(services) {
        let mut service = service.clone();
        service["metadata"] = json!({"name": service_name(&i.pod)});
        let service = serde_json::from_value(service).unwrap();
        o.objects.services.push(service);
    }
    o
}

fn balanced(ingress: &Value) -> Value {
    json!({"status": {"loadBalancer": {"ingress": [ingress]}}})
}

fn node_port(port: i32) -> Value {
    json!({"spec": {"ports": [{"port": 6379, "nodePort": port}]}})
}

/// Each node knows itself and the other one, with these host names.
fn acquaint(o: &mut Observed, names: [Option<&str>; 2]) {
    let nodes: Vec<ClusterNode> = names
        .iter()
        .map(|name| ClusterNode {
            hostname: name.map(str::to_owned),
            ..ClusterNode::default()
        })
        .collect();
    for i in &o.instances {
        let view = NodeView {
            nodes: nodes.clone(),
            ..NodeView::default()
        };
        o.cluster.views.insert(i.pod.clone(), view);
    }
}

const PLAIN: &[(&str, &str)] = &[(HOSTNAME, ""), (ENDPOINT_TYPE, "ip")];
const ABLE: &[(&str, &str)] = &[
    (HOSTNAME, ""),
    (ENDPOINT_TYPE, "ip"),
    (CLIENT_PORT, "0"),
    (CLIENT_TLS_PORT, "0"),
];

#[test]
fn a_pod_is_reached_where_its_service_is() {
    for (external, service, place) in [
        (
            json!({}),
            balanced(&json!({"ip": "192.0.2.1"})),
            Some("192.0.2.1:6379"),
        ),
        (
            json!({}),
            balanced(&json!({"ip": "2001:db8::1"})),
            Some("[2001:db8::1]:6379"),
        ),
        (
            json!({}),
            balanced(&json!({"hostname": "lb.example.org"})),
            Some("lb.example.org:6379"),
        ),
        (json!({}), json!({}), None),
        (
            json!({"host": "{pod}.example.org"}),
            balanced(&json!({"ip": "192.0.2.1"})),
            Some("db-0.example.org:6379"),
        ),
        (json!({"host": "{pod}.example.org"}), json!({}), None),
        (
            json!({"type": "NodePort"}),
            node_port(30001),
            Some("192.0.2.9:30001"),
        ),
        (
            json!({"type": "NodePort", "host": "203.0.113.7"}),
            node_port(30001),
            Some("203.0.113.7:30001"),
        ),
        (json!({"type": "NodePort"}), json!({}), None),
    ] {
        let v = database("Replication", &external);
        let o = observed(&v, &[], &[service]);
        let found = super::place(&v, &o, &o.instances[0]).map(|p| p.to_string());
        assert_eq!(found.as_deref(), place, "{external}");
        assert_eq!(super::place(&v, &o, &o.instances[1]), None, "its own only");
        assert!(announced(&v, &o, &o.instances[0]).is_empty(), "no cluster");
    }
}

#[test]
fn names_are_told_only_when_every_node_has_one() {
    let v = database("Cluster", &json!({}));
    let services = ["192.0.2.1", "192.0.2.2"].map(|ip| balanced(&json!({"ip": ip})));
    let mut o = observed(&v, PLAIN, &services);
    acquaint(&mut o, [None, None]);
    let said = |o: &Observed, n: usize, name: &str| announced(&v, o, &o.instances[n]).remove(name);
    assert_eq!(said(&o, 0, HOSTNAME).as_deref(), Some("192.0.2.1"));
    assert_eq!(said(&o, 1, HOSTNAME).as_deref(), Some("192.0.2.2"));
    assert_eq!(said(&o, 0, ENDPOINT_TYPE), None);
    assert_eq!(
        said(&o, 0, CLIENT_PORT),
        None,
        "the server does not know it"
    );
    acquaint(&mut o, [Some("192.0.2.1"), None]);
    assert_eq!(said(&o, 0, ENDPOINT_TYPE), None);
    let untold = problem(&v, &o).unwrap();
    assert_eq!(untold.reason, reasons::ExternalAddressUntold);
    acquaint(&mut o, [Some("192.0.2.1"), Some("192.0.2.2")]);
    assert_eq!(said(&o, 0, ENDPOINT_TYPE).as_deref(), Some("hostname"));
    for i in &mut o.instances {
        i.config.insert(ENDPOINT_TYPE.into(), "hostname".into());
    }
    assert_eq!(problem(&v, &o), None);
    // A node that joins has none yet: the others go on.
    acquaint(&mut o, [Some("192.0.2.1"), None]);
    assert_eq!(said(&o, 0, ENDPOINT_TYPE).as_deref(), Some("hostname"));
}

#[test]
fn an_address_that_is_not_known_is_told_and_nothing_else_is_changed() {
    let v = database("Cluster", &json!({}));
    let mut o = observed(&v, PLAIN, &[json!({}), json!({})]);
    acquaint(&mut o, [None, None]);
    assert!(announced(&v, &o, &o.instances[0]).is_empty());
    let pending = problem(&v, &o).unwrap();
    assert_eq!(pending.reason, reasons::ExternalAddressPending);
    assert_eq!(pending.object.as_deref(), Some("Service/db-s0-0-external"));
}

#[test]
fn another_port_is_told_where_the_server_can() {
    let v = database("Cluster", &json!({"type": "NodePort"}));
    let mut o = observed(&v, ABLE, &[node_port(30001), node_port(30002)]);
    acquaint(&mut o, [Some("192.0.2.9"), Some("192.0.2.9")]);
    let said = announced(&v, &o, &o.instances[1]);
    assert_eq!(said[HOSTNAME], "192.0.2.9");
    assert_eq!(
        (said[CLIENT_PORT].as_str(), said[CLIENT_TLS_PORT].as_str()),
        ("30002", "0")
    );

    let o = observed(&v, PLAIN, &[node_port(30001), node_port(30002)]);
    let said = announced(&v, &o, &o.instances[0]);
    assert_eq!(
        (said[HOSTNAME].as_str(), said[ENDPOINT_TYPE].as_str()),
        ("", "ip")
    );
    let refused = problem(&v, &o).unwrap();
    assert_eq!(refused.reason, reasons::ExternalPortUnsupported);
}

/// Names go only when no node tells them any more.
#[test]
fn what_was_announced_is_taken_back_in_order() {
    let mut v = database("Cluster", &json!({}));
    v.services.external = None;
    let before = [
        (HOSTNAME, "192.0.2.1"),
        (ENDPOINT_TYPE, "hostname"),
        (CLIENT_PORT, "0"),
    ];
    let mut o = observed(&v, &before, &[]);
    let said = announced(&v, &o, &o.instances[0]);
    assert_eq!(said.get(ENDPOINT_TYPE).map(String::as_str), Some("ip"));
    assert_eq!(said.get(HOSTNAME), None);
    for i in &mut o.instances {
        i.config.insert(ENDPOINT_TYPE.into(), "ip".into());
    }
    let said = announced(&v, &o, &o.instances[0]);
    assert_eq!(said.get(HOSTNAME).map(String::as_str), Some(""));
    assert_eq!(problem(&v, &o), None);
}

#[test]
fn what_the_user_sets_is_the_users() {
    let mut v = database("Cluster", &json!({}));
    v.config.insert(HOSTNAME.into(), "mine".into());
    let services = [balanced(&json!({"ip": "192.0.2.1"}))];
    let o = observed(&v, PLAIN, &services);
    assert_eq!(announced(&v, &o, &o.instances[0]).get(HOSTNAME), None);
}
