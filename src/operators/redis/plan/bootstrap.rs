//! A database whose first data comes from a server outside of it: one pod replicates from there and the others from that pod, until the
//! cut-over. After it, never again.
//!
//! As long as the status says `Replicating`, nothing was ever written here: all data is a copy, and may be copied anew. The record that
//! this ended is written after the promotion and before clients are led to the primary.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::super::api::{BootstrapState, BootstrapStatus, Election, ElectionKind};
use super::super::model::{
    BootstrapStep, Info, Instance, Observed, Plan, PodState, PrimaryLogin, Problem, Role, Server,
    Source, Step, ValidBootstrap, Validated,
};
use super::super::reasons;
use super::super::versions;
use super::replication;

/// How far behind a copy may be when the writes of the external server are paused: the rest is copied in this pause.
const CUT_OVER_LAG: u64 = 1 << 20;
/// How often the external server is asked.
const LOOK: Duration = Duration::from_secs(5);
/// While something is about to happen.
const SOON: Duration = Duration::from_millis(500);

/// The data of this database is still that of the external server.
pub fn is_due(v: &Validated, o: &Observed) -> bool {
    if let Some(record) = &o.status.bootstrap {
        return record.state == BootstrapState::Replicating;
    }
    let serves = o.status.election.is_some() || o.instances.iter().any(Instance::is_primary);
    v.bootstrap.is_some() && !serves
}

/// Plans the copy and the cut-over.
pub fn plan(v: &Validated, o: &Observed, now: Timestamp, plan: &mut Plan) {
    // Promoted by the step whose record was lost, or by somebody's hand: it may have been written to since.
    if o.instances.iter().any(Instance::is_primary) {
        tell(
            v,
            plan,
            reasons::BootstrapCuttingOver,
            "a server was promoted",
        );
        return plan.propose(Step::Bootstrap(BootstrapStep::Finish));
    }
    let Some(record) = &o.status.bootstrap else {
        begin(v, o, plan);
        // What cannot be copied may be a matter of the version; data that is there is not put at risk for that.
        if plan.findings.risk.is_none() {
            roll(o, "", plan);
        }
        return;
    };
    let importer = o.instances.iter().find(|i| i.pod == record.pod);
    match importer.filter(|i| i.info().is_some() && !i.leaving()) {
        Some(importer) => copy(v, o, importer, now, plan),
        None => without(v, o, importer, record, plan),
    }
    roll(o, &record.pod, plan);
}

/// After the cut-over, and for all that do not copy the external server: the login of this database's own replicas.
pub fn logins(o: &Observed, plan: &mut Plan) {
    let others = o.instances.iter().filter(|i| i.login.is_some());
    own_logins(others, plan);
}

fn own_logins<'a>(instances: impl Iterator<Item = &'a Instance>, plan: &mut Plan) {
    let wrong = instances.filter(|i| i.login.is_some_and(|l| l != PrimaryLogin::Own));
    plan.chores
        .extend(wrong.map(|i| Step::Bootstrap(BootstrapStep::OwnLogin { pod: i.pod.clone() })));
}

fn tell(v: &Validated, plan: &mut Plan, reason: &'static str, message: impl Into<String>) {
    tell_of(
        plan,
        Problem::of(reason, format!("Redis/{}", v.name), message),
    );
}

/// It is why there is no primary, too.
fn tell_of(plan: &mut Plan, problem: Problem) {
    plan.findings.bootstrap = Some(problem.clone());
    plan.findings.primary = Some(problem);
}

/// Nothing was copied yet. No server may hold data, and none that is not heard of may.
fn begin(v: &Validated, o: &Observed, plan: &mut Plan) {
    let keys = |i: &Instance| i.info().map_or(0, |info| info.keys);
    if let Some(full) = o.instances.iter().find(|i| keys(i) > 0) {
        let message = format!("{} holds {} keys already", full.pod, keys(full));
        let problem = Problem::of(
            reasons::BootstrapNotEmpty,
            format!("Pod/{}", full.pod),
            message,
        );
        plan.findings.risk = Some(problem.clone());
        plan.again(LOOK);
        return tell_of(plan, problem);
    }
    let kept = |i: &&Instance| {
        let mut claims = o.claims.iter();
        claims.any(|c| c.adopted && c.ordinal == i.ordinal)
    };
    let unheard = |i: &&Instance| i.info().is_none_or(|info| info.loading);
    if let Some(missing) = o.instances.iter().filter(kept).find(unheard) {
        plan.again(SOON);
        let message = format!(
            "the volume of {} existed before and may hold data",
            missing.pod
        );
        return tell(v, plan, reasons::WaitingForInstance, message);
    }
    let candidates = o.instances.iter().filter(|i| !i.leaving());
    let Some(first) = candidates
        .filter(|i| i.info().is_some())
        .min_by_key(|i| i.ordinal)
    else {
        plan.again(LOOK);
        return tell(v, plan, reasons::NoPrimary, "no instance answers yet");
    };
    let (Some(wish), Some(source)) = (&v.bootstrap, &o.source) else {
        return;
    };
    if let Some(problem) = first.info().and_then(|own| unusable(source, own)) {
        plan.again(LOOK);
        return tell_of(plan, problem);
    }
    tell(
        v,
        plan,
        reasons::BootstrapCopying,
        format!("{} is copied next", wish.address),
    );
    plan.propose(Step::Bootstrap(BootstrapStep::Begin(replicating(
        &first.pod,
        &wish.address.to_string(),
    ))));
}

