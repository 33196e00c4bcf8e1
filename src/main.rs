//! The `hera` command.

fn main() {}
