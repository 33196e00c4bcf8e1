//! The chart and the kustomizations, rendered by the real `helm` and `kubectl`.
#![allow(clippy::unwrap_used, clippy::panic)]

mod chart;
mod check;
mod kustomize;
mod render;