fn replicating(pod: &str, source: &str) -> BootstrapStatus {
    BootstrapStatus {
        source: source.to_owned(),
        pod: pod.to_owned(),
        state: BootstrapState::Replicating,
        completed_at: None,
    }
}

/// Why this server must not be told to replicate from the external one: it would empty itself in the attempt.
pub fn unusable(source: &Source, own: &Info) -> Option<Problem> {
    let at = source.address.to_string();
    let info = match &source.server {
        Ok(info) => info,
        Err(problem) => return Some(problem.clone()),
    };
    let of = |reason, message: String| Some(Problem::of(reason, at.clone(), message));
    if info.cluster_enabled {
        return of(
            reasons::BootstrapSourceUnusable,
            format!("{at} is a node of a cluster"),
        );
    }
    if info.role == Role::Replica {
        let primary = info.primary().map(|a| a.to_string()).unwrap_or_default();
        let message = format!("{at} is a replica of {primary}; name a primary");
        return of(reasons::BootstrapSourceUnusable, message);
    }
    if info.loading {
        return of(
            reasons::BootstrapSourceUnavailable,
            format!("{at} loads its data"),
        );
    }
    if !versions::can_follow(own, info) {
        let message = format!(
            "{:?} {} cannot read the data of {at} ({:?} {}); nothing is copied",
            own.engine, own.version, info.engine, info.version
        );
        return of(reasons::IncompatibleVersion, message);
    }
    None
}

/// The pod that replicates from the external server answers.
fn copy(v: &Validated, o: &Observed, importer: &Instance, now: Timestamp, plan: &mut Plan) {
    let Some(own) = importer.info() else { return };
    let source = o.source.as_ref();
    let has_all = own.link_up && !own.sync_in_progress && !own.loading;
    let others = || o.instances.iter().filter(|i| i.pod != importer.pod);
    own_logins(others(), plan);
    gate(importer, has_all, plan);
    if has_all || (own.keys > 0 && !own.sync_in_progress && !own.loading) {
        plan.primary = Some(importer.pod.clone());
    }
    if has_all {
        replication::follow(o, importer, plan);
        let readers = || others().filter(|i| !i.terminating && i.in_sync_with(importer));
        plan.readers = readers().map(|i| i.pod.clone()).collect();
    }
    for i in others().filter(|i| i.info().is_some() && !i.terminating) {
        gate(i, has_all && i.in_sync_with(importer), plan);
    }
    plan.again(LOOK);
    let Some(wish) = &v.bootstrap else {
        tell(
            v,
            plan,
            reasons::BootstrapCuttingOver,
            "spec.bootstrap was removed: what was copied is served",
        );
        return take_over(o, importer, "spec.bootstrap was removed", now, plan);
    };
    let Some(source) = source else { return };
    if let Some(problem) = unusable(source, own) {
        return tell_of(plan, problem);
    }
    let linked = own.primary().is_some_and(|p| p == wish.address);
    if !linked || importer.login.is_some_and(|l| l != PrimaryLogin::Source) {
        tell(
            v,
            plan,
            reasons::BootstrapCopying,
            format!("{} is copied next", wish.address),
        );
        let pod = importer.pod.clone();
        return plan.propose(Step::Bootstrap(BootstrapStep::Replicate { pod }));
    }
    let Ok(external) = &source.server else { return };
    if !has_all || own.replid != external.replid {
        let message = format!(
            "{} copies {}: {}",
            importer.pod,
            wish.address,
            progress(own, external)
        );
        return tell(v, plan, reasons::BootstrapCopying, message);
    }
    let lag = external.offset.saturating_sub(own.offset);
    if wish.cut_over {
        return cut_over(v, o, importer, wish, lag, now, plan);
    }
    let message = format!("{} follows {}, {}", importer.pod, wish.address, behind(lag));
    tell(v, plan, reasons::BootstrapFollowing, message);
}

fn cut_over(
    v: &Validated,
    o: &Observed,
    importer: &Instance,
    wish: &ValidBootstrap,
    lag: u64,
    now: Timestamp,
    plan: &mut Plan,
) {
    let in_sync = o
        .instances
        .iter()
        .filter(|i| i.in_sync_with(importer))
        .count();
    let needed = usize::try_from(v.min_replicas_to_write).unwrap_or_default();
    plan.again(SOON);
    if lag > CUT_OVER_LAG {
        let message = format!("{} is {} of {}", importer.pod, behind(lag), wish.address);
        return tell(v, plan, reasons::BootstrapCuttingOver, message);
    }
    // It would refuse every write until they are.
    if in_sync < needed {
        let message = format!(
            "{in_sync} of {needed} replicas that a write needs are in sync with {}",
            importer.pod
        );
        return tell(v, plan, reasons::BootstrapCuttingOver, message);
    }
    let message = format!("{} takes over from {}", importer.pod, wish.address);
    tell(v, plan, reasons::BootstrapCuttingOver, message.clone());
    take_over(o, importer, &message, now, plan);
}

