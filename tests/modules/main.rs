//! The rules of the module layout, checked by reading the source: which floor may import which, which files are pure, who
//! may write to the API server, and how long a file may be.
#![allow(clippy::expect_used, clippy::panic)]
mod source;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use source::{File, tree};

/// How many lines of code, without tests, a file may have.
const LONGEST: usize = 500;

/// What breaks a rule for now. An entry that is no longer needed fails the test, so that the list only gets shorter.
const FOR_NOW: [&str; 0] = [];

/// Files outside `src/k8s` that write to the API server, and why.
const WRITERS: [(&str, &str); 1] = [(
    "manager/lease.rs",
    "the Lease is written by a client of its own without retries, guarded by its resourceVersion",
)];

/// The floor of a module and the house on it. An import goes to a lower floor or stays in the house.
fn place(module: &[&str]) -> (u8, String) {
    match module {
        [] => (7, "lib".to_owned()),
        // A constant of the crate itself, such as its version.
        [constant] if constant.chars().all(|c| c.is_ascii_uppercase() || c == '_') => {
            (0, "crate".to_owned())
        }
        ["main"] => (6, "main".to_owned()),
        ["cli", ..] => (5, "cli".to_owned()),
        ["operators", operator, ..] if is_operator(operator) => {
            (3, format!("operators/{operator}"))
        }
        ["operators", ..] => (4, "operators".to_owned()),
        [house @ ("services" | "manager"), ..] => (2, (*house).to_owned()),
        [house @ ("k8s" | "engines" | "settings"), ..] => (1, (*house).to_owned()),
        other => panic!("{other:?} has no floor: add it to the rules and to the design"),
    }
}

fn is_operator(name: &str) -> bool {
    [
        "redis",
        "mongodb",
        "secrets",
        "backup",
        "certificate",
        "config",
    ]
    .contains(&name)
}

fn upward_imports(file: &File) -> Vec<String> {
    let module: Vec<_> = file.module.iter().map(String::as_str).collect();
    let (floor, house) = place(&module);
    file.imports()
        .into_iter()
        .filter(|import| !import.is_empty() && (import.len() > 1 || floor < 6))
        .filter_map(|import| {
            let path: Vec<_> = import.iter().map(String::as_str).collect();
            let (other_floor, other_house) = place(&path);
            (other_floor >= floor && other_house != house).then(|| {
                format!(
                    "{} ({house}) imports {} ({other_house})",
                    file.path,
                    import.join("::")
                )
            })
        })
        .collect()
}

/// Whether the file belongs to a pure stage, or is a pure helper.
fn is_pure(file: &File) -> bool {
    let stage = |part: &str| {
        [
            "api", "model", "validate", "build", "plan", "status", "reasons",
        ]
        .contains(&part)
    };
    match file.module.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["operators", operator, ref rest @ ..] if is_operator(operator) => {
            rest.first().is_some_and(|part| stage(part))
        }
        ["k8s", part, ..] => {
            ["conditions", "names", "labels", "quantity", "subset"].contains(&part)
        }
        _ => false,
    }
}

fn impurities(file: &File) -> Vec<String> {
    let forbidden = [
        "Client",
        "Api",
        "tokio",
        "rand",
        "SystemTime",
        "Instant",
        "fs",
        "process",
        "net",
        "async",
        "await",
    ];
    let mut found: Vec<_> = file
        .words()
        .filter(|word| forbidden.contains(word))
        .map(|word| format!("{} is pure and uses {word}", file.path))
        .collect();
    // A container has a field of this name, too.
    if file.has_sequence(&["std", "::", "env"]) || file.has_sequence(&["env", "::"]) {
        found.push(format!("{} is pure and reads the environment", file.path));
    }
    if file.has_sequence(&["::", "now", "("]) {
        found.push(format!("{} is pure and reads the clock", file.path));
    }
    found
}

