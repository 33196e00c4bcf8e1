//! When a change may restart pods.

use super::*;
use crate::operators::redis::api::MaintenanceWindow;
use crate::operators::redis::model::Window;

const REVISION: &str = "db-77";

fn due() -> (Validated, Observed) {
    let (v, mut o) = healthy(3);
    o.update_revision = Some(REVISION.into());
    for i in &mut o.instances {
        i.outdated = true;
        i.ready_for = Some(Duration::from_secs(3600));
    }
    (v, o)
}

fn restarts(v: &Validated, o: &Observed) -> Result<String, &'static str> {
    let p = run(v, o);
    assert!(p.rolling);
    match p.step {
        Some(Step::DeletePod { pod, .. }) => Ok(pod),
        Some(Step::Decide(election, _)) => Ok(format!("to {}", election.candidate)),
        _ => Err(p.findings.progress.map_or("", |f| f.reason)),
    }
}

/// The window that opens `minutes` after the time of the tests, which is 22:13 UTC, for one hour.
fn window(minutes: i64) -> Window {
    let opens = now() + SignedDuration::from_mins(minutes);
    let window = MaintenanceWindow {
        start: opens.strftime("%H:%M").to_string(),
        duration_minutes: 60,
        ..MaintenanceWindow::default()
    };
    Window::parse(&window).unwrap()
}

#[test]
fn what_the_user_has_not_allowed_is_not_restarted() {
    let (v, o) = due();
    assert_eq!(restarts(&v, &o), Ok("db-2".into()));

    let mut paused = v.clone();
    paused.update.paused = true;
    assert_eq!(restarts(&paused, &o), Err(reasons::UpdatePaused));

    let mut busy = o.clone();
    busy.may_roll = false;
    assert_eq!(restarts(&v, &busy), Err(reasons::RolloutBudgetExhausted));

    let mut shut = v.clone();
    shut.update.window = Some(window(30));
    assert_eq!(restarts(&shut, &o), Err(reasons::OutsideMaintenanceWindow));
    let wait = run(&shut, &o).requeue.unwrap().as_secs();
    assert!((29 * 60..=30 * 60).contains(&wait), "{wait}");
    shut.update.window = Some(window(-30));
    assert_eq!(restarts(&shut, &o), Ok("db-2".into()));
}

/// Servers of the old version cannot read what newer ones wrote; users of other operators lost all replicas, and then the data.
#[test]
fn a_downgrade_restarts_nothing() {
    let (mut v, mut o) = due();
    for i in 0..3 {
        info(&mut o, i).version = "8.0.2".into();
    }
    for (version, allowed) in [
        ("7.2", false),
        ("7.0.15", false),
        ("8.0", true),
        ("8.2", true),
    ] {
        v.version = Some(version.into());
        let expected = if allowed {
            Ok("db-2".to_owned())
        } else {
            Err(reasons::IncompatibleVersion)
        };
        assert_eq!(restarts(&v, &o), expected, "{version}");
    }
    v.version = None;
    assert_eq!(
        restarts(&v, &o),
        Ok("db-2".into()),
        "nobody knows the image"
    );
}

#[test]
fn a_pod_that_was_restarted_is_watched_before_the_next() {
    let (mut v, mut o) = due();
    v.update.soak = Duration::from_secs(600);
    assert_eq!(
        restarts(&v, &o),
        Ok("db-2".into()),
        "the first waits for nobody"
    );
    o.instances[2].outdated = false;
    o.instances[2].ready_for = Some(Duration::from_secs(599));
    assert_eq!(restarts(&v, &o), Err(reasons::Soaking));
    assert_eq!(run(&v, &o).requeue, Some(Duration::from_secs(1)));
    o.instances[2].ready_for = Some(Duration::from_secs(600));
    assert_eq!(restarts(&v, &o), Ok("db-1".into()));
}

#[test]
fn the_primary_waits_for_the_approval_of_this_very_revision() {
    let (mut v, mut o) = due();
    v.update.ask_for_primary = true;
    assert_eq!(restarts(&v, &o), Ok("db-2".into()), "replicas need none");
    for replica in [1, 2] {
        o.instances[replica].outdated = false;
    }
    assert_eq!(restarts(&v, &o), Err(reasons::ApprovalNeeded));
    let told = run(&v, &o).findings.progress.unwrap().message;
    assert!(told.contains(REVISION), "{told}");
    v.update.approved = Some("db-66".into());
    assert_eq!(restarts(&v, &o), Err(reasons::ApprovalNeeded));
    v.update.approved = Some(REVISION.into());
    assert_eq!(restarts(&v, &o), Ok("to db-1".into()));
    o.update_revision = None;
    assert_eq!(
        restarts(&v, &o),
        Err(reasons::ApprovalNeeded),
        "which one is not known"
    );
}

/// A pod that serves nothing is replaced whatever was not allowed: that is how a corrected spec heals.
#[test]
fn a_broken_pod_is_replaced_in_any_case() {
    let (mut v, mut o) = due();
    v.update.paused = true;
    v.update.window = Some(window(30));
    o.instances[2].pod_state = PodState::Waiting("ImagePullBackOff".into(), String::new());
    o.instances[2].server = Server::Down;
    assert_eq!(restarts(&v, &o), Ok("db-2".into()));
}

#[test]
fn a_database_that_sleeps_is_left_alone() {
    let (mut v, mut o) = due();
    v.hibernate = true;
    let going = run(&v, &o);
    assert_eq!((going.step, going.primary), (None, None));
    assert_eq!(
        going.findings.progress.map(|f| f.reason),
        Some(reasons::Hibernated)
    );
    for i in &mut o.instances {
        *i = Instance {
            pod: i.pod.clone(),
            ordinal: i.ordinal,
            ..Instance::default()
        };
    }
    let asleep = run(&v, &o);
    assert_eq!((asleep.step, asleep.chores), (None, vec![]));
    assert_eq!(asleep.requeue, None, "nothing is to be looked at");
    assert_eq!(asleep.findings.progress, None);
    assert_eq!(
        asleep.findings.primary.map(|f| f.reason),
        Some(reasons::Hibernated)
    );
}
