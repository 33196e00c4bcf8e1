//! The users of clients: which ones every server is to have, which stand in the file that servers start from, which ones Hera made, and
//! which password clients are told.
//!
//! Users that neither the spec names nor Hera made are left alone, so the servers are never told to load the whole file.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};

use super::api::{Mode, ROTATE_PASSWORD_ANNOTATION, Redis, SecretKeyRef};
use super::model::{Account, Instance, Observed, PodState, UserEntry, Validated};
use crate::engines::redis::{
    AclUser, password_hash, sentinel_acl_rules, sentinel_client_acl_rules,
};

/// The user that exists on every server. Its rules are not Hera's.
pub const DEFAULT: &str = "default";
/// Its rules in the file that servers start from.
pub const DEFAULT_RULES: &str = "~* &* +@all";
/// The user with which sentinels log in at the servers and at each other.
pub const SENTINEL_USER: &str = "hera-sentinel";
/// Key of the Secret of the servers with the ACL file.
pub const FILE_KEY: &str = "users.acl";
/// Key of the Secret of the servers with the users that Hera made: their names, and the hashes of passwords that it gave them.
pub const RECORD_KEY: &str = "users.json";

/// Key of the Secret of the servers with a second copy of the generated password of this user.
pub fn copy_key(user: &str) -> String {
    format!("user-password.{user}")
}

/// Hashes that the record keeps of a user: those of the last few rotations.
const RECORDED_HASHES: usize = 8;
/// Removed users that the record keeps, in case that a server comes back with an old file.
const RECORDED_REMOVED: usize = 64;

/// Users that Hera made, and the hashes of passwords that it gave them.
pub type Record = BTreeMap<String, Vec<String>>;

/// Every password that the spec reads from Secrets of other people.
pub fn references(redis: &Redis) -> impl Iterator<Item = &SecretKeyRef> {
    let auth = redis.spec.auth.iter();
    let source = redis.spec.bootstrap.iter();
    auth.flat_map(|a| {
        a.password_secret_ref
            .iter()
            .chain(&a.password_secret_refs)
            .chain(a.users.iter().flat_map(|u| &u.password_secret_refs))
    })
    .chain(source.flat_map(|b| &b.external.password_secret_ref))
}

/// A Secret of the database `redis` with this name belongs to one of its users.
pub fn is_of_a_user(redis: &str, secret: &str) -> bool {
    ["connection", "rotation"]
        .iter()
        .any(|kind| secret.starts_with(&format!("{redis}-{kind}-")))
}

/// Those of the user `default`.
pub fn default_references(redis: &Redis) -> Vec<&SecretKeyRef> {
    let auth = redis.spec.auth.iter();
    auth.flat_map(|a| a.password_secret_ref.iter().chain(&a.password_secret_refs))
        .collect()
}

/// What the annotation asks for: a text for each user that is to get another generated password.
pub fn rotations(redis: &Redis) -> BTreeMap<String, String> {
    let text = redis
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(ROTATE_PASSWORD_ANNOTATION));
    let entries = text.into_iter().flat_map(|text| text.split(','));
    entries
        .filter_map(|entry| entry.split_once('='))
        .map(|(user, text)| (user.trim().to_owned(), text.trim().to_owned()))
        .filter(|(user, text)| !user.is_empty() && !text.is_empty())
        .collect()
}

/// The users that every server is to have, those whose passwords are known.
pub fn wanted(v: &Validated, o: &Observed) -> BTreeMap<String, UserEntry> {
    let hashes = |name: &str| {
        let account = o.accounts.get(name)?;
        (!account.passwords.is_empty()).then(|| account.hashes())
    };
    let default = hashes(DEFAULT).map(|hashes| {
        let entry = UserEntry {
            enabled: v.default_user_enabled,
            hashes,
            rules: DEFAULT_RULES.to_owned(),
        };
        (DEFAULT.to_owned(), entry)
    });
    let others = v.users.iter().filter_map(|user| {
        let entry = UserEntry::of_client(user.enabled, hashes(&user.name)?, &user.rules);
        Some((user.name.clone(), entry))
    });
    default.into_iter().chain(others).collect()
}

