//! The simulated API server of the fault plans does what the real one does.

use kube::Client;
use serde_json::{Value, json};

use crate::fixtures::start;
use crate::simulated::store::{Refused, Store, key};

/// A request, to both.
enum Ask {
    /// Field manager, by force, body.
    Apply(&'static str, bool, Value),
    Create(Value),
    /// Options, in which `UID` stands for that of the object.
    Delete(Value),
}

/// Both servers, and one object.
struct Pair {
    client: Client,
    path: String,
    namespace: String,
    resource: &'static str,
    name: &'static str,
    store: Store,
}

impl Pair {
    async fn new(prefix: &str, resource: &'static str, plural: &str, name: &'static str) -> Self {
        let (client, namespace) = start().await;
        Self {
            path: format!("{prefix}/namespaces/{namespace}/{plural}"),
            client,
            namespace,
            resource,
            name,
            store: Store::default(),
        }
    }

    /// Asks both. The answers are the code of the error, or the fields at these places.
    async fn ask(&mut self, ask: Ask, fields: &[&str]) {
        let key = key(self.resource, &self.namespace, self.name);
        let live = self.store.find(&key).cloned();
        let real_live = self.send("GET", "", None, &Value::Null).await.ok();
        let uid = |value: Value, live: Option<&Value>| {
            let uid = live.map_or("none", |v| {
                v["metadata"]["uid"].as_str().unwrap_or_default()
            });
            let text = value.to_string().replace("\"UID\"", &format!("{uid:?}"));
            serde_json::from_str::<Value>(&text).expect("JSON")
        };
        let (simulated, real, words) = match ask {
            Ask::Apply(manager, force, body) => {
                let (mine, theirs) = (
                    uid(body.clone(), live.as_ref()),
                    uid(body, real_live.as_ref()),
                );
                let query = format!("?fieldManager={manager}&force={force}");
                let content = Some("application/apply-patch+yaml");
                let words = format!("{manager} applies {mine}");
                let simulated = self.store.apply(&key, manager, force, false, &mine);
                let real = self.send("PATCH", &query, content, &theirs).await;
                (simulated, real, words)
            }
            Ask::Create(body) => {
                let words = format!("create {body}");
                let simulated = self.store.create(&key, body.clone());
                let real = self.send("POST", "", Some("application/json"), &body).await;
                (simulated, real, words)
            }
            Ask::Delete(options) => {
                let (mine, theirs) = (
                    uid(options.clone(), live.as_ref()),
                    uid(options, real_live.as_ref()),
                );
                let words = format!("delete with {mine}");
                let simulated = self.store.delete(&key, &mine);
                let real = self
                    .send("DELETE", "", Some("application/json"), &theirs)
                    .await;
                (simulated, real, words)
            }
        };
        let shown = |result: Result<Value, u16>| {
            result.map(|value| {
                let fields = fields.iter().map(|f| value.pointer(f).cloned());
                fields.collect::<Vec<_>>()
            })
        };
        let simulated = simulated.map_err(|refused: Refused| refused.code);
        assert_eq!(shown(simulated), shown(real), "{words}");
    }

