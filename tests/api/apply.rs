//! Server-side apply: what is written, what is not, and what is left alone.
use hera::k8s::{
    Error,
    apply::{self, Item, Outcome},
    delete,
    drift::DESIRED_HASH,
    prometheus::PodMonitor,
};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Secret, Service},
};
use kube::{
    Api, Client, ResourceExt,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::fixtures::{config_map, live, owner, recreated, service, start, strings};

const MANAGER: &str = "hera-test";

/// Writes as another field manager, by force.
async fn write_as(client: &Client, namespace: &str, manager: &str, fields: &Value) {
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    let name = fields["metadata"]["name"].as_str().expect("a name");
    api.patch(
        name,
        &PatchParams::apply(manager).force(),
        &Patch::Apply(fields),
    )
    .await
    .expect("the other manager can write");
}

fn stateful_set(namespace: &str, owner: &Value) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"name": "db", "namespace": namespace, "ownerReferences": [owner], "labels": {"a": "b"}},
        "spec": {
            "serviceName": "db",
            "replicas": 0,
            "podManagementPolicy": "Parallel",
            "updateStrategy": {"type": "OnDelete"},
            "selector": {"matchLabels": {"a": "b"}},
            "template": {
                "metadata": {"labels": {"a": "b"}},
                "spec": {
                    "automountServiceAccountToken": false,
                    "enableServiceLinks": false,
                    "securityContext": {"runAsNonRoot": true, "runAsUser": 999, "seccompProfile": {"type": "RuntimeDefault"}},
                    "topologySpreadConstraints": [{
                        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                        "labelSelector": {"matchLabels": {"a": "b"}}
                    }],
                    "containers": [{
                        "name": "db",
                        "image": "localhost/db:1",
                        "args": ["--port", "6379"],
                        "env": [{"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                        "ports": [{"name": "db", "containerPort": 6379}],
                        "resources": {"requests": {"cpu": "0.1", "memory": "1024Mi"}, "limits": {"memory": "1024Mi"}},
                        "readinessProbe": {"tcpSocket": {"port": "db"}, "periodSeconds": 2},
                        "securityContext": {"readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}},
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}]
                    }],
                    "volumes": [{"name": "tmp", "emptyDir": {"medium": "Memory", "sizeLimit": "1024Ki"}}]
                }
            },
            "volumeClaimTemplates": [{
                "metadata": {"name": "data"},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}}}
            }]
        }
    }))
    .expect("a StatefulSet")
}

#[tokio::test]
async fn a_converged_object_is_never_written_again() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let desired = service(&ns, "db", &owner, &[("db", 6379)]);

    let first = apply::apply(&client, MANAGER, &desired, None)
        .await
        .expect("created");
    assert!(first.is_applied());
    let created = first.into_inner();
    assert!(created.annotations().contains_key(DESIRED_HASH));
    assert_eq!(created.owner_references(), std::slice::from_ref(&owner));

    for observed in [Some(&created), None] {
        let again = apply::apply(&client, MANAGER, &desired, observed)
            .await
            .expect("compared");
        assert!(!again.is_applied());
        assert_eq!(
            again.into_inner().resource_version(),
            created.resource_version()
        );
    }
    assert_eq!(
        live::<Service>(&client, &ns, "db").await.resource_version(),
        created.resource_version()
    );
}

#[tokio::test]
async fn the_defaults_of_the_server_are_no_difference() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let desired = stateful_set(&ns, &serde_json::to_value(&owner).expect("JSON"));
    let created = apply::apply(&client, MANAGER, &desired, None)
        .await
        .expect("created")
        .into_inner();
    let again = apply::apply(&client, MANAGER, &desired, Some(&created))
        .await
        .expect("compared");
    assert!(
        matches!(again, Outcome::Unchanged(_)),
        "the server's form of a StatefulSet must count as what is wanted"
    );
    assert!(
        !Item::new(&desired, Some(&created))
            .expect("an item")
            .is_needed()
    );
}

#[tokio::test]
async fn a_field_that_is_no_longer_wanted_is_removed() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let both = config_map(&ns, "c", Some(&owner), &[("keep", "1"), ("drop", "2")]);
    let one = config_map(&ns, "c", Some(&owner), &[("keep", "1")]);
    let created = apply::apply(&client, MANAGER, &both, None)
        .await
        .expect("created")
        .into_inner();
    let changed = apply::apply(&client, MANAGER, &one, Some(&created))
        .await
        .expect("changed");
    assert!(changed.is_applied());
    assert_eq!(
        live::<ConfigMap>(&client, &ns, "c").await.data,
        Some(strings(&[("keep", "1")]))
    );

    let two_ports = service(&ns, "s", &owner, &[("a", 1), ("b", 2)]);
    let one_port = service(&ns, "s", &owner, &[("b", 2)]);
    let created = apply::apply(&client, MANAGER, &two_ports, None)
        .await
        .expect("created")
        .into_inner();
    let changed = apply::apply(&client, MANAGER, &one_port, Some(&created))
        .await
        .expect("changed")
        .into_inner();
    let ports = changed.spec.and_then(|spec| spec.ports).unwrap_or_default();
    assert_eq!(ports.iter().map(|p| p.port).collect::<Vec<_>>(), [2]);
}

