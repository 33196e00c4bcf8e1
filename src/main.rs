//! The `hera` command: allocator, TLS provider, and a call into the library.

use std::process::ExitCode;

/// Gives memory back after a peak (a list of many objects), which the system's allocator does not.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // One provider for everything in the process. It can only fail when there is one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    hera::cli::main()
}
