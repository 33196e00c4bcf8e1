//! The chart, for several sets of values.

use std::collections::BTreeSet;

use hera::settings::LogFormat;
use serde_json::{Value, json};

use crate::check::{self, of_kind, only, permissions};
use crate::render::{helm, helm_lint, root};

fn render(arguments: &[&str]) -> Vec<Value> {
    helm("hera", "hera-system", arguments).unwrap()
}

/// The ClusterRole of the manager, if there is one; those for people are not.
fn manager_role(objects: &[Value]) -> Option<&Value> {
    of_kind(objects, "ClusterRole")
        .into_iter()
        .find(|role| check::name(role) == "hera-system-hera")
}

#[test]
fn lint_finds_nothing() {
    helm_lint().unwrap();
}

#[test]
fn the_versions_are_those_of_the_crate() {
    let text = std::fs::read_to_string(root().join("charts/hera/Chart.yaml")).unwrap();
    let chart: Value = serde_saphyr::from_str(&text).unwrap();
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn defaults() {
    let objects = render(&[]);
    check::manager(&objects);
    check::crds(&objects);
    for crd in of_kind(&objects, "CustomResourceDefinition") {
        assert_eq!(
            crd["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep"
        );
    }

    let deployment = only(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 2);
    // A selector cannot be changed: another one here would break every `helm upgrade`.
    assert_eq!(
        deployment["spec"]["selector"]["matchLabels"],
        json!({"app.kubernetes.io/name": "hera", "app.kubernetes.io/instance": "hera"})
    );
    let settings = check::settings(deployment);
    assert!(settings.leader_elect);
    assert_eq!(
        (
            settings.lease_name.as_str(),
            settings.lease_namespace.as_str()
        ),
        ("hera", "hera-system")
    );
    assert_eq!(settings.log_format, LogFormat::Json);
    assert!(settings.controllers.is_empty() && settings.namespaces.is_empty());

    let role = manager_role(&objects).unwrap();
    assert_eq!(permissions(&role["rules"]), check::declared_permissions());
    assert_eq!(of_kind(&objects, "Role").len(), 1, "only that of the Lease");
    assert_eq!(of_kind(&objects, "PodDisruptionBudget").len(), 1);
    assert!(of_kind(&objects, "ServiceMonitor").is_empty());
}

#[test]
fn settings_reach_the_process() {
    let objects = render(&[
        "--set=replicas=3,logFormat=text,controllers={redis},crds.install=false",
        "--set=extraArgs={--concurrency=4,--call-timeout=7s},image.tag=dev",
        "--set-string=logFilter=info\\,hera=debug",
    ]);
    check::manager(&objects);
    let deployment = only(&objects, "Deployment");
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        "hera:dev"
    );
    let settings = check::settings(deployment);
    assert_eq!(settings.log_format, LogFormat::Text);
    assert_eq!(settings.log_filter, "info,hera=debug");
    assert_eq!(settings.controllers, ["redis"]);
    assert_eq!(settings.concurrency.of("redis"), 4);
    assert_eq!(settings.call_timeout.get().as_secs(), 7);
    assert!(of_kind(&objects, "CustomResourceDefinition").is_empty());
}

#[test]
fn a_digest_replaces_the_tag() {
    let digest = format!("sha256:{}", "0".repeat(64));
    let objects = render(&[&format!("--set=image.digest={digest},image.tag=dev")]);
    let deployment = only(&objects, "Deployment");
    assert_eq!(
        deployment["spec"]["template"]["spec"]["containers"][0]["image"],
        format!("hera@{digest}")
    );
}

#[test]
fn namespaces_get_roles_in_place_of_the_cluster_role() {
    let cluster_scoped = |all: &check::Permissions| {
        all.iter()
            .filter(|(_, resource, _)| resource == "storageclasses")
            .cloned()
            .collect()
    };
    let declared = check::declared_permissions();
    let outside: check::Permissions = cluster_scoped(&declared);
    let inside: check::Permissions = declared.difference(&outside).cloned().collect();

    let objects = render(&["--set=namespaces={a,b}"]);
    check::manager(&objects);
    assert_eq!(
        permissions(&manager_role(&objects).unwrap()["rules"]),
        outside
    );
    let roles: Vec<_> = of_kind(&objects, "Role")
        .into_iter()
        .filter(|role| role["metadata"]["namespace"] != "hera-system")
        .collect();
    let namespaces: Vec<_> = roles
        .iter()
        .map(|role| role["metadata"]["namespace"].as_str().unwrap())
        .collect();
    assert_eq!(namespaces, ["a", "b"]);
    for role in roles {
        assert_eq!(permissions(&role["rules"]), inside);
        let binding = of_kind(&objects, "RoleBinding")
            .into_iter()
            .find(|binding| binding["metadata"]["namespace"] == role["metadata"]["namespace"])
            .unwrap();
        assert_eq!(
            binding["roleRef"],
            json!({
                "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": check::name(role)
            })
        );
        assert_eq!(
            binding["subjects"],
            json!([{"kind": "ServiceAccount", "name": "hera", "namespace": "hera-system"}])
        );
    }
    assert_eq!(
        check::settings(only(&objects, "Deployment")).namespaces,
        ["a", "b"]
    );

    let strict = render(&[
        "--set=namespaces={a},rbac.clusterScoped=false,rbac.aggregateToDefaultRoles=false",
    ]);
    assert!(of_kind(&strict, "ClusterRole").is_empty());
    assert!(of_kind(&strict, "ClusterRoleBinding").is_empty());
}

#[test]
fn one_replica_has_no_budget() {
    let objects = render(&["--set=replicas=1,leaderElection.enabled=false"]);
    check::manager(&objects);
    assert!(of_kind(&objects, "PodDisruptionBudget").is_empty());
    let deployment = only(&objects, "Deployment");
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    assert!(!check::settings(deployment).leader_elect);
}

#[test]
fn the_service_monitor_finds_the_service() {
    let objects =
        render(&["--set=serviceMonitor.enabled=true,serviceMonitor.labels.release=prometheus"]);
    let monitor = only(&objects, "ServiceMonitor");
    let service = only(&objects, "Service");
    assert_eq!(monitor["metadata"]["labels"]["release"], "prometheus");
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        service["spec"]["ports"][0]["name"]
    );
    for (key, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(&service["metadata"]["labels"][key], value);
    }
}

