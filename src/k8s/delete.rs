//! The only way in which Hera deletes an object.
use std::collections::BTreeSet;

use kube::{
    Client, Resource,
    api::{DeleteParams, Preconditions, PropagationPolicy},
};
use serde_json::Value;

use super::{
    Error,
    owner::{self, Proof},
    request::{Target, full_name},
};

/// How to delete. The default: the server's default propagation and the object's own grace period.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// What becomes of the objects that this one owns; `Orphan` to replace a StatefulSet under its running pods.
    pub propagation: Option<PropagationPolicy>,
    /// Seconds that a pod gets to stop, in place of its own `terminationGracePeriodSeconds`.
    pub grace_period: Option<u32>,
    /// Refuse when the object changed since it was observed: for decisions that rest on more than its identity.
    pub only_unchanged: bool,
}

impl Options {
    /// Leaves what the object owns.
    pub fn orphan() -> Self {
        Self {
            propagation: Some(PropagationPolicy::Orphan),
            ..Self::default()
        }
    }

    /// Seconds that a pod gets to stop.
    #[must_use]
    pub fn grace_period(mut self, seconds: u32) -> Self {
        self.grace_period = Some(seconds);
        self
    }

    /// Refuse when the object changed since it was observed.
    #[must_use]
    pub fn only_unchanged(mut self) -> Self {
        self.only_unchanged = true;
        self
    }
}

/// What a delete found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deleted {
    /// The server took the request (or had taken one before). The object may stay until its grace period and finalizers are
    /// over.
    Requested,
    /// The object that was observed is not there any more; one of the same name and another UID was left alone.
    Gone,
}

/// Deletes the object that was observed and no other: the request carries its UID, so that one that was re-created under the
/// same name is left alone. `proof` shows that it is ours (see [`Proof`]); a pod of a StatefulSet is shown to be ours by the
/// StatefulSet's reference. Nothing is sent when it is being deleted already and no shorter grace period is asked for.
///
/// # Errors
/// [`Error::NameConflict`] when the proof fails (nothing is sent); [`Error::Conflict`] with [`Options::only_unchanged`] when
/// the object changed; [`Error::Malformed`] when it was observed without a UID.
pub async fn delete<'a, K>(
    client: &Client,
    observed: &K,
    proof: impl Into<Proof<'a>>,
    options: &Options,
) -> Result<Deleted, Error>
where
    K: Resource<DynamicType: Default>,
{
    let target = Target::of(observed)?;
    let meta = observed.meta();
    let Some(uid) = meta.uid.as_deref().filter(|uid| !uid.is_empty()) else {
        return Err(target.malformed("was observed without a UID"));
    };
    if !proof.into().holds_for(meta) {
        return Err(target.name_conflict(owner::describe(meta)));
    }
    if meta.deletion_timestamp.is_some() {
        let shorter = options.grace_period.is_some_and(|seconds| {
            meta.deletion_grace_period_seconds
                .is_some_and(|left| i64::from(seconds) < left)
        });
        if !shorter {
            return Ok(Deleted::Requested);
        }
    }
    let params = DeleteParams {
        propagation_policy: options.propagation.clone(),
        grace_period_seconds: options.grace_period,
        preconditions: Some(Preconditions {
            uid: Some(uid.to_owned()),
            resource_version: options
                .only_unchanged
                .then(|| meta.resource_version.clone())
                .flatten(),
        }),
        ..DeleteParams::default()
    };
    match target.delete(client, &params).await {
        Ok(_) => Ok(Deleted::Requested),
        Err(Error::NotFound { .. }) => Ok(Deleted::Gone),
        // Another UID or another resourceVersion: the server's answer tells them apart only in its wording.
        Err(conflict @ Error::Conflict { .. }) => {
            let live = target.get(client).await?;
            match live
                .as_ref()
                .and_then(|live| live.pointer("/metadata/uid"))
                .and_then(Value::as_str)
            {
                Some(live) if live == uid => Err(conflict),
                _ => Ok(Deleted::Gone),
            }
        }
        Err(error) => Err(error),
    }
}

/// The observed objects that are no longer wanted, by namespace and name. Pure; computed for every kind on every pass, so that
/// a missed event leaves nothing behind.
pub fn orphans<'a, K: Resource>(
    desired: &[K],
    observed: impl IntoIterator<Item = &'a K>,
) -> Vec<&'a K> {
    let wanted: BTreeSet<String> = desired
        .iter()
        .map(|object| full_name(object.meta()))
        .collect();
    observed
        .into_iter()
        .filter(|object| !wanted.contains(&full_name(object.meta())))
        .collect()
}
