//! A cluster is built, changes its members, and heals when all addresses changed.

use std::collections::BTreeSet;

use hera::engines::redis::{Client, ClusterFailover, ClusterNode, Failure, Role, SlotSet};

use crate::server::{Program, Server, eventually, send, until};

/// The nodes of a cluster: the primaries first, then a replica of each.
pub struct Cluster {
    pub nodes: Vec<Server>,
}

impl Cluster {
    /// Builds a cluster of so many primaries, with a replica each where wanted, as Hera's user.
    pub async fn start(program: &Program, primaries: usize, with_replicas: bool) -> Self {
        let mut nodes = Vec::new();
        let count = if with_replicas {
            2 * primaries
        } else {
            primaries
        };
        for index in 0..count {
            let node = Server::start_node(program, &[]).await;
            let epoch = u64::try_from(index + 1).unwrap();
            let client = node.hera().await;
            client.cluster_set_config_epoch(epoch).await.unwrap();
            nodes.push(node);
        }
        let cluster = Self { nodes };
        cluster.meet().await;
        cluster.until_all(|nodes| nodes.len() == count).await;

        let share = 16_384 / u16::try_from(primaries).unwrap();
        let mut left = SlotSet::full();
        for (index, node) in cluster.nodes[..primaries].iter().enumerate() {
            let slots = if index + 1 == primaries {
                left.clone()
            } else {
                left.lowest(share)
            };
            left = left.difference(&slots);
            let client = node.hera().await;
            client.cluster_add_slots(&slots).await.unwrap();
        }
        for index in primaries..count {
            let primary = cluster.id(index - primaries).await;
            let client = cluster.nodes[index].hera().await;
            client.cluster_replicate(&primary).await.unwrap();
            until(&client, |info| info.link_up).await;
        }
        cluster.until_whole(count - primaries).await;
        cluster
    }

    /// The first node meets all others.
    pub async fn meet(&self) {
        let first = self.nodes[0].hera().await;
        for node in &self.nodes[1..] {
            first
                .cluster_meet(&node.address(), Some(node.bus_port()))
                .await
                .unwrap();
        }
    }

    pub async fn id(&self, index: usize) -> String {
        self.nodes[index].hera().await.cluster_id().await.unwrap()
    }

    /// Waits until what every node says of the cluster is as wanted, with all nodes linked.
    pub async fn until_all(&self, wanted: impl Fn(&[ClusterNode]) -> bool) {
        for node in &self.nodes {
            let client = node.hera().await;
            eventually(|| async {
                let nodes = client.cluster_nodes().await.unwrap();
                let is_linked = |node: &ClusterNode| node.link_up && node.role().is_some();
                if wanted(&nodes) && nodes.iter().all(is_linked) {
                    Ok(())
                } else {
                    Err(nodes)
                }
            })
            .await;
        }
    }

    /// Waits until every node says that all slots are served, and knows so many replicas.
    pub async fn until_whole(&self, replicas: usize) {
        self.until_all(|nodes| {
            let is_replica = |node: &&ClusterNode| node.role() == Some(Role::Replica);
            let served = nodes
                .iter()
                .fold(SlotSet::new(), |sum, node| sum.union(&node.slots));
            served.is_full() && nodes.iter().filter(is_replica).count() == replicas
        })
        .await;
        for node in &self.nodes {
            let client = node.hera().await;
            eventually(|| async {
                let info = client.cluster_info().await.unwrap();
                if info.is_ok { Ok(()) } else { Err(info) }
            })
            .await;
        }
    }

    /// Nobody was refused anything: the rules of all who log in are enough.
    pub async fn assert_no_refusal(&self) {
        for node in &self.nodes {
            assert_eq!(node.refusals().await, [""; 0], "{}", node.address());
        }
    }
}

async fn myself(client: &Client) -> ClusterNode {
    let nodes = client.cluster_nodes().await.unwrap();
    nodes.into_iter().find(ClusterNode::is_myself).unwrap()
}

