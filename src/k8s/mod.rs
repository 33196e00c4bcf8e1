//! Effects on the Kubernetes API.
