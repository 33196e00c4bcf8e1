//! Some of the fault plans of `tests/faults` on real parts: the operator in this process, with something that goes wrong at a chosen
//! write, over the real API server and real servers. Whatever it is, the end is the one without it.

use std::collections::BTreeMap;

use crate::support::database::Database;
use crate::support::wait::{LONG, ensure, until};

mod api;
mod cluster;
mod hera;
mod network;
mod replication;

// The plans themselves, and the process that ends and starts again, are those of the simulation, which uses more of them.
#[allow(dead_code)]
#[path = "../../faults/fault.rs"]
mod fault;
#[path = "../../faults/process.rs"]
mod process;
#[allow(dead_code)]
#[path = "../../faults/redis/resp.rs"]
mod resp;
#[path = "../../faults/redis/writes.rs"]
mod writes;

/// Waits until no pod is left of those that were.
async fn all_replaced(db: &Database, before: &BTreeMap<String, String>) {
    until("every pod is a new one", LONG, || async {
        let present = db.uids().await;
        let is_kept = |(pod, uid): &(&String, &String)| present.get(*pod) == Some(*uid);
        let kept: Vec<_> = before.iter().filter(is_kept).collect();
        ensure(kept.is_empty(), || format!("{kept:?} are not replaced"))
    })
    .await;
}
