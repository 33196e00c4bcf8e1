//! The Redis operator.
