use super::*;

fn crd(plural: &str, description: &str, scale: bool) -> CustomResourceDefinition {
    let mut subresources = json!({"status": {}});
    if scale {
        subresources["scale"] =
            json!({"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"});
    }
    serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.dev")},
        "spec": {
            "group": "example.dev",
            "scope": "Namespaced",
            "names": {"kind": "Thing", "plural": plural},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": subresources,
                "schema": {"openAPIV3Schema": {"type": "object", "description": description}},
            }],
        },
    }))
    .unwrap()
}

fn rule(groups: &[&str], resources: &[&str], verbs: &[&str]) -> PolicyRule {
    let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
    PolicyRule {
        api_groups: Some(strings(groups)),
        resources: Some(strings(resources)),
        verbs: strings(verbs),
        ..PolicyRule::default()
    }
}

fn parse(file: &File) -> Value {
    serde_saphyr::from_str(&file.content).unwrap()
}

fn find<'a>(files: &'a [File], path: &str) -> &'a File {
    files
        .iter()
        .find(|file| file.path == path)
        .unwrap_or_else(|| panic!("{path} was not generated"))
}

#[test]
fn a_crd_survives_yaml_and_the_chart_keeps_it() {
    let text = "yes\non: {{ .Values.x }} # not a comment\n\n  - '1:30' \"0x1\" \u{e9}";
    let crds = [crd("things", text, true)];
    let files = files(&crds, &[]).unwrap();

    let plain = parse(find(&files, "crds/example.dev_things.yaml"));
    assert_eq!(plain, serde_json::to_value(&crds[0]).unwrap());

    let mut kept = parse(find(
        &files,
        "charts/hera/files/crds/example.dev_things.yaml",
    ));
    assert_eq!(
        kept["metadata"]["annotations"]["helm.sh/resource-policy"],
        "keep"
    );
    kept["metadata"]
        .as_object_mut()
        .unwrap()
        .remove("annotations");
    assert_eq!(kept, plain);
}

#[test]
fn everything_lies_in_a_generated_directory() {
    for file in files(&[crd("things", "", false)], &[]).unwrap() {
        assert!(
            GENERATED_DIRECTORIES
                .iter()
                .any(|directory| file.path.rsplit_once('/').unwrap().0 == *directory),
            "{}",
            file.path
        );
    }
}

#[test]
fn the_order_of_declaration_does_not_show_and_verbs_merge() {
    let one = vec![
        rule(&["b"], &["y", "x"], &["watch", "get"]),
        rule(&["a"], &["z"], &["get"]),
        rule(&["b"], &["x", "y"], &["get", "list"]),
    ];
    let other = one.iter().rev().cloned().collect();
    let merged = normalized(one);
    assert_eq!(merged, normalized(other));
    assert_eq!(
        merged,
        [
            rule(&["a"], &["z"], &["get"]),
            rule(&["b"], &["x", "y"], &["get", "list", "watch"]),
        ]
    );
}

#[test]
fn cluster_scoped_rules_are_kept_apart() {
    let operator = |rules| ("thing", rules);
    let storage = rule(&["storage.k8s.io"], &["storageclasses"], &["get"]);
    let pods = rule(&[""], &["pods/status"], &["patch"]);
    let files = chart_files(&[], &[operator(vec![pods.clone(), storage.clone()])]).unwrap();
    let rules = parse(find(&files, "charts/hera/files/rbac/thing.yaml"));
    assert_eq!(rules["cluster"], json!([storage]));
    assert_eq!(rules["namespaced"], json!([pods]));

    let mixed = operator(vec![rule(&[""], &["nodes", "pods"], &["get"])]);
    assert!(matches!(
        chart_files(&[], &[mixed]),
        Err(Error::MixedScope(..))
    ));
}

#[test]
fn people_get_roles_for_the_subresources_that_exist() {
    let files = files(&[crd("things", "", true), crd("others", "", false)], &[]).unwrap();
    let edit = parse(find(&files, "charts/hera/files/user-rules/edit.yaml"));
    assert_eq!(
        edit["rules"][0]["resources"],
        json!(["things", "things/scale"])
    );
    assert_eq!(edit["rules"][1]["resources"], json!(["others"]));
    let view = parse(find(&files, "charts/hera/files/user-rules/view.yaml"));
    assert_eq!(
        view["rules"][1]["resources"],
        json!(["others", "others/status"])
    );
}

#[test]
fn the_stream_separates_documents() {
    let stream = crd_stream(&[crd("things", "a", false), crd("others", "b", false)]).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&stream).unwrap();
    let names: Vec<_> = documents
        .iter()
        .map(|d| d["metadata"]["name"].clone())
        .collect();
    assert_eq!(names, ["things.example.dev", "others.example.dev"]);
}
