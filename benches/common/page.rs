//! The tables of `docs/performance.md`, each between `<!-- bench NAME -->` and `<!-- end -->`.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use super::machine;
use super::options::{Options, say};
use super::statistics::{Runs, time};

const PAGE: &str = "docs/performance.md";

/// The results of one benchmark.
pub struct Results {
    name: &'static str,
    options: Options,
    program: &'static str,
    begin: Instant,
    load: String,
    rows: String,
}

impl Results {
    /// None yet. `program` says which build of Hera is measured, and how it runs.
    pub fn new(name: &'static str, options: Options, program: &'static str) -> Self {
        Self {
            name,
            options,
            program,
            begin: Instant::now(),
            load: machine::load(),
            rows: String::new(),
        }
    }

    /// Adds a measure, its target (empty when the design has none) and what was measured.
    pub fn add(&mut self, measure: &str, target: &str, measured: &str) {
        say(&format!("{measure}: {measured}"));
        let target = if target.is_empty() { "–" } else { target };
        let _ = writeln!(self.rows, "| {measure} | {target} | {measured} |");
    }

    /// Adds a time that was measured several times.
    pub fn add_runs(&mut self, measure: &str, target: &str, runs: &Runs) {
        self.add(measure, target, &format!("{runs} ({} runs)", runs.count()));
    }

    /// Prints the results, and writes them to the page when that is wanted.
    ///
    /// # Panics
    /// When the page cannot be written or has no place for them.
    pub fn finish(self) {
        let section = self.section();
        let _ = writeln!(std::io::stdout(), "{section}");
        if self.options.write {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE);
            let page = fs::read_to_string(&path).expect("the page is there");
            let page = replace(&page, self.name, &section);
            fs::write(&path, page).expect("the page can be written");
            say(&format!("written to {PAGE}"));
        }
    }

    fn section(&self) -> String {
        let (command, mode) = if self.options.quick {
            let words = ", **quick mode: few runs, only good to try the measurement**";
            (
                format!("cargo bench --bench {} -- --quick", self.name),
                words,
            )
        } else {
            ("make bench".to_owned(), "")
        };
        format!(
            "`{command}`{mode}, Hera {} ({}), {}, {}. Load average of the machine {} at the start and {} at the end; it took {}.\n\n\
             | Measure | Target | Measured |\n|---|---|---|\n{}",
            hera::VERSION,
            self.program,
            jiff::Timestamp::now().strftime("%Y-%m-%d"),
            machine::describe(),
            self.load,
            machine::load(),
            time(self.begin.elapsed()),
            self.rows,
        )
    }
}

/// The page with another content between the marks of `name`.
fn replace(page: &str, name: &str, content: &str) -> String {
    let mark = format!("<!-- bench {name}");
    let start = page.find(&mark).expect("the page has the mark");
    let start = start + page[start..].find('\n').expect("the mark has a line") + 1;
    let end = start
        + page[start..]
            .find("<!-- end -->")
            .expect("the mark has an end");
    [&page[..start], content, &page[end..]].concat()
}
