//! Writing single fields of objects that another controller makes: the pods and claims of a StatefulSet.
//!
//! Each function applies as a field manager of its own, because server-side apply removes the fields of a manager that its
//! next apply does not name.
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod},
    apimachinery::pkg::api::resource::Quantity,
};
use kube::{Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    Error,
    conditions::ConditionStatus,
    owner::{self, Proof},
    request::Target,
    subset::is_subset,
};

/// Asks for a size of a PersistentVolumeClaim. `Ok(None)` when it asks for that size already.
///
/// # Errors
/// As [`super::apply::apply`]; [`Error::Forbidden`] when the storage class does not allow expansion,
/// [`Error::Invalid`] when the size is below what the volume has.
pub async fn claim_size<'a>(
    client: &Client,
    manager: &str,
    claim: &PersistentVolumeClaim,
    proof: impl Into<Proof<'a>>,
    size: &Quantity,
) -> Result<Option<PersistentVolumeClaim>, Error> {
    let fields = json!({"spec": {"resources": {"requests": {"storage": size}}}});
    let manager = format!("{manager}-claim-size");
    apply_fields(client, &manager, claim, proof.into(), None, fields).await
}

/// Sets one condition of a pod, for a readiness gate. `Ok(None)` when the pod has it already.
///
/// # Errors
/// As [`super::apply::apply`].
pub async fn pod_condition<'a>(
    client: &Client,
    manager: &str,
    pod: &Pod,
    proof: impl Into<Proof<'a>>,
    condition: PodCondition<'_>,
) -> Result<Option<Pod>, Error> {
    let before = pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|c| c.type_ == condition.type_);
    let status = condition.status.as_str();
    let since = before
        .filter(|before| before.status == status)
        .and_then(|before| before.last_transition_time.as_ref())
        .map_or(condition.now, |time| time.0);
    let manager = format!(
        "{manager}-{}",
        condition.type_.rsplit('/').next().unwrap_or_default()
    );
    let wanted = json!({
        "type": condition.type_,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since,
    });
    if before.is_some_and(|before| {
        before.status == status
            && before.reason.as_deref() == Some(condition.reason)
            && before.message.as_deref().unwrap_or_default() == condition.message
    }) {
        return Ok(None);
    }
    let fields = json!({"status": {"conditions": [wanted]}});
    apply_fields(client, &manager, pod, proof.into(), Some("status"), fields).await
}

/// A condition of a pod that is written by Hera.
#[derive(Debug, Clone, Copy)]
pub struct PodCondition<'a> {
    /// The type as the pod's `readinessGates` name it, for example `redis.hera.dev/in-sync`.
    pub type_: &'a str,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// A CamelCase word.
    pub reason: &'a str,
    /// For people.
    pub message: &'a str,
    /// The time of the transition, if this is one.
    pub now: Timestamp,
}

/// Sets labels and annotations of a pod, all that Hera ever sets on it: those of an earlier call that are not named are
/// removed. `Ok(None)` when the pod has them already.
///
/// # Errors
/// As [`super::apply::apply`].
pub async fn pod_metadata<'a>(
    client: &Client,
    manager: &str,
    pod: &Pod,
    proof: impl Into<Proof<'a>>,
    labels: &std::collections::BTreeMap<String, String>,
    annotations: &std::collections::BTreeMap<String, String>,
) -> Result<Option<Pod>, Error> {
    let fields = json!({"metadata": {"labels": labels, "annotations": annotations}});
    let manager = format!("{manager}-pod-metadata");
    apply_fields(client, &manager, pod, proof.into(), None, fields).await
}

/// Lets a PersistentVolumeClaim be deleted together with `owner`, or (`None`) outlive it: adds an owner reference, or takes
/// back the one that an earlier call added.
///
/// # Errors
/// As [`super::apply::apply`].
pub async fn claim_owner<'a>(
    client: &Client,
    manager: &str,
    claim: &PersistentVolumeClaim,
    proof: impl Into<Proof<'a>>,
    owner: Option<&OwnerReference>,
) -> Result<(), Error> {
    let references: Vec<_> = owner
        .map(|owner| {
            json!({"apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid})
        })
        .into_iter()
        .collect();
    let fields = json!({"metadata": {"ownerReferences": references}});
    let manager = format!("{manager}-claim-owner");
    send_fields(client, &manager, claim, proof.into(), None, fields).await?;
    Ok(())
}

/// Annotates a PersistentVolumeClaim; annotations of an earlier call that are not named are removed.
///
/// # Errors
/// As [`super::apply::apply`].
pub async fn claim_annotations<'a>(
    client: &Client,
    manager: &str,
    claim: &PersistentVolumeClaim,
    proof: impl Into<Proof<'a>>,
    annotations: &std::collections::BTreeMap<String, String>,
) -> Result<(), Error> {
    let fields = json!({"metadata": {"annotations": annotations}});
    let manager = format!("{manager}-claim-annotations");
    send_fields(client, &manager, claim, proof.into(), None, fields).await?;
    Ok(())
}

/// Labels a PersistentVolumeClaim that a user gives over by its name, so that it is known as Hera's.
///
/// # Errors
/// As [`super::apply::apply`].
pub async fn claim_labels(
    client: &Client,
    manager: &str,
    claim: &PersistentVolumeClaim,
    labels: &std::collections::BTreeMap<String, String>,
) -> Result<(), Error> {
    let name = claim.metadata.name.clone().unwrap_or_default();
    let fields = json!({"metadata": {"labels": labels}});
    let manager = format!("{manager}-claim-labels");
    let proof = Proof::GivenOver { name: &name };
    send_fields(client, &manager, claim, proof, None, fields).await?;
    Ok(())
}

async fn apply_fields<K>(
    client: &Client,
    manager: &str,
    observed: &K,
    proof: Proof<'_>,
    subresource: Option<&str>,
    fields: Value,
) -> Result<Option<K>, Error>
where
    K: Resource<DynamicType: Default> + Serialize + DeserializeOwned,
{
    if is_subset(&fields, &Target::of(observed)?.to_json(observed)?) {
        return Ok(None);
    }
    send_fields(client, manager, observed, proof, subresource, fields)
        .await
        .map(Some)
}

async fn send_fields<K>(
    client: &Client,
    manager: &str,
    observed: &K,
    proof: Proof<'_>,
    subresource: Option<&str>,
    fields: Value,
) -> Result<K, Error>
where
    K: Resource<DynamicType: Default> + Serialize + DeserializeOwned,
{
    let target = Target::of(observed)?;
    let meta = observed.meta();
    if !proof.holds_for(meta) {
        return Err(target.name_conflict(owner::describe(meta)));
    }
    let Some(uid) = &meta.uid else {
        return Err(target.malformed("was observed without a UID"));
    };
    let mut body = fields;
    body["apiVersion"] = Value::from(target.api_version.clone());
    body["kind"] = Value::from(target.kind.clone());
    body["metadata"]["name"] = Value::from(target.name.clone());
    if let Some(namespace) = &target.namespace {
        body["metadata"]["namespace"] = Value::from(namespace.clone());
    }
    body["metadata"]["uid"] = Value::from(uid.clone());
    let applied = target
        .apply(client, manager, true, subresource, &body)
        .await?;
    target.parse(applied)
}
