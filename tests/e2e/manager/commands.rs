//! The commands of the README and of the page of the kind, as a reader types them.

use std::fs;

use crate::support::cluster::{is_throw_away, say};
use crate::support::database::Database;
use crate::support::hera;
use crate::support::scenario::Scenario;
use crate::support::shell::{Shell, blocks};

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
    let file = shell.folder().join("example.yaml");
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
