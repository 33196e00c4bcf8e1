//! The same over IPv6: addresses of servers, of their links, and of the nodes of a cluster.

use std::time::Duration;

use hera::engines::redis::{Address, Client, Credentials, Role, SlotSet};

use crate::server::{PASSWORD, Program, Server, eventually, limits, send, until};

const BOTH: (&str, &str) = ("bind", "127.0.0.1 ::1");

fn address(server: &Server) -> Address {
    Address::new("::1", server.address().port)
}

async fn hera(server: &Server) -> Client {
    let login = Credentials::new("hera", PASSWORD);
    let client = Client::connect(&address(server), &login, limits()).await;
    client.unwrap()
}

pub async fn servers_replicate_and_hand_over_by_ipv6(program: Program) {
    let primary = Server::start(&program, &[BOTH]).await;
    let target = Server::start(&program, &[BOTH]).await;
    let (old, new) = (hera(&primary).await, hera(&target).await);
    new.replica_of(&address(&primary)).await.unwrap();
    let replica = until(&new, |info| info.link_up).await;
    assert_eq!(replica.primary(), Some(address(&primary)));
    let is_target = |info: &hera::engines::redis::Info| {
        let mut links = info.replicas.iter();
        links.any(|link| link.is_online() && link.address() == address(&target))
    };
    until(&old, is_target).await;
    let mut data = primary.data().await;
    send(&mut data, &["SET", "key", "value"]).await.unwrap();
    old.hand_over_to(&new, &address(&target), Duration::from_secs(20))
        .await
        .unwrap();
    until(&new, |info| info.role == Role::Primary && info.keys == 1).await;
    let demoted = until(&old, |info| info.role == Role::Replica && info.link_up).await;
    assert_eq!(demoted.primary(), Some(address(&target)));
}

pub async fn nodes_meet_by_ipv6(program: Program) {
    let announce = ("cluster-announce-ip", "::1");
    let first = Server::start_node(&program, &[BOTH, announce]).await;
    let second = Server::start_node(&program, &[BOTH, announce]).await;
    let (a, b) = (hera(&first).await, hera(&second).await);
    a.cluster_add_slots(&SlotSet::full()).await.unwrap();
    a.cluster_meet(&address(&second), Some(second.bus_port()))
        .await
        .unwrap();
    for client in [&a, &b] {
        eventually(|| async {
            let nodes = client.cluster_nodes().await.unwrap();
            let met = |n: &hera::engines::redis::ClusterNode| {
                n.ip == "::1" && (n.is_myself() || n.link_up) && n.role().is_some()
            };
            if nodes.len() == 2 && nodes.iter().all(met) {
                Ok(())
            } else {
                Err(nodes)
            }
        })
        .await;
    }
    let id = a.cluster_id().await.unwrap();
    b.cluster_replicate(&id).await.unwrap();
    let replica = until(&b, |info| info.link_up).await;
    assert_eq!(replica.primary(), Some(address(&first)));
    let told = a.cluster_nodes().await.unwrap();
    let mine = told.iter().find(|n| n.is_myself()).unwrap();
    assert_eq!(mine.address(), Some(address(&first)));
}
