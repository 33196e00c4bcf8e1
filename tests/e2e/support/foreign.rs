//! Servers that Hera does not manage, as charts and other operators make them.

use k8s_openapi::api::core::v1::Service;
use kube::Api;

use super::cluster::run_with_input;
use super::scenario::Scenario;
use super::server::Endpoint;
use super::wait::{SOON, until};

/// Applies manifests in the namespace of the test; what cannot be applied yet (an object of a kind that is being defined) is tried again.
pub async fn apply(s: &Scenario, manifests: &str) {
    let arguments = ["apply", "--namespace", &s.namespace, "-f", "-"];
    until("the objects are made", SOON, || async {
        run_with_input("kubectl", &arguments, manifests).await
    })
    .await;
}

/// Where a Service of such a server leads, once the server answers.
pub async fn endpoint(s: &Scenario, service: &str, password: &str) -> Endpoint {
    let services: Api<Service> = Api::namespaced(s.client.clone(), &s.namespace);
    let found = services.get(service).await.expect("the Service");
    let endpoint = Endpoint {
        host: found.spec.and_then(|s| s.cluster_ip).expect("an address"),
        port: 6379,
        user: "default".into(),
        password: password.into(),
        encryption: None,
    };
    until("the server answers", SOON, || async {
        let answer = endpoint.ask::<String>(&["PING"]).await;
        answer.map_err(|error| error.to_string())
    })
    .await;
    endpoint
}

/// One server with this image and password, and the Service `old` that leads to it.
pub fn single(image: &str, password: &str) -> String {
    format!(
        r#"
apiVersion: v1
kind: Secret
metadata: {{name: old}}
stringData: {{password: "{password}"}}
---
apiVersion: v1
kind: Service
metadata: {{name: old}}
spec:
  ports: [{{port: 6379}}]
  selector: {{app: old}}
---
apiVersion: v1
kind: Pod
metadata: {{name: old, labels: {{app: old}}}}
spec:
  terminationGracePeriodSeconds: 1
  enableServiceLinks: false
  securityContext: {{runAsNonRoot: true, runAsUser: 999, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: redis
    image: {image}
    command: [sh, -c, 'exec $(command -v redis-server || command -v valkey-server) --protected-mode no --save "" --dir /tmp --requirepass "{password}"']
    readinessProbe: {{tcpSocket: {{port: 6379}}, periodSeconds: 1}}
    resources: {{requests: {{cpu: 10m, memory: 32Mi}}, limits: {{memory: 96Mi}}}}
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"#
    )
}
