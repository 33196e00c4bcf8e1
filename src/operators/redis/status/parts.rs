//! Conditions with a source of their own.

use super::super::model::{Findings, Problem};
use super::super::reasons;
use super::{CONFIG_APPLIED, EXTERNAL_ACCESS, Picture, STORAGE_READY, USERS_APPLIED};

/// What only some databases have.
pub(super) fn optional(
    p: &Picture<'_>,
    set: &mut impl FnMut(&str, bool, Option<&Problem>, &str, &str),
) {
    let f = &p.plan.findings;
    if p.v.services.external.is_some() {
        set(
            EXTERNAL_ACCESS,
            f.external.is_none(),
            f.external.as_ref(),
            reasons::ExternalAddressesTold,
            "clients outside reach every pod by an address of its own",
        );
    }
    if p.v.storage.is_some() {
        set(
            STORAGE_READY,
            f.storage.is_none(),
            f.storage.as_ref(),
            reasons::StorageBound,
            "every volume is bound and has its size",
        );
    }
}

/// What the servers were told and verified. `nobody`: none of them answers.
pub(super) fn applied(
    f: &Findings,
    nobody: Option<&Problem>,
    set: &mut impl FnMut(&str, bool, Option<&Problem>, &str, &str),
) {
    let unapplied = f.config.as_ref().or(nobody);
    set(
        CONFIG_APPLIED,
        unapplied.is_none(),
        unapplied,
        reasons::ConfigVerified,
        "every directive is in effect on every instance that answers",
    );
    let unapplied = f.users.first().or(nobody);
    set(
        USERS_APPLIED,
        unapplied.is_none(),
        unapplied,
        reasons::UsersVerified,
        "every user is as wanted on every instance that answers",
    );
}
