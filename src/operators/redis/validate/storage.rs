//! What `spec.storage` says, with the volumes that are there.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::api::{RedisSpec, Storage};
use super::super::model::{Observed, ValidStorage};
use super::Errors;
use crate::k8s::quantity::Amount;

/// The volumes.
pub fn check(storage: &Storage, observed: &Observed, errors: &mut Errors) -> Option<ValidStorage> {
    claims(storage, errors);
    let Some(amount) = Amount::parse(&storage.size.0)
        .ok()
        .filter(|a| a.is_positive())
    else {
        errors.add(
            "spec.storage.size",
            "must be a positive quantity such as 10Gi",
        );
        return None;
    };
    let mut valid = ValidStorage {
        size: storage.size.clone(),
        bytes: amount.bytes(),
        class: storage.storage_class_name.clone(),
        when_deleted: storage.when_deleted,
        when_scaled: storage.when_scaled,
        template: storage.template().to_owned(),
        existing: storage.existing_claims.clone(),
    };
    // A volume may be larger than what was asked for: storage systems round up. That is not what the user makes smaller.
    let bytes = valid.bytes;
    let shrunk = observed
        .claims
        .iter()
        .filter(|c| c.bound && c.requested > bytes && c.capacity > bytes);
    if let Some(largest) = shrunk.max_by_key(|c| c.capacity) {
        let message = format!(
            "cannot be smaller than the volume of {}, which has {} bytes; a volume can only grow",
            largest.name, largest.capacity
        );
        errors.leave_out("spec.storage.size", message);
        valid.bytes = largest.capacity;
        valid.size = Quantity(largest.capacity.to_string());
    }
    Some(valid)
}

/// The bounds of the schema on the names of claims.
fn claims(storage: &Storage, errors: &mut Errors) {
    let template = storage.template();
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let edge = |c: Option<char>| c.is_some_and(|c| c != '-');
    let word = template.chars().all(inner) && edge(template.chars().next());
    if !word || !edge(template.chars().last()) || template.len() > 63 {
        errors.add(
            "spec.storage.claimTemplate",
            "must have only lower-case letters, digits and '-' within, 63 at most",
        );
    }
    if ["config", "exporter", "tls"].contains(&template) {
        errors.add(
            "spec.storage.claimTemplate",
            "is the name of another volume of the pods",
        );
    }
    let wrong = |name: &String| name.is_empty() || name.len() > 253;
    if storage.existing_claims.len() > 384 || storage.existing_claims.iter().any(wrong) {
        errors.add(
            "spec.storage.existingClaims",
            "must be up to 384 names of claims",
        );
    }
}

/// The same as the CEL rule that compares with the old object, for objects that got past it.
pub fn stays(spec: &RedisSpec, observed: &Observed, errors: &mut Errors) {
    let template = observed
        .objects
        .statefulset
        .as_ref()
        .and_then(|s| s.spec.as_ref());
    let Some(template) = template else { return };
    let had = template
        .volume_claim_templates
        .as_ref()
        .is_some_and(|t| !t.is_empty());
    if had != spec.storage.is_some() {
        errors.add(
            "spec.storage",
            "cannot be added or removed later; create another Redis and move the data",
        );
    }
}
