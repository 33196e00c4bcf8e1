//! What must hold for the rendered objects, however they were rendered.

use std::collections::BTreeSet;

use clap::Parser;
use hera::operators::{self, manifests};
use hera::settings::Settings;
use serde_json::{Value, json};

/// All objects of a kind.
pub fn of_kind<'a>(objects: &'a [Value], kind: &str) -> Vec<&'a Value> {
    objects
        .iter()
        .filter(|object| object["kind"] == kind)
        .collect()
}

/// The only object of a kind.
pub fn only<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    let found = of_kind(objects, kind);
    assert_eq!(found.len(), 1, "{kind}: {found:?}");
    found[0]
}

pub fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap()
}

/// Permissions as (API group, resource, verb).
pub type Permissions = BTreeSet<(String, String, String)>;

/// What a list of rules grants.
pub fn permissions(rules: &Value) -> Permissions {
    let strings = |value: &Value| -> Vec<String> {
        value
            .as_array()
            .into_iter()
            .flatten()
            .map(|s| s.as_str().unwrap().to_owned())
            .collect()
    };
    let mut all = Permissions::new();
    for rule in rules.as_array().into_iter().flatten() {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                for verb in strings(&rule["verbs"]) {
                    all.insert((group.clone(), resource.clone(), verb));
                }
            }
        }
    }
    all
}

/// What the code declares for all operators.
pub fn declared_permissions() -> Permissions {
    let rules: Vec<_> = operators::rbac()
        .into_iter()
        .flat_map(|(_, rules)| rules)
        .chain(manifests::common_rules())
        .collect();
    permissions(&serde_json::to_value(rules).unwrap())
}

#[derive(Parser)]
struct Run {
    #[command(flatten)]
    settings: Settings,
}

/// The settings that the arguments of the container give to `hera run`.
pub fn settings(deployment: &Value) -> Settings {
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let arguments: Vec<&str> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .map(|argument| argument.as_str().unwrap())
        .collect();
    assert_eq!(arguments[0], "run");
    let run =
        Run::try_parse_from(&arguments).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    run.settings.validate().unwrap();
    run.settings
}

/// The level "restricted" of the Pod Security Standards, and a root file system that cannot be written.
fn is_restricted(deployment: &Value) {
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    for field in ["hostNetwork", "hostPID", "hostIPC", "volumes"] {
        assert!(pod[field].is_null(), "{field}");
    }
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["runAsNonRoot"], true);
        assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
        assert!(context["privileged"].is_null());
    }
}

/// The manager's Deployment and what belongs to it.
pub fn manager(objects: &[Value]) {
    let deployment = only(objects, "Deployment");
    is_restricted(deployment);
    let pod = &deployment["spec"]["template"]["spec"];
    assert_eq!(
        pod["serviceAccountName"],
        name(only(objects, "ServiceAccount"))
    );
    assert!(
        pod["affinity"]["podAntiAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
            .is_array()
    );
    assert_eq!(
        pod["topologySpreadConstraints"][0]["whenUnsatisfiable"],
        "ScheduleAnyway"
    );

    let container = &pod["containers"][0];
    for (probe, path) in [
        ("startupProbe", "/healthz"),
        ("livenessProbe", "/healthz"),
        ("readinessProbe", "/readyz"),
    ] {
        assert_eq!(container[probe]["httpGet"]["path"], path, "{probe}");
        assert_eq!(
            container[probe]["httpGet"]["port"], container["ports"][0]["name"],
            "{probe}"
        );
    }
    let settings = settings(deployment);
    assert_eq!(
        container["ports"][0]["containerPort"],
        settings.bind_address.port()
    );
    let grace = pod["terminationGracePeriodSeconds"].as_u64().unwrap();
    assert!(
        grace > settings.drain_timeout.get().as_secs() + 5,
        "killed while it drains"
    );

    // The pods must be found by everything that looks for them.
    let labels = deployment["spec"]["template"]["metadata"]["labels"]
        .as_object()
        .unwrap();
    let selectors = [
        &deployment["spec"]["selector"]["matchLabels"],
        &pod["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ];
    let services = of_kind(objects, "Service")
        .into_iter()
        .map(|service| &service["spec"]["selector"]);
    let budgets = of_kind(objects, "PodDisruptionBudget")
        .into_iter()
        .map(|budget| &budget["spec"]["selector"]["matchLabels"]);
    for selector in selectors.into_iter().chain(services).chain(budgets) {
        for (key, value) in selector.as_object().unwrap() {
            assert_eq!(labels.get(key), Some(value), "{key}");
        }
    }

    // The Lease that the flags name is the one that the Role allows.
    let leases: Vec<&Value> = of_kind(objects, "Role")
        .into_iter()
        .filter(|role| role["rules"].to_string().contains("leases"))
        .collect();
    assert_eq!(leases.len(), 1);
    let named = leases[0]["rules"]
        .as_array()
        .unwrap()
        .iter()
        .find(|rule| !rule["resourceNames"].is_null())
        .unwrap();
    assert_eq!(named["resourceNames"], json!([settings.lease_name]));
    assert_eq!(
        leases[0]["metadata"]["namespace"],
        deployment["metadata"]["namespace"]
    );

    for object in objects {
        // This label selects what Hera owns: its own installation must not carry it.
        for labels in [
            &object["metadata"]["labels"],
            &object["spec"]["template"]["metadata"]["labels"],
        ] {
            assert_ne!(
                labels["app.kubernetes.io/managed-by"],
                "hera",
                "{}",
                name(object)
            );
        }
    }
}

/// Where two values differ first, with both sides.
fn difference(left: &Value, right: &Value, path: &str) -> Option<String> {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => a
            .keys()
            .chain(b.keys())
            .find_map(|key| difference(&left[key], &right[key], &format!("{path}.{key}"))),
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            (0..a.len()).find_map(|i| difference(&a[i], &b[i], &format!("{path}[{i}]")))
        }
        // Kustomize writes 19.0 as 19.
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() => None,
        _ => (left != right).then(|| format!("{path}: {left} is not {right}")),
    }
}

/// The CRDs are those of the code; annotations and labels do not count.
pub fn crds(objects: &[Value]) {
    let rendered = of_kind(objects, "CustomResourceDefinition");
    let declared = operators::crds();
    assert_eq!(rendered.len(), declared.len());
    for crd in declared {
        let crd = serde_json::to_value(crd).unwrap();
        let found = rendered
            .iter()
            .find(|candidate| name(candidate) == name(&crd))
            .unwrap();
        assert_eq!(difference(&found["spec"], &crd["spec"], name(&crd)), None);
    }
}
