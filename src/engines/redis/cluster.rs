//! The commands that Hera sends to a node of a cluster to build it and to keep it whole. Slots are moved by
//! [`super::slot_migration`].

use super::address::Address;
use super::client::Client;
use super::cluster_nodes::{ClusterInfo, ClusterNode};
use super::failure::Failure;
use super::slots::SlotSet;

/// How a replica takes the place of its primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterFailover {
    /// The primary stops writes until the replica has all of them: no acknowledged write is lost. Both have to live, and a
    /// majority of the primaries has to agree.
    Planned,
    /// `FORCE`: without the primary, which is down; a majority of the primaries has to agree. Writes that the replica does
    /// not have are lost.
    Force,
    /// `TAKEOVER`: nobody is asked. Only where no majority is left and the lost primaries will not come back: two replicas
    /// that do it disagree.
    Takeover,
}

impl Client {
    /// `CLUSTER INFO`.
    pub async fn cluster_info(&self) -> Result<ClusterInfo, Failure> {
        let text: String = self.cluster(&["INFO"]).await?;
        ClusterInfo::read(&text)
    }

    /// `CLUSTER NODES`: all nodes that this one knows, itself included.
    pub async fn cluster_nodes(&self) -> Result<Vec<ClusterNode>, Failure> {
        let text: String = self.cluster(&["NODES"]).await?;
        ClusterNode::read_all(&text)
    }

    /// `CLUSTER MYID`: 40 hex digits.
    pub async fn cluster_id(&self) -> Result<String, Failure> {
        self.cluster(&["MYID"]).await
    }

    /// `CLUSTER MEET ip port bus-port`: begins to know another node, and with it all that it knows. The address has to be an
    /// IP address; without `bus_port` it is the port plus 10000.
    ///
    /// Met at a new address, a node that is known already gets its address corrected everywhere. Success says only that the
    /// handshake began: poll [`Client::cluster_nodes`].
    pub async fn cluster_meet(&self, node: &Address, bus_port: Option<u16>) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command
            .arg("MEET")
            .arg(&node.host)
            .arg(node.port)
            .arg(bus_port);
        self.call(&command).await
    }

    /// `CLUSTER SET-CONFIG-EPOCH`: gives a new node an epoch of its own, so that two primaries never claim a slot with the
    /// same one. The server refuses it once the node knows others or has an epoch.
    pub async fn cluster_set_config_epoch(&self, epoch: u64) -> Result<(), Failure> {
        self.cluster(&["SET-CONFIG-EPOCH", &epoch.to_string()])
            .await
    }

    /// `CLUSTER ADDSLOTSRANGE`: takes slots that nobody has, by what this node knows; all or none.
    pub async fn cluster_add_slots(&self, slots: &SlotSet) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("ADDSLOTSRANGE");
        for range in slots.ranges() {
            command.arg(*range.start()).arg(*range.end());
        }
        self.call(&command).await
    }

    /// `CLUSTER REPLICATE id`: makes the node a replica, which drops its data set. The server refuses it for a primary that
    /// has slots or keys, and for a primary that this node does not know yet.
    pub async fn cluster_replicate(&self, primary: &str) -> Result<(), Failure> {
        self.cluster(&["REPLICATE", primary]).await
    }

    /// `CLUSTER FAILOVER`, sent to the *replica*. Success says only that it began, a planned one is given up after 5 s
    /// (`cluster-manual-failover-timeout`): poll the roles.
    pub async fn cluster_failover(&self, kind: ClusterFailover) -> Result<(), Failure> {
        match kind {
            ClusterFailover::Planned => self.cluster(&["FAILOVER"]).await,
            ClusterFailover::Force => self.cluster(&["FAILOVER", "FORCE"]).await,
            ClusterFailover::Takeover => self.cluster(&["FAILOVER", "TAKEOVER"]).await,
        }
    }

    /// `CLUSTER FORGET id`: does not know the node any more, and for a minute does not learn of it from others: within that
    /// time all nodes have to forget it. That it is not known is no failure: the wish is fulfilled.
    ///
    /// The server refuses to forget itself, and a replica to forget its primary.
    pub async fn cluster_forget(&self, node: &str) -> Result<(), Failure> {
        match self.cluster(&["FORGET", node]).await {
            Err(Failure::Command(text)) if text.starts_with("ERR Unknown node") => Ok(()),
            other => other,
        }
    }

    async fn cluster<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, Failure> {
        self.call(redis::cmd("CLUSTER").arg(words)).await
    }
}
