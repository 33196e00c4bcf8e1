//! Rolling changes and configuration.

use super::elections::with_storage;
use super::*;

fn outdated(replicas: i32) -> (Validated, Observed) {
    let (v, mut o) = healthy(replicas);
    for i in &mut o.instances {
        i.outdated = true;
    }
    (v, o)
}

fn deleted(p: &Plan) -> Option<&str> {
    match &p.step {
        Some(Step::DeletePod { pod, .. }) => Some(pod),
        _ => None,
    }
}

#[test]
fn replicas_go_first_one_by_one_and_the_primary_last_after_a_hand_over() {
    let (v, mut o) = outdated(3);
    assert_eq!(deleted(&run(&v, &o)), Some("db-2"));
    o.instances[2].outdated = false;
    assert_eq!(deleted(&run(&v, &o)), Some("db-1"));
    o.instances[1].outdated = false;
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::HandOver, "db-1"))
    );
}

/// A spec that was set back: until the StatefulSet controller has seen it, pods are outdated only for the template before.
#[test]
fn nothing_is_restarted_for_a_template_that_is_replaced_already() {
    let (v, mut o) = outdated(3);
    o.settling = true;
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert!(p.requeue.is_some());
}

#[test]
fn the_next_pod_waits_until_all_are_ready_and_in_sync() {
    type Break = fn(&mut Observed);
    let breaks: [(&str, Break); 5] = [
        ("a link is down", |o| info(o, 2).link_up = false),
        ("it synchronises", |o| info(o, 2).sync_in_progress = true),
        ("it is not ready", |o| o.instances[2].pod_ready = false),
        ("it does not answer", |o| {
            o.instances[2].server = Server::Silent(Duration::from_secs(2));
        }),
        ("it is going", |o| o.instances[2].terminating = true),
    ];
    for (what, break_it) in breaks {
        let (v, mut o) = outdated(3);
        o.instances[2].outdated = false;
        break_it(&mut o);
        let p = run(&v, &o);
        assert_eq!(p.step, None, "{what}");
        assert_eq!(
            p.findings.progress.map(|f| f.reason),
            Some(reasons::RollWaiting),
            "{what}"
        );
        assert!(p.requeue.is_some());
    }
}

/// An exporter that does not run keeps its pod from being Ready. The roll stops there, and goes on from there when the spec is corrected.
#[test]
fn an_exporter_that_does_not_run_stops_a_roll_and_not_its_correction() {
    let (v, mut o) = outdated(3);
    o.instances[2].outdated = false;
    o.instances[2].pod_ready = false;
    o.instances[2].exporter_down = Some("ImagePullBackOff".into());
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.findings.pods.first().map(|f| f.reason),
        Some(reasons::ExporterNotRunning)
    );
    // Set back, only that pod is outdated; corrected in another way, all are.
    for corrected in [2..3, 0..3] {
        for i in &mut o.instances {
            i.outdated = corrected.contains(&i.ordinal);
        }
        assert_eq!(deleted(&run(&v, &o)), Some("db-2"), "{corrected:?}");
    }
}

#[test]
fn a_pod_that_never_started_is_replaced_at_once_when_the_spec_was_corrected() {
    for stuck in [
        PodState::Waiting("ImagePullBackOff".into(), String::new()),
        PodState::Unscheduled(Some("0/1".into())),
        PodState::Waiting("CrashLoopBackOff".into(), String::new()),
    ] {
        let (v, mut o) = healthy(3);
        o.instances[2].pod_state = stuck;
        o.instances[2].server = Server::Down;
        assert_eq!(
            deleted(&run(&v, &o)),
            None,
            "the revision is the present one"
        );
        o.instances[2].outdated = true;
        assert_eq!(deleted(&run(&v, &o)), Some("db-2"));
    }
}

#[test]
fn a_container_that_has_just_ended_or_is_being_made_is_left_alone() {
    let (v, mut o) = healthy(3);
    o.instances[2].outdated = true;
    o.instances[2].server = Server::Down;
    o.instances[2].age = Duration::from_secs(3600);
    o.instances[2].pod_state = PodState::Ended("Error".into());
    assert_eq!(deleted(&run(&v, &o)), None);
    o.instances[2].pod_state = PodState::Waiting("ContainerCreating".into(), String::new());
    assert_eq!(deleted(&run(&v, &o)), Some("db-2"), "for an hour");
    o.instances[2].age = Duration::from_secs(10);
    assert_eq!(deleted(&run(&v, &o)), None);
}

