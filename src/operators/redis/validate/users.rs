//! `spec.auth`: the rules of the schema once more.

use std::collections::{BTreeMap, BTreeSet};

use super::{Errors, Redis};
use crate::k8s::names;
use crate::operators::redis::api::{Auth, DefaultUser, SecretKeyRef, User};
use crate::operators::redis::model::ValidUser;
use crate::operators::redis::users::{self, DEFAULT};

/// Longest name of a user.
const MAX_NAME: usize = 63;
/// Longest rules of a user.
const MAX_RULES: usize = 1024;
/// Most users of one database.
const MAX_USERS: usize = 64;
/// Most passwords of a user.
const MAX_PASSWORDS: usize = 4;

/// `spec.auth` with its defaults.
pub(super) struct Valid {
    pub(super) default_refs: Vec<SecretKeyRef>,
    pub(super) default_enabled: bool,
    pub(super) users: Vec<ValidUser>,
    pub(super) rotations: BTreeMap<String, String>,
}

/// Checks `spec.auth`.
pub(super) fn auth(redis: &Redis, errors: &mut Errors) -> Valid {
    let auth = redis.spec.auth.clone().unwrap_or_default();
    if let Some(single) = &auth.password_secret_ref {
        reference("spec.auth.passwordSecretRef", single, errors);
        if !auth.password_secret_refs.is_empty() {
            errors.add(
                "spec.auth.passwordSecretRefs",
                "cannot be used together with spec.auth.passwordSecretRef; move that one into the list",
            );
        }
    }
    references(
        "spec.auth.passwordSecretRefs",
        &auth.password_secret_refs,
        errors,
    );
    users(&auth, errors);
    let default_refs: Vec<SecretKeyRef> = auth
        .password_secret_ref
        .into_iter()
        .chain(auth.password_secret_refs)
        .collect();
    let valid: Vec<ValidUser> = auth.users.iter().map(valid).collect();
    // Only a generated password can be made anew.
    let mut rotations = users::rotations(redis);
    rotations.retain(|name, _| {
        let refs = if name == DEFAULT {
            Some(&default_refs)
        } else {
            let user = valid.iter().find(|user| user.name == *name);
            user.map(|user| &user.password_refs)
        };
        refs.is_some_and(Vec::is_empty)
    });
    Valid {
        default_enabled: auth.default_user != Some(DefaultUser::Disabled),
        users: valid,
        rotations,
        default_refs,
    }
}

fn valid(user: &User) -> ValidUser {
    let rules: Vec<&str> = user.rules.split_ascii_whitespace().collect();
    ValidUser {
        name: user.name.clone(),
        rules: rules.join(" "),
        password_refs: user.password_secret_refs.clone(),
        enabled: user.enabled.unwrap_or(true),
    }
}

fn users(auth: &Auth, errors: &mut Errors) {
    if auth.users.len() > MAX_USERS {
        errors.add("spec.auth.users", format!("must have at most {MAX_USERS}"));
    }
    let mut seen = BTreeSet::new();
    for user in &auth.users {
        let field = |part: &str| format!("spec.auth.users[{}].{part}", user.name);
        if let Err(error) = names::check(&user.name, MAX_NAME) {
            errors.add("spec.auth.users.name", error.to_string());
        } else if user.name == DEFAULT || user.name.starts_with("hera") {
            errors.add(
                field("name"),
                "the names default and hera... are taken; for the user default there are \
                 spec.auth.passwordSecretRefs and spec.auth.defaultUser",
            );
        } else if !seen.insert(&user.name) {
            errors.add(field("name"), "is there more than once");
        }
        if user.rules.chars().count() > MAX_RULES
            || user.rules.contains(|c: char| c.is_ascii_control())
        {
            errors.add(
                field("rules"),
                format!("must be one line of at most {MAX_RULES} characters"),
            );
        }
        if let Some(word) = user.rules.split(' ').find(|word| is_login(word)) {
            errors.add(
                field("rules"),
                format!(
                    "must have no rules on passwords and no on, off or reset; remove {}, and use passwordSecretRefs and enabled",
                    word.chars().next().filter(|c| !c.is_alphabetic()).map_or_else(|| word.to_owned(), |c| format!("{c}..."))
                ),
            );
        }
        references(
            &field("passwordSecretRefs"),
            &user.password_secret_refs,
            errors,
        );
    }
}

/// A rule on passwords, or on whether the user may log in.
fn is_login(word: &str) -> bool {
    word.starts_with(['<', '>', '#', '!'])
        || ["on", "off", "nopass", "resetpass", "reset"]
            .iter()
            .any(|rule| word.eq_ignore_ascii_case(rule))
}

fn references(field: &str, references: &[SecretKeyRef], errors: &mut Errors) {
    if references.len() > MAX_PASSWORDS {
        errors.add(field, format!("must have at most {MAX_PASSWORDS}"));
    }
    for one in references {
        reference(field, one, errors);
    }
}

fn reference(field: &str, reference: &SecretKeyRef, errors: &mut Errors) {
    for (part, text) in [("name", &reference.name), ("key", &reference.key)] {
        if text.is_empty() || text.chars().count() > 253 {
            errors.add(format!("{field}.{part}"), "must have 1 to 253 characters");
        }
    }
}
