//! Certificates are taken over without a restart, and nothing else depends on them.

use super::*;
use crate::operators::redis::api::Tls;
use crate::operators::redis::model::Certificate;

fn encrypted() -> (Validated, Observed) {
    let (mut v, mut o) = healthy(3);
    v.tls = Some(Tls {
        secret_name: "certificate".into(),
        ..Tls::default()
    });
    o.certificate = Some(Certificate {
        serial: "2a".into(),
        not_after: now() + SignedDuration::from_hours(24),
        ca: "CA".into(),
    });
    for i in &mut o.instances {
        i.serves_certificate = Some(true);
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
