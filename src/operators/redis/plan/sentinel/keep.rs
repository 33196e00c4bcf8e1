//! Sentinels that watch the right primary, with the right options, and see everybody.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::truth::{Truth, Watching};
use crate::engines::redis::MonitoredPrimary;
use crate::operators::redis::model::{
    Instance, Plan, Problem, Sentinel, SentinelStep, SentinelView, Step, UserEntry,
};
use crate::operators::redis::plan::pods;
use crate::operators::redis::reasons;
use crate::operators::redis::users::{self, SENTINEL_USER};

/// Sentinels tell each other within seconds. One that is still wrong after this is told anew; sooner when nobody is where it looks.
const TOLD: Duration = Duration::from_secs(15);
const TOLD_OF_NOBODY: Duration = Duration::from_secs(5);
/// A replica that lost its link a moment ago keeps its priority: the primary may be what is lost.
const LINK_PATIENCE_SECONDS: u64 = 10;
/// Sentinels change nothing that starts a pass by itself.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What replicas are promoted by: the lowest above 0 first, 0 never.
const NEVER: u32 = 0;
const ASKED_FOR: u32 = 10;
const UP_TO_DATE: u32 = 50;
const OUTDATED: u32 = 100;

/// Plans what the sentinels are told.
pub fn plan(
    truth: &Truth<'_, '_>,
    primary: Option<&Instance>,
    settled: bool,
    now: Timestamp,
    plan: &mut Plan,
) {
    admit(truth, plan);
    plan.chores.extend(client_users(truth));
    let serving = primary.filter(|i| i.is_primary());
    let quiet = settled && !truth.is_failing_over();
    if let Some(primary) = serving.filter(|_| quiet) {
        priorities(truth, primary, plan);
        tell(truth, primary, now, plan);
        plan.chores.extend(forget_the_gone(truth, primary));
    }
    plan.findings.sentinels = health(truth, serving);
    plan.sentinels = serving.map_or(0, |primary| {
        let good = |(_, view, m): &Watching<'_>| sees_all(truth, view, m, primary);
        truth.watching().filter(good).count()
    });
    plan.again(if plan.findings.sentinels.is_some() {
        Duration::from_secs(1)
    } else {
        LOOK_AGAIN
    });
}

/// Every server has the user of the sentinels.
fn admit(truth: &Truth<'_, '_>, plan: &mut Plan) {
    let pods: Vec<String> = truth
        .o
        .instances
        .iter()
        .filter(|i| i.info().is_some() && !is_admitted(truth, i))
        .map(|i| i.pod.clone())
        .collect();
    if !pods.is_empty() && truth.o.sentinels.login.is_some() {
        plan.chores
            .push(Step::Sentinel(SentinelStep::Admit { pods }));
    }
}

/// A server that did not say is believed.
fn is_admitted(truth: &Truth<'_, '_>, i: &Instance) -> bool {
    let Some(password) = &truth.o.sentinels.login else {
        return false;
    };
    i.users.get(SENTINEL_USER).is_none_or(|user| {
        user.as_ref()
            .is_some_and(|user| users::of_sentinels(password).same_login(user))
    })
}

/// Users of clients that a sentinel has with other passwords, or still has.
fn client_users(truth: &Truth<'_, '_>) -> Vec<Step> {
    let wanted = users::at_sentinels(truth.v, truth.o);
    let record = users::record(truth.o);
    let due = |view: &SentinelView| -> Vec<String> {
        let differs = |(name, entry): &(&String, &UserEntry)| {
            view.users
                .get(*name)
                .is_some_and(|present| !present.as_ref().is_some_and(|user| entry.same_login(user)))
        };
        let names = wanted.iter().filter(differs).map(|(name, _)| name.clone());
        names
            .chain(users::to_remove(truth.v, &view.users, &record))
            .collect()
    };
    let answering = truth.o.sentinels.pods.iter();
    answering
        .filter_map(|s| Some((s, due(s.view.as_ref()?))))
        .filter(|(_, users)| !users.is_empty())
        .map(|(s, users)| {
            Step::Sentinel(SentinelStep::SetUsers {
                sentinel: s.name().to_owned(),
                users,
            })
        })
        .collect()
}