/// The users in the file as it is.
pub fn filed(o: &Observed) -> BTreeMap<String, UserEntry> {
    entries(o.objects.server_secret.as_ref())
}

/// The users in the file of this Secret.
pub fn entries(server_secret: Option<&Secret>) -> BTreeMap<String, UserEntry> {
    let text = server_secret.and_then(|s| value(s, FILE_KEY));
    let lines = text.into_iter().flat_map(str::lines);
    lines.filter_map(UserEntry::parse).collect()
}

fn value<'a>(secret: &'a Secret, key: &str) -> Option<&'a str> {
    std::str::from_utf8(&secret.data.as_ref()?.get(key)?.0).ok()
}

/// The users of the spec that may stand in the file: those that every answering server has taken, and those that already stand there. A
/// server does not start with a bad rule.
pub fn to_file(v: &Validated, o: &Observed) -> BTreeMap<String, UserEntry> {
    let filed = filed(o);
    let wanted = wanted(v, o);
    let mut next = BTreeMap::new();
    for user in &v.users {
        let old = filed.get(&user.name);
        let new = wanted.get(&user.name).filter(|entry| {
            old.is_some_and(|old| old.rules == entry.rules)
                || taken_everywhere(o, &user.name, entry)
        });
        if let Some(entry) = new.or(old) {
            next.insert(user.name.clone(), entry.clone());
        }
    }
    next
}

/// Every answering server, and at least one, has taken these rules.
fn taken_everywhere(o: &Observed, name: &str, entry: &UserEntry) -> bool {
    let mut answering = o.instances.iter().filter(|i| i.info().is_some()).peekable();
    answering.peek().is_some()
        && answering.all(|i| {
            i.told
                .get(name)
                .is_some_and(|told| told.entry.rules == entry.rules && told.answer.is_ok())
        })
}

/// The users that Hera made. It is written before a server is told, so that a removed user is never forgotten on a server.
pub fn record(o: &Observed) -> Record {
    let text = o
        .objects
        .server_secret
        .as_ref()
        .and_then(|s| value(s, RECORD_KEY));
    text.and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_default()
}

/// What [`record`] is to be from now on.
pub fn record_next(v: &Validated, o: &Observed) -> Record {
    let mut next = record(o);
    for (name, entry) in wanted(v, o) {
        if name == DEFAULT {
            continue;
        }
        let known = next.entry(name).or_default();
        known.retain(|hash| !entry.hashes.contains(hash));
        known.splice(0..0, entry.hashes);
        known.truncate(RECORDED_HASHES);
    }
    let spec: BTreeSet<&str> = v.users.iter().map(|u| u.name.as_str()).collect();
    let removed: Vec<String> = next
        .keys()
        .filter(|name| !spec.contains(name.as_str()))
        .cloned()
        .collect();
    for name in removed.into_iter().skip(RECORDED_REMOVED) {
        next.remove(&name);
    }
    next
}

/// The record has this user with its passwords.
pub fn is_recorded(record: &Record, name: &str, entry: &UserEntry) -> bool {
    name == DEFAULT
        || record
            .get(name)
            .is_some_and(|known| entry.hashes.iter().all(|hash| known.contains(hash)))
}

/// The server reports what it reported when it was told this. `None`: it did not say. The rules of the user `default` are not compared.
pub fn in_effect(i: &Instance, name: &str, entry: &UserEntry) -> Option<bool> {
    let present = i.users.get(name)?.as_ref();
    Some(present.is_some_and(|present| {
        let as_told = i
            .told
            .get(name)
            .is_some_and(|told| told.entry == *entry && told.answer.as_ref() == Ok(present));
        entry.same_login(present) && (name == DEFAULT || as_told)
    }))
}

/// It is so, or was so when the file was written and looks the same: after a start of Hera a server is told once more, and that is no
/// news.
pub fn as_filed(i: &Instance, name: &str, entry: &UserEntry, filed: Option<&UserEntry>) -> bool {
    let present = i.users.get(name).and_then(Option::as_ref);
    filed == Some(entry)
        && !i.told.contains_key(name)
        && present.is_some_and(|present| entry.same_login(present))
}

