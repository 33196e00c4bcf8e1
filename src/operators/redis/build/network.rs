//! Services, endpoint slices and the disruption budget.

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::api::{IpFamily, IpFamilyPolicy, ServiceTemplate, ServiceType, TrafficPolicy};
use super::super::model::{Instance, Observed, PORT, TLS_PORT, Validated};
use super::{identity, metadata, non_empty, selector, tls};

const SKIP_MIRROR_LABEL: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Label of an endpoint slice with the name of its Service.
pub const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";

/// The Services: to the primary, to the replicas, and the headless one that names the pods.
///
/// Where Hera leads clients those for them have no selector: it writes their endpoint slices in the step that changes the primary.
pub fn services(v: &Validated, o: &Observed) -> Vec<Service> {
    let mut services = vec![
        headless(v, o),
        client_service(v, o, v.primary_service(), v.services.primary.as_ref()),
    ];
    if v.gated() {
        services.push(client_service(
            v,
            o,
            v.replicas_service(),
            v.services.replicas.as_ref(),
        ));
    }
    services
}

pub(super) fn port() -> ServicePort {
    ServicePort {
        name: Some("redis".into()),
        port: i32::from(PORT),
        target_port: Some(IntOrString::Int(i32::from(PORT))),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    }
}

/// One port for what the servers take there, and one that always leads to encrypted connections.
fn ports(v: &Validated, o: &Observed) -> Vec<ServicePort> {
    let port = |name: &str, port: u16, target: u16| ServicePort {
        name: Some(name.into()),
        port: i32::from(port),
        target_port: Some(IntOrString::Int(i32::from(target))),
        protocol: Some("TCP".into()),
        ..ServicePort::default()
    };
    let encrypted = v.tls.as_ref();
    let encrypted = encrypted.map(|tls| port("redis-tls", TLS_PORT, tls::port_of_all(tls, o)));
    [port("redis", PORT, PORT)]
        .into_iter()
        .chain(encrypted)
        .collect()
}

pub(super) fn policy(policy: Option<TrafficPolicy>) -> Option<String> {
    let word = match policy? {
        TrafficPolicy::Cluster => "Cluster",
        TrafficPolicy::Local => "Local",
    };
    Some(word.to_owned())
}

/// A Service with nothing but its families of addresses.
pub(super) fn families_of_service(v: &Validated) -> ServiceSpec {
    let families = v.services.ip_families.iter();
    let families: Vec<String> = families.map(|f| f.word().to_owned()).collect();
    // Without a word the server keeps what a Service had before.
    let policy = match v.services.ip_family_policy {
        None | Some(IpFamilyPolicy::SingleStack) => "SingleStack",
        Some(IpFamilyPolicy::PreferDualStack) => "PreferDualStack",
        Some(IpFamilyPolicy::RequireDualStack) => "RequireDualStack",
    };
    ServiceSpec {
        ip_family_policy: Some(policy.to_owned()),
        ip_families: Some(families).filter(|families| !families.is_empty()),
        ..ServiceSpec::default()
    }
}

/// The families for which there are endpoint slices: those of the spec, else those of the pods, as far as the Services have both.
pub fn families(v: &Validated, instances: &[Instance]) -> Vec<IpFamily> {
    let both = matches!(
        v.services.ip_family_policy,
        Some(IpFamilyPolicy::PreferDualStack | IpFamilyPolicy::RequireDualStack)
    );
    if !both && let Some(only) = v.services.ip_families.first() {
        return vec![*only];
    }
    let of = |i: &Instance| -> Vec<IpFamily> {
        let all = i.ip.iter().chain(i.ips.iter().filter(|_| both));
        all.map(|ip| IpFamily::of(ip)).collect()
    };
    let mut found: Vec<IpFamily> = instances.iter().flat_map(of).collect();
    found.sort();
    found.dedup();
    found
}

fn headless(v: &Validated, o: &Observed) -> Service {
    Service {
        metadata: metadata(v, v.pods_service()),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".into()),
            publish_not_ready_addresses: Some(true),
            selector: Some(identity(v).selector()),
            ports: Some(ports(v, o)),
            ..families_of_service(v)
        }),
        ..Service::default()
    }
}