/// Whom the sentinels may promote, and whom first.
fn priorities(truth: &Truth<'_, '_>, primary: &Instance, plan: &mut Plan) {
    for i in &truth.o.instances {
        let present = i.info().map(|info| info.priority);
        if let Some(wanted) = priority(truth, primary, i).filter(|wanted| present != Some(*wanted))
        {
            plan.chores.push(Step::Configure {
                pod: i.pod.clone(),
                directives: BTreeMap::from([("replica-priority".to_owned(), wanted.to_string())]),
            });
        }
    }
}

/// `None`: it stays as it is.
fn priority(truth: &Truth<'_, '_>, primary: &Instance, i: &Instance) -> Option<u32> {
    let info = i
        .info()
        .filter(|_| i.pod != primary.pod && !i.is_primary())?;
    if i.leaving() || i.ordinal >= truth.v.replicas {
        return Some(NEVER);
    }
    if i.in_sync_with(primary) {
        return Some(if truth.v.switchover.as_ref() == Some(&i.pod) {
            ASKED_FOR
        } else if i.outdated {
            OUTDATED
        } else {
            UP_TO_DATE
        });
    }
    let a_moment_ago = info
        .link_down_seconds
        .is_some_and(|s| s < LINK_PATIENCE_SECONDS);
    (info.sync_in_progress || !a_moment_ago).then_some(NEVER)
}

/// Whom to watch, and how.
fn tell(truth: &Truth<'_, '_>, primary: &Instance, now: Timestamp, plan: &mut Plan) {
    let election = truth.o.status.election.as_ref();
    let age = election
        .and_then(|e| Duration::try_from(now.duration_since(e.decided_at.0)).ok())
        .unwrap_or_default();
    let has_told = age >= TOLD;
    for s in &truth.o.sentinels.pods {
        let Some(view) = &s.view else { continue };
        let others: Vec<String> = view
            .monitored
            .iter()
            .filter(|m| m.name != truth.name())
            .map(|m| m.name.clone())
            .collect();
        if !others.is_empty() {
            plan.chores.push(Step::Sentinel(SentinelStep::Drop {
                sentinel: s.name().to_owned(),
                names: others,
            }));
        }
        let step = match s.watches(truth.name()) {
            None => ready_to_be_watched(truth, primary, has_told).then(|| watch(s, primary)),
            Some((_, m)) if !is_at(truth, m, primary) => {
                let nobody = truth.pod_at(&m.address).is_none();
                (has_told || (nobody && age >= TOLD_OF_NOBODY)).then(|| watch(s, primary))
            }
            Some((_, m)) => (!has_options(truth, m)).then(|| set(s)),
        };
        plan.chores.extend(step);
    }
}

fn watch(s: &Sentinel, primary: &Instance) -> Step {
    Step::Sentinel(SentinelStep::Watch {
        sentinel: s.name().to_owned(),
        primary: primary.pod.clone(),
    })
}

fn set(s: &Sentinel) -> Step {
    Step::Sentinel(SentinelStep::Set {
        sentinel: s.name().to_owned(),
    })
}

/// A sentinel learns of replicas when it begins to watch, and then every 10 s: so it begins when they are in sync. They are not waited
/// for without end.
fn ready_to_be_watched(truth: &Truth<'_, '_>, primary: &Instance, waited: bool) -> bool {
    let (v, o) = (truth.v, truth.o);
    let admitted = is_admitted(truth, primary);
    let complete = (0..v.replicas).all(|n| {
        o.instances.iter().any(|i| {
            let synced = i.in_sync_with(primary) && i.info().is_some_and(|info| info.priority > 0);
            i.ordinal == n && (i.pod == primary.pod || synced) && is_admitted(truth, i)
        })
    });
    admitted && (complete || waited)
}

fn is_at(truth: &Truth<'_, '_>, m: &MonitoredPrimary, primary: &Instance) -> bool {
    let at = truth.pod_at(&m.address);
    at.is_some_and(|i| i.uid == primary.uid)
}

/// It has the options, and its connection to the primary stands: a login that is refused is set anew.
fn has_options(truth: &Truth<'_, '_>, m: &MonitoredPrimary) -> bool {
    truth.v.sentinel.as_ref().is_some_and(|wanted| {
        m.quorum == wanted.quorum
            && m.down_after == wanted.down_after
            && m.failover_timeout == wanted.failover_timeout
    }) && !(m.flags.is_disconnected() && m.flags.is_subjectively_down())
}

