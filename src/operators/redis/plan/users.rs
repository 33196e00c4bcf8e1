//! The users of clients on every server: set where they differ, verified by reading back, removed when Hera made them and the spec names
//! them no more.
//!
//! A new password is given to every server beside the old one, then published, and only then is the old one taken away: both hold in
//! between, and no pod restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use super::super::api::UserStatus;
use super::super::model::{Instance, Observed, Plan, Problem, Step, UserEntry, Validated};
use super::super::reasons;
use super::super::users;

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

/// Plans what has to be set on which server.
pub fn plan(v: &Validated, o: &Observed, plan: &mut Plan) {
    let (wanted, filed, record) = (users::wanted(v, o), users::filed(o), users::record(o));
    let mut tally = Tally::default();
    for i in o.instances.iter().filter(|i| i.info().is_some()) {
        let mut due = Vec::new();
        for (name, entry) in &wanted {
            let is_as_filed = users::as_filed(i, name, entry, filed.get(name));
            match judge(i, name, entry) {
                State::AsWanted => {}
                State::Refused(words) => {
                    tally.unverified.insert(name);
                    tally.refused.insert(format!(
                        "spec.auth.users[{name}].rules: refused by the server: {words}"
                    ));
                }
                State::Unknown => {
                    tally.unverified.insert(name);
                    tally.pending.insert(&i.pod);
                }
                // What a server has is not told before it is recorded.
                State::Differs if users::is_recorded(&record, name, entry) => {
                    due.push(name.clone());
                    if !is_as_filed {
                        tally.unverified.insert(name);
                        tally.pending.insert(&i.pod);
                    }
                }
                State::Differs => {
                    tally.unverified.insert(name);
                    tally.pending.insert(&i.pod);
                }
            }
        }
        let (pod, gone) = (i.pod.clone(), users::to_remove(v, i, &record));
        if !gone.is_empty() {
            tally.pending.insert(&i.pod);
            plan.chores.push(Step::RemoveUsers {
                pod: pod.clone(),
                users: gone,
            });
        }
        if !due.is_empty() {
            plan.chores.push(Step::SetUsers { pod, users: due });
        }
    }
    plan.users = v
        .users
        .iter()
        .map(|user| {
            let account = o.accounts.get(&user.name);
            let verified = wanted.contains_key(&user.name)
                && !tally.unverified.contains(user.name.as_str())
                && o.instances.iter().any(|i| i.info().is_some());
            UserStatus {
                name: user.name.clone(),
                applied: verified
                    && account.is_some_and(|a| a.problem.is_none() && a.is_published()),
                connection_secret: users::to_publish(o, &user.name)
                    .map(|_| v.user_connection_secret(&user.name)),
            }
        })
        .collect();
    plan.findings.users = findings(v, o, &tally);
    if !tally.pending.is_empty() {
        plan.again(Duration::from_secs(1));
    }
}

enum State<'a> {
    AsWanted,
    Refused(&'a str),
    Differs,
    Unknown,
}

fn judge<'a>(i: &'a Instance, name: &str, entry: &UserEntry) -> State<'a> {
    match (
        users::refusal(i, name, entry),
        users::in_effect(i, name, entry),
    ) {
        (Some(words), _) => State::Refused(words),
        (None, Some(true)) => State::AsWanted,
        (None, Some(false)) => State::Differs,
        (None, None) => State::Unknown,
    }
}

/// What keeps the users from being as the spec says, the most important first.
fn findings(v: &Validated, o: &Observed, tally: &Tally<'_>) -> Vec<Problem> {
    let database = || format!("Redis/{}", v.name);
    let mut found: Vec<Problem> = v
        .users
        .iter()
        .filter_map(|user| o.accounts.get(&user.name)?.problem.clone())
        .collect();
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
