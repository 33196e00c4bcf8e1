//! The manifests on a real API server: what it accepts, and what the ServiceAccount may then do. No pod runs here.

use std::path::PathBuf;
use std::process::Output;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;

use crate::apiserver::ApiServer;
use crate::check::declared_permissions;
use crate::render::run_against;

struct Cluster {
    server: &'static ApiServer,
}

impl Cluster {
    fn shared() -> Self {
        Self {
            server: ApiServer::shared(),
        }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.server.kubeconfig()
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<String, String> {
        let Output {
            status,
            stdout,
            stderr,
        } = run_against(&self.kubeconfig(), program, arguments);
        let text = |bytes| String::from_utf8(bytes).unwrap();
        if status.success() {
            Ok(text(stdout) + &text(stderr))
        } else {
            Err(text(stderr))
        }
    }

    fn ok(&self, program: &str, arguments: &[&str]) -> String {
        self.run(program, arguments)
            .unwrap_or_else(|error| panic!("{program} {}: {error}", arguments.join(" ")))
    }

    /// Whether the ServiceAccount may do all that the code declares, in a namespace, and no pods/exec.
    async fn assert_permissions(&self, account: &str, namespace: &str, expected: bool) {
        let client = self
            .server
            .client_as(&format!("system:serviceaccount:{account}"), &[])
            .await;
        let reviews: Api<SelfSubjectAccessReview> = Api::all(client);
        let mut asked: Vec<_> = declared_permissions()
            .into_iter()
            .map(|permission| (permission, expected))
            .collect();
        for (resource, verb) in [
            ("pods/exec", "create"),
            ("secrets", "deletecollection"),
            ("redises", "delete"),
        ] {
            let group = if resource == "redises" {
                "redis.hera.dev"
            } else {
                ""
            };
            asked.push(((group.into(), resource.into(), verb.into()), false));
        }
        for ((group, resource, verb), expected) in asked {
            if resource == "storageclasses" {
                continue;
            }
            let (resource, subresource) = match resource.split_once('/') {
                Some((resource, subresource)) => {
                    (resource.to_owned(), Some(subresource.to_owned()))
                }
                None => (resource, None),
            };
            let question =
                format!("{account} may {verb} {group}/{resource}/{subresource:?} in {namespace}");
            let review = SelfSubjectAccessReview {
                spec: SelfSubjectAccessReviewSpec {
                    resource_attributes: Some(ResourceAttributes {
                        group: Some(group),
                        resource: Some(resource),
                        subresource,
                        verb: Some(verb),
                        namespace: Some(namespace.into()),
                        ..ResourceAttributes::default()
                    }),
                    ..SelfSubjectAccessReviewSpec::default()
                },
                ..SelfSubjectAccessReview::default()
            };
            let answer = reviews
                .create(&PostParams::default(), &review)
                .await
                .unwrap();
            assert_eq!(answer.status.unwrap().allowed, expected, "{question}");
        }
    }
}

/// One test, because CRDs are shared: kustomize first, then the chart takes over, then a second release.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kustomize_then_helm_then_a_second_release() {
    let cluster = Cluster::shared();
    let strict = ["apply", "--server-side", "--validate=strict", "-k"];

    // The CRDs alone, as `make install` does it.
    cluster.ok("kubectl", &["apply", "--server-side", "-f", "crds"]);

    // With kubectl alone. The API server warns about formats that it does not know: it must not.
    let said = cluster.ok("kubectl", &[&strict[..], &["config/default"]].concat());
    assert!(!said.contains("Warning"), "{said}");
    cluster.ok(
        "kubectl",
        &[
            "wait",
            "crd",
            "--all",
            "--for=condition=Established",
            "--timeout=60s",
        ],
    );
    cluster
        .assert_permissions("hera-system:hera", "default", true)
        .await;
    let said = cluster.ok("kubectl", &[&strict[..], &["config/samples"]].concat());
    assert!(!said.contains("Warning"), "{said}");
    assert!(
        cluster
            .ok("kubectl", &["get", "hera"])
            .contains("redis-replication")
    );
    let denied = cluster.run(
        "kubectl",
        &[
            "patch",
            "redis",
            "redis-standalone",
            "--type=merge",
            "--patch",
            r#"{"spec":{"replicas":3}}"#,
        ],
    );
    assert!(denied.unwrap_err().contains("spec.replicas: must be 1"));

    // A chart refuses to take over what it did not install, unless it is told to.
    cluster.ok("kubectl", &["delete", "-k", "config/rbac"]);
    cluster.ok("kubectl", &["create", "namespace", "a"]);
    let install = [
        "upgrade",
        "--install",
        "one",
        "charts/hera",
        "--namespace=a",
        "--take-ownership",
    ];
    cluster.ok("helm", &install);
    cluster
        .assert_permissions("a:one-hera", "default", true)
        .await;
    cluster.ok(
        "helm",
        &[&install[..], &["--set=replicas=1,logFormat=text"]].concat(),
    );

    // A second release serves one namespace, with a Role there and nothing elsewhere.
    cluster.ok(
        "helm",
        &[
            "upgrade",
            "--install",
            "two",
            "charts/hera",
            "--namespace=hera-system",
            "--set=namespaces={a},crds.install=false",
        ],
    );
    cluster
        .assert_permissions("hera-system:two-hera", "a", true)
        .await;
    cluster
        .assert_permissions("hera-system:two-hera", "default", false)
        .await;

    // The databases outlive both.
    for (release, namespace) in [("one", "a"), ("two", "hera-system")] {
        cluster.ok("helm", &["uninstall", release, "--namespace", namespace]);
    }
    cluster
        .assert_permissions("a:one-hera", "default", false)
        .await;
    assert!(
        cluster
            .ok("kubectl", &["get", "redis"])
            .contains("redis-replication")
    );
}