fn client_service(
    v: &Validated,
    o: &Observed,
    name: String,
    template: Option<&ServiceTemplate>,
) -> Service {
    let template = template.cloned().unwrap_or_default();
    let mut meta = metadata(v, name);
    let mut labels = template.labels;
    labels.extend(meta.labels.take().unwrap_or_default());
    // Kubernetes copies the label to the Endpoints that it keeps for a Service with a selector. Without it, it would make a slice of
    // them when the selector goes, and lead clients to where the Service led before.
    labels.insert(SKIP_MIRROR_LABEL.into(), "true".into());
    meta.labels = Some(labels);
    meta.annotations = non_empty(template.annotations);
    let type_ = match template.type_.unwrap_or_default() {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let selector = (!v.led()).then(|| identity(v).selector());
    let mut ports = ports(v, o);
    if let Some(first) = ports.first_mut() {
        first.node_port = template.node_port;
    }
    Service {
        metadata: meta,
        spec: Some(ServiceSpec {
            type_: Some(type_.into()),
            selector,
            ports: Some(ports),
            load_balancer_class: template.load_balancer_class,
            load_balancer_source_ranges: Some(template.load_balancer_source_ranges)
                .filter(|ranges| !ranges.is_empty()),
            external_traffic_policy: policy(template.external_traffic_policy),
            ..families_of_service(v)
        }),
        ..Service::default()
    }
}

/// Whom the Services lead to.
#[derive(Clone, Debug, Default)]
pub struct Published<'a> {
    /// The primary.
    pub primary: Option<&'a Instance>,
    /// The replicas in sync; reads go to the primary when there is none.
    pub readers: Vec<&'a Instance>,
}

/// The endpoint slices of the Services without selector.
pub fn endpoint_slices(v: &Validated, published: &Published<'_>) -> Vec<EndpointSlice> {
    if !v.led() {
        return Vec::new();
    }
    let readers = if published.readers.is_empty() {
        published.primary.into_iter().collect()
    } else {
        published.readers.clone()
    };
    let primary: Vec<&Instance> = published.primary.into_iter().collect();
    let all: Vec<Instance> = primary
        .iter()
        .chain(&readers)
        .map(|i| (*i).clone())
        .collect();
    let mut families = families(v, &all);
    if families.is_empty() {
        families.push(IpFamily::IPv4);
    }
    let mut slices = Vec::new();
    for family in families {
        slices.push(slice(v, "primary", v.primary_service(), family, &primary));
        if v.gated() {
            slices.push(slice(v, "replicas", v.replicas_service(), family, &readers));
        }
    }
    slices
}

/// A slice has addresses of one family, which cannot be changed: that of IPv6 has another name.
fn slice(
    v: &Validated,
    role: &str,
    service: String,
    family: IpFamily,
    instances: &[&Instance],
) -> EndpointSlice {
    // A slice has one port for all. While the servers change over, those that listen elsewhere are left out for a moment.
    let encrypted = v.tls.as_ref().and_then(|tls| {
        let first = instances.first()?;
        Some((tls, tls::port_of(tls, first)))
    });
    let alike = |i: &&&Instance| encrypted.is_none_or(|(tls, port)| tls::port_of(tls, i) == port);
    let port = |name: &str, port: u16| EndpointPort {
        name: Some(name.into()),
        port: Some(i32::from(port)),
        protocol: Some("TCP".into()),
        ..EndpointPort::default()
    };
    let suffix = match family {
        IpFamily::IPv4 => "",
        IpFamily::IPv6 => "-ipv6",
    };
    let mut meta = metadata(v, format!("{}-{role}{suffix}", v.name));
    let labels = meta.labels.get_or_insert_default();
    labels.insert(SERVICE_NAME_LABEL.into(), service);
    labels.insert(
        "endpointslice.kubernetes.io/managed-by".into(),
        "hera.dev".into(),
    );
    let endpoints = instances.iter().filter(alike).filter_map(|i| {
        Some(Endpoint {
            addresses: vec![i.address(family)?.to_owned()],
            conditions: Some(EndpointConditions {
                ready: Some(true),
                serving: Some(true),
                terminating: Some(false),
            }),
            node_name: i.node.clone(),
            target_ref: Some(ObjectReference {
                kind: Some("Pod".into()),
                name: Some(i.pod.clone()),
                namespace: Some(v.namespace.clone()),
                uid: Some(i.uid.clone()),
                ..ObjectReference::default()
            }),
            ..Endpoint::default()
        })
    });
    EndpointSlice {
        metadata: meta,
        address_type: family.word().into(),
        endpoints: endpoints.collect(),
        ports: Some(
            [port("redis", PORT)]
                .into_iter()
                .chain(encrypted.map(|(_, number)| port("redis-tls", number)))
                .collect(),
        ),
    }
}

/// At most one pod at a time may be taken away by choice. A single server has no budget: it would block every drain for ever.
pub fn disruption_budget(v: &Validated) -> Option<PodDisruptionBudget> {
    (v.replicas > 1 && !v.hibernate).then(|| PodDisruptionBudget {
        metadata: metadata(v, v.statefulset_name()),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            selector: Some(LabelSelector {
                match_labels: Some(selector(v)),
                ..LabelSelector::default()
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".into()),
            ..PodDisruptionBudgetSpec::default()
        }),
        ..PodDisruptionBudget::default()
    })
}

/// The instances that a plan names.
pub fn published<'a>(o: &'a Observed, primary: Option<&str>, readers: &[String]) -> Published<'a> {
    Published {
        primary: primary.and_then(|pod| o.instances.iter().find(|i| i.pod == pod)),
        readers: readers
            .iter()
            .filter_map(|pod| o.instances.iter().find(|i| &i.pod == pod))
            .collect(),
    }
}