/// The server's words about this user, when it refused it.
pub fn refusal<'a>(i: &'a Instance, name: &str, entry: &UserEntry) -> Option<&'a str> {
    let told = i.told.get(name).filter(|told| told.entry == *entry)?;
    told.answer.as_ref().err().map(String::as_str)
}

/// The users of a server that Hera made and the spec does not name any more. One of the same name with a password that Hera did not
/// give it was made by somebody else.
pub fn to_remove(
    v: &Validated,
    present: &BTreeMap<String, Option<AclUser>>,
    record: &Record,
) -> Vec<String> {
    let gone = record
        .iter()
        .filter(|(name, _)| v.users.iter().all(|user| user.name != **name));
    gone.filter(|(name, known)| {
        let user = present.get(*name).and_then(Option::as_ref);
        user.is_some_and(|user| user.passwords.iter().any(|hash| known.contains(hash)))
    })
    .map(|(name, _)| name.clone())
    .collect()
}

/// Pods whose servers do not have the password yet that is to be published. One whose server does not run starts with it.
pub fn without_password<'a>(o: &'a Observed, name: &str, account: &Account) -> Vec<&'a str> {
    let Some(hash) = account.first_hash() else {
        return Vec::new();
    };
    let running = o
        .instances
        .iter()
        .filter(|i| i.pod_state == PodState::Running && !i.uid.is_empty());
    running
        .filter(|i| {
            let present = i.users.get(name).and_then(Option::as_ref);
            !present.is_some_and(|user| user.passwords.contains(&hash))
        })
        .map(|i| i.pod.as_str())
        .collect()
}

/// The password that clients are told: the first one, as soon as every server has it.
pub fn to_publish<'a>(o: &'a Observed, name: &str) -> Option<&'a SecretString> {
    let account = o.accounts.get(name)?;
    match (account.passwords.first(), &account.published) {
        (Some(first), None) => Some(first),
        (Some(first), Some(_)) if without_password(o, name, account).is_empty() => Some(first),
        (_, published) => published.as_ref(),
    }
}

/// Of several copies of a generated password the one that the servers have.
pub fn present(candidates: &[SecretString], filed: Option<&UserEntry>) -> Option<SecretString> {
    let known = |candidate: &&SecretString| {
        let hash = password_hash(candidate.expose_secret());
        filed.is_some_and(|entry| entry.hashes.contains(&hash))
    };
    let found = candidates.iter().find(known).or(candidates.first());
    found.cloned()
}

/// The users that a server is asked about.
pub fn asked(redis: &Redis, o: &Observed) -> Vec<String> {
    let auth = redis.spec.auth.iter();
    let names: BTreeSet<String> = auth
        .flat_map(|a| a.users.iter().map(|u| u.name.clone()))
        .chain(record(o).into_keys())
        .chain([DEFAULT.to_owned()])
        .chain(sentinels_known(redis, o).then(|| SENTINEL_USER.to_owned()))
        .collect();
    names.into_iter().collect()
}

/// Sentinels may log in at the servers, or are to.
fn sentinels_known(redis: &Redis, o: &Observed) -> bool {
    redis.spec.mode == Mode::Sentinel
        || o.sentinels.secret.is_some()
        || filed(o).contains_key(SENTINEL_USER)
}

/// The user of sentinels as every server has it.
pub fn of_sentinels(password: &SecretString) -> UserEntry {
    UserEntry {
        enabled: true,
        hashes: vec![password_hash(password.expose_secret())],
        rules: sentinel_acl_rules(),
    }
}

/// The users of clients as every sentinel has them: with the passwords that they have at the servers, to ask who the primary is.
pub fn at_sentinels(v: &Validated, o: &Observed) -> BTreeMap<String, UserEntry> {
    let known = wanted(v, o).into_iter().map(|(name, entry)| {
        let rules = sentinel_client_acl_rules();
        (name, UserEntry { rules, ..entry })
    });
    known.collect()
}
