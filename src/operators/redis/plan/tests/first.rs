//! The first primary.

use super::elections::{claim, with_storage};
use super::*;

#[test]
fn the_first_primary_is_the_first_server_that_answers_unless_a_volume_existed_before() {
    let (v, mut o) = healthy(3);
    o.status = RedisStatus::default();
    o.instances[0].server = Server::Down;
    for ordinal in [1, 2] {
        o.instances[ordinal].server =
            Server::Up(Box::new(restarted(i32::try_from(ordinal).unwrap(), 0)));
    }
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-1"))
    );

    o.claims = vec![claim(0, true)];
    assert_eq!(
        reason(&run(&v, &o)),
        Some(reasons::WaitingForInstance),
        "its volume may hold data"
    );
    o.instances[0].server = Server::Up(Box::new(restarted(0, 7)));
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
}

/// A `Redis` over volumes that an earlier one left, with so many keys on each.
fn kept(keys: [u64; 3]) -> (Validated, Observed) {
    let (v, mut o) = healthy(3);
    o.status = RedisStatus::default();
    for (ordinal, keys) in (0..3_i32).zip(keys) {
        o.claims.push(claim(ordinal, true));
        let i = &mut o.instances[usize::try_from(ordinal).unwrap()];
        i.server = Server::Up(Box::new(restarted(ordinal, keys)));
    }
    (with_storage(v), o)
}

#[test]
fn of_volumes_that_were_kept_the_one_of_the_last_primary_is_taken() {
    let (v, mut o) = kept([5, 5, 5]);
    assert_eq!(
        reason(&run(&v, &o)),
        Some(reasons::NoLineageProof),
        "as many keys are no proof"
    );
    o.claims[0].primary_since = Some("2026-01-01T00:00:00Z 0000000007".into());
    o.claims[2].primary_since = Some("2026-01-02T00:00:00Z 0000000001".into());
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-2"))
    );
    let approved = Validated {
        approved_primary: Some("db-1".into()),
        ..v.clone()
    };
    assert_eq!(
        decided(&run(&approved, &o)),
        Some((ElectionKind::Bootstrap, "db-1"))
    );
    let (v, mut o) = kept([5, 5, 0]);
    o.claims[2].primary_since = Some("2026-01-02T00:00:00Z 0000000001".into());
    assert_eq!(
        reason(&run(&v, &o)),
        Some(reasons::NoLineageProof),
        "it is empty, and others are not"
    );
}

#[test]
fn volumes_that_no_pod_uses_are_not_passed_over() {
    let (mut v, mut o) = kept([5, 5, 5]);
    v.replicas = 1;
    o.instances.truncate(1);
    let told = |o: &Observed| {
        let problem = run(&v, o).findings.primary.unwrap();
        (problem.reason, problem.object.unwrap())
    };
    assert_eq!(
        told(&o),
        (
            reasons::NoLineageProof,
            "PersistentVolumeClaim/data-db-1".into()
        )
    );
    o.claims[2].primary_since = Some("2026-01-02T00:00:00Z 0000000001".into());
    assert_eq!(
        told(&o),
        (
            reasons::NoLineageProof,
            "PersistentVolumeClaim/data-db-2".into()
        )
    );
    o.claims[0].primary_since = Some("2026-01-03T00:00:00Z 0000000001".into());
    assert_eq!(
        decided(&run(&v, &o)),
        Some((ElectionKind::Bootstrap, "db-0"))
    );
}
