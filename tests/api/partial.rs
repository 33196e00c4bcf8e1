//! Single fields of the pods and claims that other controllers make.
use std::collections::BTreeMap;

use hera::k8s::{
    conditions::ConditionStatus,
    owner::Proof,
    partial::{self, PodCondition},
};
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolumeClaim, Pod},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity,
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::fixtures::{live, owner, start, strings};

const MANAGER: &str = "hera-test";
const GATE: &str = "test.hera.dev/in-sync";

fn pod(owner: &Value) -> Pod {
    serde_json::from_value(json!({
        "metadata": {"name": "db-0", "ownerReferences": [owner]},
        "spec": {
            "automountServiceAccountToken": false,
            "readinessGates": [{"conditionType": GATE}],
            "containers": [{"name": "db", "image": "localhost/db:1"}]
        }
    }))
    .expect("a Pod")
}

#[tokio::test]
async fn a_readiness_gate_is_set_beside_the_conditions_of_the_kubelet() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let api: Api<Pod> = Api::namespaced(client.clone(), &ns);
    let made = crate::apiserver::eventually("the service account is there", async || {
        api.create(
            &PostParams::default(),
            &pod(&serde_json::to_value(&owner).ok()?),
        )
        .await
        .ok()
    })
    .await;
    let kubelet = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let made = api
        .patch_status(
            &made.name_any(),
            &PatchParams::default(),
            &Patch::Strategic(kubelet),
        )
        .await
        .expect("the kubelet writes");

    let at = |second| Timestamp::from_second(second).expect("a time");
    let set = async |pod: &Pod, status, reason: &str, second| {
        let condition = PodCondition {
            type_: GATE,
            status,
            reason,
            message: "",
            now: at(second),
        };
        partial::pod_condition(&client, MANAGER, pod, &owner, condition)
            .await
            .expect("written")
    };
    let gate = |pod: &Pod| {
        let conditions = pod
            .status
            .clone()
            .and_then(|s| s.conditions)
            .unwrap_or_default();
        assert!(
            conditions
                .iter()
                .any(|c| c.type_ == "Ready" && c.status == "True"),
            "the kubelet's stays"
        );
        conditions
            .into_iter()
            .find(|c| c.type_ == GATE)
            .map(|c| (c.status, c.last_transition_time.map(|t| t.0)))
    };
    let first = set(&made, ConditionStatus::False, "Loading", 10)
        .await
        .expect("it is new");
    assert_eq!(gate(&first), Some(("False".into(), Some(at(10)))));
    assert!(
        set(&first, ConditionStatus::False, "Loading", 20)
            .await
            .is_none()
    );
    let second = set(&first, ConditionStatus::False, "Syncing", 30)
        .await
        .expect("another reason");
    assert_eq!(gate(&second), Some(("False".into(), Some(at(10)))));
    let third = set(&second, ConditionStatus::True, "InSync", 40)
        .await
        .expect("another status");
    assert_eq!(gate(&third), Some(("True".into(), Some(at(40)))));

    let labels = strings(&[("role", "primary")]);
    let none = BTreeMap::new();
    let labelled = partial::pod_metadata(&client, MANAGER, &third, &owner, &labels, &none).await;
    let labelled = labelled.expect("written").expect("it is new");
    assert_eq!(
        labelled.labels().get("role").map(String::as_str),
        Some("primary")
    );
    assert_eq!(
        gate(&labelled),
        gate(&third),
        "another field manager, another concern"
    );
    let again = partial::pod_metadata(&client, MANAGER, &labelled, &owner, &labels, &none).await;
    assert!(again.expect("compared").is_none());
    let other = crate::fixtures::recreated(&owner);
    let error = partial::pod_metadata(&client, MANAGER, &labelled, &other, &none, &labels).await;
    assert_eq!(error.expect_err("not ours").reason(), "NameConflict");
}

#[tokio::test]
async fn a_claim_grows_and_does_not_shrink() {
    let (client, ns) = start().await;
    for (name, expands) in [("grows", true), ("fixed", false)] {
        let class: StorageClass = serde_json::from_value(json!({
            "metadata": {"name": name}, "provisioner": "test.hera.dev/none", "allowVolumeExpansion": expands
        }))
        .expect("a StorageClass");
        Api::all(client.clone())
            .create(&PostParams::default(), &class)
            .await
            .expect("made");
    }
    let api: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), &ns);
    let labels = strings(&[("test.hera.dev/name", "db")]);
    for name in ["grows", "fixed"] {
        let claim: PersistentVolumeClaim = serde_json::from_value(json!({
            "metadata": {"name": name, "labels": labels},
            "spec": {
                "storageClassName": name, "accessModes": ["ReadWriteOnce"], "volumeName": "v",
                "resources": {"requests": {"storage": "1Gi"}}
            }
        }))
        .expect("a claim");
        api.create(&PostParams::default(), &claim)
            .await
            .expect("made");
        let bound = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}});
        api.patch_status(name, &PatchParams::default(), &Patch::Merge(bound))
            .await
            .expect("bound");
    }
    let resize = async |name: &'static str, size: &str| {
        let claim = live::<PersistentVolumeClaim>(&client, &ns, name).await;
        let proof = Proof::Labelled {
            name,
            labels: &labels,
        };
        partial::claim_size(&client, MANAGER, &claim, proof, &Quantity(size.to_owned())).await
    };
    assert!(resize("grows", "1024Mi").await.expect("compared").is_none());
    let grown = resize("grows", "2Gi")
        .await
        .expect("written")
        .expect("it is another size");
    let requests = grown
        .spec
        .and_then(|s| s.resources)
        .and_then(|r| r.requests)
        .unwrap_or_default();
    assert_eq!(requests.get("storage"), Some(&Quantity("2Gi".into())));
    assert_eq!(
        resize("grows", "512Mi")
            .await
            .expect_err("it cannot shrink")
            .reason(),
        "RefusedByServer"
    );
    assert_eq!(
        resize("fixed", "2Gi")
            .await
            .expect_err("the class forbids it")
            .reason(),
        "Forbidden"
    );
}
