//! Fault plans: Hera's Redis operator over a simulated Kubernetes and simulated servers, with something that goes wrong at the
//! nth write. Whatever it is, the end is the one without it: nothing is deleted that should live, no acknowledged write is lost,
//! and it is quiet afterwards.
//!
//! Time is simulated as well, so that a minute takes milliseconds. A plan that fails is printed with what happened, and is
//! run again alone by
//!
//! ```sh
//! HERA_FAULT='replication-roll crash-after@17' cargo test --test faults replay -- --nocapture
//! ```
//!
//! Each sweep takes a part of all plans: `HERA_FAULT_PLANS=N` takes N of each workload, `make test-long` a hundred, with an
//! optimized program.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::similar_names,
    clippy::needless_pass_by_value,
    clippy::too_many_lines
)]

mod client;
mod cluster_oracle;
mod fault;
mod kubernetes;
mod manager;
mod network;
mod oracle;
mod process;
mod redis;
mod run;
mod sentinel_oracle;
mod sweep;
mod workload;
mod world;