/// One sentinel that counts sentinels which are gone for good, or remembers many pods that are. While it forgets them it is blind for
/// seconds, so it is done only where it matters, to one at a time, while all others see everything.
fn forget_the_gone(truth: &Truth<'_, '_>, primary: &Instance) -> Option<Step> {
    let o = truth.o;
    let wanted = wanted(truth);
    let ids: Vec<&str> = o
        .sentinels
        .pods
        .iter()
        .filter_map(|s| Some(s.view.as_ref()?.id.as_str()))
        .collect();
    if ids.len() < wanted || o.sentinels.pods.len() != ids.len() {
        return None;
    }
    let all: Vec<Watching<'_>> = truth.watching().collect();
    if all.len() < wanted
        || all
            .iter()
            .any(|(_, view, m)| !sees_all(truth, view, m, primary))
    {
        return None;
    }
    let too_many = 2 * usize::try_from(truth.v.replicas).unwrap_or_default() + 4;
    let counts_the_gone = |view: &SentinelView| {
        let peers = view.peers.iter().any(|p| !ids.contains(&p.id.as_str()));
        let gone = view
            .replicas
            .iter()
            .filter(|r| truth.pod_at(&r.address).is_none());
        peers || gone.count() > too_many
    };
    let (s, ..) = all.into_iter().find(|(_, view, _)| counts_the_gone(view))?;
    Some(Step::Sentinel(SentinelStep::Reset {
        sentinel: s.name().to_owned(),
    }))
}

fn wanted(truth: &Truth<'_, '_>) -> usize {
    let wanted = truth.v.sentinel.as_ref().map_or(0, |s| s.replicas);
    usize::try_from(wanted).unwrap_or_default()
}

/// It sees the primary, all other sentinels and every replica that is in sync.
fn sees_all(
    truth: &Truth<'_, '_>,
    view: &SentinelView,
    m: &MonitoredPrimary,
    primary: &Instance,
) -> bool {
    let peers = view.peers.iter().filter(|p| p.flags.is_up()).count();
    let mut replicas = truth.o.instances.iter().filter(|i| i.in_sync_with(primary));
    let knows = |i: &Instance| {
        view.replicas
            .iter()
            .any(|r| r.flags.is_up() && truth.pod_at(&r.address).is_some_and(|at| at.uid == i.uid))
    };
    is_at(truth, m, primary) && m.flags.is_up() && peers + 1 >= wanted(truth) && replicas.all(knows)
}

/// What is wrong with the sentinels, the worst first.
fn health(truth: &Truth<'_, '_>, primary: Option<&Instance>) -> Option<Problem> {
    let set = format!("StatefulSet/{}", truth.v.sentinel_set());
    let wanted = wanted(truth);
    let answering = truth.o.sentinels.pods.iter().filter(|s| s.view.is_some());
    let (answering, watching) = (answering.count(), truth.watching().count());
    let broken = || {
        let pods = truth.o.sentinels.pods.iter();
        let mut problems = pods.filter_map(|s| Some((s, pods::problem(&s.pod)?)));
        problems
            .find(|(s, _)| s.view.is_none())
            .map(|(_, p)| p.message)
    };
    if answering < wanted {
        let reason = if answering < truth.majority() {
            reasons::SentinelQuorumLost
        } else {
            reasons::SentinelUnavailable
        };
        let why = broken().unwrap_or_else(|| "pods are being made".to_owned());
        let message = format!("{answering} of {wanted} sentinels answer: {why}");
        return Some(Problem::of(reason, set, message));
    }
    let Some(primary) = primary else {
        let message = "there is no primary to watch";
        return Some(Problem::of(reasons::SentinelsLearning, set, message));
    };
    if watching < wanted {
        let message = format!("{watching} of {wanted} sentinels watch {}", primary.pod);
        return Some(Problem::of(reasons::SentinelsLearning, set, message));
    }
    if let Some((s, ..)) = truth.watching().find(|(_, _, m)| !is_at(truth, m, primary)) {
        let message = format!("{} names another primary than {}", s.name(), primary.pod);
        let object = format!("Pod/{}", s.name());
        return Some(Problem::of(reasons::SentinelsDisagree, object, message));
    }
    let blind = |(_, view, m): &Watching<'_>| !sees_all(truth, view, m, primary);
    truth.watching().find(blind).map(|(s, ..)| {
        let message = format!("{} does not see every instance yet", s.name());
        Problem::of(
            reasons::SentinelsLearning,
            format!("Pod/{}", s.name()),
            message,
        )
    })
}
