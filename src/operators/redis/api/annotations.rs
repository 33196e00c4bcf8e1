//! Annotations of a `Redis` that Hera reads.

/// Annotation that asks for a hand-over: the name of the pod that is to be the primary, as long as the annotation stands.
pub const SWITCHOVER_ANNOTATION: &str = "redis.hera.dev/switchover";
/// Annotation that names the pod to be the primary when Hera finds no proof of which one has the newest data.
pub const APPROVE_PRIMARY_ANNOTATION: &str = "redis.hera.dev/approve-primary";
/// Annotation that lets Hera restart the primary for a change when `spec.update.primary` is Approved: the revision that
/// the condition `Progressing` names.
pub const APPROVE_UPDATE_ANNOTATION: &str = "redis.hera.dev/approve-update";
/// Annotation that lets Hera restart a server whose data would be lost by it.
pub const ACCEPT_DATA_LOSS_ANNOTATION: &str = "redis.hera.dev/accept-data-loss";
/// Annotation that gives users another generated password beside the one that they have: `USER=TEXT`, several parted by commas.
pub const ROTATE_PASSWORD_ANNOTATION: &str = "redis.hera.dev/rotate-password";
/// Annotation of a PersistentVolumeClaim: since when its pod has been the primary, and the epoch of that decision. It outlives the
/// `Redis`, so that another one finds the newest of the volumes that were kept.
pub const PRIMARY_SINCE_ANNOTATION: &str = "redis.hera.dev/primary-since";
/// Annotation `hera.dev/reconcile: paused`.
pub const RECONCILE_ANNOTATION: &str = "hera.dev/reconcile";
/// Annotation `hera.dev/plan-only: "true"`.
pub const PLAN_ONLY_ANNOTATION: &str = "hera.dev/plan-only";
/// Annotation that asks for a rolling restart; its value is copied to the pods.
pub const RESTARTED_AT_ANNOTATION: &str = "hera.dev/restarted-at";
