//! What sentinels are told, and when they are replaced.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;

use super::*;

#[test]
fn a_primary_that_serves_is_served_while_the_sentinels_are_silent() {
    let (v, mut o) = watched();
    for s in &mut o.sentinels.pods {
        s.view = None;
        s.pod.server = Server::Silent(Duration::from_secs(3));
    }
    let p = run(&v, &o);
    assert_eq!((p.primary.as_deref(), &p.step), (Some("db-0"), &None));
}

#[test]
fn a_silent_sentinel_is_replaced() {
    let (v, mut o) = watched();
    o.sentinels.pods[1].view = None;
    o.sentinels.pods[1].pod.server = Server::Silent(Duration::from_secs(40));
    let p = run(&v, &o);
    assert!(matches!(
        sentinel_chores(&p)[..],
        [SentinelStep::DeletePod { pod, .. }] if pod == "db-sentinel-1"
    ));
}

#[test]
fn a_stale_sentinel_is_told_anew() {
    let (v, mut o) = watched();
    view_of(&mut o, 1).monitored[0].address = Address::new("127.0.0.1", 6379);
    view_of(&mut o, 1).told = Some(Address::new("127.0.0.1", 6379));
    let p = run(&v, &o);
    assert_eq!((p.primary.as_deref(), &p.step), (Some("db-0"), &None));
    assert!(matches!(
        sentinel_chores(&p)[..],
        [SentinelStep::Watch { sentinel, primary }] if sentinel == "db-sentinel-1" && primary == "db-0"
    ));
    assert!(
        p.findings
            .sentinels
            .is_some_and(|f| f.reason == reasons::SentinelsDisagree)
    );
}

#[test]
fn a_sentinel_with_other_options_or_other_primaries_is_put_right() {
    let (v, mut o) = watched();
    view_of(&mut o, 0).monitored[0].down_after = Duration::from_secs(30);
    view_of(&mut o, 1).monitored[0].flags = flags("s_down,master,disconnected");
    view_of(&mut o, 2).monitored.push(MonitoredPrimary {
        name: "mymaster".into(),
        ..monitored(0, 9)
    });
    let p = run(&v, &o);
    let steps = sentinel_chores(&p);
    let set = |n: usize| SentinelStep::Set {
        sentinel: format!("db-sentinel-{n}"),
    };
    assert!(
        steps.contains(&&set(0)) && steps.contains(&&set(1)),
        "{steps:?}"
    );
    assert!(steps.contains(&&SentinelStep::Drop {
        sentinel: "db-sentinel-2".into(),
        names: vec!["mymaster".into()],
    }));
}

/// A server starts as one that nobody promotes, and is promotable when Hera has seen it in sync.
#[test]
fn only_replicas_in_sync_may_be_promoted() {
    let priorities = |p: &Plan| -> Vec<(String, String)> {
        p.chores
            .iter()
            .filter_map(|s| match s {
                Step::Configure { pod, directives } => {
                    Some((pod.clone(), directives.get("replica-priority")?.clone()))
                }
                _ => None,
            })
            .collect()
    };
    let set = |pod: &str, value: &str| (pod.to_owned(), value.to_owned());
    let (v, mut o) = watched();
    info(&mut o, 1).priority = 0;
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "50")]);
    info(&mut o, 1).priority = 50;
    info(&mut o, 1).link_up = false;
    info(&mut o, 1).link_down_seconds = Some(3);
    assert_eq!(
        priorities(&run(&v, &o)),
        [],
        "it may be the primary that is lost"
    );
    info(&mut o, 1).link_down_seconds = Some(30);
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "0")]);
    info(&mut o, 1).link_down_seconds = None;
    assert_eq!(priorities(&run(&v, &o)), [set("db-1", "0")], "it restarted");
    let (mut v, mut o) = watched();
    o.instances[2].outdated = true;
    assert_eq!(priorities(&run(&v, &o)), [set("db-2", "100")]);
    o.instances[2].outdated = false;
    v.switchover = Some("db-2".into());
    assert_eq!(priorities(&run(&v, &o)), [set("db-2", "10")]);
}

#[test]
fn a_user_that_the_spec_names_no_more_goes_from_the_sentinels() {
    let (v, mut o) = watched();
    let record = r#"{"app": ["hash"]}"#;
    o.objects.server_secret = Some(Secret {
        data: Some([(users::RECORD_KEY.to_owned(), ByteString(record.into()))].into()),
        ..Secret::default()
    });
    let with = |hash: &str| AclUser {
        passwords: vec![hash.to_owned()],
        ..AclUser::default()
    };
    view_of(&mut o, 1)
        .users
        .insert("app".into(), Some(with("another")));
    assert!(
        sentinel_chores(&run(&v, &o)).is_empty(),
        "it is somebody else's"
    );
    view_of(&mut o, 1)
        .users
        .insert("app".into(), Some(with("hash")));
    assert_eq!(
        sentinel_chores(&run(&v, &o)),
        [&SentinelStep::SetUsers {
            sentinel: "db-sentinel-1".into(),
            users: vec!["app".into()],
        }]
    );
}
