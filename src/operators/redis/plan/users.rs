//! The users of clients on every server: set where they differ, verified by reading back, removed when Hera made them and the spec names
//! them no more.
//!
//! A new password is given to every server beside the old one, then published, and only then is the old one taken away: both hold in
//! between, and no pod restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::api::UserStatus;
use super::super::model::{Account, Instance, Observed, Plan, Problem, Step, UserEntry, Validated};
use super::super::reasons;
use super::super::users::{self, Record};

/// What stands in the way.
#[derive(Default)]
struct Tally<'a> {
    /// Pods whose servers are not as wanted yet.
    pending: BTreeSet<&'a str>,
    /// Users that a server does not have as wanted, or nobody could verify.
    unverified: BTreeSet<&'a str>,
    /// What servers refused.
    refused: BTreeSet<String>,
}

/// How a server stands to a user.
enum State<'a> {
    AsWanted,
    /// It has to be told, and what it has looks right: Hera only does not remember that it said so.
    ToBeConfirmed,
    /// It has to be told.
    Due,
    /// It did not say how the user is, or what it is to be told is not recorded yet.
    Waiting,
    Refused(&'a str),
}

/// Plans what has to be set on which server.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let (wanted, filed, record) = (users::wanted(v, o), users::filed(o), users::record(o));
    let mut tally = Tally::default();
    for i in o.instances.iter().filter(|i| i.info().is_some()) {
        let mut due = Vec::new();
        for (name, entry) in &wanted {
            let state = judge(i, name, entry, filed.get(name), &record);
            if matches!(state, State::ToBeConfirmed | State::Due) {
                due.push(name.clone());
            }
            if matches!(state, State::Due | State::Waiting) {
                tally.unverified.insert(name);
                tally.pending.insert(&i.pod);
            }
            if let State::Refused(words) = state {
                tally.unverified.insert(name);
                let message =
                    format!("spec.auth.users[{name}].rules: refused by the server: {words}");
                tally.refused.insert(message);
            }
        }
        let gone = users::to_remove(v, &i.users, &record);
        if !gone.is_empty() {
            tally.pending.insert(&i.pod);
            plan.chores.push(Step::RemoveUsers {
                pod: i.pod.clone(),
                users: gone,
            });
        }
        if !due.is_empty() {
            plan.chores.push(Step::SetUsers {
                pod: i.pod.clone(),
                users: due,
            });
        }
    }
    let verified = |name: &str| wanted.contains_key(name) && !tally.unverified.contains(name);
    plan.users = v
        .users
        .iter()
        .map(|user| status(v, o, &user.name, verified(&user.name)))
        .collect();
    plan.findings.users = findings(v, o, &tally);
    if !tally.pending.is_empty() {
        plan.again(Duration::from_secs(1));
    }
}

fn judge<'a>(
    i: &'a Instance,
    name: &str,
    entry: &UserEntry,
    filed: Option<&UserEntry>,
    record: &Record,
) -> State<'a> {
    if let Some(words) = users::refusal(i, name, entry) {
        return State::Refused(words);
    }
    match users::in_effect(i, name, entry) {
        Some(true) => State::AsWanted,
        Some(false) if !users::is_recorded(record, name, entry) => State::Waiting,
        Some(false) if users::as_filed(i, name, entry, filed) => State::ToBeConfirmed,
        Some(false) => State::Due,
        None => State::Waiting,
    }
}

fn status(v: &Validated, o: &Observed, name: &str, verified: bool) -> UserStatus {
    let answering = o.instances.iter().any(|i| i.info().is_some());
    let published = o.accounts.get(name).is_some_and(Account::is_published);
    UserStatus {
        name: name.to_owned(),
        applied: verified && answering && published,
        connection_secret: users::to_publish(o, name).map(|_| v.user_connection_secret(name)),
    }
}

/// What keeps the users from being as the spec says, the most important first.
fn findings(v: &Validated, o: &Observed, tally: &Tally<'_>) -> Vec<Problem> {
    let database = || format!("Redis/{}", v.name);
    let accounts = o.accounts.values();
    let mut found: Vec<Problem> = accounts.filter_map(|a| a.problem.clone()).collect();
    if !tally.refused.is_empty() {
        let words: Vec<&str> = tally.refused.iter().map(String::as_str).collect();
        found.push(Problem::of(
            reasons::InvalidUser,
            database(),
            words.join("; "),
        ));
    }
    if !tally.pending.is_empty() {
        let pods: Vec<&str> = tally.pending.iter().copied().collect();
        let message = format!("users are to be set on {}", pods.join(", "));
        found.push(Problem::of(reasons::UsersPending, database(), message));
    } else if let Some((name, pods)) = unpublished(o) {
        let message = format!(
            "the new password of {name} is published when {} have it",
            pods.join(", ")
        );
        found.push(Problem::of(reasons::UsersPending, database(), message));
    }
    found
}

/// A user whose new password waits for servers that do not answer.
fn unpublished(o: &Observed) -> Option<(&str, Vec<&str>)> {
    let mut waiting = o.accounts.iter().filter(|(_, a)| !a.is_published());
    waiting.find_map(|(name, account)| {
        let pods = users::without_password(o, name, account);
        (!pods.is_empty()).then_some((name.as_str(), pods))
    })
}
