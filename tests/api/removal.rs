//! A field that is set and taken away again leaves nothing: an object is then what one is that never had the field.
use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use hera::{
    k8s::{Error, apply, drift::DESIRED_HASH},
    operators::redis::{
        api::Redis,
        build::{self, Resources, patch::merge},
        model::Observed,
        validate::validate,
    },
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DynamicObject, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    crds,
    fixtures::start,
    objects::{MANAGER, create, credentials},
};

#[path = "../../src/operators/redis/build/tests/leaves/mod.rs"]
mod leaves;

/// Fields that nobody can take away.
const KEPT: [&str; 4] = [
    "engine",
    "services.ipFamilies",
    "storage.claimTemplate",
    "storage.size",
];

/// Fields that change what the server lets nobody change of an object: it is made anew.
const MADE_ANEW: [&str; 1] = ["storage.storageClassName"];

/// How many objects are written at a time.
const AT_A_TIME: usize = 8;

/// Objects with a field, and without it.
struct Comparison<'a> {
    client: &'a Client,
    /// The end of their names.
    tag: String,
    /// How many change with the field.
    compared: usize,
    /// The server does not take the change.
    refused: bool,
    /// The server does not take a fresh object without it either.
    needed: bool,
    different: Vec<String>,
}

impl<'a> Comparison<'a> {
    fn new(client: &'a Client, tag: String) -> Self {
        Self {
            client,
            tag,
            compared: 0,
            refused: false,
            needed: false,
            different: Vec::new(),
        }
    }

    async fn all(&mut self, with: &Resources, without: &Resources) {
        let secrets = |r: &Resources| {
            let own = [r.server_secret.clone(), r.connection_secret.clone()].into_iter();
            let users = own.chain(r.user_connection_secrets.clone());
            users.chain(r.sentinel_secret.clone()).collect::<Vec<_>>()
        };
        let maps = |r: &Resources| [r.config_map.clone(), r.start_config_map.clone()];
        let policy = |r: &Resources| Vec::from_iter(r.network_policy.clone());
        self.each(&secrets(with), &secrets(without)).await;
        self.each(&maps(with), &maps(without)).await;
        self.each(&with.services, &without.services).await;
        self.each(&policy(with), &policy(without)).await;
        self.each(&with.disruption_budgets, &without.disruption_budgets)
            .await;
        self.each(&with.statefulsets, &without.statefulsets).await;
    }

    /// Applies each object with the field, then without it, and compares it with a fresh one.
    async fn each<K>(&mut self, with: &[K], without: &[K])
    where
        K: Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>
            + Clone
            + PartialEq
            + Serialize
            + DeserializeOwned,
    {
        for old in with {
            let mut same_name = without.iter().filter(|n| n.meta().name == old.meta().name);
            let Some(new) = same_name.next().filter(|new| *new != old) else {
                continue;
            };
            self.compared += 1;
            let had = self.applied(old, "had", None).await.expect("taken");
            let Some(fresh) = self.applied(new, "never", None).await else {
                self.needed = true;
                continue;
            };
            let Some(changed) = self.applied(new, "had", Some(&had)).await else {
                self.refused = true;
                continue;
            };
            let (changed, fresh) = (comparable(&changed), comparable(&fresh));
            if changed != fresh {
                let name = old.name_any();
                let words = format!("{name} is\n  {changed}\nand not\n  {fresh}");
                self.different.push(words);
            }
        }
    }

