//! The files that are generated from code: CustomResourceDefinitions and RBAC rules.
//!
//! The types are the source of the schema and the rules declared beside each controller are the source of the
//! permissions. The functions here turn both into the files that `kubectl apply -k config/default` and the Helm chart
//! use. They are pure: values go in, paths and text come out. `tests/manifests.rs` holds the files in the repository
//! equal to them and rewrites the files when `UPDATE_GOLDEN=1` is set.

use k8s_openapi::api::rbac::v1::{ClusterRole, PolicyRule};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// First line of every generated file.
const HEADER: &str = "# Generated from the Rust code by `make manifests`. Do not edit.\n";

/// Directories whose `.yaml` files are all generated: a file in them that no function here produces is stale.
pub const GENERATED_DIRECTORIES: &[&str] = &[
    "crds",
    "config/rbac/generated",
    "charts/hera/files/crds",
    "charts/hera/files/rbac",
    "charts/hera/files/user-rules",
];

/// Resources that live outside namespaces. A `Role` cannot grant them, so the chart puts the rules that name them into
/// a `ClusterRole` of their own, also when Hera is limited to some namespaces.
const CLUSTER_SCOPED: &[&str] = &[
    "customresourcedefinitions",
    "namespaces",
    "nodes",
    "persistentvolumes",
    "storageclasses",
];

/// What can go wrong while files are generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A value could not be turned into JSON.
    #[error("cannot turn {0} into JSON: {1}")]
    Json(String, #[source] serde_json::Error),
    /// A value could not be written as YAML.
    #[error("cannot write {0} as YAML: {1}")]
    Yaml(String, String),
    /// A rule names both cluster-scoped and namespaced resources; it has to be two rules.
    #[error("operator {0}: a rule mixes cluster-scoped and namespaced resources: {1}")]
    MixedScope(String, String),
}

/// A generated file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Path from the root of the repository, with `/` as separator.
    pub path: String,
    /// The whole text of the file.
    pub content: String,
}

/// The permissions of one operator, as declared beside its controller: its name, as in `--controllers`, and its rules.
pub type OperatorRules = (&'static str, Vec<PolicyRule>);

/// Rules that the process needs in each namespace that it serves, whichever operators run: it records Events next to
/// the objects that they are about.
#[must_use]
pub fn common_rules() -> Vec<PolicyRule> {
    vec![PolicyRule {
        api_groups: Some(vec!["events.k8s.io".into()]),
        resources: Some(vec!["events".into()]),
        verbs: vec!["create".into(), "patch".into()],
        ..PolicyRule::default()
    }]
}

/// All generated files.
///
/// # Errors
/// When a value cannot be serialized or a rule mixes scopes.
pub fn files(
    crds: &[CustomResourceDefinition],
    operators: &[OperatorRules],
) -> Result<Vec<File>, Error> {
    let mut files = crd_files(crds)?;
    files.extend(rbac_files(crds, operators)?);
    files.extend(chart_files(crds, operators)?);
    Ok(files)
}

/// The CRDs as one YAML stream, for `hera crds | kubectl apply --server-side -f -`.
///
/// # Errors
/// When a CRD cannot be serialized.
pub fn crd_stream(crds: &[CustomResourceDefinition]) -> Result<String, Error> {
    let mut stream = String::new();
    for crd in crds {
        stream.push_str("---\n");
        stream.push_str(&yaml(&crd_name(crd), &crd_value(crd)?)?);
    }
    Ok(stream)
}

/// `crds/`: one file for each CRD and a kustomization that lists them.
///
/// # Errors
/// When a CRD cannot be serialized.
pub fn crd_files(crds: &[CustomResourceDefinition]) -> Result<Vec<File>, Error> {
    let mut files = Vec::with_capacity(crds.len() + 1);
    for crd in crds {
        files.push(file(
            format!("crds/{}", crd_file_name(crd)),
            &crd_value(crd)?,
        )?);
    }
    let names: Vec<String> = crds.iter().map(crd_file_name).collect();
    files.push(kustomization("crds", &names)?);
    Ok(files)
}

/// The ClusterRole of the manager with the rules of every operator, for `hera rbac`.
///
/// # Errors
/// When it cannot be serialized.
pub fn manager_role(operators: &[OperatorRules]) -> Result<String, Error> {
    let role = ClusterRole {
        metadata: kube::core::ObjectMeta {
            name: Some("hera".into()),
            ..Default::default()
        },
        rules: Some(normalized(
            common_rules()
                .into_iter()
                .chain(
                    operators
                        .iter()
                        .flat_map(|(_, rules)| rules.iter().cloned()),
                )
                .collect(),
        )),
        ..ClusterRole::default()
    };
    yaml("ClusterRole hera", &value("ClusterRole hera", &role)?)
}

/// `config/rbac/generated`: the role of the manager and the roles for people, with a kustomization that lists them.
///
/// # Errors
/// When a role cannot be serialized.
pub fn rbac_files(
    crds: &[CustomResourceDefinition],
    operators: &[OperatorRules],
) -> Result<Vec<File>, Error> {
    let directory = "config/rbac/generated";
    let mut files = vec![File {
        path: format!("{directory}/manager_role.yaml"),
        content: format!("{HEADER}{}", manager_role(operators)?),
    }];
    for (kind, aggregate_to, rules) in user_roles(crds) {
        let labels: serde_json::Map<String, Value> = aggregate_to
            .iter()
            .map(|role| {
                (
                    format!("rbac.authorization.k8s.io/aggregate-to-{role}"),
                    json!("true"),
                )
            })
            .collect();
        let role = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": format!("hera-{kind}"), "labels": labels},
            "rules": rules,
        });
        files.push(file(format!("{directory}/{kind}_role.yaml"), &role)?);
    }
    files.push(kustomization(
        directory,
        &["edit_role.yaml", "manager_role.yaml", "view_role.yaml"].map(String::from),
    )?);
    Ok(files)
}