#[tokio::test]
async fn fields_of_others_stay_and_own_fields_are_taken_back() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let desired = config_map(&ns, "c", Some(&owner), &[("ours", "1")]);
    apply::apply(&client, MANAGER, &desired, None)
        .await
        .expect("created");
    let other = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "labels": {"team": "x"}},
        "data": {"ours": "stolen", "theirs": "2"}
    });
    write_as(&client, &ns, "someone", &other).await;
    let stolen = live::<ConfigMap>(&client, &ns, "c").await;
    assert_eq!(
        stolen
            .data
            .as_ref()
            .and_then(|d| d.get("ours"))
            .map(String::as_str),
        Some("stolen")
    );

    let back = apply::apply(&client, MANAGER, &desired, Some(&stolen))
        .await
        .expect("taken back");
    assert!(back.is_applied());
    let back = back.into_inner();
    assert_eq!(back.data, Some(strings(&[("ours", "1"), ("theirs", "2")])));
    assert_eq!(back.labels().get("team").map(String::as_str), Some("x"));

    let again = apply::apply(&client, MANAGER, &desired, Some(&back))
        .await
        .expect("compared");
    assert!(
        !again.is_applied(),
        "what others added is no reason to write"
    );
}

#[tokio::test]
async fn an_object_of_someone_else_is_not_touched() {
    let (client, ns) = start().await;
    let ours = owner(&client, &ns, "owner").await;
    let theirs = owner(&client, &ns, "other").await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    for (name, holder) in [("controlled", Some(&theirs)), ("free", None)] {
        let there = config_map(&ns, name, holder, &[("a", "theirs")]);
        api.create(&PostParams::default(), &there)
            .await
            .expect("made");
    }
    let mine = config_map(&ns, "mine", Some(&ours), &[("a", "1")]);
    apply::apply(&client, MANAGER, &mine, None)
        .await
        .expect("created");

    for (name, wanted_by) in [
        ("controlled", &ours),
        ("free", &ours),
        ("mine", &recreated(&ours)),
    ] {
        let before = live::<ConfigMap>(&client, &ns, name).await;
        let desired = config_map(&ns, name, Some(wanted_by), &[("a", "ours")]);
        for observed in [Some(&before), None] {
            let error = apply::apply(&client, MANAGER, &desired, observed)
                .await
                .expect_err("refused");
            assert_eq!(error.reason(), "NameConflict", "{name}: {error}");
            let error = apply::create_once(&client, MANAGER, &desired)
                .await
                .expect_err("refused");
            assert_eq!(error.reason(), "NameConflict", "{name}: {error}");
        }
        assert_eq!(
            live::<ConfigMap>(&client, &ns, name).await,
            before,
            "{name}"
        );
    }
    let error = apply::apply(
        &client,
        MANAGER,
        &config_map(&ns, "controlled", Some(&ours), &[]),
        None,
    )
    .await;
    let text = error.expect_err("refused").to_string();
    assert!(
        text.contains("ConfigMap other"),
        "the message names who holds it: {text}"
    );
}

#[tokio::test]
async fn an_outdated_view_of_a_recreated_object_writes_nothing() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    let first = config_map(&ns, "c", Some(&owner), &[("a", "1")]);
    let old = apply::apply(&client, MANAGER, &first, None)
        .await
        .expect("created")
        .into_inner();
    delete::delete(&client, &old, &owner, &delete::Options::default())
        .await
        .expect("deleted");

    let desired = config_map(&ns, "c", Some(&owner), &[("a", "2")]);
    let gone = apply::apply(&client, MANAGER, &desired, Some(&old))
        .await
        .expect_err("the observed object is gone");
    assert!(gone.is_conflict(), "{gone}");
    assert!(
        api.get_opt("c").await.expect("read").is_none(),
        "it must not come to be by accident"
    );

    api.create(&PostParams::default(), &first)
        .await
        .expect("made again");
    let other = apply::apply(&client, MANAGER, &desired, Some(&old))
        .await
        .expect_err("another UID");
    assert!(other.is_conflict(), "{other}");
    assert_eq!(live::<ConfigMap>(&client, &ns, "c").await.data, first.data);
}