    /// The object as it is on the server, under a name of its own; none when that refuses it.
    async fn applied<K>(&self, object: &K, place: &str, observed: Option<&K>) -> Option<K>
    where
        K: Resource<DynamicType = ()> + Clone + Serialize + DeserializeOwned,
    {
        let mut object = object.clone();
        let name = format!("{}-{}-{place}", object.name_any(), self.tag);
        object.meta_mut().name = Some(name);
        match apply::apply(self.client, MANAGER, &object, observed).await {
            Ok(applied) => Some(applied.into_inner()),
            Err(Error::Invalid { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// An object without what the server gives to each, such as its UID and the ports that it chose.
fn comparable(object: &impl Serialize) -> Value {
    let mut object = serde_json::to_value(object).expect("JSON");
    object.as_object_mut().expect("an object").remove("status");
    let metadata = &mut object["metadata"];
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.remove(DESIRED_HASH);
    }
    *metadata = json!([
        metadata["labels"],
        metadata["annotations"],
        metadata["ownerReferences"]
    ]);
    let spec = &mut object["spec"];
    let ports = spec["ports"].as_array_mut().into_iter().flatten();
    let chosen = ports.filter_map(|port| port.get_mut("nodePort"));
    chosen.for_each(|port| *port = json!("chosen"));
    for name in ["clusterIP", "clusterIPs", "healthCheckNodePort"] {
        if let Some(value) = spec.get_mut(name) {
            *value = json!("chosen");
        }
    }
    object
}

fn built(redis: &Redis, spec: &Value) -> Resources {
    let mut redis = redis.clone();
    redis.spec = serde_json::from_value(spec.clone()).expect("a spec");
    let observed = Observed::default();
    let valid = validate(&redis, &observed).unwrap_or_else(|e| panic!("{spec}: {e:?}"));
    build::build(&valid, &observed, &credentials()).expect("it can be built")
}

/// The spec without what is at `path`, when that may be taken away.
async fn without(api: &Api<DynamicObject>, made: &DynamicObject, path: &[&str]) -> Option<Value> {
    let mut changed = made.clone();
    remove(&mut changed.data["spec"], path);
    let dry = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let taken = api.replace(&made.name_any(), &dry, &changed).await.is_ok();
    taken.then(|| changed.data["spec"].take())
}

fn remove(value: &mut Value, path: &[&str]) {
    match (value, path) {
        (Value::Array(list), _) => list.iter_mut().for_each(|item| remove(item, path)),
        (Value::Object(map), [name]) => drop(map.remove(*name)),
        (Value::Object(map), [name, rest @ ..]) => {
            map.get_mut(*name)
                .into_iter()
                .for_each(|inner| remove(inner, rest));
        }
        _ => {}
    }
}

/// What else has to be there: a container claims only what its pod has, for which there is no field, and encryption goes only while
/// both are accepted.
fn beside(path: &str) -> Value {
    let claim = json!([{"name": "gpu", "resourceClaimName": "gpu"}]);
    let template = json!({"podTemplate": {"spec": {"resourceClaims": claim}}});
    match path.split_once("resources.claims") {
        Some(("sentinel.", _)) => json!({ "sentinel": template }),
        Some(_) => template,
        None if path.starts_with("tls.") => json!({"tls": {"plaintext": "Allowed"}}),
        None => json!({}),
    }
}

#[tokio::test]
async fn a_field_that_is_taken_away_leaves_nothing() {
    let (client, ns) = start().await;
    crds::install(&client).await;
    let db = create(&client, &ns, "db", &json!({})).await;
    let fields = leaves::changes().into_iter().enumerate();
    let found = fields.map(|(number, (path, patch))| {
        let (client, ns, db) = (&client, &ns, &db);
        async move {
            let mut with = leaves::base();
            merge(&mut with, &patch);
            merge(&mut with, &beside(path));
            let api = crds::untyped(client, ns);
            let object = serde_json::from_value(crds::object(&format!("r{number}"), &with));
            let made = api
                .create(&PostParams::default(), &object.expect("an object"))
                .await
                .unwrap_or_else(|error| panic!("spec.{path}: {error}"));
            let words: Vec<&str> = path.split('.').collect();
            // A field that is required goes with what it is a part of.
            for length in (1..=words.len()).rev() {
                let Some(without) = without(&api, &made, &words[..length]).await else {
                    continue;
                };
                let mut found = Comparison::new(client, format!("{number}-{length}"));
                found.all(&built(db, &with), &built(db, &without)).await;
                if !found.needed {
                    return (path, Some(found));
                }
            }
            (path, None)
        }
    });
    let found: Vec<(&str, Option<Comparison<'_>>)> = stream::iter(found)
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    let of = |which: &dyn Fn(Option<&Comparison<'_>>) -> bool| -> BTreeSet<&str> {
        let those = found.iter().filter(|(_, found)| which(found.as_ref()));
        those.map(|(path, _)| *path).collect()
    };
    assert_eq!(of(&|found| found.is_none()), BTreeSet::from(KEPT));
    let refused = of(&|found| found.is_some_and(|f| f.refused));
    assert_eq!(refused, BTreeSet::from(MADE_ANEW));
    let changed = of(&|found| found.is_some_and(|f| f.compared > 0));
    assert!(changed.len() > 70, "only {changed:?} change an object");
    let different = found.iter().flat_map(|(path, found)| {
        let different = found.iter().flat_map(|f| &f.different);
        different.map(move |words| format!("spec.{path}: {words}"))
    });
    let different: Vec<String> = different.collect();
    assert!(different.is_empty(), "{}", different.join("\n"));
}
