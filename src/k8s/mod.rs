//! Every effect on the Kubernetes API.
//!
//! Only this module writes to the API server: server-side apply with a no-op skip ([`apply`]), the one delete
//! ([`delete`]), the status subresource ([`status`]), events ([`events`]). The rest is pure: conditions, names, labels,
//! owner references and quantities. The [`kube::Client`] is always passed in.
pub mod apply;
pub mod conditions;
pub mod delete;
pub mod drift;
pub mod error;
pub mod events;
pub mod labels;
pub mod names;
pub mod owner;
pub mod partial;
pub mod prometheus;
pub mod quantity;
mod request;
pub mod status;
mod subset;

pub use error::Error;
