//! One database after the other, many at a time.

mod crash;
mod lifecycle;
