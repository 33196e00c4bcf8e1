//! The generated files in the repository are equal to what the code says, and what the code says is sound.
//!
//! `UPDATE_GOLDEN=1 cargo test --test manifests` rewrites the files.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use hera::operators::{self, manifests};
use k8s_openapi::api::rbac::v1::PolicyRule;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn update() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}

/// The `.yaml` files in a directory of the repository, as paths from its root.
fn yaml_files(directory: &str) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(root().join(directory)) else {
        return BTreeSet::new();
    };
    entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .map(|name| format!("{directory}/{name}"))
        .collect()
}

#[test]
fn generated_files_are_up_to_date() {
    let files = manifests::files(&operators::crds(), &operators::rbac()).unwrap();
    let mut different = Vec::new();
    for file in &files {
        let path = root().join(&file.path);
        if fs::read_to_string(&path).unwrap_or_default() != file.content {
            different.push(file.path.clone());
            if update() {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(&path, &file.content).unwrap();
            }
        }
    }
    let produced: BTreeSet<String> = files.into_iter().map(|file| file.path).collect();
    for directory in manifests::GENERATED_DIRECTORIES {
        for stale in yaml_files(directory).difference(&produced) {
            different.push(format!("{stale} (stale)"));
            if update() {
                fs::remove_file(root().join(stale)).unwrap();
            }
        }
    }
    assert!(
        update() || different.is_empty(),
        "these files differ from the code; run `make manifests`: {different:#?}"
    );
}

/// Calls `visit` for every schema in `schema`, with its path.
fn walk(path: &str, schema: &Value, visit: &mut impl FnMut(&str, &Value)) {
    visit(path, schema);
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&format!("{path}.{name}"), property, visit);
    }
    for (keyword, suffix) in [("items", "[]"), ("additionalProperties", "{}")] {
        if schema[keyword].is_object() {
            walk(&format!("{path}{suffix}"), &schema[keyword], visit);
        }
    }
}

/// Every schema of every version of every CRD: path, schema.
fn schemas() -> Vec<(String, Value)> {
    let mut all = Vec::new();
    for crd in operators::crds() {
        let crd = serde_json::to_value(crd).unwrap();
        for version in crd["spec"]["versions"].as_array().unwrap() {
            let path = format!(
                "{}/{}",
                crd["spec"]["names"]["kind"].as_str().unwrap(),
                version["name"].as_str().unwrap()
            );
            walk(
                &path,
                &version["schema"]["openAPIV3Schema"],
                &mut |path, schema| {
                    all.push((path.to_owned(), schema.clone()));
                },
            );
        }
    }
    assert!(all.len() > 50, "the schemas were not walked");
    all
}

/// `uint*` and `double` are not formats of Kubernetes: the API server warns about them, and floats do not compare.
#[test]
fn schemas_have_only_formats_that_kubernetes_knows() {
    for (path, schema) in schemas() {
        assert_ne!(
            schema["type"], "number",
            "{path}: use an integer, a quantity or a string"
        );
        if let Some(format) = schema["format"].as_str() {
            assert!(
                ["int32", "int64", "date-time"].contains(&format),
                "{path}: format {format}"
            );
        }
        for keyword in ["anyOf", "oneOf"] {
            assert!(
                schema[keyword].is_null() || schema["x-kubernetes-int-or-string"] == true,
                "{path}: {keyword} cannot be told apart by the API server"
            );
        }
    }
}

/// Without a list type, two field managers that apply the same list overwrite each other. Types of Kubernetes itself
/// that are embedded (`resources`, selectors) come without one.
#[test]
fn lists_of_objects_say_how_they_merge() {
    for (path, schema) in schemas() {
        let embedded = path.contains(".resources.") || path.contains("Selector.");
        if !embedded && schema["type"] == "array" && schema["items"]["type"] == "object" {
            assert!(
                schema["x-kubernetes-list-type"].is_string(),
                "{path} has no x-kubernetes-list-type"
            );
        }
        if schema["x-kubernetes-list-type"] == "map" {
            for key in schema["x-kubernetes-list-map-keys"].as_array().unwrap() {
                let key = key.as_str().unwrap();
                let required = schema["items"]["required"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .any(|name| name == key);
                let default = !schema["items"]["properties"][key]["default"].is_null();
                assert!(
                    required || default,
                    "{path}: the key {key} is neither required nor has it a default"
                );
            }
        }
    }
}

/// `kubectl apply` keeps the whole object in an annotation, and annotations end at 256 KiB.
#[test]
fn crds_fit_into_an_annotation() {
    for crd in operators::crds() {
        let size = serde_json::to_vec(&crd).unwrap().len();
        assert!(size < 250 * 1024, "{}: {size} bytes", crd.spec.names.kind);
    }
}

#[test]
fn every_kind_has_a_short_name_the_category_and_a_ready_column() {
    for crd in operators::crds() {
        let kind = &crd.spec.names.kind;
        assert!(
            crd.spec
                .names
                .short_names
                .is_some_and(|names| !names.is_empty()),
            "{kind}: short name"
        );
        assert!(
            crd.spec
                .names
                .categories
                .is_some_and(|names| names.contains(&"hera".into())),
            "{kind}: category"
        );
        for version in &crd.spec.versions {
            let columns = version.additional_printer_columns.iter().flatten();
            let names: Vec<_> = columns.map(|column| column.name.as_str()).collect();
            assert!(
                names.contains(&"Ready") && names.contains(&"Age"),
                "{kind}: columns {names:?}"
            );
        }
    }
}

/// Every field of the spec is explained to `kubectl explain`.
#[test]
fn every_field_of_a_spec_has_a_description() {
    let embedded = ["resources", "conditions"];
    for (path, schema) in schemas() {
        if path.contains(".spec.")
            && !path.ends_with("[]")
            && !path.ends_with("{}")
            && !embedded
                .iter()
                .any(|name| path.contains(&format!(".{name}.")))
        {
            assert!(
                schema["description"].is_string(),
                "{path} has no description"
            );
        }
    }
}

#[test]
fn permissions_are_the_least() {
    let check = |rule: &PolicyRule, who: &str| {
        let groups = rule.api_groups.iter().flatten();
        let resources = rule.resources.iter().flatten();
        for word in groups.chain(resources.clone()).chain(&rule.verbs) {
            assert!(!word.contains('*'), "{who}: wildcard in {rule:?}");
        }
        for resource in resources {
            let forbidden = [
                "pods/exec",
                "pods/attach",
                "pods/portforward",
                "nodes/proxy",
                "serviceaccounts/token",
            ];
            assert!(!forbidden.contains(&resource.as_str()), "{who}: {resource}");
        }
        for verb in &rule.verbs {
            assert!(
                !["escalate", "bind", "impersonate", "deletecollection"].contains(&verb.as_str()),
                "{who}: {verb}"
            );
        }
        assert!(
            !rule.verbs.is_empty() && rule.non_resource_urls.is_none(),
            "{who}: {rule:?}"
        );
    };
    for (operator, rules) in operators::rbac() {
        assert!(!rules.is_empty(), "{operator} declares no rules");
        for rule in &rules {
            check(rule, operator);
        }
    }
    for rule in &manifests::common_rules() {
        check(rule, "common");
    }
}