fn writes(file: &File) -> Vec<String> {
    let methods = [
        "patch",
        "create",
        "delete",
        "replace",
        "delete_collection",
        "patch_status",
        "replace_status",
        "patch_subresource",
        "replace_subresource",
        "create_subresource",
        "patch_scale",
        "replace_scale",
        "evict",
        "request",
        "request_text",
        "request_status",
    ];
    let types = [
        "PatchParams",
        "PostParams",
        "DeleteParams",
        "EvictParams",
        "Patch",
    ];
    let mut found = vec![];
    if !file.words().any(|word| word == "kube") {
        return found;
    }
    // `str::replace` is the one of them that other code has.
    let has_api = file.words().any(|word| word == "Api");
    for method in methods {
        if (method != "replace" || has_api) && file.has_sequence(&[".", method, "("]) {
            found.push(format!("{} calls {method}", file.path));
        }
    }
    for name in types {
        if file.words().any(|word| word == name) {
            found.push(format!("{} uses {name}", file.path));
        }
    }
    found
}

fn assert_none(problems: impl IntoIterator<Item = String>) {
    let excused = |problem: &String| FOR_NOW.iter().any(|known| problem.starts_with(known));
    let problems: Vec<_> = problems
        .into_iter()
        .filter(|problem| !excused(problem))
        .collect();
    assert!(problems.is_empty(), "\n{}\n", problems.join("\n"));
}

#[test]
fn imports_go_down() {
    assert_none(tree().iter().flat_map(upward_imports));
}

/// Circles of imports between files, each as the path from a file back to itself. A file that imports what its own `mod.rs`
/// declares for all its files (shared constants, the context) is no circle unless that `mod.rs` imports the file.
fn circles(files: &[File]) -> Vec<String> {
    let edges: BTreeMap<&[String], BTreeSet<&[String]>> = files
        .iter()
        .map(|file| {
            let targets = file.imports().into_iter().filter_map(|import| {
                let holds =
                    |other: &&File| !other.module.is_empty() && import.starts_with(&other.module);
                let target = files
                    .iter()
                    .filter(holds)
                    .max_by_key(|other| other.module.len())?;
                (target.module != file.module).then_some(target.module.as_slice())
            });
            (file.module.as_slice(), targets.collect())
        })
        .collect();
    let mut found = vec![];
    for start in edges.keys() {
        let mut reached: BTreeMap<&[String], Vec<&[String]>> = BTreeMap::new();
        let mut queue = VecDeque::from([(*start, vec![*start])]);
        while let Some((at, way)) = queue.pop_front() {
            for next in edges.get(at).into_iter().flatten() {
                let mut way = way.clone();
                way.push(next);
                // Each circle is reported once, from its first file.
                if next == start && way.iter().all(|module| module >= start) {
                    found.push(
                        way.iter()
                            .map(|m| m.join("::"))
                            .collect::<Vec<_>>()
                            .join(" -> "),
                    );
                } else if !reached.contains_key(next) {
                    reached.insert(next, way.clone());
                    queue.push_back((next, way));
                }
            }
        }
    }
    found
}

#[test]
fn imports_go_in_no_circle() {
    assert_none(circles(&tree()));
}

#[test]
fn pure_stages_have_no_client_no_clock_and_no_chance() {
    let files = tree();
    assert!(
        files.iter().any(is_pure),
        "the rule must apply to something"
    );
    assert_none(
        files
            .iter()
            .filter(|file| is_pure(file))
            .flat_map(impurities),
    );
}

#[test]
fn only_the_kubernetes_helpers_write() {
    let files = tree();
    let outside = files
        .iter()
        .filter(|file| file.module.first().is_none_or(|house| house != "k8s"));
    let allowed = |file: &&File| WRITERS.iter().any(|(path, _)| *path == file.path);
    assert_none(outside.filter(|file| !allowed(file)).flat_map(writes));
}

#[test]
fn every_write_is_server_side_apply() {
    let others = ["Merge", "Strategic", "Json"];
    let files = tree();
    let found = files.iter().flat_map(|file| {
        others
            .iter()
            .filter(|kind| file.has_sequence(&["Patch", "::", kind]))
            .map(|kind| format!("{} uses Patch::{kind}", file.path))
    });
    assert_none(found);
}

#[test]
fn engines_know_nothing_of_kubernetes() {
    let files = tree();
    let engines = files
        .iter()
        .filter(|file| file.module.first().is_some_and(|house| house == "engines"));
    let found = engines.flat_map(|file| {
        let words: BTreeSet<_> = file
            .words()
            .filter(|word| ["kube", "k8s_openapi"].contains(word))
            .collect();
        words
            .into_iter()
            .map(|word| format!("{} uses {word}", file.path))
            .collect::<Vec<_>>()
    });
    assert_none(found);
}