/// Every metric of Hera that a text names, by its documented name.
fn assert_documented(what: &str, text: &str) {
    let page = std::fs::read_to_string(root().join("docs/metrics.md")).unwrap();
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = |word: &&str| {
        [
            "hera_",
            "controller_runtime_",
            "rest_client_",
            "workqueue_",
            "leader_election_",
        ]
        .iter()
        .any(|prefix| word.starts_with(prefix))
    };
    let mut found = 0;
    for word in words.filter(ours) {
        let name = ["_bucket", "_count", "_sum"]
            .iter()
            .find_map(|suffix| word.strip_suffix(suffix))
            .filter(|base| page.contains(&format!("| `{base}` | histogram |")))
            .unwrap_or(word);
        assert!(
            page.contains(&format!("| `{name}` |")),
            "{what} names {word}"
        );
        found += 1;
    }
    assert!(found > 5, "{what}");
}

#[test]
fn alerts_are_about_metrics_that_exist() {
    assert!(of_kind(&render(&[]), "PrometheusRule").is_empty());
    let objects = render(&["--set=prometheusRule.enabled=true,prometheusRule.labels.release=p"]);
    let rule = only(&objects, "PrometheusRule");
    assert_eq!(rule["metadata"]["labels"]["release"], "p");
    let mut names = BTreeSet::new();
    for group in rule["spec"]["groups"].as_array().unwrap() {
        for alert in group["rules"].as_array().unwrap() {
            let name = alert["alert"].as_str().unwrap();
            assert!(names.insert(name), "{name} is there twice");
            assert!(alert["labels"]["severity"].is_string(), "{name}");
            assert!(alert["annotations"]["summary"].is_string(), "{name}");
        }
    }
    assert_documented("the rule", &rule["spec"].to_string());
}

#[test]
fn the_dashboard_is_about_metrics_that_exist() {
    assert!(of_kind(&render(&[]), "ConfigMap").is_empty());
    let objects = render(&["--set=dashboards.enabled=true"]);
    let map = only(&objects, "ConfigMap");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    let text = map["data"]["hera.json"].as_str().unwrap();
    let dashboard: Value = serde_json::from_str(text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    let mut queries = String::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_i64()), "{}", panel["title"]);
        for target in panel["targets"].as_array().into_iter().flatten() {
            queries.push_str(target["expr"].as_str().unwrap());
            queries.push('\n');
        }
    }
    assert_documented("the dashboard", &queries);
}

