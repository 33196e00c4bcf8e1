//! The Redis operator: `Redis` (`redis.hera.dev/v1alpha1`).
pub mod api;
pub mod rbac;
pub mod reasons;

/// Name of this operator: in `--controllers`, in metrics, and in its field manager `hera-redis`.
pub const NAME: &str = "redis";
/// Field manager of all that this operator writes.
pub const FIELD_MANAGER: &str = "hera-redis";
/// API group of its kinds.
pub const GROUP: &str = "redis.hera.dev";
