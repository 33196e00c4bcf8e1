//! Server-side apply of owned objects, with a no-op skip that survives restarts.
//!
//! Each object that is applied carries the annotation [`DESIRED_HASH`] with a digest of what was wanted. Nothing is sent
//! when the digest of what is wanted now is the same *and* the object on the server contains it: the digest sees fields that
//! are no longer wanted, the comparison sees what others changed. A restarted manager over converged objects therefore
//! writes nothing.
//!
//! What builders have to know: leave fields out in place of setting them to the zero value that the server drops
//! (`hostNetwork: false`), write `data` of a Secret and not `stringData`, and put nothing in that changes from pass to pass.
use futures::future::join_all;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{Client, Resource};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{
    Error,
    drift::{DESIRED_HASH, differs, hash, normalized},
    owner::{self, Proof},
    request::Target,
};

/// What an apply did. Either way it holds the object as it is on the server.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<K> {
    /// Nothing was sent: the object is as wanted already (or is being deleted, so that writing to it is in vain).
    Unchanged(K),
    /// The object was created or changed.
    Applied(K),
}

impl<K> Outcome<K> {
    /// The object as it is on the server.
    pub fn into_inner(self) -> K {
        match self {
            Self::Unchanged(object) | Self::Applied(object) => object,
        }
    }

    /// Whether something was written.
    pub fn is_applied(&self) -> bool {
        matches!(self, Self::Applied(_))
    }
}

/// Applies `desired` as the field manager `manager` (for example `hera-redis`) and by force: fields of ours that another
/// manager changed are taken back, fields that are no longer wanted are removed, fields of others stay.
///
/// `observed` is the object as the caller knows it, from a cache. When it is `None` the server is asked first, so that an
/// object of the same name that belongs to someone else is never written to. `desired` must have a controller reference:
/// ownership is judged by its UID.
///
/// # Errors
/// [`Error::NameConflict`] when the object exists and its controller is not that of `desired`; [`Error::Conflict`] when it
/// was re-created since it was observed (or appeared in between); [`Error::Invalid`] when the server refuses it.
pub async fn apply<K>(
    client: &Client,
    manager: &str,
    desired: &K,
    observed: Option<&K>,
) -> Result<Outcome<K>, Error>
where
    K: Resource<DynamicType: Default> + Serialize + DeserializeOwned,
{
    let item = Item::new(desired, observed)?;
    match item.run(client, manager).await? {
        Outcome::Unchanged(value) => item.target.parse(value).map(Outcome::Unchanged),
        Outcome::Applied(value) => item.target.parse(value).map(Outcome::Applied),
    }
}

/// Creates an object whose content is made once and then read back (a generated password); an existing one of ours is
/// returned as it is. Two managers that race end with the same object.
///
/// # Errors
/// [`Error::NameConflict`] when the object exists and its controller is not that of `desired`.
pub async fn create_once<K>(
    client: &Client,
    manager: &str,
    desired: &K,
) -> Result<Outcome<K>, Error>
where
    K: Resource<DynamicType: Default> + Serialize + DeserializeOwned,
{
    let item = Item::new(desired, None)?;
    let target = &item.target;
    if let Some(existing) = target.get(client).await? {
        item.check_owner(&existing)?;
        return target.parse(existing).map(Outcome::Unchanged);
    }
    match target.create(client, manager, &item.desired).await {
        Ok(created) => target.parse(created).map(Outcome::Applied),
        Err(conflict @ Error::Conflict { .. }) => {
            let existing = target.get(client).await?.ok_or(conflict)?;
            item.check_owner(&existing)?;
            target.parse(existing).map(Outcome::Unchanged)
        }
        Err(error) => Err(error),
    }
}

/// What [`apply_groups`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Kind and name of each object that was created or changed.
    pub applied: Vec<(String, String)>,
    /// How many objects were as wanted already.
    pub unchanged: usize,
}

/// Applies groups one after the other, the objects of a group at the same time. Every object of a group is tried, also when
/// another one of it fails; the next group starts only when the whole group is applied, because it relies on it (a pod on
/// its ConfigMap).
///
/// # Errors
/// As [`apply`]; [`Error::Several`] when more than one object of a group failed.
pub async fn apply_groups(
    client: &Client,
    manager: &str,
    groups: Vec<Vec<Item>>,
) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    for group in groups {
        let results = join_all(group.iter().map(|item| item.run(client, manager))).await;
        let mut errors = vec![];
        for (item, result) in group.iter().zip(results) {
            match result {
                Ok(Outcome::Unchanged(_)) => summary.unchanged += 1,
                Ok(Outcome::Applied(_)) => summary
                    .applied
                    .push((item.target.kind.clone(), item.target.name.clone())),
                Err(error) => errors.push(error),
            }
        }
        if let Some(error) = Error::of_group(errors) {
            return Err(error);
        }
    }
    Ok(summary)
}

