//! Lost primaries, and primaries that are about to be stopped.

use std::time::Duration;

use super::super::super::model::{
    ClusterStep, Member, Observed, PORT, Plan, Problem, Takeover, Topology, Validated,
};
use super::super::super::reasons;
use super::{about, propose};

/// Looks again at a failover.
const SOON: Duration = Duration::from_millis(500);

/// Plans what makes replicas primaries.
pub fn plan(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    lost(v, o, t, plan);
    leaving(v, t, plan);
    asked(v, t, plan);
}

/// The servers vote by themselves after `cluster-node-timeout`. Where it is certain that the primary will not come back there is
/// nothing to wait for; and where no majority is left, nobody else can do it.
fn lost(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) {
    let lost = t
        .absent
        .iter()
        .filter(|(_, a)| !a.alive && !a.slots.is_empty());
    for (id, primary) in lost {
        let was = o.status.nodes.iter().find(|n| n.id == *id);
        let name = was.map_or(*id, |n| n.pod.as_str());
        plan.again(SOON);
        let Some(heir) = heir(t, id) else {
            let message = format!(
                "the primary of the slots {} was {name}; no copy of them answers",
                primary.slots
            );
            plan.findings.primary = Some(about(v, reasons::SlotsUncovered, message));
            continue;
        };
        let pod = heir.pod();
        let message = format!("{name} was lost; {pod} takes over");
        plan.findings.primary = Some(about(v, reasons::FailingOver, message));
        if t.is_gone(v, o, id) {
            let why = format!("{name} will not come back with its data");
            take_over(t, heir, why, plan);
        } else if heir.me.is_held_back() {
            if v.approved_primary.as_deref() == Some(pod) {
                let why = format!("{pod} is approved by annotation in place of {name}");
                take_over(t, heir, why, plan);
                continue;
            }
            let message = format!(
                "{name} was lost and is waited for, since {pod} was started anew and may lack writes"
            );
            plan.findings.primary = Some(about(v, reasons::NoLineageProof, message));
        } else if !t.has_majority() {
            let message = format!(
                "a majority of the primaries does not answer, {name} among them; it is waited for"
            );
            plan.findings.primary = Some(about(v, reasons::QuorumLost, message));
        }
    }
}

/// The replica of a lost primary that takes its place: one that was in sync before one that was started anew, and the one that has most.
fn heir<'a, 'b>(t: &'b Topology<'a>, primary: &str) -> Option<&'b Member<'a>> {
    t.members
        .iter()
        .filter(|m| m.follows(primary) && !m.instance.terminating)
        .max_by_key(|m| {
            let offset = m.instance.info().map_or(0, |i| i.offset);
            (
                !m.me.is_held_back(),
                offset,
                std::cmp::Reverse(m.instance.ordinal),
            )
        })
}

fn take_over(t: &Topology<'_>, heir: &Member<'_>, why: String, plan: &mut Plan) {
    let pod = heir.pod().to_owned();
    let how = if t.has_majority() {
        Takeover::Forced
    } else {
        Takeover::Alone
    };
    propose(plan, ClusterStep::FailOver { pod, how, why });
}

/// A primary that is about to be stopped hands over before.
fn leaving(v: &Validated, t: &Topology<'_>, plan: &mut Plan) {
    for primary in t.owners() {
        let i = primary.instance;
        let why = if i.terminating {
            format!("{} is being deleted", i.pod)
        } else if i.disrupted {
            format!("{} is about to be evicted", i.pod)
        } else if i.ordinal >= v.replicas {
            format!("{} is to be removed by scaling in", i.pod)
        } else {
            continue;
        };
        hand_over(v, t, primary, why, plan);
    }
}

/// Proposes the hand-over from this primary to the best replica of its shard. Never while slots move: a change of the epoch in
/// between can lose them.
pub fn hand_over(
    v: &Validated,
    t: &Topology<'_>,
    primary: &Member<'_>,
    why: String,
    plan: &mut Plan,
) {
    if let Some(busy) = t.members.iter().find(|m| m.is_moving()) {
        return propose(
            plan,
            ClusterStep::CancelMoves {
                pod: busy.pod().to_owned(),
                why,
            },
        );
    }
    if let Some(to) = successor(v, t, primary, |_| true) {
        let pod = to.pod().to_owned();
        plan.findings.progress = Some(about(v, reasons::HandingOver, &why));
        return propose(
            plan,
            ClusterStep::FailOver {
                pod,
                how: Takeover::Planned,
                why,
            },
        );
    }
    plan.findings.progress = Some(Problem::of(
        reasons::HandingOver,
        format!("Pod/{}", primary.pod()),
        format!("{why}, but no replica is in sync to take over"),
    ));
    plan.again(SOON);
}

/// The best replica to hand over to: in sync, staying, and known as a replica of this primary by a majority of the primaries, which
/// have to vote for it.
pub fn successor<'a, 'b>(
    v: &Validated,
    t: &'b Topology<'a>,
    primary: &Member<'_>,
    among: impl Fn(&Member<'_>) -> bool,
) -> Option<&'b Member<'a>> {
    let primaries: Vec<&Member<'_>> = t.owners().collect();
    let known = |m: &Member<'_>| {
        let votes = primaries
            .iter()
            .filter(|voter| {
                voter.view.nodes.iter().any(|n| {
                    n.id == m.id()
                        && n.primary.as_deref() == Some(primary.id())
                        && !n.is_failed()
                        && !n.is_suspected()
                })
            })
            .count();
        2 * votes > primaries.len()
    };
    let heard = |m: &Member<'_>| {
        let links = primary.instance.info().map(|i| i.replicas.as_slice());
        links.unwrap_or_default().iter().any(|l| {
            Some(l.ip.as_str()) == m.instance.ip.as_deref() && l.port == PORT && l.is_online()
        })
    };
    t.members
        .iter()
        .filter(|m| m.instance.ordinal < v.replicas && m.instance.shard == primary.instance.shard)
        .filter(|m| !m.instance.leaving() && m.in_sync_with(primary) && known(m) && heard(m))
        .filter(|m| among(m))
        .max_by_key(|m| {
            let offset = m.instance.info().map_or(0, |i| i.offset);
            (
                !m.instance.outdated,
                offset,
                std::cmp::Reverse(m.instance.ordinal),
            )
        })
}

/// The pod that the annotation names becomes the primary of its shard.
fn asked(v: &Validated, t: &Topology<'_>, plan: &mut Plan) {
    let rolling = t.members.iter().any(|m| m.instance.outdated);
    let Some(pod) = v.switchover.as_deref().filter(|_| !rolling) else {
        return;
    };
    let Some(primary) = t
        .member(pod)
        .and_then(|m| t.primary(m.instance.shard))
        .filter(|p| p.pod() != pod && !p.slots.is_empty())
    else {
        return;
    };
    if t.members.iter().any(Member::is_moving) {
        return;
    }
    if successor(v, t, primary, |m| m.pod() == pod).is_some() {
        propose(
            plan,
            ClusterStep::FailOver {
                pod: pod.to_owned(),
                how: Takeover::Planned,
                why: format!("{pod} is asked for by annotation"),
            },
        );
    }
}
