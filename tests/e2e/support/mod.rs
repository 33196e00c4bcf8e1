//! What the tests are made of.

pub mod certificates;
pub mod cluster;
pub mod database;
pub mod diagnosis;
pub mod faults;
pub mod foreign;
pub mod hera;
pub mod replacements;
pub mod scenario;
pub mod server;
pub mod sharded;
pub mod shell;
pub mod snapshot;
pub mod wait;
pub mod watch;
pub mod witness;
pub mod writer;
