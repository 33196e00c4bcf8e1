//! The one delete: only what was observed, only what is ours.
use std::collections::BTreeMap;

use hera::k8s::{
    delete::{Deleted, Options, delete, orphans},
    owner::{Proof, controller_reference},
};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;

use crate::{
    apiserver::eventually,
    fixtures::{config_map, live, owner, recreated, start},
};

async fn make(client: &Client, object: &ConfigMap) -> ConfigMap {
    let api = Api::namespaced(
        client.clone(),
        object.namespace().as_deref().unwrap_or_default(),
    );
    api.create(&PostParams::default(), object)
        .await
        .expect("made")
}

#[tokio::test]
async fn ours_is_deleted_and_then_gone() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let object = make(&client, &config_map(&ns, "c", Some(&owner), &[])).await;
    let options = Options::default();
    assert_eq!(
        delete(&client, &object, &owner, &options)
            .await
            .expect("deleted"),
        Deleted::Requested
    );
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    assert!(api.get_opt("c").await.expect("read").is_none());
    assert_eq!(
        delete(&client, &object, &owner, &options)
            .await
            .expect("gone"),
        Deleted::Gone
    );
}

#[tokio::test]
async fn an_object_that_was_made_again_survives() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let old = make(&client, &config_map(&ns, "c", Some(&owner), &[])).await;
    delete(&client, &old, &owner, &Options::default())
        .await
        .expect("deleted");
    let new = make(&client, &config_map(&ns, "c", Some(&owner), &[])).await;
    assert_eq!(
        delete(&client, &old, &owner, &Options::default())
            .await
            .expect("gone"),
        Deleted::Gone
    );
    assert_eq!(live::<ConfigMap>(&client, &ns, "c").await, new);
}

#[tokio::test]
async fn what_is_not_ours_is_not_deleted() {
    let (client, ns) = start().await;
    let ours = owner(&client, &ns, "owner").await;
    let theirs = owner(&client, &ns, "other").await;
    let object = make(&client, &config_map(&ns, "c", Some(&theirs), &[])).await;
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let successor = recreated(&theirs);
    let proofs = [
        Proof::from(&ours),
        Proof::Controller(&successor),
        Proof::Labelled {
            name: "c",
            labels: &labels,
        },
    ]
    .map(|proof| (proof, format!("{proof:?}")));
    for (proof, name) in proofs {
        let error = delete(&client, &object, proof, &Options::default())
            .await
            .expect_err("refused");
        assert_eq!(error.reason(), "NameConflict", "{name}");
    }
    assert_eq!(live::<ConfigMap>(&client, &ns, "c").await, object);
}

#[tokio::test]
async fn labels_and_name_prove_what_cannot_have_an_owner() {
    let (client, ns) = start().await;
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let mut object = config_map(&ns, "c", None, &[]);
    object.metadata.labels = Some(labels.clone());
    let object = make(&client, &object).await;
    let proof = Proof::Labelled {
        name: "c",
        labels: &labels,
    };
    assert_eq!(
        delete(&client, &object, proof, &Options::default())
            .await
            .expect("deleted"),
        Deleted::Requested
    );
}

#[tokio::test]
async fn a_decision_on_an_outdated_object_can_be_refused() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let object = make(&client, &config_map(&ns, "c", Some(&owner), &[])).await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    let change = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1"}});
    api.patch("c", &PatchParams::apply("someone"), &Patch::Apply(change))
        .await
        .expect("changed");
    let error = delete(
        &client,
        &object,
        &owner,
        &Options::default().only_unchanged(),
    )
    .await
    .expect_err("refused");
    assert!(error.is_conflict(), "{error}");
    assert_eq!(
        delete(&client, &object, &owner, &Options::default())
            .await
            .expect("deleted"),
        Deleted::Requested
    );
}

#[tokio::test]
async fn what_is_being_deleted_is_not_deleted_again() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let mut object = config_map(&ns, "c", Some(&owner), &[]);
    object.metadata.finalizers = Some(vec!["hera.dev/test".to_owned()]);
    let object = make(&client, &object).await;
    delete(&client, &object, &owner, &Options::default())
        .await
        .expect("deleted");
    let going = live::<ConfigMap>(&client, &ns, "c").await;
    assert_eq!(
        delete(&client, &going, &owner, &Options::default())
            .await
            .expect("seen"),
        Deleted::Requested
    );
    assert_eq!(
        live::<ConfigMap>(&client, &ns, "c")
            .await
            .resource_version(),
        going.resource_version()
    );
}

#[tokio::test]
async fn orphaning_keeps_what_the_object_owns_and_the_default_does_not() {
    let (client, ns) = start().await;
    let top = owner(&client, &ns, "owner").await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    for (name, options) in [
        ("kept", Options::orphan()),
        ("collected", Options::default()),
    ] {
        let middle = make(
            &client,
            &config_map(&ns, &format!("{name}-owner"), Some(&top), &[]),
        )
        .await;
        let reference = controller_reference(&middle).expect("it has a UID");
        make(&client, &config_map(&ns, name, Some(&reference), &[])).await;
        delete(&client, &middle, &top, &options)
            .await
            .expect("deleted");
        eventually("the owner is gone", async || {
            api.get_opt(&middle.name_any())
                .await
                .ok()?
                .is_none()
                .then_some(())
        })
        .await;
    }
    eventually("the dependent is collected", async || {
        api.get_opt("collected").await.ok()?.is_none().then_some(())
    })
    .await;
    assert!(
        live::<ConfigMap>(&client, &ns, "kept")
            .await
            .owner_references()
            .is_empty()
    );
}

#[tokio::test]
async fn orphans_are_what_is_observed_and_not_desired() {
    let observed = [
        config_map("n", "a", None, &[]),
        config_map("n", "b", None, &[]),
        config_map("m", "a", None, &[]),
    ];
    let desired = [
        config_map("n", "a", None, &[]),
        config_map("n", "new", None, &[]),
    ];
    let found: Vec<_> = orphans(&desired, &observed)
        .into_iter()
        .map(|o| (o.namespace().unwrap_or_default(), o.name_any()))
        .collect();
    assert_eq!(
        found,
        [
            ("n".to_owned(), "b".to_owned()),
            ("m".to_owned(), "a".to_owned())
        ]
    );
}
