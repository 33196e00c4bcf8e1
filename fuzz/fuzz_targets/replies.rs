//! What a server sends, whatever it was asked: servers, nodes of a cluster and sentinels.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code)]
#[path = "../../tests/replies/server.rs"]
mod server;

fuzz_target!(|reply: &[u8]| {
    server::readers(reply);
});