/// `charts/hera/files`: the CRDs, which the chart includes verbatim, and lists of rules.
///
/// The CRDs carry `helm.sh/resource-policy: keep`, so that `helm uninstall` never deletes them and with them every
/// database. They are files and not templates, since a template would read `{{` in a description as an instruction.
///
/// # Errors
/// When a value cannot be serialized or a rule mixes scopes.
pub fn chart_files(
    crds: &[CustomResourceDefinition],
    operators: &[OperatorRules],
) -> Result<Vec<File>, Error> {
    let directory = "charts/hera/files";
    let mut files = Vec::new();
    for crd in crds {
        let mut value = crd_value(crd)?;
        value["metadata"]["annotations"]["helm.sh/resource-policy"] = json!("keep");
        files.push(file(
            format!("{directory}/crds/{}", crd_file_name(crd)),
            &value,
        )?);
    }
    let common = ("common", common_rules());
    for (operator, rules) in std::iter::once(&common).chain(operators) {
        let (cluster, namespaced) = by_scope(operator, rules)?;
        let content = json!({"cluster": cluster, "namespaced": namespaced});
        files.push(file(format!("{directory}/rbac/{operator}.yaml"), &content)?);
    }
    for (kind, _, rules) in user_roles(crds) {
        let content = json!({ "rules": rules });
        files.push(file(
            format!("{directory}/user-rules/{kind}.yaml"),
            &content,
        )?);
    }
    Ok(files)
}

/// Rules split into those for cluster-scoped resources and those for namespaced ones.
fn by_scope(
    operator: &str,
    rules: &[PolicyRule],
) -> Result<(Vec<PolicyRule>, Vec<PolicyRule>), Error> {
    let mut cluster = Vec::new();
    let mut namespaced = Vec::new();
    for rule in normalized(rules.to_vec()) {
        let resources = rule.resources.iter().flatten();
        let (outside, inside): (Vec<_>, Vec<_>) = resources.partition(|resource| {
            let base = resource.split('/').next().unwrap_or_default();
            CLUSTER_SCOPED.contains(&base)
        });
        match (outside.is_empty(), inside.is_empty()) {
            (false, false) => {
                return Err(Error::MixedScope(
                    operator.into(),
                    rule.resources.unwrap_or_default().join(", "),
                ));
            }
            (false, true) => cluster.push(rule),
            _ => namespaced.push(rule),
        }
    }
    Ok((cluster, namespaced))
}

