//! What the nodes of a cluster tell clients outside, and that replicas are not touched by it.

use std::collections::BTreeSet;

use hera::engines::redis::Role;
use hera::operators::redis::external::{CLIENT_PORT, ENDPOINT_TYPE, HOSTNAME};

use crate::cluster::Cluster;
use crate::server::{Program, eventually, send, until};

/// Host and port of the node in a redirection.
async fn redirection(cluster: &Cluster) -> String {
    for node in &cluster.nodes[..2] {
        let mut data = node.data().await;
        if let Err(text) = send(&mut data, &["GET", "key"]).await {
            return text.rsplit(' ').next().unwrap().to_owned();
        }
    }
    panic!("nobody redirects");
}

pub async fn nodes_tell_clients_names_and_replicate_by_address(program: Program) {
    let cluster = Cluster::start(&program, 3, true).await;
    let (primary, replica) = (&cluster.nodes[0], cluster.nodes[3].hera().await);
    for (index, node) in cluster.nodes.iter().enumerate() {
        let client = node.hera().await;
        let refused = client.config_set(&[(HOSTNAME, "2001:db8::1")]).await;
        assert!(refused.is_err(), "an IPv6 address is no name");
        let address = format!("192.0.2.{index}");
        client.config_set(&[(HOSTNAME, &address)]).await.unwrap();
    }
    // The names go around before any node tells them.
    let names: BTreeSet<String> = (0..6).map(|n| format!("192.0.2.{n}")).collect();
    cluster
        .until_all(|nodes| {
            nodes
                .iter()
                .map(|n| n.hostname.clone().unwrap_or_default())
                .collect::<BTreeSet<_>>()
                == names
        })
        .await;
    assert!(redirection(&cluster).await.starts_with("127.0.0.1:"));
    for node in &cluster.nodes {
        let client = node.hera().await;
        client
            .config_set(&[(ENDPOINT_TYPE, "hostname")])
            .await
            .unwrap();
    }
    assert!(redirection(&cluster).await.starts_with("192.0.2."));
    cluster
        .until_all(|nodes| nodes.iter().all(|n| n.ip == "127.0.0.1"))
        .await;

    let client = primary.hera().await;
    let can = !client.config_get(&[CLIENT_PORT]).await.unwrap().is_empty();
    assert_eq!(can, program.name == "valkey-9", "{}", program.name);
    if can {
        for node in &cluster.nodes {
            let client = node.hera().await;
            client.config_set(&[(CLIENT_PORT, "30001")]).await.unwrap();
        }
        eventually(|| async {
            let told = redirection(&cluster).await;
            if told.ends_with(":30001") {
                Ok(())
            } else {
                Err(told)
            }
        })
        .await;
    }
    // A replica that has to connect again finds its primary where it is.
    let mut data = primary.data().await;
    send(&mut data, &["CLIENT", "KILL", "TYPE", "REPLICA"])
        .await
        .unwrap();
    let port = primary.address().port;
    until(&replica, |info| {
        info.role == Role::Replica
            && info.link_up
            && info.primary_host.as_deref() == Some("127.0.0.1")
            && info.primary_port == Some(port)
    })
    .await;
    cluster.until_whole(3).await;
    cluster.assert_no_refusal().await;
}
