//! The commands of the documentation, as a reader types them.

use std::fs;
use std::path::{Path, PathBuf};

use super::cluster::{kubectl, root, run_with};
use super::scenario::Scenario;

/// The fenced blocks of a page.
pub fn blocks(page: &str, language: &str) -> Vec<String> {
    blocks_of(&page_text(page), language)
}

/// The fenced blocks above the first heading of a page.
pub fn blocks_above(page: &str, language: &str) -> Vec<String> {
    let text = page_text(page);
    blocks_of(text.split("\n## ").next().unwrap_or_default(), language)
}

/// The fenced blocks below a heading of a page, up to the next one of the same level.
pub fn blocks_below(page: &str, heading: &str, language: &str) -> Vec<String> {
    let text = page_text(page);
    let (_, rest) = text.split_once(&format!("\n## {heading}\n")).unwrap();
    blocks_of(rest.split("\n## ").next().unwrap_or_default(), language)
}

fn page_text(page: &str) -> String {
    fs::read_to_string(root().join(page)).unwrap()
}

fn blocks_of(text: &str, language: &str) -> Vec<String> {
    text.split(&format!("```{language}\n"))
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// A shell whose default namespace is that of the test.
pub struct Shell {
    folder: tempfile::TempDir,
    kubeconfig: PathBuf,
}

impl Shell {
    /// A shell for the namespace of this test.
    pub async fn new(s: &Scenario) -> Self {
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

    /// A folder for files.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns what the commands print; none may fail.
    pub async fn types(&self, commands: &str) -> String {
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
