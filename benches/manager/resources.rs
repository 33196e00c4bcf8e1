//! The `Redis` resources over which the manager is measured: the sample that users start with, many times.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use hera::operators::{self, redis::api::Redis};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Client, ResourceExt as _};

use crate::apiserver::{ApiServer, eventually, programs};
use crate::common::options::say;
use crate::measured::Measured;

const SAMPLE: &str = include_str!("../../config/samples/redis_replication.yaml");
/// Resources of one namespace.
const NAMESPACE: usize = 50;
/// Resources that are applied at the same time.
const PARALLEL: usize = 16;
/// Only ends a measurement that fails anyway.
const LIMIT: Duration = Duration::from_secs(300);

/// Runs a controller until its standard input ends, which it does when this process ends, however that comes.
const GUARDIAN: &str = r#"trap '' INT TERM HUP; "$@" >/dev/null 2>&1 & cat >/dev/null; kill -9 $!"#;

/// Installs the definitions.
pub async fn install(client: &Client) {
    let api = Api::<CustomResourceDefinition>::all(client.clone());
    let params = PatchParams::apply("bench").force();
    for definition in operators::crds() {
        let name = definition.name_any();
        api.patch(&name, &params, &Patch::Apply(&definition))
            .await
            .expect("the definition is accepted");
    }
    eventually("the definitions are served", async || {
        let api = Api::<Redis>::all(client.clone());
        api.list(&ListParams::default()).await.ok()
    })
    .await;
}

/// Applies one resource.
pub async fn apply(client: &Client, namespace: &str, name: &str) {
    let mut redis: Redis = serde_saphyr::from_str(SAMPLE).expect("the sample is a Redis");
    redis.metadata.name = Some(name.to_owned());
    Api::<Redis>::namespaced(client.clone(), namespace)
        .patch(name, &PatchParams::apply("bench"), &Patch::Apply(&redis))
        .await
        .expect("the resource is applied");
}

/// Deletes one resource.
pub async fn delete(client: &Client, namespace: &str, name: &str) {
    Api::<Redis>::namespaced(client.clone(), namespace)
        .delete(name, &DeleteParams::default())
        .await
        .expect("the resource is deleted");
}

/// All that were made so far.
pub struct Resources {
    client: Client,
    server: &'static ApiServer,
    namespaces: Vec<String>,
    count: usize,
    controller: Option<Child>,
}

impl Drop for Resources {
    fn drop(&mut self) {
        if let Some(controller) = &mut self.controller {
            drop(controller.stdin.take());
            let _ = controller.wait();
        }
    }
}

impl Resources {
    /// None yet.
    pub fn new(client: Client, server: &'static ApiServer) -> Self {
        Self {
            client,
            server,
            namespaces: vec![],
            count: 0,
            controller: None,
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Applies so many more, and waits until the manager has done all for them. Returns how long that took.
    pub async fn create(&mut self, more: usize, manager: &Measured) -> Duration {
        say(&format!("{more} more resources"));
        let numbers = self.count..self.count + more;
        while self.namespaces.len() * NAMESPACE < numbers.end {
            let namespace = self.server.namespace(&self.client).await;
            self.namespaces.push(namespace);
        }
        let begin = Instant::now();
        futures::stream::iter(numbers)
            .for_each_concurrent(PARALLEL, async |number| {
                let namespace = &self.namespaces[number / NAMESPACE];
                apply(&self.client, namespace, &format!("redis-{number}")).await;
            })
            .await;
        self.count += more;
        loop {
            let end = manager.settled().await;
            let sets = self.number_of::<StatefulSet>().await;
            if sets == self.count {
                return end - begin;
            }
            assert!(begin.elapsed() < LIMIT, "there are {sets} StatefulSets");
        }
    }

    /// How many objects of a kind belong to the resources.
    async fn number_of<K>(&self) -> usize
    where
        K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let params = ListParams::default().labels("app.kubernetes.io/managed-by=hera");
        let api = Api::<PartialObjectMeta<K>>::all(self.client.clone());
        let list = api.list(&params).await.expect("the objects are listed");
        let ours = |object: &&PartialObjectMeta<K>| {
            let namespace = object.metadata.namespace.as_ref();
            namespace.is_some_and(|namespace| self.namespaces.contains(namespace))
        };
        list.items.iter().filter(ours).count()
    }

    /// Lets Kubernetes' own controller make the pods of the StatefulSets, and returns how many there are in the end.
    pub async fn make_pods(&mut self, manager: &Measured) -> usize {
        say("the pods of all resources");
        let program = programs()
            .expect("the programs were there at the start")
            .join("kube-controller-manager");
        let controller = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .arg(program)
            .arg(format!(
                "--kubeconfig={}",
                self.server.kubeconfig().display()
            ))
            .args([
                "--leader-elect=false",
                "--secure-port=0",
                "--controllers=statefulset-controller",
            ])
            .args([
                "--concurrent-statefulset-syncs=16",
                "--kube-api-qps=1000",
                "--kube-api-burst=1000",
            ])
            .stdin(Stdio::piped())
            .spawn()
            .expect("a shell");
        self.controller = Some(controller);
        let begin = Instant::now();
        let mut before = 0;
        loop {
            manager.settled().await;
            let pods = self.number_of::<Pod>().await;
            if pods > 0 && pods == before {
                return pods;
            }
            before = pods;
            assert!(begin.elapsed() < LIMIT, "there are only {pods} pods");
        }
    }
}
