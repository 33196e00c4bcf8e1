//! The Services of the pods.

use super::*;

fn services(spec: &Value, instances: Vec<Instance>) -> Vec<Service> {
    let o = Observed {
        instances,
        ..Observed::default()
    };
    let v = validate(&redis(spec), &o).unwrap();
    let all = build(&v, &o, &credentials()).unwrap().services;
    let external = |s: &Service| s.metadata.name.as_ref().unwrap().ends_with("-external");
    all.into_iter().filter(external).collect()
}

fn names(services: &[Service]) -> Vec<&str> {
    let names = services.iter().filter_map(|s| s.metadata.name.as_deref());
    names.collect()
}

#[test]
fn each_pod_has_a_service_of_its_own_as_long_as_it_is_there() {
    let spec = json!({"replicas": 2, "services": {"external": {}}});
    let leaving = Instance {
        pod: "db-2".into(),
        ordinal: 2,
        uid: "pod".into(),
        ..Instance::default()
    };
    assert_eq!(
        names(&services(&spec, vec![])),
        ["db-0-external", "db-1-external"]
    );
    let with_leaving = services(&spec, vec![leaving]);
    assert_eq!(
        names(&with_leaving),
        ["db-0-external", "db-1-external", "db-2-external"]
    );
    assert!(services(&json!({"replicas": 2}), vec![]).is_empty());

    let cluster = json!({"mode": "Cluster", "replicasPerShard": 1, "services": {"external": {}}});
    let cluster = services(&cluster, vec![]);
    assert_eq!(cluster.len(), 6);
    assert_eq!(
        cluster[0].metadata.name.as_deref(),
        Some("db-s0-0-external")
    );
}

#[test]
fn the_service_of_a_pod_leads_to_that_pod_alone() {
    let external = json!({
        "type": "LoadBalancer", "annotations": {"dns": "{pod}.example.org"}, "labels": {"a": "b", "redis.hera.dev/name": "other"},
        "loadBalancerClass": "mine", "loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local",
    });
    let spec = json!({"replicas": 1, "services": {"external": external}});
    let service = services(&spec, vec![]).remove(0);
    let spec = service.spec.unwrap();
    let selector = spec.selector.unwrap();
    assert_eq!(selector["statefulset.kubernetes.io/pod-name"], "db-0");
    assert_eq!(selector["redis.hera.dev/name"], "db");
    assert_eq!(
        service.metadata.annotations.unwrap()["dns"],
        "db-0.example.org"
    );
    let labels = service.metadata.labels.unwrap();
    assert_eq!(
        (labels["a"].as_str(), labels["redis.hera.dev/name"].as_str()),
        ("b", "db")
    );
    assert_eq!(
        (
            spec.type_.as_deref(),
            spec.load_balancer_class.as_deref(),
            spec.external_traffic_policy.as_deref()
        ),
        (Some("LoadBalancer"), Some("mine"), Some("Local"))
    );
    assert_eq!(spec.publish_not_ready_addresses, None);
}
