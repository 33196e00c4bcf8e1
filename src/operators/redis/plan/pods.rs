//! What is wrong with the pods, in words that a user can act on.

use std::time::Duration;

use super::super::model::{Instance, Observed, PodState, Problem, Server, Validated};
use super::super::reasons;

/// After so long without an answer, a link or a start, an instance is not waited for any more.
pub const LAME: Duration = Duration::from_secs(60);

/// A problem for each pod that does not serve, the worst first.
pub fn problems(v: &Validated, o: &Observed) -> Vec<Problem> {
    let mut list: Vec<Problem> = o
        .instances
        .iter()
        .filter(|i| i.ordinal < v.copies())
        .filter_map(problem)
        .collect();
    list.sort_by_key(|p| p.reason == reasons::PodStarting || p.reason == reasons::PodNotCreated);
    list
}

/// Why this pod does not serve.
pub fn problem(i: &Instance) -> Option<Problem> {
    let pod = format!("Pod/{}", i.pod);
    if i.terminating {
        return Some(Problem::of(
            reasons::PodStarting,
            pod,
            format!("{} is being replaced", i.pod),
        ));
    }
    match &i.pod_state {
        PodState::Missing => Some(Problem::of(
            reasons::PodNotCreated,
            pod,
            format!("{} does not exist yet", i.pod),
        )),
        PodState::Unscheduled(Some(words)) => Some(Problem::of(
            reasons::PodUnschedulable,
            pod,
            format!("{}: {words}", i.pod),
        )),
        PodState::Unscheduled(None) => Some(Problem::of(
            reasons::PodStarting,
            pod,
            format!("{} has no node yet", i.pod),
        )),
        PodState::Waiting(reason, words) => Some(waiting(i, pod, reason, words)),
        PodState::Ended(words) => Some(Problem::of(
            reasons::PodCrashing,
            pod,
            format!("the server of {} ended: {words}", i.pod),
        )),
        PodState::Running => server(i, &pod),
    }
}

fn waiting(i: &Instance, pod: String, reason: &str, words: &str) -> Problem {
    let code = match reason {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "ImageInspectError"
        | "RegistryUnavailable" => reasons::ImagePullFailed,
        "ContainerCreating" | "PodInitializing" | "" => reasons::PodStarting,
        _ => reasons::PodCrashing,
    };
    Problem::of(
        code,
        pod,
        format!("{}: {reason} {words}", i.pod).trim_end().to_owned(),
    )
}

fn server(i: &Instance, pod: &str) -> Option<Problem> {
    let found = |reason, message: String| Some(Problem::of(reason, pod, message));
    match &i.server {
        Server::Up(_) if !i.pod_ready && i.exporter_down.is_some() => found(
            reasons::ExporterNotRunning,
            format!(
                "the exporter of {}: {}",
                i.pod,
                i.exporter_down.as_deref().unwrap_or_default()
            ),
        ),
        Server::Up(_) if !i.pod_ready && i.gate != Some(false) => {
            found(reasons::PodStarting, format!("{} is not Ready yet", i.pod))
        }
        Server::Up(_) | Server::Busy | Server::Loading => None,
        Server::Down => found(
            reasons::PodStarting,
            format!("the server of {} does not listen yet", i.pod),
        ),
        Server::Silent(_) => found(
            reasons::InstanceUnreachable,
            format!("the server of {} does not answer", i.pod),
        ),
        Server::Denied(words) => found(
            reasons::AccessDenied,
            format!("{} refuses Hera's user: {words}", i.pod),
        ),
    }
}

fn is_coming(reason: &str) -> bool {
    matches!(reason, "ContainerCreating" | "PodInitializing")
}

/// It holds nothing, and does not start.
pub fn never_served(i: &Instance) -> bool {
    let stuck = match &i.pod_state {
        PodState::Unscheduled(_) => true,
        // A container that has just ended is started again, and one that is being made may be about to serve.
        PodState::Waiting(reason, _) => !is_coming(reason) || i.age >= LAME,
        PodState::Missing | PodState::Running | PodState::Ended(_) => false,
    };
    stuck && matches!(i.server, Server::Down)
}
