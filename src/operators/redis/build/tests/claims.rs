//! Claims that other servers left behind.

use k8s_openapi::api::apps::v1::StatefulSetSpec;

use super::super::super::model::Foreign;
use super::*;

fn set(storage: &Value, foreign: &[i32], live: Option<i32>) -> StatefulSetSpec {
    let foreign = foreign.iter().map(|ordinal| Foreign {
        ordinal: *ordinal,
        ..Foreign::default()
    });
    let mut o = Observed {
        foreign: foreign.collect(),
        ..Observed::default()
    };
    if let Some(replicas) = live {
        let claims = json!([{"metadata": {"name": "data"}}]);
        let set = json!({"spec": {"replicas": replicas, "volumeClaimTemplates": claims, "selector": {}, "template": {}, "serviceName": ""}});
        o.objects.statefulset = serde_json::from_value(set).unwrap();
    }
    let v = validate(&redis(&json!({"replicas": 3, "storage": storage})), &o).unwrap();
    let mut built = build(&v, &o, &credentials()).unwrap();
    built.statefulsets.remove(0).spec.unwrap()
}

#[test]
fn no_pod_is_made_on_a_claim_of_other_origin() {
    let storage = || json!({"size": "1Gi"});
    for (foreign, live, wanted) in [
        (&[][..], None, 3),
        (&[0], None, 0),
        (&[1, 2], None, 1),
        (&[2], Some(2), 2),
        // A pod that runs is never taken away for it.
        (&[1], Some(3), 3),
    ] {
        let spec = set(&storage(), foreign, live);
        assert_eq!(spec.replicas, Some(wanted), "{foreign:?} {live:?}");
    }
}

#[test]
fn the_volume_is_called_as_the_claim_template() {
    let spec = set(
        &json!({"size": "1Gi", "claimTemplate": "redis-data"}),
        &[],
        None,
    );
    let template = spec.volume_claim_templates.unwrap().remove(0);
    assert_eq!(template.metadata.name.as_deref(), Some("redis-data"));
    let pod = spec.template.spec.unwrap();
    let mounts = pod.containers[0].volume_mounts.clone().unwrap();
    let data = mounts.iter().find(|m| m.mount_path == "/data").unwrap();
    assert_eq!(data.name, "redis-data");
}

/// A volume that was taken over may have a snapshot alone, which a server with the append-only file on does not read.
#[test]
fn only_a_volume_that_is_taken_over_may_start_from_a_snapshot() {
    let command = |storage: &Value| {
        let pod = set(storage, &[], None).template.spec.unwrap();
        pod.containers[0].command.clone().unwrap()
    };
    let plain = command(&json!({"size": "1Gi"}));
    assert_eq!(plain, ["redis-server", "/etc/hera/redis.conf"]);
    let taken = command(&json!({"size": "1Gi", "existingClaims": ["data-db-0"]}));
    assert_eq!(taken[..2], ["sh", "-c"]);
    assert_eq!(taken[3..], plain);
}
