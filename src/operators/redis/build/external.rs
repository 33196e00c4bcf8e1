//! A Service for each pod, for clients outside of the Kubernetes cluster.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Service, ServiceSpec};

use super::super::api::{ExternalServices, ExternalType};
use super::super::external::{for_pod, service_name};
use super::super::model::{Observed, Validated};
use super::network::{families_of_service, policy, port};
use super::{identity, metadata, non_empty};

/// Label that the StatefulSet controller puts on each pod.
const POD_NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";

/// The Services of all pods that are wanted or still there.
pub fn services(v: &Validated, o: &Observed) -> Vec<Service> {
    let Some(external) = &v.services.external else {
        return Vec::new();
    };
    let mut pods: Vec<String> = if v.clustered() {
        let shards = (0..v.shards).map(|shard| v.of_shard(shard));
        shards.flat_map(|shard| wanted(&shard)).collect()
    } else {
        wanted(v)
    };
    let there = o.instances.iter().filter(|i| !i.uid.is_empty());
    pods.extend(there.map(|i| i.pod.clone()));
    pods.sort();
    pods.dedup();
    pods.iter().map(|pod| service(v, external, pod)).collect()
}

fn wanted(v: &Validated) -> Vec<String> {
    (0..v.replicas).map(|ordinal| v.pod_name(ordinal)).collect()
}

fn service(v: &Validated, external: &ExternalServices, pod: &str) -> Service {
    let mut meta = metadata(v, service_name(pod));
    let mut labels = external.labels.clone();
    labels.extend(meta.labels.take().unwrap_or_default());
    meta.labels = Some(labels);
    let annotations = external.annotations.iter();
    let annotations = annotations.map(|(key, value)| (key.clone(), for_pod(value, pod)));
    meta.annotations = non_empty(annotations.collect::<BTreeMap<_, _>>());
    let mut selector = identity(v).selector();
    selector.insert(POD_NAME_LABEL.to_owned(), pod.to_owned());
    let type_ = match external.type_ {
        ExternalType::LoadBalancer => "LoadBalancer",
        ExternalType::NodePort => "NodePort",
    };
    Service {
        metadata: meta,
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            selector: Some(selector),
            ports: Some(vec![port()]),
            // In a cluster the nodes tell clients whom to ask.
            publish_not_ready_addresses: v.clustered().then_some(true),
            load_balancer_class: external.load_balancer_class.clone(),
            load_balancer_source_ranges: Some(external.load_balancer_source_ranges.clone())
                .filter(|ranges| !ranges.is_empty()),
            external_traffic_policy: policy(external.external_traffic_policy),
            ..families_of_service(v)
        }),
        ..Service::default()
    }
}
