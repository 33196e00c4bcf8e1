//! The rules on encryption.

use super::super::api::{Mode, Plaintext, RedisSpec};
use super::Errors;

/// Checks `spec.tls`.
pub fn check(spec: &RedisSpec, errors: &mut Errors) {
    let Some(tls) = &spec.tls else { return };
    let issuer = tls.issuer_ref.as_ref();
    for (field, text, max) in [
        ("spec.tls.secretName", tls.secret_name.as_ref(), 253),
        ("spec.tls.issuerRef.name", issuer.map(|i| &i.name), 253),
        ("spec.tls.issuerRef.kind", issuer.map(|i| &i.kind), 63),
        ("spec.tls.issuerRef.group", issuer.map(|i| &i.group), 253),
    ] {
        if text.is_some_and(|t| t.is_empty() || t.chars().count() > max) {
            errors.add(field, format!("must have 1 to {max} characters"));
        }
    }
    if tls.secret_name.is_some() == issuer.is_some() {
        errors.add("spec.tls", "needs either secretName or issuerRef");
    }
    if spec.mode == Mode::Sentinel && tls.plaintext == Plaintext::Allowed {
        errors.add("spec.tls.plaintext", "must be Refused in mode Sentinel");
    }
}
