//! Writing the status of a custom resource.
use hera::k8s::{
    Error,
    conditions::{self, ConditionStatus},
    status,
};
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Condition, jiff::Timestamp,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    apiserver::eventually,
    fixtures::{live, start},
};

const MANAGER: &str = "hera-test";

#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[kube(
    group = "test.hera.dev",
    version = "v1",
    kind = "Sample",
    namespaced,
    status = "SampleStatus"
)]
struct SampleSpec {
    size: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
struct SampleStatus {
    phase: Option<String>,
    members: Vec<String>,
    conditions: Vec<Condition>,
}

async fn sample(client: &Client, namespace: &str) -> Sample {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions
        .patch(
            "samples.test.hera.dev",
            &PatchParams::apply("test").force(),
            &Patch::Apply(Sample::crd()),
        )
        .await
        .expect("the definition is accepted");
    let api: Api<Sample> = Api::namespaced(client.clone(), namespace);
    eventually("the kind is served", async || {
        api.create(
            &PostParams::default(),
            &Sample::new("s", SampleSpec { size: 1 }),
        )
        .await
        .ok()
    })
    .await
}

fn ready(
    before: &SampleStatus,
    holds: impl Into<ConditionStatus>,
    message: &str,
    second: i64,
) -> SampleStatus {
    let mut after = before.clone();
    let now = Timestamp::from_second(second).expect("a time");
    conditions::set(
        &mut after.conditions,
        "Ready",
        holds,
        "Test",
        message,
        Some(1),
        now,
    );
    after
}

#[tokio::test]
async fn a_status_is_written_once_and_fields_can_go() {
    let (client, ns) = start().await;
    let object = sample(&client, &ns).await;
    let full = SampleStatus {
        phase: Some("Running".into()),
        members: vec!["a".into(), "b".into()],
        conditions: vec![],
    };
    let full = ready(&full, true, "", 1);
    let written = status::write(&client, MANAGER, &object, &full, object.status.as_ref())
        .await
        .expect("written");
    let written = written.expect("it is new");
    assert_eq!(written.status.as_ref(), Some(&full));
    assert_eq!(
        written.metadata.generation, object.metadata.generation,
        "a status is no new generation"
    );

    let same = status::write(&client, MANAGER, &written, &full, written.status.as_ref())
        .await
        .expect("compared");
    assert!(same.is_none());
    let mut later = full.clone();
    later.conditions[0].last_transition_time.0 = Timestamp::from_second(99).expect("a time");
    let same = status::write(&client, MANAGER, &written, &later, written.status.as_ref())
        .await
        .expect("compared");
    assert!(same.is_none(), "a time alone is nothing new");
    assert_eq!(
        live::<Sample>(&client, &ns, "s").await.resource_version(),
        written.resource_version()
    );

    let less = SampleStatus {
        phase: None,
        members: vec!["b".into()],
        conditions: vec![],
    };
    let less = ready(&less, ConditionStatus::Unknown, "", 2);
    status::write(&client, MANAGER, &written, &less, written.status.as_ref())
        .await
        .expect("written");
    let now = live::<Sample>(&client, &ns, "s")
        .await
        .status
        .expect("a status");
    assert_eq!(now, less);
}

#[tokio::test]
async fn a_status_of_an_outdated_object_is_refused() {
    let (client, ns) = start().await;
    let object = sample(&client, &ns).await;
    let api: Api<Sample> = Api::namespaced(client.clone(), &ns);
    let grown = api
        .patch(
            "s",
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": {"size": 2}})),
        )
        .await
        .expect("the spec changes");
    let new = ready(&SampleStatus::default(), true, "", 1);
    let error = status::write(&client, MANAGER, &object, &new, None)
        .await
        .expect_err("refused");
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert_eq!(live::<Sample>(&client, &ns, "s").await.status, None);
    status::write(&client, MANAGER, &grown, &new, None)
        .await
        .expect("the new one takes it");
}

#[tokio::test]
async fn of_two_that_write_at_once_one_wins() {
    let (client, ns) = start().await;
    let object = sample(&client, &ns).await;
    let one = ready(&SampleStatus::default(), true, "one", 1);
    let two = ready(&SampleStatus::default(), false, "two", 1);
    let (a, b) = tokio::join!(
        status::write(&client, MANAGER, &object, &one, None),
        status::write(&client, MANAGER, &object, &two, None)
    );
    assert!(
        a.is_ok() != b.is_ok(),
        "exactly one decision stands: {a:?} {b:?}"
    );
    let stands = live::<Sample>(&client, &ns, "s").await.status;
    assert_eq!(stands, Some(if a.is_ok() { one } else { two }));
}

#[tokio::test]
async fn a_status_does_not_go_to_another_object_of_the_same_name() {
    let (client, ns) = start().await;
    let object = sample(&client, &ns).await;
    let api: Api<Sample> = Api::namespaced(client.clone(), &ns);
    api.delete("s", &DeleteParams::default())
        .await
        .expect("deleted");
    let new = ready(&SampleStatus::default(), true, "", 1);
    let error = status::write(&client, MANAGER, &object, &new, None)
        .await
        .expect_err("gone");
    assert!(error.is_not_found() || error.is_conflict(), "{error}");
    let again = sample(&client, &ns).await;
    let error = status::write(&client, MANAGER, &object, &new, None)
        .await
        .expect_err("another one");
    assert!(error.is_conflict(), "{error}");
    assert_eq!(live::<Sample>(&client, &ns, "s").await.status, again.status);
}