#[test]
fn the_broken_pod_of_a_database_without_primary_is_replaced_too() {
    let (v, mut o) = healthy(1);
    o.status = RedisStatus::default();
    o.instances[0] = Instance {
        outdated: true,
        pod_state: PodState::Waiting("ErrImagePull".into(), String::new()),
        server: Server::Down,
        ..instance(0, Info::default())
    };
    assert_eq!(deleted(&run(&v, &o)), Some("db-0"));
}

#[test]
fn the_only_copy_of_the_data_is_not_restarted() {
    let (v, mut o) = outdated(1);
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.findings.risk.map(|f| f.reason),
        Some(reasons::RestartWouldLoseData)
    );

    assert_eq!(
        deleted(&run(&with_storage(v.clone()), &o)),
        Some("db-0"),
        "a volume keeps it"
    );
    assert_eq!(
        deleted(&run(
            &Validated {
                accept_data_loss: true,
                ..v.clone()
            },
            &o
        )),
        Some("db-0"),
        "the user accepts it"
    );
    info(&mut o, 0).keys = 0;
    assert_eq!(deleted(&run(&v, &o)), Some("db-0"), "there is none");
}

#[test]
fn the_rollout_budget_holds_a_restart_back() {
    let (v, mut o) = outdated(3);
    o.may_roll = false;
    let p = run(&v, &o);
    assert_eq!(p.step, None);
    assert_eq!(
        p.findings.progress.map(|f| f.reason),
        Some(reasons::RolloutBudgetExhausted)
    );
}

#[test]
fn a_directive_is_set_where_it_differs_and_a_refused_one_is_told_and_not_repeated() {
    let (mut v, mut o) = healthy(2);
    v.config.insert("timeout".into(), "30".into());
    let set = |p: &Plan| {
        p.chores
            .iter()
            .filter(|c| matches!(c, Step::Configure { .. }))
            .count()
    };
    let p = run(&v, &o);
    assert_eq!(
        (set(&p), p.findings.config.map(|f| f.reason)),
        (2, Some(reasons::ConfigPending))
    );

    for i in &mut o.instances {
        i.config.insert("timeout".into(), "30".into());
    }
    let p = run(&v, &o);
    assert_eq!((set(&p), p.findings.config), (0, None));

    v.config.insert("timeout".into(), "soon".into());
    for i in &mut o.instances {
        i.refused.insert(
            ("timeout".into(), "soon".into()),
            "ERR not an integer".into(),
        );
    }
    let p = run(&v, &o);
    assert_eq!(set(&p), 0);
    let found = p.findings.config.unwrap();
    assert_eq!(found.reason, reasons::InvalidConfig);
    assert!(
        found.message.contains("spec.config.timeout") && found.message.contains("not an integer"),
        "{}",
        found.message
    );
}

#[test]
fn an_outdated_pod_that_runs_but_never_comes_into_sync_does_not_block_the_correction() {
    let (v, mut o) = outdated(3);
    info(&mut o, 1).link_up = false;
    info(&mut o, 1).link_down_seconds = Some(5);
    assert_eq!(deleted(&run(&v, &o)), None, "it may be on its way");
    info(&mut o, 1).link_down_seconds = Some(90);
    assert_eq!(deleted(&run(&v, &o)), Some("db-1"));
    info(&mut o, 1).sync_in_progress = true;
    assert_eq!(deleted(&run(&v, &o)), None, "it copies");
    o.instances[1].server = Server::Busy;
    assert_eq!(deleted(&run(&v, &o)), None, "it runs a script");
    o.instances[1].server = Server::Silent(Duration::from_secs(90));
    assert_eq!(deleted(&run(&v, &o)), Some("db-1"));
    let mut v = v;
    v.update.paused = true;
    assert_eq!(deleted(&run(&v, &o)), None, "nothing is restarted now");
}

#[test]
fn a_primary_demands_replicas_only_when_they_are_in_sync() {
    let (v, mut o) = healthy(3);
    let name = crate::operators::redis::directives::MIN_REPLICAS;
    let set = |o: &Observed| {
        run(&v, o).chores.iter().any(|c| {
            matches!(c, Step::Configure { pod, directives } if pod == "db-0" && directives.contains_key(name))
        })
    };
    o.instances[0].config.insert(name.into(), "0".into());
    assert!(set(&o));
    let replicas: Vec<_> = o.instances.drain(1..).collect();
    assert!(!set(&o), "scaled out a moment ago");
    assert_eq!(
        run(&v, &o).findings.config.map(|f| f.reason),
        Some(reasons::ConfigPending)
    );
    o.instances.extend(replicas);
    o.instances[0].config.insert(name.into(), "2".into());
    o.instances.truncate(1);
    assert!(set(&o), "less may be demanded at any time");
}
