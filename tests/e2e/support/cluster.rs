//! The cluster: a client, and the programs that users have.

use std::env;
use std::ffi::OsString;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use kube::Client;
use tokio::io::AsyncWriteExt as _;

/// No program may take longer; what waits has its own limit.
const LIMIT: Duration = Duration::from_secs(300);

/// The root of the repository.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A client of the cluster of `KUBECONFIG`. Each test has its own, as it has its own runtime.
pub async fn client() -> Client {
    // Without it, the cluster that somebody works with would be taken.
    assert!(
        env::var_os("KUBECONFIG").is_some(),
        "KUBECONFIG is not set: `make test-e2e` sets it, or `eval \"$(tests/cluster/cluster env)\"`"
    );
    Client::try_default()
        .await
        .expect("a client for the cluster of KUBECONFIG")
}

/// `$PATH`, and after it the programs of the throw-away cluster.
pub fn path() -> OsString {
    let cache = env::var("HERA_CACHE").unwrap_or_else(|_| "/var/cache/hera-cluster".into());
    let path = env::var_os("PATH").unwrap_or_default();
    env::join_paths(env::split_paths(&path).chain([Path::new(&cache).join("bin")]))
        .expect("a valid PATH")
}

/// Runs a program in the root of the repository and returns what it prints, or what it says about its failure.
pub async fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    run_with_input(program, arguments, "").await
}

/// The same, with these variables in its environment.
pub async fn run_with(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
) -> Result<String, String> {
    start(program, arguments, environment, "").await
}

/// The same, with something for it to read.
pub async fn run_with_input(
    program: &str,
    arguments: &[&str],
    input: &str,
) -> Result<String, String> {
    start(program, arguments, &[], input).await
}

async fn start(
    program: &str,
    arguments: &[&str],
    environment: &[(&str, &str)],
    input: &str,
) -> Result<String, String> {
    let words = format!("{program} {}", arguments.join(" "));
    let mut child = tokio::process::Command::new(program)
        .args(arguments)
        .env("PATH", path())
        .envs(environment.iter().copied())
        .current_dir(root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{words}: {error}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = stdin.write_all(input.as_bytes()).await;
    }
    let output = tokio::time::timeout(LIMIT, child.wait_with_output())
        .await
        .map_err(|_| format!("{words}: no end after {LIMIT:?}"))?
        .map_err(|error| format!("{words}: {error}"))?;
    text(&words, &output)
}

fn text(words: &str, output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!(
            "{words}: {} {}",
            text(&output.stdout),
            text(&output.stderr)
        ))
    }
}

/// `kubectl`.
pub async fn kubectl(arguments: &[&str]) -> Result<String, String> {
    run("kubectl", arguments).await
}

/// `kubectl`, where nothing can be awaited: at the end of a test that fails.
pub fn kubectl_blocking(arguments: &[&str]) -> String {
    let output = std::process::Command::new("kubectl")
        .args(arguments)
        .env("PATH", path())
        .stdin(Stdio::null())
        .output();
    match output {
        Ok(output) => text("kubectl", &output).unwrap_or_else(|error| error),
        Err(error) => error.to_string(),
    }
}

/// The tool of the throw-away cluster.
pub async fn tool(arguments: &[&str]) -> Result<String, String> {
    run(tool_path(), arguments).await
}

fn tool_path() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/cluster")
}

/// `KUBECONFIG` is that of the throw-away cluster, so that [`tool`] reaches into it.
pub async fn is_throw_away() -> bool {
    let kubeconfig = env::var("KUBECONFIG").unwrap_or_default();
    tool(&["env"])
        .await
        .is_ok_and(|text| text.contains(&format!("KUBECONFIG={kubeconfig} ")))
}

/// The same, where nothing can be awaited.
pub fn tool_blocking(arguments: &[&str]) {
    let _ = std::process::Command::new(tool_path())
        .args(arguments)
        .stdin(Stdio::null())
        .output();
}

/// Says something that is shown also when the test passes.
pub fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
