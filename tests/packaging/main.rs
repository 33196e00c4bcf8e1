//! The chart and the kustomizations, rendered by the real `helm` and `kubectl`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../common/apiserver.rs"]
mod apiserver;
mod chart;
mod check;
mod install;
mod kustomize;
mod render;
