use k8s_openapi::{
    api::core::v1::{ConfigMap, Pod, Secret},
    apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, OwnerReference},
};
use kube::{core::PartialObjectMeta, runtime::reflector::ObjectRef};
use tokio::sync::mpsc;

use std::time::Duration;

use super::*;
use crate::manager::fake_api::FakeApi;

fn caches(api: &FakeApi, namespaces: &[&str]) -> (Caches, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let namespaces: Vec<String> = namespaces.iter().map(ToString::to_string).collect();
    (
        Caches::new(api.client(), &namespaces, Arc::clone(&metrics)),
        metrics,
    )
}

fn describe(change: &Change<ConfigMap>) -> String {
    let sign = if change.deleted { '-' } else { '+' };
    format!("{sign}{}", change.object.metadata.name.as_deref().unwrap())
}

async fn next(changes: &mut mpsc::UnboundedReceiver<Change<ConfigMap>>) -> String {
    let next = tokio::time::timeout(Duration::from_secs(120), changes.recv());
    describe(&next.await.expect("a change").expect("an open channel"))
}

fn own(object: &mut ConfigMap, uid: &str) {
    object.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "Pod".into(),
        name: "owner".into(),
        uid: uid.into(),
        controller: Some(true),
        ..OwnerReference::default()
    }]);
}

#[tokio::test]
async fn one_watch_for_all_who_ask() {
    let api = FakeApi::default();
    let (caches, _) = caches(&api, &[]);
    let one = caches.owned::<ConfigMap>();
    let other = caches.scoped().owned::<ConfigMap>();
    one.ready().await;
    other.ready().await;
    caches.all::<ConfigMap>().ready().await;
    let requests = api.requests();
    let lists: Vec<_> = requests
        .iter()
        .filter(|request| !request.contains("watch=true"))
        .collect();
    assert_eq!(lists.len(), 2, "{lists:?}");
    assert!(
        lists[0].contains("labelSelector=app.kubernetes.io%2Fmanaged-by%3Dhera"),
        "{lists:?}"
    );
    assert!(!lists[1].contains("labelSelector"), "{lists:?}");
}

#[tokio::test]
async fn ready_waits_for_the_caches_of_one_operator_alone() {
    let api = FakeApi::default();
    let (caches, metrics) = caches(&api, &[]);
    caches.all::<ConfigMap>().ready().await;
    api.fail_lists(Some(404));
    let other = caches.scoped();
    let _pods = other.all::<Pod>();
    caches.ready().await;
    assert_eq!(caches.unsynced(), ["pods"]);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), other.ready())
            .await
            .is_err()
    );
    api.fail_lists(None);
    other.ready().await;
    assert!(metrics.watch_restarts.with_label_values(&["pods"]).get() > 0);
    assert!(caches.unsynced().is_empty());
}

/// A kind of another project: nobody waits for it, it may come later, and it may go again.
#[tokio::test(start_paused = true)]
async fn an_optional_kind_comes_and_goes() {
    let api = FakeApi::default();
    api.put("ns", "a", |_| {});
    api.fail_lists(Some(404));
    let (caches, metrics) = caches(&api, &[]);
    let cache = caches.optional::<ConfigMap>();
    let mut changes = cache.subscribe();
    caches.ready().await;
    caches.all_ready().await;
    assert!(caches.unsynced().is_empty());
    tokio::time::sleep(ABSENT * 3).await;
    assert!(!cache.is_ready());
    let restarts = metrics.watch_restarts.with_label_values(&["configmaps"]);
    assert_eq!(restarts.get(), 0, "that is no failure");

    api.fail_lists(None);
    cache.ready().await;
    assert_eq!(next(&mut changes).await, "+a");
    api.put("ns", "b", |_| {});
    assert_eq!(next(&mut changes).await, "+b");

    api.fail_lists(Some(404));
    api.delete_unseen_and_break("ns", "b");
    let mut gone = vec![next(&mut changes).await, next(&mut changes).await];
    gone.sort();
    assert_eq!(gone, ["-a", "-b"]);
    api.fail_lists(None);
    assert_eq!(next(&mut changes).await, "+a");
}

