//! What Hera does on a real API server.
#![allow(clippy::expect_used, clippy::panic)]
#[path = "../common/apiserver.rs"]
mod apiserver;

#[allow(dead_code)]
#[path = "../manager/process.rs"]
mod process;

#[allow(dead_code, clippy::similar_names)]
#[path = "../faults/kubernetes"]
mod simulated {
    pub mod merge;
    pub mod store;
}

mod access;
mod apply;
mod auth;
mod bootstrap;
mod conformance;
mod crds;
mod delete;
mod events;
mod fixtures;
mod manager;
mod monitoring;
mod objects;
mod partial;
mod removal;
mod status;
