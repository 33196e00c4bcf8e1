//! Simulated servers that speak RESP, as far as Hera speaks to them.

pub mod acl;
pub mod cluster;
pub mod commands;
pub mod gossip;
pub mod info;
pub mod node;
pub mod replication;
pub mod resp;
pub mod sentinel;
pub mod server;
pub mod writes;
