//! Where the first data comes from.

use super::super::api::{Mode, RedisSpec};
use super::super::model::{Observed, ValidBootstrap, source_address};
use super::Errors;

/// Checks `spec.bootstrap`. What cannot be used ends the validation: the database must not start empty instead.
pub(super) fn bootstrap(
    spec: &RedisSpec,
    namespace: &str,
    errors: &mut Errors,
) -> Option<ValidBootstrap> {
    let bootstrap = spec.bootstrap.as_ref()?;
    let external = &bootstrap.external;
    if !matches!(spec.mode, Mode::Standalone | Mode::Replication) {
        errors.add("spec.bootstrap", "only in modes Standalone and Replication");
    }
    if external.tls && spec.tls.is_none() {
        errors.add(
            "spec.bootstrap.external.tls",
            "needs spec.tls, whose ca.crt says which certificates are trusted",
        );
    }
    let end = |c: char| c.is_ascii_alphanumeric();
    let inner = |c: char| end(c) || "-.:".contains(c);
    let host = &external.host;
    if !(1..=253).contains(&host.len())
        || !host.starts_with(end)
        || !host.ends_with(end)
        || !host.chars().all(inner)
    {
        errors.add(
            "spec.bootstrap.external.host",
            "must be a host name or an IP address",
        );
    }
    if external.port.is_some_and(|p| !(1..=65535).contains(&p)) {
        errors.add(
            "spec.bootstrap.external.port",
            "must be between 1 and 65535",
        );
    }
    let name = external.username.as_deref();
    let printable = |n: &str| n.chars().all(|c| c.is_ascii_graphic());
    if name.is_some_and(|n| !(1..=253).contains(&n.len()) || !printable(n)) {
        errors.add(
            "spec.bootstrap.external.username",
            "must have 1 to 253 printable characters and no space",
        );
    }
    let reference = external.password_secret_ref.as_ref();
    for (part, text) in reference
        .into_iter()
        .flat_map(|r| [("name", &r.name), ("key", &r.key)])
    {
        if !(1..=253).contains(&text.len()) {
            errors.add(
                format!("spec.bootstrap.external.passwordSecretRef.{part}"),
                "must have 1 to 253 characters",
            );
        }
    }
    Some(ValidBootstrap {
        address: source_address(external, namespace),
        username: external.username.clone(),
        password_ref: external.password_secret_ref.clone(),
        tls: external.tls,
        cut_over: bootstrap.cut_over,
    })
}

/// A single server that copies another one starts as a replica, like those of mode Replication, so that nobody writes to it before the
/// cut-over. It stays so after it: a change would need a restart.
pub(super) fn needs_gate(spec: &RedisSpec, observed: &Observed) -> bool {
    spec.bootstrap.is_some() || observed.status.bootstrap.is_some()
}