    async fn send(
        &self,
        method: &str,
        query: &str,
        content: Option<&str>,
        body: &Value,
    ) -> Result<Value, u16> {
        let uri = if method == "POST" {
            self.path.clone()
        } else {
            format!("{}/{}{query}", self.path, self.name)
        };
        let mut request = http::Request::builder().method(method).uri(uri);
        if let Some(content) = content {
            request = request.header(http::header::CONTENT_TYPE, content);
        }
        let body = if body.is_null() {
            Vec::new()
        } else {
            body.to_string().into_bytes()
        };
        let answer = self
            .client
            .request::<Value>(request.body(body).expect("a request"))
            .await;
        answer.map_err(|error| match error {
            kube::Error::Api(status) => status.code,
            other => panic!("{other}"),
        })
    }
}

fn config_map(metadata: &Value, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
}

#[tokio::test]
async fn the_fields_of_managers_are_kept_apart_as_on_a_real_server() {
    let mut pair = Pair::new("/api/v1", "configmaps", "configmaps", "c").await;
    let fields = ["/data", "/metadata/labels", "/metadata/annotations"];
    let map =
        |labels: Value, data: Value| config_map(&json!({"name": "c", "labels": labels}), &data);
    for ask in [
        Ask::Apply(
            "a",
            false,
            map(json!({"x": "1", "y": "1"}), json!({"k": "1", "l": "1"})),
        ),
        // Another one adds to it, and shares a field.
        Ask::Apply(
            "b",
            false,
            map(json!({"z": "2", "y": "1"}), json!({"m": "2"})),
        ),
        // The first one wants less: what only it had goes.
        Ask::Apply("a", true, map(json!({"x": "1"}), json!({"k": "1"}))),
        // A conflict, without and with force.
        Ask::Apply("b", false, map(json!({"z": "2"}), json!({"k": "2"}))),
        Ask::Apply("b", true, map(json!({"z": "2"}), json!({"k": "2"}))),
        Ask::Apply("a", true, map(json!({}), json!({}))),
        // Again the same.
        Ask::Apply("b", true, map(json!({"z": "2"}), json!({"k": "2"}))),
        Ask::Create(map(json!({}), json!({}))),
    ] {
        pair.ask(ask, &fields).await;
    }
}

#[tokio::test]
async fn another_object_of_the_same_name_is_left_alone_as_on_a_real_server() {
    let mut pair = Pair::new("/api/v1", "configmaps", "configmaps", "c").await;
    let map = |metadata: Value| config_map(&metadata, &json!({"k": "1"}));
    let wrong = "00000000-0000-4000-8000-000000000000";
    for ask in [
        // It is not there: a UID or a version that is named cannot be right.
        Ask::Apply("a", true, map(json!({"name": "c", "uid": wrong}))),
        Ask::Delete(json!({"preconditions": {"uid": wrong}})),
        Ask::Apply("a", true, map(json!({"name": "c"}))),
        Ask::Apply("a", true, map(json!({"name": "c", "uid": "UID"}))),
        Ask::Apply(
            "a",
            true,
            map(json!({"name": "c", "resourceVersion": "77"})),
        ),
        Ask::Delete(json!({"preconditions": {"uid": wrong}})),
        Ask::Delete(json!({"preconditions": {"uid": "UID", "resourceVersion": "77"}})),
        Ask::Delete(json!({"preconditions": {"uid": "UID"}})),
        Ask::Delete(json!({"preconditions": {"uid": "UID"}})),
    ] {
        let fields: &[&str] = match ask {
            Ask::Delete(_) => &[],
            _ => &["/data"],
        };
        pair.ask(ask, fields).await;
    }
}

#[tokio::test]
async fn lists_with_keys_and_immutable_fields_are_those_of_a_real_server() {
    let mut pair = Pair::new("/api/v1", "services", "services", "s").await;
    let service = |ports: Value, selector: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"},
               "spec": {"ports": ports, "selector": selector}})
    };
    let port = |name: &str, port: u16| json!({"name": name, "port": port, "protocol": "TCP", "targetPort": port});
    let both = json!([port("a", 1), port("b", 2)]);
    for ask in [
        Ask::Apply("a", true, service(both, json!({"x": "1"}))),
        Ask::Apply("b", true, service(json!([port("c", 3)]), json!({"y": "2"}))),
        Ask::Apply("a", true, service(json!([port("b", 2)]), json!({"z": "3"}))),
    ] {
        pair.ask(ask, &["/spec/ports", "/spec/selector"]).await;
    }
    let mut pair = Pair::new("/apis/apps/v1", "statefulsets.apps", "statefulsets", "d").await;
    let set = |replicas: u8, service: &str| {
        let labels = json!({"a": "b"});
        json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "d"}, "spec": {
            "replicas": replicas, "serviceName": service, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    for ask in [
        Ask::Apply("a", true, set(0, "s")),
        Ask::Apply("a", true, set(0, "t")),
        Ask::Apply("a", true, set(1, "s")),
        Ask::Apply("a", true, set(1, "s")),
    ] {
        pair.ask(ask, &["/spec/replicas", "/metadata/generation"])
            .await;
    }
}
