//! How changes that need a restart of pods are carried out.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How changes that need a restart of pods are carried out: always replicas first, the primary last, one pod at a time.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    /// No pod that serves is restarted while this is true; the condition `Progressing` says what is due.
    #[serde(default)]
    pub paused: bool,
    /// Whether the primary is restarted without being asked.
    #[serde(default)]
    pub primary: PrimaryUpdate,
    /// Lets a temporary replica carry the data over the restart of a single server without a volume: with it no restart loses data.
    #[serde(default)]
    pub surge: bool,
    /// Seconds that a restarted pod has to be Ready and in sync before the next one is restarted: the time to look at the first one.
    /// Default: 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub soak_seconds: Option<i32>,
    /// Pods that serve are restarted only within this window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<MaintenanceWindow>,
}

/// When the primary is restarted for a change.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum PrimaryUpdate {
    /// After all replicas, after a hand-over.
    #[default]
    Automatic,
    /// The same, but only when the annotation `redis.hera.dev/approve-update` names the revision.
    Approved,
}

/// A span of time on some days of the week.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct MaintenanceWindow {
    /// Days on which it opens; absent: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 7))]
    pub days: Vec<Day>,
    /// When it opens, `hh:mm`.
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub start: String,
    /// For how many minutes it stays open.
    #[schemars(range(min = 5, max = 1440))]
    pub duration_minutes: i32,
    /// Time zone of `start`, such as `Europe/Berlin`. Default: UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub time_zone: Option<String>,
}

/// A day of the week.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs)]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}
