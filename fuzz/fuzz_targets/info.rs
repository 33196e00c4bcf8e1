//! The reply of `INFO`.
#![no_main]

use hera::engines::redis::Info;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|reply: &[u8]| {
    let text = String::from_utf8_lossy(reply);
    if let Ok(info) = Info::parse(&text) {
        let _ = (info.primary(), info.has_history(&info.replid));
        let _ = info.with_replication(&text);
    }
});
