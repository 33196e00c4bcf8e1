//! The documentation says what the code does: reasons, fields of examples, links, make targets.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use hera::operators::redis::api::{self, Redis};
use hera::operators::redis::reasons;
use serde_json::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// README.md and the pages of docs/: path from the root, text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut paths = vec![PathBuf::from("README.md")];
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = Path::new("docs").join(entry.unwrap().file_name());
        if path.extension().is_some_and(|extension| extension == "md") {
            paths.push(path);
        }
    }
    paths
        .into_iter()
        .map(|path| (path.clone(), fs::read_to_string(root().join(path)).unwrap()))
        .collect()
}

/// The fenced blocks of a language.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect()
}

/// `UPDATE_GOLDEN=1 cargo test --test docs` rewrites the table.
#[test]
fn every_reason_is_on_the_page_and_no_other() {
    let mut table = String::from("| Reason | Meaning | What to do |\n|---|---|---|\n");
    for (reason, meaning, action) in reasons::ALL {
        let _ = writeln!(table, "| `{reason}` | {meaning} | {action} |");
    }
    let path = root().join("docs/conditions.md");
    let page = fs::read_to_string(&path).unwrap();
    let start = page.find("<!-- reasons redis").unwrap();
    let start = start + page[start..].find('\n').unwrap() + 1;
    let end = start + page[start..].find("<!-- end -->").unwrap();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        fs::write(&path, [&page[..start], &table, &page[end..]].concat()).unwrap();
    } else {
        assert_eq!(&page[start..end], table, "run `make manifests`");
    }
}

/// Words in code style that look like reasons of the Redis operator are reasons.
#[test]
fn reasons_that_pages_name_exist() {
    let page = fs::read_to_string(root().join("docs/failure-modes.md")).unwrap();
    let mut found = 0;
    for word in page.split('`').skip(1).step_by(2) {
        let camel = word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.chars().filter(char::is_ascii_uppercase).count() > 1
            && word.chars().any(|c| c.is_ascii_lowercase());
        if camel && word != "ReplicationHealthy" {
            assert!(
                reasons::ALL.iter().any(|(name, ..)| *name == word),
                "{word} is not a reason"
            );
            found += 1;
        }
    }
    assert!(found > 10);
}

#[test]
fn links_lead_to_files() {
    let mut links = 0;
    for (path, text) in pages() {
        for rest in text.split("](").skip(1) {
            let target = rest.split(')').next().unwrap().split('#').next().unwrap();
            if !target.is_empty() && !target.contains("://") {
                let file = root().join(path.parent().unwrap()).join(target);
                assert!(file.exists(), "{}: {target} does not exist", path.display());
                links += 1;
            }
        }
    }
    assert!(links > 5);
}

/// Every example of a `Redis` has only fields that exist.
#[test]
fn examples_have_only_fields_that_exist() {
    fn contains(whole: &Value, part: &Value, path: &str) {
        match part {
            Value::Object(fields) => {
                for (key, value) in fields {
                    contains(&whole[key], value, &format!("{path}.{key}"));
                }
            }
            _ => assert_eq!(whole, part, "{path}"),
        }
    }
    let mut examples = 0;
    for (path, text) in pages() {
        for block in blocks(&text, "yaml")
            .into_iter()
            .filter(|block| block.contains("kind: Redis"))
        {
            let example: Value = serde_saphyr::from_str(block).unwrap();
            let typed: Redis = serde_json::from_value(example.clone()).unwrap();
            contains(
                &serde_json::to_value(typed).unwrap(),
                &example,
                &path.display().to_string(),
            );
            examples += 1;
        }
    }
    assert!(examples >= 3);
}

/// Every field of the spec and every annotation is on the page of the kind.
#[test]
fn the_page_of_the_kind_names_every_field() {
    let page = fs::read_to_string(root().join("docs/redis.md")).unwrap();
    let crd = serde_json::to_value(&hera::operators::crds()[0]).unwrap();
    let schema = &crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"];
    for part in ["spec", "status"] {
        for (field, schema) in schema[part]["properties"].as_object().unwrap() {
            assert!(
                page.contains(&format!("`{field}"))
                    || ["observedGeneration", "replicationId"].contains(&field.as_str()),
                "{part}.{field}"
            );
            if part == "spec" && field != "resources" {
                for inner in schema["properties"].as_object().into_iter().flatten() {
                    assert!(
                        page.contains(&format!("`{field}.{}", inner.0)),
                        "{part}.{field}.{}",
                        inner.0
                    );
                }
            }
        }
    }
    for annotation in [
        api::SWITCHOVER_ANNOTATION,
        api::APPROVE_PRIMARY_ANNOTATION,
        api::ACCEPT_DATA_LOSS_ANNOTATION,
        api::ROTATE_PASSWORD_ANNOTATION,
        api::RECONCILE_ANNOTATION,
        api::PLAN_ONLY_ANNOTATION,
        api::RESTARTED_AT_ANNOTATION,
    ] {
        assert!(page.contains(&format!("`{annotation}: ")), "{annotation}");
    }
}

/// Every value that the table of docs/install.md names is in values.yaml, and every value is named.
#[test]
fn the_table_of_values_is_complete() {
    let page = fs::read_to_string(root().join("docs/install.md")).unwrap();
    let values: Value = serde_saphyr::from_str(
        &fs::read_to_string(root().join("charts/hera/values.yaml")).unwrap(),
    )
    .unwrap();
    for name in values.as_object().unwrap().keys() {
        let unexplained = [
            "imagePullSecrets",
            "nameOverride",
            "fullnameOverride",
            "podAnnotations",
            "podLabels",
        ];
        assert!(
            unexplained.contains(&name.as_str()) || page.contains(&format!("`{name}")),
            "{name} is not explained"
        );
    }
}

/// Every `make` target that a page names is in the Makefile.
#[test]
fn make_targets_exist() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    for (path, text) in pages() {
        for rest in text.split("make ").skip(1) {
            let before = &text[..rest.as_ptr() as usize - text.as_ptr() as usize];
            let in_code = before.ends_with("`make ") || before.ends_with("\nmake ");
            let target: String = rest
                .chars()
                .take_while(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-')
                .collect();
            if in_code && !target.is_empty() {
                assert!(
                    makefile.contains(&format!("\n{target}:")),
                    "{}: make {target}",
                    path.display()
                );
            }
        }
    }
}
