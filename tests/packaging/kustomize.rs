//! `kubectl apply -k config/default` and the samples.

use hera::operators::redis::api::Redis;
use serde_json::Value;

use crate::check;
use crate::render::kustomize;

#[test]
fn default_is_the_whole_manager_with_the_declared_permissions() {
    let objects = kustomize("config/default");
    check::manager(&objects);
    check::crds(&objects);
    let role = check::of_kind(&objects, "ClusterRole")
        .into_iter()
        .find(|role| check::name(role) == "hera")
        .unwrap();
    assert_eq!(
        check::permissions(&role["rules"]),
        check::declared_permissions()
    );

    let binding = check::only(&objects, "ClusterRoleBinding");
    assert_eq!(binding["roleRef"]["name"], check::name(role));
    assert_eq!(
        binding["subjects"][0]["name"],
        check::name(check::only(&objects, "ServiceAccount"))
    );
    assert_eq!(binding["subjects"][0]["namespace"], "hera-system");

    let image =
        &check::only(&objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["image"];
    assert_eq!(*image, format!("hera:{}", env!("CARGO_PKG_VERSION")));
}

#[test]
fn prometheus_finds_the_service() {
    let monitors = kustomize("config/prometheus");
    let objects = kustomize("config/default");
    let service = check::only(&objects, "Service");
    let monitor = check::only(&monitors, "ServiceMonitor");
    for (key, value) in monitor["spec"]["selector"]["matchLabels"]
        .as_object()
        .unwrap()
    {
        assert_eq!(&service["metadata"]["labels"][key], value);
    }
    assert_eq!(
        monitor["spec"]["endpoints"][0]["port"],
        service["spec"]["ports"][0]["name"]
    );
}

/// Whether all that `part` says is also in `whole`: a field that the type does not know is lost on the way through it.
fn contains(whole: &Value, part: &Value, path: &str) {
    match part {
        Value::Object(fields) => {
            for (key, value) in fields {
                contains(&whole[key], value, &format!("{path}.{key}"));
            }
        }
        _ => assert_eq!(whole, part, "{path}"),
    }
}

#[test]
fn samples_have_only_fields_that_exist() {
    let samples = kustomize("config/samples");
    assert!(samples.len() >= 4);
    for sample in samples {
        assert_eq!(sample["apiVersion"], "redis.hera.dev/v1alpha1");
        let typed: Redis = serde_json::from_value(sample.clone())
            .unwrap_or_else(|error| panic!("{sample}: {error}"));
        contains(
            &serde_json::to_value(typed).unwrap(),
            &sample,
            check::name(&sample),
        );
    }
}
