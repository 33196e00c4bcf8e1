//! Clients of the servers that Hera manages. No Kubernetes in here.
pub mod network;
pub mod redis;