pub async fn a_cluster_is_built_and_changes_its_members(program: Program) {
    let mut cluster = Cluster::start(&program, 3, true).await;
    let first = cluster.nodes[0].hera().await;
    let info = first.cluster_info().await.unwrap();
    assert_eq!((info.known_nodes, info.size), (6, 3));
    assert_eq!((info.slots_assigned, info.slots_ok), (16_384, 16_384));
    assert_eq!((info.slots_failed, info.slots_suspected), (0, 0));
    let nodes = first.cluster_nodes().await.unwrap();
    let epochs: BTreeSet<_> = nodes
        .iter()
        .filter(|node| node.role() == Some(Role::Primary))
        .map(|node| node.config_epoch)
        .collect();
    assert_eq!(epochs.len(), 3, "{nodes:?}");
    let me = myself(&first).await;
    assert_eq!(me.address(), Some(cluster.nodes[0].address()));
    assert_eq!(me.bus_port, cluster.nodes[0].bus_port());
    assert_eq!(me.slots.to_string(), "0-5460");

    // A planned failover: the replica takes over all slots, the old primary follows it.
    let (old, new) = (first, cluster.nodes[3].hera().await);
    let refused = old.cluster_failover(ClusterFailover::Planned).await;
    assert!(matches!(refused, Err(Failure::Command(_))), "{refused:?}");
    // The primary has to have seen its replica as such.
    new.cluster_failover(ClusterFailover::Planned)
        .await
        .unwrap();
    until(&new, |info| info.role == Role::Primary).await;
    until(&old, |info| info.link_up).await;
    cluster.until_whole(3).await;
    assert_eq!(myself(&new).await.slots.to_string(), "0-5460");

    // A replica leaves: all others forget it, it forgets them.
    let leaver = cluster.nodes.remove(5);
    let client = leaver.hera().await;
    let id = client.cluster_id().await.unwrap();
    let primary = cluster.id(2).await;
    let refused = client.cluster_forget(&primary).await;
    assert!(matches!(refused, Err(Failure::Command(_))), "{refused:?}");
    for _ in 0..2 {
        for node in &cluster.nodes {
            node.hera().await.cluster_forget(&id).await.unwrap();
        }
    }
    let mut data = leaver.data().await;
    send(&mut data, &["CLUSTER", "RESET", "SOFT"])
        .await
        .unwrap();
    cluster.until_all(|nodes| nodes.len() == 5).await;
    let alone = client.cluster_nodes().await.unwrap();
    assert_eq!((alone.len(), &alone[0].id), (1, &id));
    assert_eq!(alone[0].role(), Some(Role::Primary));
    cluster.assert_no_refusal().await;

    // Names of keys and the keys themselves are not for Hera's own user.
    let mut hera = cluster.nodes[0].data_as("hera").await;
    for command in [
        &["CLUSTER", "GETKEYSINSLOT", "0", "1"][..],
        &["CLUSTER", "FLUSHSLOTS"],
        &["CLUSTER", "RESET"],
        &["MIGRATE", "127.0.0.1", "1", "k", "0", "1"],
        &["GET", "k"],
    ] {
        let refused = send(&mut hera, command).await.unwrap_err();
        assert!(refused.starts_with("NOPERM"), "{command:?}: {refused}");
    }
}

pub async fn nodes_that_all_moved_meet_again(program: Program) {
    let mut cluster = Cluster::start(&program, 3, false).await;
    let mut ids = BTreeSet::new();
    for index in 0..3 {
        ids.insert(cluster.id(index).await);
    }
    for node in &mut cluster.nodes {
        node.shut_down();
    }
    for node in &mut cluster.nodes {
        node.start_elsewhere().await;
    }
    // Each looks for the others where nobody is.
    for node in &cluster.nodes {
        let client = node.hera().await;
        let nodes = client.cluster_nodes().await.unwrap();
        assert!(nodes.iter().all(|node| node.is_myself() || !node.link_up));
    }
    cluster.meet().await;
    cluster.until_whole(0).await;
    cluster
        .until_all(|nodes| {
            nodes
                .iter()
                .map(|node| node.id.clone())
                .collect::<BTreeSet<_>>()
                == ids
        })
        .await;
}
