//! What Hera does on a real API server.
#![allow(clippy::expect_used, clippy::panic)]
#[path = "../common/apiserver.rs"]
mod apiserver;

#[allow(dead_code)]
#[path = "../manager/process.rs"]
mod process;

mod access;
mod apply;
mod auth;
mod bootstrap;
mod crds;
mod delete;
mod events;
mod fixtures;
mod manager;
mod monitoring;
mod objects;
mod partial;
mod status;
