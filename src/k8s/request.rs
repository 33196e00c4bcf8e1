//! Requests to the API server for any kind of object, each with a time limit and a typed error.
use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{
    Client, Resource,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::{Request, Status, params::GetParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::Error;

/// How long a call may take, retries of the client included. The client bounds each attempt too; this bounds what callers
/// wait for.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(10);

/// One object of the API: where it is and what it is called in messages.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) kind: String,
    pub(super) api_version: String,
    pub(super) namespace: Option<String>,
    pub(super) name: String,
    path: String,
}

/// The name of an object with its namespace in front when it has one.
pub(super) fn full_name(meta: &ObjectMeta) -> String {
    let name = meta.name.as_deref().unwrap_or("without a name");
    match &meta.namespace {
        Some(namespace) => format!("{namespace}/{name}"),
        None => name.to_owned(),
    }
}

impl Target {
    /// The place of an object that has a name (and a namespace, when its kind has).
    pub(super) fn of<K>(object: &K) -> Result<Self, Error>
    where
        K: Resource<DynamicType: Default>,
    {
        let dynamic = K::DynamicType::default();
        let meta = object.meta();
        let kind = K::kind(&dynamic).into_owned();
        let Some(name) = meta.name.clone() else {
            return Err(Error::Malformed {
                kind,
                name: full_name(meta),
                problem: "metadata.name is missing".to_owned(),
            });
        };
        Ok(Self {
            kind,
            api_version: K::api_version(&dynamic).into_owned(),
            namespace: meta.namespace.clone(),
            name,
            path: K::url_path(&dynamic, meta.namespace.as_deref()),
        })
    }

    /// The name with the namespace in front.
    pub(super) fn full_name(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }

    pub(super) fn malformed(&self, problem: &str) -> Error {
        Error::Malformed {
            kind: self.kind.clone(),
            name: self.full_name(),
            problem: problem.to_owned(),
        }
    }

    pub(super) fn name_conflict(&self, owner: String) -> Error {
        Error::NameConflict {
            kind: self.kind.clone(),
            name: self.full_name(),
            owner,
        }
    }

    fn json_error(&self, source: serde_json::Error) -> Error {
        Error::Json {
            kind: self.kind.clone(),
            name: self.full_name(),
            source,
        }
    }

    /// An object as JSON.
    pub(super) fn to_json(&self, object: &impl Serialize) -> Result<Value, Error> {
        serde_json::to_value(object).map_err(|e| self.json_error(e))
    }

    /// An object from the JSON that the server sent.
    pub(super) fn parse<K: DeserializeOwned>(&self, value: Value) -> Result<K, Error> {
        serde_json::from_value(value).map_err(|e| self.json_error(e))
    }

    /// Reads the object from the API server itself (a quorum read); `None` when it does not exist.
    pub(super) async fn get(&self, client: &Client) -> Result<Option<Value>, Error> {
        let request = Request::new(&self.path).get(&self.name, &GetParams::default());
        match self.send(client, "get", request).await {
            Ok(value) => Ok(Some(value)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Server-side apply of `body` to the object or one of its subresources.
    pub(super) async fn apply(
        &self,
        client: &Client,
        manager: &str,
        force: bool,
        subresource: Option<&str>,
        body: &Value,
    ) -> Result<Value, Error> {
        let mut params = PatchParams::apply(manager);
        params.force = force;
        let patch = Patch::Apply(body);
        let request = Request::new(&self.path);
        let request = match subresource {
            Some(subresource) => {
                request.patch_subresource(subresource, &self.name, &params, &patch)
            }
            None => request.patch(&self.name, &params, &patch),
        };
        self.send(client, "patch", request).await
    }

    /// Creates the object; [`Error::Conflict`] when it exists.
    pub(super) async fn create(
        &self,
        client: &Client,
        manager: &str,
        body: &Value,
    ) -> Result<Value, Error> {
        let params = PostParams {
            field_manager: Some(manager.to_owned()),
            ..PostParams::default()
        };
        let body = serde_json::to_vec(body).map_err(|e| self.json_error(e))?;
        self.send(
            client,
            "create",
            Request::new(&self.path).create(&params, body),
        )
        .await
    }

    /// Deletes the object.
    pub(super) async fn delete(
        &self,
        client: &Client,
        params: &DeleteParams,
    ) -> Result<Value, Error> {
        self.send(
            client,
            "delete",
            Request::new(&self.path).delete(&self.name, params),
        )
        .await
    }

    async fn send(
        &self,
        client: &Client,
        verb: &'static str,
        request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<Value, Error> {
        let mut request = request.map_err(|e| self.failed(verb, kube::Error::BuildRequest(e)))?;
        // The client names its trace spans after this.
        request.extensions_mut().insert(verb);
        match tokio::time::timeout(TIME_LIMIT, client.request::<Value>(request)).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.failed(verb, error)),
            Err(_) => Err(Error::Timeout {
                verb,
                kind: self.kind.clone(),
                name: self.full_name(),
                after: TIME_LIMIT,
            }),
        }
    }

    fn failed(&self, verb: &'static str, error: kube::Error) -> Error {
        let kind = self.kind.clone();
        let name = self.full_name();
        let kube::Error::Api(status) = error else {
            let source = Box::new(error);
            return Error::Api {
                verb,
                kind,
                name,
                source,
            };
        };
        let message = status.message.clone();
        // Of a kind that the server does not serve it says so in a text of its own, without a reason.
        if status.is_not_found() || status.code == 404 {
            Error::NotFound {
                kind,
                name,
                message,
            }
        } else if status.is_conflict() || status.is_already_exists() || names_another_uid(&status) {
            Error::Conflict {
                kind,
                name,
                message,
            }
        } else if status.is_invalid() || status.code == 400 {
            Error::Invalid {
                kind,
                name,
                message,
            }
        } else if status.is_forbidden() {
            Error::Forbidden {
                verb,
                kind,
                name,
                message,
            }
        } else {
            let source = Box::new(kube::Error::Api(status));
            Error::Api {
                verb,
                kind,
                name,
                source,
            }
        }
    }
}

/// Whether a patch was refused because the object has another UID than the patch names. The server reports that as a change
/// of an immutable field, not as a conflict.
fn names_another_uid(status: &Status) -> bool {
    status.is_invalid()
        && status
            .details
            .iter()
            .flat_map(|details| &details.causes)
            .any(|cause| cause.field == "metadata.uid")
}
