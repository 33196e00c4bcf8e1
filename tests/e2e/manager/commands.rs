//! The commands of the README and of the page of the kind, as a reader types them.

use std::fs;
use std::path::PathBuf;

use crate::support::cluster::{is_throw_away, kubectl, root, run_with, say};
use crate::support::database::Database;
use crate::support::hera;
use crate::support::scenario::Scenario;

#[tokio::test]
async fn those_of_the_readme() {
    let s = Scenario::alone("readme").await;
    if !is_throw_away().await {
        say("left out: another cluster has the image under another name");
        return;
    }
    let shell = Shell::new(&s).await;
    let commands = blocks("README.md", "sh");
    assert!(commands.iter().any(|c| c.contains("make demo")));
    let mut said = String::new();
    for command in commands {
        said = shell.types(&command).await;
    }
    assert!(said.contains("redis://default:"), "{said}");
    // Again what the other tests have.
    hera::helm_upgrade(&[]).await.expect("the chart");
    hera::settled(&s.client, hera::REPLICAS).await;
}

#[tokio::test]
async fn those_of_the_page() {
    let s = Scenario::shared("page").await;
    let shell = Shell::new(&s).await;
    let file = shell.folder.path().join("example.yaml");
    for (number, example) in blocks("docs/redis.md", "yaml").iter().enumerate() {
        fs::write(&file, example).unwrap();
        // The first one is made; that the API server takes the others is enough.
        let check = if number == 0 { "none" } else { "server" };
        shell
            .types(&format!(
                "kubectl apply --dry-run={check} -f {}",
                file.display()
            ))
            .await;
    }
    let example = Database {
        client: s.client.clone(),
        namespace: s.namespace.clone(),
        name: "example".into(),
    };
    example.ready().await;
    for command in blocks("docs/redis.md", "sh") {
        shell.types(&command).await;
    }
    example.ready().await;
}

/// The fenced blocks of a page.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = fs::read_to_string(root().join(page)).unwrap();
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// A shell whose default namespace is that of the test.
struct Shell {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    async fn new(s: &Scenario) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubeconfig = folder.path().join("kubeconfig");
        let flat = kubectl(&["config", "view", "--raw", "--flatten", "--minify"])
            .await
            .unwrap();
        fs::write(&kubeconfig, flat).unwrap();
        let shell = Self { folder, kubeconfig };
        shell
            .types(&format!(
                "kubectl config set-context --current --namespace={}",
                s.namespace
            ))
            .await;
        shell
    }

    /// Returns what the commands print; none may fail.
    async fn types(&self, commands: &str) -> String {
        let kubeconfig = self.kubeconfig.to_str().unwrap();
        run_with(
            "bash",
            &["-euo", "pipefail", "-c", commands],
            &[("KUBECONFIG", kubeconfig)],
        )
        .await
        .unwrap()
    }
}
