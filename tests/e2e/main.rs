//! What users see: Hera installed by its chart in a cluster, databases made by `kubectl apply`, faults, and clients that write
//! all the time.
//!
//! The cluster is that of `KUBECONFIG`, and Hera's image must be there already (`make test-e2e` sees to both). What signals a
//! process from outside its container, or cuts a network, needs the throw-away cluster of `tests/cluster`, and is left out on others.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod database;
mod faults;
mod manager;
mod support;
