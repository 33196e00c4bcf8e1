//! The operators.
pub mod redis;
