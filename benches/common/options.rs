//! The arguments of a benchmark, after `cargo bench --bench NAME --`.

use std::env;
use std::io::Write as _;

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Few runs and short periods, to try the benchmark itself.
    pub quick: bool,
    /// Write the results to `docs/performance.md`; they are printed in any case.
    pub write: bool,
}

impl Options {
    /// Reads the arguments of the process: `--quick` prints only, `--quick --write` writes the page as well.
    ///
    /// # Panics
    /// When an argument is not known.
    pub fn read() -> Self {
        let (mut quick, mut write) = (false, false);
        for argument in env::args().skip(1) {
            match argument.as_str() {
                "--quick" => quick = true,
                "--write" => write = true,
                // Cargo says so to every benchmark.
                "--bench" => {}
                other => panic!("{other:?} is not known, only --quick and --write"),
            }
        }
        Self {
            quick,
            write: write || !quick,
        }
    }

    /// One number for a full measurement, another for a quick one.
    pub fn pick<T>(self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// Tells how far the measurement is.
pub fn say(words: &str) {
    let _ = writeln!(std::io::stderr(), "bench: {words}");
}
