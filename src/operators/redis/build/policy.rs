//! The NetworkPolicy: who may connect to the pods.

use k8s_openapi::api::networking::v1::{
    NetworkPolicy, NetworkPolicyIngressRule, NetworkPolicyPeer, NetworkPolicyPort,
    NetworkPolicySpec,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeMap;

use super::super::model::{EXPORTER_PORT, NAME_LABEL, Observed, PORT, SENTINEL_PORT, Validated};
use super::metadata;
use crate::k8s::labels;

/// The policy, when the spec asks for it. It selects every pod of the database, whatever its part in it.
pub fn network_policy(v: &Validated, o: &Observed) -> Option<NetworkPolicy> {
    let wanted = v.network_policy.as_ref()?;
    let pods = LabelSelector {
        match_labels: Some(BTreeMap::from([(NAME_LABEL.to_owned(), v.name.clone())])),
        ..LabelSelector::default()
    };
    let own = NetworkPolicyPeer {
        pod_selector: Some(pods.clone()),
        ..NetworkPolicyPeer::default()
    };
    // The database's own pods, on every port: replication, the cluster bus, sentinels.
    let mut rules = vec![from(vec![own, hera(o)], &[])];
    let ports: &[u16] = if v.watched() {
        &[PORT, SENTINEL_PORT]
    } else {
        &[PORT]
    };
    rules.extend(rule(&wanted.clients, ports));
    if v.monitoring.exporter.is_some() {
        rules.extend(rule(&wanted.monitoring, &[EXPORTER_PORT]));
    }
    Some(NetworkPolicy {
        metadata: metadata(v, v.name.clone()),
        spec: Some(NetworkPolicySpec {
            pod_selector: Some(pods),
            policy_types: Some(vec!["Ingress".into()]),
            ingress: Some(rules),
            egress: None,
        }),
    })
}

/// Hera's own pods, by the labels that its manifests give them.
fn hera(o: &Observed) -> NetworkPolicyPeer {
    let selector = |entries: &[(&str, &str)]| LabelSelector {
        match_labels: Some(
            entries
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        ),
        ..LabelSelector::default()
    };
    NetworkPolicyPeer {
        namespace_selector: Some(selector(&[(
            "kubernetes.io/metadata.name",
            &o.manager_namespace,
        )])),
        pod_selector: Some(selector(&[
            (labels::PART_OF, labels::HERA),
            (labels::COMPONENT, "manager"),
        ])),
        ip_block: None,
    }
}

/// A rule without peers would let everybody in.
fn rule(peers: &[NetworkPolicyPeer], ports: &[u16]) -> Option<NetworkPolicyIngressRule> {
    (!peers.is_empty()).then(|| from(peers.to_vec(), ports))
}

fn from(peers: Vec<NetworkPolicyPeer>, ports: &[u16]) -> NetworkPolicyIngressRule {
    let ports: Vec<NetworkPolicyPort> = ports
        .iter()
        .map(|port| NetworkPolicyPort {
            port: Some(IntOrString::Int(i32::from(*port))),
            protocol: Some("TCP".into()),
            end_port: None,
        })
        .collect();
    NetworkPolicyIngressRule {
        from: Some(peers),
        ports: (!ports.is_empty()).then_some(ports),
    }
}
