//! Servers change over between plaintext and TLS while they run: replication, hand-over and the bus of a cluster go on.

use std::collections::BTreeSet;
use std::time::Duration;

use hera::engines::redis::{
    Address, Client, ClusterFailover, Credentials, MigrateTo, Role, SlotMigrationState,
    SlotMigrationWay, SlotState, Tls,
};

use crate::cluster::Cluster;
use crate::server::{PASSWORD, Program, Server, eventually, free_port, limits, send, until};
use crate::tls::{Authority, Files, NAME, authority, issue};

/// The ports of a server in both states: what is plain in one is encrypted in the other.
struct Ports {
    common: u16,
    other: u16,
}

impl Ports {
    fn both(&self) -> Vec<(&'static str, String)> {
        vec![
            ("tls-port", self.other.to_string()),
            ("port", self.common.to_string()),
        ]
    }

    fn encrypted(&self) -> Vec<(&'static str, String)> {
        vec![
            ("port", "0".to_owned()),
            ("tls-port", self.common.to_string()),
        ]
    }
}

async fn set(client: &Client, directives: &[(&str, String)]) {
    let directives: Vec<(&str, &str)> = directives
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    client.config_set(&directives).await.unwrap();
}

fn files(authority: &Authority) -> Files {
    let files = Files::new(authority);
    files.write(&issue(authority, &[0x01]));
    files
}

fn trust(authority: &Authority) -> Tls {
    Tls::new(authority.pem().as_bytes(), NAME, None).unwrap()
}

async fn encrypted(port: u16, tls: &Tls) -> Client {
    let login = Credentials::new("hera", PASSWORD).with_tls(tls.clone());
    let address = Address::new("127.0.0.1", port);
    eventually(|| Client::connect(&address, &login, limits())).await
}

pub async fn a_primary_and_its_replicas_change_over_and_back(program: Program) {
    let authority = authority("authority");
    let (files, tls) = (files(&authority), trust(&authority));
    let primary = Server::start(&program, &[]).await;
    let replica = Server::start_replica(&program, &primary, &[]).await;
    let servers = [&primary, &replica];
    let mut ports = Vec::new();
    for server in servers {
        let client = server.hera().await;
        files.load(&client).await.unwrap();
        client
            .config_set(&[("tls-auth-clients", "no")])
            .await
            .unwrap();
        let own = Ports {
            common: server.address().port,
            other: free_port(),
        };
        set(&client, &own.both()).await;
        encrypted(own.other, &tls).await;
        ports.push(own);
    }
    let mut data = primary.data().await;
    send(&mut data, &["SET", "key", "before"]).await.unwrap();
    let (first, second) = (primary.hera().await, replica.hera().await);
    let before = first.info().await.unwrap();

    for plaintext in [false, true] {
        let word = if plaintext { "no" } else { "yes" };
        let directives = |own: &Ports| {
            if plaintext {
                own.both()
            } else {
                own.encrypted()
            }
        };
        let (first, second) = if plaintext {
            (
                encrypted(ports[0].common, &tls).await,
                encrypted(ports[1].common, &tls).await,
            )
        } else {
            (first.clone(), second.clone())
        };
        let mut all = directives(&ports[0]);
        all.push(("tls-replication", word.to_owned()));
        set(&first, &all).await;
        // The link that is there goes on.
        assert!(second.info().await.unwrap().link_up);
        set(
            &second,
            &[
                ("replica-announce-port", ports[1].common.to_string()),
                ("tls-replication", word.to_owned()),
            ],
        )
        .await;
        assert_eq!(second.kill_primary_link().await, Ok(1));
        until(&second, |info| info.link_up && !info.sync_in_progress).await;
        set(&second, &directives(&ports[1])).await;
        // Whoever hands over names the port that the primary lists.
        let listed = eventually(|| async {
            let info = first.info().await.unwrap();
            let link = info.replicas.iter().find(|link| link.is_online()).cloned();
            link.ok_or("no replica is online")
        })
        .await;
        assert_eq!(listed.address().port, ports[1].common);
        let plain = primary.login("hera").await;
        assert_eq!(plain.is_ok(), plaintext);
    }
    let after = primary.hera().await.info().await.unwrap();
    assert_eq!(after.run_id, before.run_id);
    assert_eq!(after.replid, before.replid, "nothing was copied anew");

    // Only those who came without TLS are closed.
    let hera = primary.hera().await;
    let safe = encrypted(ports[0].other, &tls).await;
    let closed = hera
        .kill_clients_of("127.0.0.1", ports[0].common)
        .await
        .unwrap();
    assert!(closed >= 1, "the connection for data");
    send(&mut data, &["PING"]).await.unwrap_err();
    safe.ping().await.unwrap();
    hera.ping().await.unwrap();
}