/// The roles for people: name, the default roles that they are aggregated to, rules.
fn user_roles(
    crds: &[CustomResourceDefinition],
) -> [(&'static str, &'static [&'static str], Vec<PolicyRule>); 2] {
    const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
    const READ: &[&str] = &["get", "list", "watch"];
    [
        (
            "edit",
            &["admin", "edit"],
            user_rules(crds, &["scale"], WRITE),
        ),
        (
            "view",
            &["admin", "edit", "view"],
            user_rules(crds, &["scale", "status"], READ),
        ),
    ]
}

/// One rule for each CRD: `verbs` on the resource and on those of `subresources` that it has.
fn user_rules(
    crds: &[CustomResourceDefinition],
    subresources: &[&str],
    verbs: &[&str],
) -> Vec<PolicyRule> {
    crds.iter()
        .map(|crd| {
            let plural = &crd.spec.names.plural;
            let has = |subresource: &str| {
                let mut served = crd
                    .spec
                    .versions
                    .iter()
                    .filter_map(|v| v.subresources.as_ref());
                match subresource {
                    "scale" => served.any(|s| s.scale.is_some()),
                    _ => served.any(|s| s.status.is_some()),
                }
            };
            let mut resources = vec![plural.clone()];
            resources.extend(
                subresources
                    .iter()
                    .filter(|subresource| has(subresource))
                    .map(|subresource| format!("{plural}/{subresource}")),
            );
            PolicyRule {
                api_groups: Some(vec![crd.spec.group.clone()]),
                resources: Some(resources),
                verbs: verbs.iter().map(ToString::to_string).collect(),
                ..PolicyRule::default()
            }
        })
        .collect()
}

/// The rules with the same groups, resources and names merged, and everything in them and they themselves sorted, so
/// that the order of declaration in code does not show in the files.
fn normalized(rules: Vec<PolicyRule>) -> Vec<PolicyRule> {
    type Key = (
        Option<Vec<String>>,
        Option<Vec<String>>,
        Option<Vec<String>>,
        Option<Vec<String>>,
    );
    let sorted = |list: Option<Vec<String>>| {
        list.map(|mut list| {
            list.sort();
            list.dedup();
            list
        })
    };
    let mut merged: BTreeMap<Key, Vec<String>> = BTreeMap::new();
    for rule in rules {
        let key = (
            sorted(rule.api_groups),
            sorted(rule.resources),
            sorted(rule.resource_names),
            sorted(rule.non_resource_urls),
        );
        merged.entry(key).or_default().extend(rule.verbs);
    }
    merged
        .into_iter()
        .map(
            |((api_groups, resources, resource_names, non_resource_urls), verbs)| PolicyRule {
                api_groups,
                resources,
                resource_names,
                non_resource_urls,
                verbs: sorted(Some(verbs)).unwrap_or_default(),
            },
        )
        .collect()
}

/// Named without `.yaml`, which kustomize accepts: `kubectl apply -f` of the directory must not take it for an object.
fn kustomization(directory: &str, resources: &[String]) -> Result<File, Error> {
    file(
        format!("{directory}/Kustomization"),
        &json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
        }),
    )
}

/// `<group>_<plural>.yaml`, the name that controller-gen gives to a CRD's file.
fn crd_file_name(crd: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", crd.spec.group, crd.spec.names.plural)
}

fn crd_name(crd: &CustomResourceDefinition) -> String {
    format!("{}.{}", crd.spec.names.plural, crd.spec.group)
}

/// A CRD as JSON, without a status: the API server owns that.
fn crd_value(crd: &CustomResourceDefinition) -> Result<Value, Error> {
    let mut value = value(&crd_name(crd), crd)?;
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    Ok(value)
}

fn value<T: Serialize>(what: &str, of: &T) -> Result<Value, Error> {
    serde_json::to_value(of).map_err(|error| Error::Json(what.into(), error))
}

fn file(path: String, value: &Value) -> Result<File, Error> {
    let content = format!("{HEADER}{}", yaml(&path, value)?);
    Ok(File { path, content })
}

/// YAML that readers of version 1.1 (kubectl, Helm) and 1.2 understand alike: the serializer quotes `yes` and `on`.
/// Keys come sorted, since `serde_json` keeps objects in a `BTreeMap`.
fn yaml(what: &str, value: &Value) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Yaml(what.into(), error.to_string()))
}

#[cfg(test)]
mod tests;