fn long_files(files: &[File]) -> Vec<String> {
    let long = files.iter().filter(|file| file.lines > LONGEST);
    long.map(|file| {
        format!(
            "{} has {} lines, {LONGEST} are allowed",
            file.path, file.lines
        )
    })
    .collect()
}

#[test]
fn no_file_is_long() {
    assert_none(long_files(&tree()));
}

#[test]
fn what_is_excused_for_now_is_still_needed() {
    let files = tree();
    let problems: Vec<_> = long_files(&files)
        .into_iter()
        .chain(circles(&files))
        .collect();
    for known in FOR_NOW {
        let needed = problems.iter().any(|problem| problem.starts_with(known));
        assert!(needed, "{known:?} is repaired: remove it from the list");
    }
}

#[test]
fn the_rules_find_what_breaks_them() {
    let file = |path: &str, text: &str| File::new(path, text);
    let up = "use std::fmt;\nuse crate::{k8s::Error, operators::redis::api};";
    assert_eq!(upward_imports(&file("manager/mod.rs", up)).len(), 1);
    assert_eq!(
        upward_imports(&file(
            "operators/redis/plan.rs",
            "use crate::operators::mongodb::api;"
        ))
        .len(),
        1
    );
    assert_eq!(
        upward_imports(&file(
            "operators/redis/plan.rs",
            "fn f() { super::super::registry() }"
        ))
        .len(),
        1
    );
    assert_eq!(
        upward_imports(&file("operators/redis/build/mod.rs", "use super::rbac;")).len(),
        0
    );
    assert_eq!(
        upward_imports(&file(
            "engines/redis/info.rs",
            "let x = crate::k8s::names::check(a);"
        ))
        .len(),
        1
    );
    assert_eq!(
        upward_imports(&file("services/x.rs", "use crate::manager::Context;")).len(),
        1
    );
    assert_eq!(
        upward_imports(&file(
            "manager/mod.rs",
            "// use crate::operators;\n\"crate::operators\";"
        ))
        .len(),
        0
    );
    let test = "#[cfg(test)]\nmod tests {\n    use crate::operators::redis::api;\n}\n";
    assert_eq!(upward_imports(&file("manager/mod.rs", test)).len(), 0);

    let circle = [
        file("manager/a.rs", "use super::b::B;"),
        file("manager/b.rs", "use crate::manager::c;"),
        file("manager/c.rs", "use crate::manager::{a::A, mod_item};"),
        file("manager/mod.rs", "mod a; pub use c::C;"),
    ];
    assert_eq!(
        circles(&circle),
        ["manager::a -> manager::b -> manager::c -> manager::a"]
    );
    assert!(circles(&circle[1..]).is_empty());

    assert!(is_pure(&file("operators/redis/plan.rs", "")));
    assert!(is_pure(&file("operators/redis/build/service.rs", "")));
    assert!(!is_pure(&file("operators/redis/observe.rs", "")));
    for text in [
        "use kube::Client;",
        "let now = Timestamp::now();",
        "rand::random()",
        "tokio::spawn(x)",
        "use std::env;",
        "env::var(x)",
    ] {
        assert!(
            !impurities(&file("operators/redis/plan.rs", text)).is_empty(),
            "{text}"
        );
    }
    assert!(
        impurities(&file(
            "operators/redis/plan.rs",
            "fn plan(now: Timestamp) { /* Client */ let s = \"rand\"; }"
        ))
        .is_empty()
    );

    let api = "use kube::Api; fn f() { api.create(&Default::default(), &x); }";
    assert_eq!(writes(&file("operators/redis/act.rs", api)).len(), 1);
    assert!(
        writes(&file(
            "operators/redis/act.rs",
            "use kube::Api; fn f() { api.get(\"create\"); }"
        ))
        .is_empty()
    );
    assert!(writes(&file("engines/redis/x.rs", "store.delete(x)")).is_empty());

    let long = "fn f() {}\n".repeat(LONGEST + 1);
    assert!(file("cli.rs", &long).lines > LONGEST);
    let tested = format!("fn f() {{}}\n#[cfg(test)]\nmod tests {{\n{long}\n}}\n");
    assert!(file("cli.rs", &tested).lines < 5);
}
