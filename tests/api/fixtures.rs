//! Objects for the tests.
use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ConfigMap, Service, ServicePort, ServiceSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{Api, Client, api::PostParams};

use crate::apiserver::ApiServer;

/// A client and a namespace of the test's own.
pub async fn start() -> (Client, String) {
    let server = ApiServer::shared();
    let client = server.client().await;
    let namespace = server.namespace(&client).await;
    (client, namespace)
}

pub fn meta(namespace: &str, name: &str, owner: Option<&OwnerReference>) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some(namespace.to_owned()),
        owner_references: owner.map(|owner| vec![owner.clone()]),
        ..ObjectMeta::default()
    }
}

pub fn config_map(
    namespace: &str,
    name: &str,
    owner: Option<&OwnerReference>,
    data: &[(&str, &str)],
) -> ConfigMap {
    ConfigMap {
        metadata: meta(namespace, name, owner),
        data: Some(strings(data)),
        ..ConfigMap::default()
    }
}

pub fn service(
    namespace: &str,
    name: &str,
    owner: &OwnerReference,
    ports: &[(&str, i32)],
) -> Service {
    let port = |(name, port): &(&str, i32)| ServicePort {
        name: Some((*name).to_owned()),
        port: *port,
        ..ServicePort::default()
    };
    Service {
        metadata: meta(namespace, name, Some(owner)),
        spec: Some(ServiceSpec {
            ports: Some(ports.iter().map(port).collect()),
            selector: Some(strings(&[("a", "b")])),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

pub fn strings(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
        .collect()
}

/// A ConfigMap that serves as owner, as it is on the server.
pub async fn owner(client: &Client, namespace: &str, name: &str) -> OwnerReference {
    let api = Api::namespaced(client.clone(), namespace);
    let created = api
        .create(
            &PostParams::default(),
            &config_map(namespace, name, None, &[]),
        )
        .await
        .expect("the owner can be made");
    hera::k8s::owner::controller_reference(&created).expect("it has a UID")
}

/// The reference to an owner that was deleted and made again under the same name. Nothing with this reference may be
/// created, because the garbage collector would take it for an orphan.
pub fn recreated(owner: &OwnerReference) -> OwnerReference {
    OwnerReference {
        uid: "00000000-0000-4000-8000-000000000000".to_owned(),
        ..owner.clone()
    }
}

/// The object as it is on the server.
pub async fn live<K>(client: &Client, namespace: &str, name: &str) -> K
where
    K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType: Default>
        + Clone
        + std::fmt::Debug
        + serde::de::DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    api.get(name).await.expect("the object is there")
}
