//! The reply of `CLUSTER NODES`.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../tests/replies/server.rs"]
mod server;

fuzz_target!(|reply: &[u8]| server::nodes(&String::from_utf8_lossy(reply)));
