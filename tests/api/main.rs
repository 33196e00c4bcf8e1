//! What Hera does on a real API server.
#![allow(clippy::expect_used, clippy::panic, clippy::print_stdout)]
#[path = "../common/apiserver.rs"]
mod apiserver;

mod apply;
mod crds;
mod delete;
mod events;
mod fixtures;
mod manager;
mod objects;
mod partial;
mod status;
