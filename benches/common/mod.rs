//! What the benchmarks share: runs and their statistics, the objects of a database, the page of results.

pub mod machine;
pub mod objects;
pub mod options;
pub mod page;
pub mod statistics;
