//! A manifest of a `Redis` is validated, built and planned.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/schema/way.rs"]
mod way;

fuzz_target!(|manifest: &[u8]| {
    let text = String::from_utf8_lossy(manifest);
    if let Ok(redis) = serde_saphyr::from_str(&text) {
        way::goes_through(redis);
    }
});