pub async fn a_hand_over_is_encrypted(program: Program) {
    let authority = authority("authority");
    let (files, tls) = (files(&authority), trust(&authority));
    let start = async |port: u16| {
        let (certificate, key, ca) = (
            files.path("tls.crt"),
            files.path("tls.key"),
            files.path("ca.crt"),
        );
        let port = port.to_string();
        let options = [
            ("tls-cert-file", certificate.as_str()),
            ("tls-key-file", &key),
            ("tls-ca-cert-file", &ca),
            ("tls-auth-clients", "no"),
            ("tls-port", &port),
            ("tls-replication", "yes"),
        ];
        Server::start(&program, &options).await
    };
    let (first, second) = (free_port(), free_port());
    let (primary, replica) = (start(first).await, start(second).await);
    let (old, new) = (primary.hera().await, replica.hera().await);
    new.replica_of(&Address::new("127.0.0.1", first))
        .await
        .unwrap();
    until(&new, |info| info.link_up && !info.sync_in_progress).await;
    let target = Address::new("127.0.0.1", second);
    eventually(|| async {
        let info = old.info().await.unwrap();
        let mut links = info.replicas.iter();
        let online = links.any(|l| l.is_online() && l.address() == target);
        online.then_some(()).ok_or(info.replicas)
    })
    .await;
    old.hand_over_to(&new, &target, Duration::from_secs(5))
        .await
        .unwrap();
    until(&new, |info| info.role == Role::Primary).await;
    until(&old, |info| info.role == Role::Replica && info.link_up).await;
    encrypted(second, &tls).await;
}

/// Nodes of a cluster, with their ports.
async fn overlapping(program: &Program, files: &Files, replicas: bool) -> (Cluster, Vec<Ports>) {
    let cluster = Cluster::start(program, 3, replicas).await;
    let mut ports = Vec::new();
    for node in &cluster.nodes {
        let client = node.hera().await;
        files.load(&client).await.unwrap();
        client
            .config_set(&[("tls-auth-clients", "no")])
            .await
            .unwrap();
        let own = Ports {
            common: node.address().port,
            other: free_port(),
        };
        set(&client, &own.both()).await;
        ports.push(own);
    }
    (cluster, ports)
}

/// Switches all nodes at once, as Hera does: the primaries before those that connect to them.
async fn switch(clients: &[Client], ports: &[Ports], plaintext: bool) {
    let word = if plaintext { "no" } else { "yes" };
    for role in [Role::Primary, Role::Replica] {
        for (client, own) in clients.iter().zip(ports) {
            if client.info().await.unwrap().role != role {
                continue;
            }
            let replication = ("tls-replication", word.to_owned());
            if role == Role::Replica {
                set(client, std::slice::from_ref(&replication)).await;
                client.kill_primary_link().await.unwrap();
            }
            let (mut all, port) = if plaintext {
                (own.both(), own.other)
            } else {
                (own.encrypted(), own.common)
            };
            all.extend([("tls-cluster", word.to_owned()), replication]);
            set(client, &all).await;
            for announced in [port, 0] {
                set(
                    client,
                    &[("cluster-announce-tls-port", announced.to_string())],
                )
                .await;
            }
        }
    }
}

pub async fn the_nodes_of_a_cluster_change_over_and_back(program: Program) {
    let authority = authority("authority");
    let (files, tls) = (files(&authority), trust(&authority));
    let (cluster, ports) = overlapping(&program, &files, true).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(node.hera().await);
    }
    switch(&clients, &ports, false).await;
    let mut clients = Vec::new();
    for own in &ports {
        clients.push(encrypted(own.common, &tls).await);
    }
    whole(&clients, &ports, true).await;
    // The nodes vote and follow each other over TLS.
    let replica = &clients[3];
    replica
        .cluster_failover(ClusterFailover::Planned)
        .await
        .unwrap();
    until(replica, |info| info.role == Role::Primary).await;
    until(&clients[0], |info| {
        info.role == Role::Replica && info.link_up
    })
    .await;
    switch(&clients, &ports, true).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(node.hera().await);
    }
    whole(&clients, &ports, false).await;
    cluster.assert_no_refusal().await;
}

