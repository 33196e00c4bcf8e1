//! What the Redis operator is allowed to do. The manifests are generated from these rules.

use k8s_openapi::api::rbac::v1::PolicyRule;

fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let owned = |list: &[&str]| Some(list.iter().map(ToString::to_string).collect());
    PolicyRule {
        api_groups: owned(&[group]),
        resources: owned(resources),
        verbs: verbs.iter().map(ToString::to_string).collect(),
        ..PolicyRule::default()
    }
}

/// The rules of the Redis operator.
pub fn rules() -> Vec<PolicyRule> {
    let read = ["get", "list", "watch"];
    let own = ["get", "list", "watch", "create", "patch", "delete"];
    vec![
        rule("redis.hera.dev", &["redises"], &read),
        // Owner references block the owner's deletion until the owned objects are gone; clusters with the admission plugin
        // OwnerReferencesPermissionEnforcement ask for this right then.
        rule("redis.hera.dev", &["redises/finalizers"], &["update"]),
        rule("redis.hera.dev", &["redises/status"], &["get", "patch"]),
        rule("apps", &["statefulsets"], &own),
        rule("", &["services", "configmaps", "secrets"], &own),
        rule("policy", &["poddisruptionbudgets"], &own),
        rule("networking.k8s.io", &["networkpolicies"], &own),
        rule(
            "monitoring.coreos.com",
            &["podmonitors", "prometheusrules"],
            &own,
        ),
        rule("discovery.k8s.io", &["endpointslices"], &own),
        // Without this the API server refuses endpoint slices that name pods' addresses for a Service.
        rule(
            "discovery.k8s.io",
            &["endpointslices/restricted"],
            &["create"],
        ),
        rule("", &["pods"], &["get", "list", "watch", "delete"]),
        rule("", &["pods/status"], &["patch"]),
        rule(
            "",
            &["persistentvolumeclaims"],
            &["get", "list", "watch", "patch", "delete"],
        ),
        rule(
            "cert-manager.io",
            &["certificates"],
            &["get", "create", "patch", "delete"],
        ),
        rule("storage.k8s.io", &["storageclasses"], &["get"]),
    ]
}