#[test]
fn releases_do_not_share_objects_and_names_are_bounded() {
    let begin = "a-release-with-a-name-that-is-as-long-as-helm-allows";
    let namespace = "n".repeat(63);
    let mut seen = BTreeSet::new();
    let releases = [
        (format!("{begin}1"), namespace.as_str()),
        (format!("{begin}2"), namespace.as_str()),
        (format!("{begin}1"), "other"),
        ("hera".into(), "hera-system"),
        ("hera-b".into(), "hera-system"),
    ];
    for (release, namespace) in &releases {
        let objects = helm(
            release,
            namespace,
            &["--set=crds.install=false,serviceMonitor.enabled=true,prometheusRule.enabled=true,dashboards.enabled=true"],
        )
        .unwrap();
        check::manager(&objects);
        for object in &objects {
            let identity = format!(
                "{} {} {}",
                object["kind"],
                object["metadata"]["namespace"],
                check::name(object)
            );
            assert!(
                seen.insert(identity.clone()),
                "two releases have {identity}"
            );
            let labels = object["metadata"]["labels"].as_object().unwrap();
            assert!(
                labels
                    .values()
                    .all(|value| value.as_str().unwrap().len() <= 63),
                "{labels:?}"
            );
        }
        // A pod's name is that of the Deployment and 17 characters; it is a label value in many tools.
        assert!(check::name(only(&objects, "Deployment")).len() <= 46);
        assert!(check::name(only(&objects, "Service")).len() <= 63);
    }
}

#[test]
fn bad_values_are_refused_with_the_name_of_the_value() {
    for (value, part) in [
        ("replicas=two", "/replicas"),
        ("replicas=-1", "/replicas"),
        ("logFormat=xml", "/logFormat"),
        ("image.pullPolicy=Sometimes", "/image/pullPolicy"),
        ("image.digest=sha256:12", "/image/digest"),
        ("namespaces={Bad_Name}", "/namespaces/0"),
        ("namespaces=a", "/namespaces"),
        ("controllers={redis,redis}", "/controllers"),
        ("extraArgs={run}", "/extraArgs/0"),
        (
            "podDisruptionBudget.maxUnavailable=0",
            "/podDisruptionBudget/maxUnavailable",
        ),
        ("serviceMonitor.interval=often", "/serviceMonitor/interval"),
        ("metrics.service.port=0", "/metrics/service/port"),
        ("replica=2", "replica"),
        ("rbac.clusterScope=false", "clusterScope"),
        (
            "controllers={mysql}",
            "there is no operator of this name (mysql)",
        ),
        ("leaderElection.enabled=false", "replicas: must be 1"),
        (
            "serviceMonitor.enabled=true,metrics.service.enabled=false",
            "needs metrics.service.enabled",
        ),
    ] {
        let error = helm("hera", "hera-system", &[&format!("--set={value}")]).expect_err(value);
        assert!(error.contains(part), "{value}: {error}");
    }
}

/// Every value of values.yaml is in the schema and the other way round.
#[test]
fn the_schema_knows_every_value() {
    fn compare(values: &Value, schema: &Value, path: &str) {
        let Some(properties) = schema["properties"].as_object() else {
            return;
        };
        for key in values.as_object().unwrap().keys() {
            assert!(
                properties.contains_key(key),
                "{path}.{key} is not in the schema"
            );
        }
        for (key, property) in properties {
            if ["global", "claims", "requests", "limits"].contains(&key.as_str()) {
                continue;
            }
            assert!(!values[key].is_null(), "{path}.{key} is not in values.yaml");
            if values[key].is_object() {
                compare(&values[key], property, &format!("{path}.{key}"));
            }
        }
    }
    let read = |file: &str| std::fs::read_to_string(root().join("charts/hera").join(file)).unwrap();
    let values: Value = serde_saphyr::from_str(&read("values.yaml")).unwrap();
    let schema: Value = serde_json::from_str(&read("values.schema.json")).unwrap();
    compare(&values, &schema, "values");
}
