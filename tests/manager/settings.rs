//! A bad setting ends the start with exit code 2 and one line.
use std::process::Command;

fn run(flags: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hera"))
        .arg("run")
        .args(flags)
        .envs(environment.iter().copied())
        .env("KUBECONFIG", "/nonexistent")
        .output()
        .expect("hera starts");
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn one_clear_line() {
    for (flags, environment, part) in [
        (vec!["--call-timeout=soon"], vec![], "--call-timeout"),
        (
            vec!["--lease-renew-deadline=20s"],
            vec![],
            "--lease-renew-deadline",
        ),
        (vec!["--controllers=nothing"], vec![], "--controllers"),
        (vec!["--concurrency=8,nothing=1"], vec![], "--concurrency"),
        (vec!["--nothing"], vec![], "--nothing"),
        (
            vec![],
            vec![("HERA_DRAIN_TIMEOUT", "long")],
            "--drain-timeout",
        ),
        (
            vec![],
            vec![("HERA_LOG_FILTER", "hera=loud")],
            "--log-filter",
        ),
    ] {
        let (code, text) = run(&flags, &environment);
        assert_eq!(code, Some(2), "{flags:?} {environment:?}: {text}");
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn no_cluster_is_a_failure_with_a_reason() {
    let (code, text) = run(
        &["--bind-address=127.0.0.1:0"],
        &[("KUBERNETES_SERVICE_HOST", "")],
    );
    assert_eq!(code, Some(1), "{text}");
    assert!(
        text.lines()
            .last()
            .is_some_and(|line| line.starts_with("hera: no configuration")),
        "{text}"
    );
}
