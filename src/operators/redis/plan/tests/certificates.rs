//! Certificates are taken over without a restart, and nothing else depends on them.

use super::*;
use crate::operators::redis::api::ClientAuth;
use crate::operators::redis::model::{Certificate, ValidTls};

fn encrypted() -> (Validated, Observed) {
    let (mut v, mut o) = healthy(3);
    v.tls = Some(ValidTls {
        secret_name: "certificate".into(),
        issuer: None,
        client_auth: ClientAuth::Optional,
        plaintext: false,
    });
    o.certificate = Some(Certificate {
        serial: "2a".into(),
        not_before: now() - SignedDuration::from_hours(24),
        not_after: now() + SignedDuration::from_hours(24),
        ca: "CA".into(),
    });
    for i in &mut o.instances {
        i.serves_certificate = Some(true);
        i.config = crate::operators::redis::directives::own(&v);
    }
    (v, o)
}

fn reason(p: &Plan) -> Option<&'static str> {
    p.findings.tls.as_ref().map(|f| f.reason)
}

#[test]
fn a_server_with_another_certificate_reads_it_again_until_it_serves_it() {
    let (v, mut o) = encrypted();
    let p = run(&v, &o);
    assert_eq!((reason(&p), p.requeue), (None, None));

    o.instances[1].serves_certificate = Some(false);
    // One that could not be asked is not told anything.
    o.instances[2].serves_certificate = None;
    let p = run(&v, &o);
    assert_eq!(p.chores, [Step::ReloadCertificate { pod: "db-1".into() }]);
    assert_eq!(reason(&p), Some(reasons::CertificatePending));
    assert!(p.step.is_none() && p.requeue.is_some());
    let told = p.findings.tls.unwrap().message;
    assert!(told.contains("2a") && told.contains("db-1"), "{told}");
}

/// A CA is not seen from outside as a certificate is, so the files are read again after a change.
#[test]
fn a_server_reads_its_files_again_when_it_is_due() {
    let (v, mut o) = encrypted();
    o.instances[1].rereads = Some(Duration::ZERO);
    o.instances[2].rereads = Some(Duration::from_secs(20));
    let p = run(&v, &o);
    assert_eq!(p.chores, [Step::ReloadCertificate { pod: "db-1".into() }]);
    assert_eq!((reason(&p), p.requeue.is_some()), (None, true));
}

#[test]
fn a_certificate_expires_when_nobody_renews_it_in_time() {
    let hours = SignedDuration::from_hours;
    for (age, left, expiring) in [
        (21, 3, true),
        (18, 6, false),
        (24 * 300, 24 * 13, true),
        (24 * 300, 24 * 15, false),
        (24, -1, true),
    ] {
        let certificate = Certificate {
            serial: "1".into(),
            not_before: now() - hours(age),
            not_after: now() + hours(left) - SignedDuration::from_secs(1),
            ca: String::new(),
        };
        assert_eq!(certificate.is_expiring(now()), expiring, "{age} {left}");
    }
}

/// A Secret that is broken, or a certificate that expired, moves no primary and restarts no pod.
#[test]
fn what_is_wrong_with_a_certificate_is_told_and_changes_nothing() {
    let (v, mut o) = encrypted();
    o.certificate.as_mut().unwrap().not_after = now();
    let p = run(&v, &o);
    assert_eq!(reason(&p), Some(reasons::CertificateExpired));
    assert_eq!((p.step, p.chores), (None, vec![]));

    o.certificate_problem = Some(Problem::of(
        reasons::CertificateInvalid,
        "Secret/certificate",
        "broken",
    ));
    let p = run(&v, &o);
    assert_eq!(reason(&p), Some(reasons::CertificateInvalid));
    assert_eq!((p.step, p.chores), (None, vec![]));
}

#[test]
fn a_database_without_encryption_has_no_findings() {
    let (v, o) = healthy(3);
    assert_eq!(reason(&run(&v, &o)), None);
}

/// All accept both, as the spec asks for no more.
fn overlapping() -> (Validated, Observed) {
    let (mut v, mut o) = encrypted();
    if let Some(tls) = &mut v.tls {
        tls.plaintext = true;
    }
    for i in &mut o.instances {
        i.has_certificate = true;
        listens(i, true);
    }
    (v, o)
}

fn listens(i: &mut Instance, plaintext: bool) {
    let (plain, encrypted, links) = if plaintext {
        ("6379", "6380", "no")
    } else {
        ("0", "6379", "yes")
    };
    i.config.extend([
        ("port".to_owned(), plain.to_owned()),
        ("tls-port".to_owned(), encrypted.to_owned()),
        ("tls-replication".to_owned(), links.to_owned()),
        ("tls-cluster".to_owned(), "no".to_owned()),
    ]);
}

fn switched(p: &Plan) -> Option<(&str, bool)> {
    match &p.step {
        Some(Step::Listen { pods, plaintext }) => Some((pods[0].as_str(), *plaintext)),
        _ => None,
    }
}

#[test]
fn the_primary_is_switched_first_and_the_replicas_one_by_one() {
    let (mut v, mut o) = overlapping();
    assert_eq!((switched(&run(&v, &o)), reason(&run(&v, &o))), (None, None));
    for plaintext in [false, true] {
        if let Some(tls) = &mut v.tls {
            tls.plaintext = plaintext;
        }
        for pod in ["db-0", "db-1", "db-2"] {
            let p = run(&v, &o);
            assert_eq!(switched(&p), Some((pod, plaintext)));
            assert_eq!(reason(&p), Some(reasons::EncryptionChanging));
            let i = o.instances.iter_mut().find(|i| i.pod == pod).unwrap();
            listens(i, plaintext);
        }
        assert_eq!((switched(&run(&v, &o)), reason(&run(&v, &o))), (None, None));
    }
}

#[test]
fn the_next_replica_waits_for_the_link_of_the_one_before() {
    let (mut v, mut o) = overlapping();
    if let Some(tls) = &mut v.tls {
        tls.plaintext = false;
    }
    listens(&mut o.instances[0], false);
    listens(&mut o.instances[1], false);
    if let Server::Up(info) = &mut o.instances[1].server {
        info.link_up = false;
    }
    let p = run(&v, &o);
    assert_eq!(switched(&p), None);
    assert!(p.findings.tls.unwrap().message.contains("waiting for db-1"));
}

/// Nobody is cut off from plaintext by a server whose certificate does not work.
#[test]
fn plaintext_is_not_refused_before_every_certificate_was_seen() {
    let (mut v, mut o) = overlapping();
    if let Some(tls) = &mut v.tls {
        tls.plaintext = false;
    }
    for served in [None, Some(false)] {
        o.instances[2].serves_certificate = served;
        assert_eq!(switched(&run(&v, &o)), None);
    }
    o.instances[2].serves_certificate = Some(true);
    assert_eq!(switched(&run(&v, &o)), Some(("db-0", false)));
}
