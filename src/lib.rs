//! Hera: Kubernetes operators for databases and secrets in one process.
pub mod cli;
pub mod engines;
pub mod k8s;
pub mod manager;
pub mod operators;
pub mod settings;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
