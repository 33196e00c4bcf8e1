//! A typed client for one Redis or Valkey server, and a monitor that watches one server.
//!
//! Nothing in here knows Kubernetes: an [`Address`] goes in, facts ([`Info`], [`MonitorState`]) and typed failures
//! ([`Failure`]) come out. Every call has a time limit, so a server that hangs is a fact as well.
//!
//! | file | holds |
//! | --- | --- |
//! | `address` | where a server listens, how long a call may take |
//! | `credentials` | who logs in, and whether over TLS |
//! | `failure` | why a call failed, and whether the server lives all the same |
//! | `tls` | how to speak TLS, and which certificate a server serves |
//! | `client` | the commands that Hera sends |
//! | `cut_over` | the end of copying a server: its writes are paused until the copy has all of them |
//! | `hand_over` | a planned change of the primary with the shortest pause of writes |
//! | `info` | the reply of `INFO` as a typed value |
//! | `acl` | the ACL users that Hera creates and what they may do |
//! | `sentinel` | the commands that Hera sends to a sentinel |
//! | `sentinel_hand_over` | a planned change of the primary under Sentinel |
//! | `sentinel_state` | what a sentinel knows, as typed values |
//! | `cluster` | the commands that Hera sends to a node of a cluster |
//! | `cluster_nodes` | what a node knows of the others, as typed values |
//! | `slots` | sets of hash slots |
//! | `slot_migration` | moving slots between nodes, atomically or key by key |
//! | `monitor` | one connection held to one server, with its last state and a channel of changes |
//! | `observation` | what the monitor knows of a server, and which differences are worth telling |
//!
//! Supported servers: Redis 7.0 and newer, Valkey 7.2 and newer (`INFO` and `CONFIG` with several arguments).

mod acl;
mod address;
mod client;
mod cluster;
mod cluster_nodes;
mod credentials;
mod cut_over;
mod failure;
mod hand_over;
mod info;
mod monitor;
mod observation;
mod sentinel;
mod sentinel_hand_over;
mod sentinel_state;
mod slot_migration;
mod slots;
mod tls;

pub use acl::{
    AclUser, exporter_acl_rules, hera_acl_rules, hera_cluster_acl_rules, hera_sentinel_acl_rules,
    migration_acl_rules, password_hash, probe_acl_rules, replication_acl_rules, sentinel_acl_rules,
    sentinel_client_acl_rules, sentinel_peer_acl_rules,
};
pub use address::{Address, Limits};
pub use client::Client;
pub use cluster::ClusterFailover;
pub use cluster_nodes::{ClusterInfo, ClusterNode};
pub use credentials::Credentials;
pub use cut_over::CutOver;
pub use failure::Failure;
pub use info::{Engine, FailoverState, Info, InfoError, ReplicaLink, Role};
pub use monitor::{Change, Monitor, Target};
pub use observation::{MonitorState, What};
pub use sentinel::{SentinelFailoverKind, SentinelFailoverStart, SentinelOption};
pub use sentinel_hand_over::{SentinelHandOver, SentinelHandOverError};
pub use sentinel_state::{
    MonitoredPrimary, MonitoredReplica, QuorumCheck, SentinelFailoverState, SentinelFlags,
    SentinelPeer,
};
pub use slot_migration::{
    MigrateTo, SlotMigration, SlotMigrationState, SlotMigrationWay, SlotState,
};
pub use slots::{SLOTS, SlotError, SlotSet};
pub use tls::{ClientIdentity, ServedCertificate, Tls, TlsError};
