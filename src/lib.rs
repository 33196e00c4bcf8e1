//! Kubernetes operators for databases, secrets, backups, certificates and configuration, in one process.
//!
//! # The process
//!
//! `hera run` ([`cli`]) reads [`settings`] and starts the [`manager`]: HTTP server, shared caches, leader election,
//! controllers, in this order, and back again on SIGTERM. Every operator gets a [`manager::Context`]: one client with
//! limits, caches shared by all, one recorder of events, metrics, and a handle that says whether this process leads.
//!
//! # An operator
//!
//! The [`operators`] stand side by side and look alike inside: the same file names, the same stages.
//!
//! ```text
//!         ┌────────── deleted? → cleanup (needs no valid spec) ─────────┐
//! event → │ observe → validate → build → apply → plan → act (one step)  │ → status (always) → requeue (jittered)
//!         └──────────────────────────────────────────────────────────────┘
//!           effects    pure      pure    effects  pure     effects           effects
//! ```
//!
//! What is decided is decided in pure functions of what was observed; effects are thin. All effects on the Kubernetes
//! API go through [`k8s`], all talk with databases through [`engines`].
//!
//! # Floors
//!
//! `main` → [`cli`] → the registry in [`operators`] → the operators → [`manager`] → [`k8s`], [`engines`], [`settings`].
//! Imports go down, never up and never in a circle. Operators do not import each other: they meet through the API.
pub mod cli;
pub mod engines;
pub mod k8s;
pub mod manager;
pub mod operators;
pub mod settings;

/// The version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit of this build, when the build was told (`HERA_COMMIT`).
pub const COMMIT: &str = match option_env!("HERA_COMMIT") {
    Some(commit) => commit,
    None => "unknown",
};