/// First the decision is written down, then it is carried out, by the very server that was chosen.
fn take_over(o: &Observed, importer: &Instance, why: &str, now: Timestamp, plan: &mut Plan) {
    let run_id = importer
        .info()
        .map(|i| i.run_id.clone())
        .unwrap_or_default();
    let last = o.status.election.as_ref();
    let open = last.filter(|e| {
        !e.completed && e.candidate_uid == importer.uid && e.run_id == run_id && !run_id.is_empty()
    });
    if let Some(open) = open {
        plan.primary = None;
        return plan.propose(Step::Bootstrap(BootstrapStep::CutOver(open.clone())));
    }
    let election = Election {
        epoch: last.map_or(1, |e| e.epoch + 1),
        kind: ElectionKind::Bootstrap,
        candidate: importer.pod.clone(),
        candidate_uid: importer.uid.clone(),
        run_id,
        from: None,
        decided_at: Time(now),
        completed: false,
    };
    plan.propose(Step::Decide(election, why.to_owned()));
}

/// The pod that replicates from the external server does not answer. When it will not soon, another one takes its place.
fn without(
    v: &Validated,
    o: &Observed,
    lost: Option<&Instance>,
    record: &BootstrapStatus,
    plan: &mut Plan,
) {
    plan.again(SOON * 2);
    let gone = lost.is_none_or(|i| {
        let stuck = matches!(
            i.pod_state,
            PodState::Unscheduled(Some(_)) | PodState::Waiting(..)
        );
        let silent =
            matches!(&i.server, Server::Silent(silence) if *silence >= v.unresponsive_after);
        i.node_lost || silent || (stuck && i.age >= v.unresponsive_after)
    });
    let others = o
        .instances
        .iter()
        .filter(|i| i.pod != record.pod && !i.leaving());
    let next = others
        .filter(|i| {
            i.info()
                .is_some_and(|info| !info.loading && !info.sync_in_progress)
        })
        .max_by_key(|i| (i.info().map_or(0, |info| info.offset), Reverse(i.ordinal)));
    if let Some(next) = next.filter(|_| gone) {
        let message = format!("{} does not answer; {} copies on", record.pod, next.pod);
        tell(v, plan, reasons::BootstrapCopying, message);
        let next = replicating(&next.pod, &record.source);
        return plan.propose(Step::Bootstrap(BootstrapStep::Begin(next)));
    }
    let message = format!(
        "{}, which copies {}, does not answer yet",
        record.pod, record.source
    );
    tell(v, plan, reasons::BootstrapCopying, message);
}

/// Every pod holds a copy that can be had again, so pods of another revision are replaced one after the other, that one last which the
/// others copy.
fn roll(o: &Observed, importer: &str, plan: &mut Plan) {
    let outdated = o
        .instances
        .iter()
        .filter(|i| i.outdated && !i.uid.is_empty());
    let Some(next) = outdated.max_by_key(|i| (i.pod != importer, i.ordinal)) else {
        return;
    };
    plan.rolling = true;
    let busy = o
        .instances
        .iter()
        .any(|i| i.terminating || i.uid.is_empty());
    if busy || o.settling || !o.may_roll {
        return plan.again(SOON * 2);
    }
    plan.propose(Step::DeletePod {
        pod: next.pod.clone(),
        uid: next.uid.clone(),
        reason: reasons::RollingUpdate,
        why: format!("{}: its template changed", next.pod),
    });
}

fn gate(i: &Instance, ready: bool, plan: &mut Plan) {
    if i.gate != Some(ready) {
        plan.chores.push(Step::Gate {
            pod: i.pod.clone(),
            ready,
        });
    }
}

/// Coarse, so that the status does not change with every byte.
fn behind(lag: u64) -> String {
    if lag <= CUT_OVER_LAG {
        "less than 1 MiB behind".into()
    } else {
        format!("about {} MiB behind", lag.next_power_of_two() >> 20)
    }
}

fn progress(own: &Info, external: &Info) -> String {
    let mib = |bytes: u64| (bytes >> 20).max(1);
    let received = own.sync_read_bytes;
    if !own.sync_in_progress {
        "the link is not up yet".into()
    } else if received >> 20 == 0 {
        format!(
            "the external server uses {} MiB of memory",
            mib(external.used_memory)
        )
    } else {
        format!(
            "more than {} MiB came; the external server uses {} MiB of memory",
            (received / 2 + 1).next_power_of_two() >> 20,
            mib(external.used_memory)
        )
    }
}