/// One object to apply, of any kind.
#[derive(Debug, Clone)]
pub struct Item {
    target: Target,
    /// Normalized: no nulls, nothing of the server's, no digest.
    desired: Value,
    meta: ObjectMeta,
    hash: String,
    observed: Option<Value>,
}

impl Item {
    /// An object to apply and what is known of it on the server.
    ///
    /// # Errors
    /// [`Error::Malformed`] without a name or a controller reference.
    pub fn new<K>(desired: &K, observed: Option<&K>) -> Result<Self, Error>
    where
        K: Resource<DynamicType: Default> + Serialize,
    {
        let target = Target::of(desired)?;
        if owner::controller_of(desired.meta()).is_none() {
            return Err(target
                .malformed("has no controller reference, so that its ownership cannot be judged"));
        }
        let mut value = target.to_json(desired)?;
        if let Value::Object(map) = &mut value {
            map.insert(
                "apiVersion".to_owned(),
                Value::from(target.api_version.clone()),
            );
            map.insert("kind".to_owned(), Value::from(target.kind.clone()));
        }
        let value = normalized(value);
        Ok(Self {
            observed: observed.map(|object| target.to_json(object)).transpose()?,
            hash: hash(&value),
            desired: value,
            meta: desired.meta().clone(),
            target,
        })
    }

    /// Whether [`apply_groups`] would write this object, as far as the observed one tells. Pure.
    pub fn is_needed(&self) -> bool {
        self.observed
            .as_ref()
            .is_none_or(|observed| differs(&self.desired, &self.hash, observed))
    }

    /// Kind and name.
    pub fn id(&self) -> (&str, &str) {
        (&self.target.kind, &self.target.name)
    }

    async fn run(&self, client: &Client, manager: &str) -> Result<Outcome<Value>, Error> {
        let live;
        let observed = if let Some(observed) = &self.observed {
            Some(observed)
        } else {
            // A cache that lags does not know an object that was made a moment ago, nor one that lacks its label.
            live = self.target.get(client).await?;
            live.as_ref()
        };
        let Some(observed) = observed else {
            // Not by force: should someone else create the object right now, their fields are not taken.
            let body = self.body(None);
            let created = self
                .target
                .apply(client, manager, false, None, &body)
                .await?;
            return Ok(Outcome::Applied(created));
        };
        self.check_owner(observed)?;
        let being_deleted = observed
            .pointer("/metadata/deletionTimestamp")
            .is_some_and(|t| !t.is_null());
        if being_deleted || !differs(&self.desired, &self.hash, observed) {
            return Ok(Outcome::Unchanged(observed.clone()));
        }
        let Some(uid) = observed.pointer("/metadata/uid").and_then(Value::as_str) else {
            return Err(self.target.malformed("was observed without a UID"));
        };
        let body = self.body(Some(uid));
        let applied = self
            .target
            .apply(client, manager, true, None, &body)
            .await?;
        Ok(Outcome::Applied(applied))
    }

    fn check_owner(&self, observed: &Value) -> Result<(), Error> {
        let meta: ObjectMeta = match observed.get("metadata") {
            Some(meta) => self.target.parse(meta.clone())?,
            None => ObjectMeta::default(),
        };
        let ours = owner::controller_of(&self.meta)
            .is_some_and(|owner| Proof::from(owner).holds_for(&meta));
        if ours {
            Ok(())
        } else {
            Err(self.target.name_conflict(owner::describe(&meta)))
        }
    }

    /// The request body: the desired object, its digest, and the UID that it must have.
    fn body(&self, uid: Option<&str>) -> Value {
        let mut body = self.desired.clone();
        let metadata = &mut body["metadata"];
        if let Some(uid) = uid {
            metadata["uid"] = Value::from(uid);
        }
        metadata["annotations"][DESIRED_HASH] = Value::from(self.hash.clone());
        body
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;

    use super::*;

    #[test]
    fn without_an_owner_nothing_is_applied() {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("c".into());
        assert!(matches!(
            Item::new(&object, None),
            Err(Error::Malformed { .. })
        ));
        object.metadata.owner_references = Some(vec![
            k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference {
                controller: Some(true),
                uid: "1".into(),
                ..Default::default()
            },
        ]);
        let item = Item::new(&object, None).expect("it has an owner");
        assert!(item.is_needed());
        assert_eq!(item.id(), ("ConfigMap", "c"));
        assert_eq!(item.body(Some("7"))["metadata"]["uid"], "7");
        assert!(item.body(None)["metadata"].get("uid").is_none());
    }
}
