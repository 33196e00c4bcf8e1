//! The real `hera` process against a real API server: start, election, signals.
#![allow(clippy::expect_used, clippy::panic)]
#[path = "../common/apiserver.rs"]
mod apiserver;

mod election;
mod process;
mod settings;
