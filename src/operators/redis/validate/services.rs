//! What the schema says of `spec.services`, once more.

use super::super::api::{
    ExternalServices, ExternalType, IpFamilyPolicy, RedisSpec, ServiceTemplate, ServiceType,
    Services,
};
use super::Errors;

/// Longest host with the longest name of a pod in it: servers take 255 characters.
const MAX_HOST: usize = 190;
/// Most ranges of a load balancer.
const MAX_RANGES: usize = 64;

/// Checks the Services.
pub fn check(spec: &RedisSpec, errors: &mut Errors) {
    let Some(services) = &spec.services else {
        return;
    };
    families(services, errors);
    for (name, template) in [
        ("primary", &services.primary),
        ("replicas", &services.replicas),
    ] {
        if let Some(template) = template {
            client(&format!("spec.services.{name}"), template, errors);
        }
    }
    if let Some(external) = &services.external {
        outside("spec.services.external", external, errors);
    }
}

fn families(services: &Services, errors: &mut Errors) {
    let families = &services.ip_families;
    let single = matches!(
        services.ip_family_policy,
        None | Some(IpFamilyPolicy::SingleStack)
    );
    let message = match families.as_slice() {
        [] | [_] => return,
        [a, b] if a != b && !single => return,
        [a, b] if a != b => "two families need ipFamilyPolicy PreferDualStack or RequireDualStack",
        [_, _] => "names a family twice",
        _ => "must be two at most",
    };
    errors.add("spec.services.ipFamilies", message);
}

fn client(path: &str, t: &ServiceTemplate, errors: &mut Errors) {
    let type_ = t.type_.unwrap_or_default();
    let only = "only with type NodePort or LoadBalancer";
    if type_ == ServiceType::ClusterIP && t.node_port.is_some() {
        errors.add(format!("{path}.nodePort"), only);
    }
    if t.node_port
        .is_some_and(|port| !(1..=65_535).contains(&port))
    {
        errors.add(format!("{path}.nodePort"), "must be between 1 and 65535");
    }
    if type_ == ServiceType::ClusterIP && t.external_traffic_policy.is_some() {
        errors.add(format!("{path}.externalTrafficPolicy"), only);
    }
    balancer(
        path,
        type_ == ServiceType::LoadBalancer,
        t.load_balancer_class.as_deref(),
        &t.load_balancer_source_ranges,
        errors,
    );
}

fn outside(path: &str, e: &ExternalServices, errors: &mut Errors) {
    balancer(
        path,
        e.type_ == ExternalType::LoadBalancer,
        e.load_balancer_class.as_deref(),
        &e.load_balancer_source_ranges,
        errors,
    );
    let Some(host) = &e.host else { return };
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    let plain = host.replace("{pod}", "pod");
    if host.is_empty() || host.len() > MAX_HOST || !plain.chars().all(word) {
        errors.add(
            format!("{path}.host"),
            "must be a name or an IPv4 address, with {pod} for the name of the pod",
        );
    }
}

fn balancer(path: &str, is_one: bool, class: Option<&str>, ranges: &[String], errors: &mut Errors) {
    let only = "only with type LoadBalancer";
    if class.is_some_and(|class| !is_one || class.is_empty() || class.len() > 253) {
        errors.add(format!("{path}.loadBalancerClass"), only);
    }
    let wrong = |range: &String| range.is_empty() || range.len() > 64;
    if !ranges.is_empty() && (!is_one || ranges.len() > MAX_RANGES || ranges.iter().any(wrong)) {
        errors.add(format!("{path}.loadBalancerSourceRanges"), only);
    }
}