#[tokio::test]
async fn what_is_being_deleted_is_left_to_go() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let mut first = config_map(&ns, "c", Some(&owner), &[("a", "1")]);
    first.metadata.finalizers = Some(vec!["hera.dev/test".to_owned()]);
    let created = apply::apply(&client, MANAGER, &first, None)
        .await
        .expect("created")
        .into_inner();
    delete::delete(&client, &created, &owner, &delete::Options::default())
        .await
        .expect("deleted");
    let desired = config_map(&ns, "c", Some(&owner), &[("a", "2")]);
    let outcome = apply::apply(&client, MANAGER, &desired, None)
        .await
        .expect("seen");
    assert!(!outcome.is_applied());
    assert!(outcome.into_inner().metadata.deletion_timestamp.is_some());
}

#[tokio::test]
async fn what_is_created_once_is_made_by_one_of_two() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let secret = |password: &str| -> Secret {
        let mut secret = Secret {
            string_data: Some(strings(&[("password", password)])),
            ..Secret::default()
        };
        secret.metadata = config_map(&ns, "s", Some(&owner), &[]).metadata;
        secret
    };
    let (one, two) = (secret("one"), secret("two"));
    let (a, b) = tokio::join!(
        apply::create_once(&client, MANAGER, &one),
        apply::create_once(&client, "hera-other", &two)
    );
    let (a, b) = (a.expect("there"), b.expect("there"));
    assert!(a.is_applied() != b.is_applied(), "exactly one makes it");
    let data = a.into_inner().data;
    assert!(data.is_some());
    assert_eq!(data, b.into_inner().data);
}

#[tokio::test]
async fn the_digest_tells_nothing_of_a_secret() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let secret = |key: &str, password: &str| -> Secret {
        let mut secret: Secret =
            serde_json::from_value(json!({"data": {key: password}})).expect("a Secret");
        secret.metadata = config_map(&ns, "s", Some(&owner), &[]).metadata;
        secret
    };
    let digest = |secret: &Secret| secret.annotations().get(DESIRED_HASH).cloned();
    let first = apply::apply(&client, MANAGER, &secret("a", "b25l"), None)
        .await
        .expect("created")
        .into_inner();
    let second = apply::apply(&client, MANAGER, &secret("a", "dHdv"), Some(&first))
        .await
        .expect("changed");
    assert!(second.is_applied(), "another value is written all the same");
    let second = second.into_inner();
    assert_eq!(digest(&first), digest(&second));
    let third = apply::apply(&client, MANAGER, &secret("b", "dHdv"), Some(&second))
        .await
        .expect("changed")
        .into_inner();
    assert_eq!(
        third.data.map(|data| data.into_keys().collect::<Vec<_>>()),
        Some(vec!["b".to_owned()])
    );
}

#[tokio::test]
async fn groups_go_in_order_and_a_failed_one_stops_the_next() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let item = |name: &str, data: &[(&str, &str)]| {
        Item::new(&config_map(&ns, name, Some(&owner), data), None).expect("an item")
    };
    let done = apply::apply_groups(
        &client,
        MANAGER,
        vec![vec![item("a", &[]), item("b", &[])], vec![item("c", &[])]],
    )
    .await;
    let done = done.expect("applied");
    assert_eq!(
        done.applied
            .iter()
            .map(|(_, name)| name.as_str())
            .collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    let again = apply::apply_groups(
        &client,
        MANAGER,
        vec![vec![item("a", &[])], vec![item("c", &[])]],
    )
    .await;
    assert_eq!(again.expect("applied").unchanged, 2);

    let groups = vec![
        vec![item("bad", &[("no/slash", "x")]), item("d", &[])],
        vec![item("e", &[])],
    ];
    let error = apply::apply_groups(&client, MANAGER, groups)
        .await
        .expect_err("one is refused");
    assert!(
        matches!(&error, Error::Invalid { message, .. } if message.contains("no/slash")),
        "{error}"
    );
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), &ns);
    assert!(
        api.get_opt("d").await.expect("read").is_some(),
        "the others of the group are applied"
    );
    assert!(
        api.get_opt("e").await.expect("read").is_none(),
        "what relies on the group is not"
    );
}

#[tokio::test]
async fn without_permission_the_reason_says_so() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let nobody = crate::apiserver::ApiServer::shared()
        .client_as("nobody", &[])
        .await;
    let error = apply::apply(
        &nobody,
        MANAGER,
        &config_map(&ns, "c", Some(&owner), &[]),
        None,
    )
    .await;
    assert_eq!(error.expect_err("forbidden").reason(), "Forbidden");
}

/// A kind of another project that the cluster lacks: the server answers with a text of its own.
#[tokio::test]
async fn a_kind_that_is_not_served_is_not_found() {
    let (client, ns) = start().await;
    let owner = owner(&client, &ns, "owner").await;
    let monitor: PodMonitor = serde_json::from_value(json!({
        "metadata": {"name": "db", "namespace": ns, "ownerReferences": [owner]},
        "spec": {"selector": {}},
    }))
    .expect("a PodMonitor");
    let error = apply::apply(&client, MANAGER, &monitor, None)
        .await
        .expect_err("the kind is not there");
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
}
