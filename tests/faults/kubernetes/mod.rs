//! Kubernetes, as far as Hera sees it: an API server, the controllers of StatefulSets, claims and garbage, and a kubelet.

pub mod api;
pub mod controllers;
pub mod kubelet;
pub mod merge;
pub mod store;