#[tokio::test]
async fn changes_and_deletions_reach_subscribers_early_and_late() {
    let api = FakeApi::default();
    api.put("ns", "a", |_| {});
    let (caches, _) = caches(&api, &[]);
    let cache = caches.all::<ConfigMap>();
    let mut early = cache.subscribe();
    assert_eq!(next(&mut early).await, "+a");
    api.put("ns", "b", |_| {});
    assert_eq!(next(&mut early).await, "+b");
    let mut late = cache.subscribe();
    let mut first = vec![next(&mut late).await, next(&mut late).await];
    first.sort();
    assert_eq!(first, ["+a", "+b"]);
    api.delete("ns", "a");
    assert_eq!(next(&mut early).await, "-a");
    assert_eq!(next(&mut late).await, "-a");
    assert!(cache.get("ns", "a").is_none());
    assert_eq!(cache.list("ns", |_| true).len(), 1);
    assert!(cache.list("other", |_| true).is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_vanished_while_the_watch_was_broken_is_a_deletion() {
    let api = FakeApi::default();
    api.put("ns", "a", |_| {});
    api.put("ns", "b", |_| {});
    let (caches, metrics) = caches(&api, &[]);
    let cache = caches.all::<ConfigMap>();
    cache.ready().await;
    let mut changes = cache.subscribe();
    next(&mut changes).await;
    next(&mut changes).await;
    api.delete_unseen_and_break("ns", "a");
    assert_eq!(next(&mut changes).await, "-a");
    assert!(cache.get("ns", "a").is_none());
    api.put("ns", "c", |_| {});
    assert_eq!(
        next(&mut changes).await,
        "+c",
        "b did not change: no news of it"
    );
    assert_eq!(
        metrics
            .watch_restarts
            .with_label_values(&["configmaps"])
            .get(),
        1
    );
    assert_eq!(
        metrics
            .cached_objects
            .with_label_values(&["configmaps"])
            .get(),
        2
    );
}

#[tokio::test]
async fn each_namespace_has_its_own_watch() {
    let api = FakeApi::default();
    for namespace in ["one", "two", "three"] {
        api.put(namespace, "a", |_| {});
    }
    let (caches, _) = caches(&api, &["one", "two"]);
    let cache = caches.all::<ConfigMap>();
    cache.ready().await;
    let found = cache.find(|_| true);
    let namespaces: Vec<_> = found
        .iter()
        .filter_map(|object| object.metadata.namespace.as_deref())
        .collect();
    assert_eq!(namespaces, ["one", "two"]);
    assert!(
        api.requests()
            .iter()
            .all(|request| request.contains("/namespaces/"))
    );
}

#[test]
fn a_list_of_one_namespace_says_nothing_about_another() {
    let mut objects = Objects::<ConfigMap>::new(&[Some("one".into()), Some("two".into())]);
    let object = |namespace: &str| {
        let mut object = ConfigMap::default();
        object.metadata.namespace = Some(namespace.to_owned());
        object.metadata.name = Some("a".to_owned());
        object
    };
    for (scope, namespace) in [(0, "one"), (1, "two")] {
        assert!(!*objects.ready().borrow());
        objects.handle(scope, watcher::Event::Init);
        objects.handle(scope, watcher::Event::InitApply(object(namespace)));
        objects.handle(scope, watcher::Event::InitDone);
    }
    assert!(*objects.ready().borrow());
    objects.handle(1, watcher::Event::Init);
    assert_eq!(
        objects.store().len(),
        2,
        "the old objects stay until the new list is complete"
    );
    objects.handle(1, watcher::Event::InitDone);
    assert_eq!(
        objects.store().state()[0].metadata.namespace.as_deref(),
        Some("one")
    );
    assert_eq!(objects.store().len(), 1);
}

#[test]
fn an_object_made_again_is_a_deletion_and_a_creation() {
    let object = |uid: &str| {
        let mut object = ConfigMap::default();
        object.metadata.name = Some("a".into());
        object.metadata.uid = Some(uid.into());
        own(&mut object, &format!("owner of {uid}"));
        object
    };
    let mut objects = Objects::new(&[None]);
    objects.handle(0, watcher::Event::Apply(object("1")));
    let mut changes = objects.subscribe();
    objects.handle(0, watcher::Event::Apply(object("2")));
    let mut told = Vec::new();
    while let Ok(change) = changes.try_recv() {
        told.push((change.deleted, change.object.metadata.uid.clone().unwrap()));
    }
    assert_eq!(
        told,
        [(false, "1".into()), (true, "1".into()), (false, "2".into())]
    );
    assert!(objects.owned_by("owner of 1").is_empty());
    assert_eq!(objects.owned_by("owner of 2").len(), 1);
}

#[tokio::test]
async fn objects_are_found_by_their_owner_and_trigger_it() {
    let api = FakeApi::default();
    api.put("ns", "a", |object| own(object, "1"));
    api.put("ns", "b", |object| own(object, "2"));
    let (caches, _) = caches(&api, &[]);
    let cache = caches.all::<ConfigMap>();
    cache.ready().await;
    let owned = cache.owned_by("1");
    assert_eq!(owned[0].metadata.name.as_deref(), Some("a"));
    assert_eq!(owned.len(), 1);
    let mut owners = Box::pin(cache.owners::<Pod>());
    assert_eq!(
        owners.next().await,
        Some(ObjectRef::new("owner").within("ns"))
    );
    let mut changes = cache.subscribe();
    next(&mut changes).await;
    next(&mut changes).await;
    api.put("ns", "a", |object| own(object, "3"));
    next(&mut changes).await;
    assert!(cache.owned_by("1").is_empty());
    assert_eq!(cache.owned_by("3").len(), 1);
}

#[tokio::test]
async fn objects_are_slimmed_and_other_secrets_are_read_as_metadata() {
    let api = FakeApi::default();
    api.put("ns", "a", |object| {
        object.metadata.managed_fields = Some(vec![ManagedFieldsEntry::default()]);
        object.metadata.annotations = Some(
            [
                ("kubectl.kubernetes.io/last-applied-configuration", "{}"),
                ("kept", "yes"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        );
    });
    let (caches, _) = caches(&api, &[]);
    let cache = caches.all::<ConfigMap>();
    cache.ready().await;
    let object = cache.get("ns", "a").unwrap();
    assert!(object.metadata.managed_fields.is_none());
    assert_eq!(object.metadata.annotations.as_ref().unwrap().len(), 1);
    assert_eq!(label::<PartialObjectMeta<Secret>>(), "secrets/metadata");
    let secrets = caches.all::<PartialObjectMeta<Secret>>();
    secrets.ready().await;
}

#[test]
fn problems_say_what_to_do() {
    let status = |code| {
        let status = kube::core::Status {
            code,
            message: "no".into(),
            ..kube::core::Status::default()
        };
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(status)))
    };
    assert!(explain(&status(404)).contains("CustomResourceDefinition"));
    assert!(explain(&status(403)).contains("role"));
    assert!(explain(&status(500)).contains("no"));
}