/// Every node sees all others at the port that is common to both states, and replicas are linked.
async fn whole(clients: &[Client], ports: &[Ports], encrypted: bool) {
    let common: BTreeSet<u16> = ports.iter().map(|own| own.common).collect();
    for client in clients {
        eventually(|| async {
            let nodes = client.cluster_nodes().await.unwrap();
            let seen: BTreeSet<u16> = nodes.iter().map(|node| node.port).collect();
            let info = client.info().await.unwrap();
            let linked = info.role == Role::Primary || info.link_up;
            let is_ok = client.cluster_info().await.unwrap().is_ok;
            if seen == common && linked && is_ok && nodes.iter().all(|node| node.link_up) {
                Ok(())
            } else {
                Err(format!("encrypted {encrypted}: {nodes:?} {info:?}"))
            }
        })
        .await;
    }
}

/// What `MIGRATE` sends is encrypted as the bus is.
pub async fn keys_move_over_tls(program: Program) {
    let authority = authority("authority");
    let (files, tls) = (files(&authority), trust(&authority));
    let (cluster, ports) = overlapping(&program, &files, false).await;
    let mut clients = Vec::new();
    for node in &cluster.nodes {
        clients.push(node.hera().await);
    }
    let nodes = clients[0].cluster_nodes().await.unwrap();
    let me = nodes.iter().find(|node| node.is_myself()).unwrap();
    let slot = me.slots.iter().next().unwrap();
    let mut data = cluster.nodes[0].data().await;
    let mut key = String::new();
    for n in 0..200_000 {
        key = format!("key:{n}");
        if send(&mut data, &["CLUSTER", "KEYSLOT", &key]).await
            == Ok(redis::Value::Int(slot.into()))
        {
            break;
        }
    }
    send(&mut data, &["SET", &key, "value"]).await.unwrap();
    switch(&clients, &ports, false).await;
    let (source, target) = (
        encrypted(ports[0].common, &tls).await,
        encrypted(ports[1].common, &tls).await,
    );
    let (from, to) = (
        source.cluster_id().await.unwrap(),
        target.cluster_id().await.unwrap(),
    );
    target
        .cluster_set_slot(slot, SlotState::Importing(&from))
        .await
        .unwrap();
    source
        .cluster_set_slot(slot, SlotState::Migrating(&to))
        .await
        .unwrap();
    let login = Credentials::new("hera-migration", PASSWORD).with_tls(tls.clone());
    let mover = Client::connect(
        &Address::new("127.0.0.1", ports[0].common),
        &login,
        limits(),
    )
    .await
    .unwrap();
    let keys = mover.keys_in_slot(slot, 10).await.unwrap();
    let address = Address::new("127.0.0.1", ports[1].common);
    let destination = MigrateTo {
        address: &address,
        credentials: &login,
        replace: true,
    };
    assert_eq!(
        mover
            .migrate_keys(destination, &keys, Duration::from_secs(4))
            .await,
        Ok(true)
    );
    for client in [&target, &source] {
        client
            .cluster_set_slot(slot, SlotState::Node(&to))
            .await
            .unwrap();
    }
    let keys = mover.keys_in_slot(slot, 10).await.unwrap();
    assert!(keys.is_empty(), "{keys:?}");
    let way = source.slot_migration_way().await.unwrap();
    if way != SlotMigrationWay::Push {
        return;
    }
    // The servers of this version move slots by themselves, over TLS as well.
    let words = |rules: &[&str]| rules.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
    for own in &ports {
        let client = encrypted(own.common, &tls).await;
        client
            .acl_set_user("hera", &words(way.hera_acl_rules()))
            .await
            .unwrap();
        let rules = words(way.replication_acl_rules());
        client.acl_set_user("replication", &rules).await.unwrap();
    }
    let third = encrypted(ports[2].common, &tls).await;
    let nodes = third.cluster_nodes().await.unwrap();
    let me = nodes.iter().find(|node| node.is_myself()).unwrap();
    let slots = me.slots.lowest(1);
    // A node hears by and by on which port the others speak TLS now; until then it is told again, as Hera does.
    eventually(|| async {
        let all = third.slot_migrations(way).await.unwrap();
        if all.iter().any(|m| m.state == SlotMigrationState::Succeeded) {
            return Ok(());
        }
        if all.iter().all(|m| m.state == SlotMigrationState::Failed) {
            third.push_slots(&slots, &from).await.unwrap();
        }
        Err(all)
    })
    .await;
}
