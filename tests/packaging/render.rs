//! Runs `helm` and `kubectl` and reads what they print. `helm template` and `kubectl kustomize` need no cluster.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A program: from `$HERA_TEST_BIN`, from the cache of the throw-away cluster, or from `$PATH`.
fn program(name: &str) -> PathBuf {
    let cache = env::var("HERA_CACHE").unwrap_or_else(|_| "/var/cache/hera-cluster".into());
    let path = env::var_os("PATH").unwrap_or_default();
    env::var_os("HERA_TEST_BIN")
        .map(PathBuf::from)
        .into_iter()
        .chain([Path::new(&cache).join("bin")])
        .chain(env::split_paths(&path))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| {
            panic!("{name} is not installed: `make cluster-up` builds it, or put it into PATH")
        })
}

/// Runs a program in the root of the repository against the cluster of a kubeconfig.
pub fn run_against(kubeconfig: &Path, name: &str, arguments: &[&str]) -> Output {
    // Nothing of the user's own configuration may change the result.
    Command::new(program(name))
        .args(arguments)
        .current_dir(root())
        .env("KUBECONFIG", kubeconfig)
        .env("HELM_NO_PLUGINS", "1")
        .output()
        .unwrap()
}

/// Runs a program that needs no cluster, and finds none.
fn run(name: &str, arguments: &[&str]) -> Output {
    run_against(Path::new("/dev/null"), name, arguments)
}

fn documents(yaml: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(yaml).unwrap();
    let all: Vec<Value> =
        serde_saphyr::from_multiple(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    all.into_iter()
        .filter(|document| !document.is_null())
        .collect()
}

/// The objects of the chart for a release, a namespace and further arguments such as `--set=replicas=3`; or the error.
pub fn helm(release: &str, namespace: &str, arguments: &[&str]) -> Result<Vec<Value>, String> {
    let mut all = vec![
        "template",
        release,
        "charts/hera",
        "--namespace",
        namespace,
        "--kube-version=1.33.0",
    ];
    all.extend(arguments);
    let output = run("helm", &all);
    if output.status.success() {
        Ok(documents(&output.stdout))
    } else {
        Err(String::from_utf8(output.stderr).unwrap())
    }
}

/// `helm lint --strict`; its output is the error.
pub fn helm_lint() -> Result<(), String> {
    let output = run("helm", &["lint", "--strict", "charts/hera"]);
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8(output.stdout).unwrap())
    }
}

/// The objects of a kustomization.
pub fn kustomize(directory: &str) -> Vec<Value> {
    let output = run("kubectl", &["kustomize", directory]);
    assert!(
        output.status.success(),
        "{directory}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    documents(&output.stdout)
}
