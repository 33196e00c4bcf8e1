//! Certificates: each server serves the one of the Secret, and takes a new one without a restart.

use std::time::Duration;

use jiff::Timestamp;

use super::super::model::{Observed, Plan, Problem, Step, Validated};
use super::super::reasons;

/// The kubelet brings a changed Secret into the pods within about a minute; until then servers read the old files again.
const AGAIN: Duration = Duration::from_secs(5);

/// Plans which servers have to read their certificate again.
pub fn plan(v: &Validated, o: &Observed, now: Timestamp, plan: &mut Plan) {
    let Some(tls) = &v.tls else { return };
    let object = format!("Secret/{}", tls.secret_name);
    plan.findings.tls.clone_from(&o.certificate_problem);
    let Some(wanted) = &o.certificate else { return };
    let late: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| i.serves_certificate == Some(false))
        .map(|i| i.pod.as_str())
        .collect();
    for pod in &late {
        plan.chores.push(Step::ReloadCertificate {
            pod: (*pod).to_owned(),
        });
    }
    if !late.is_empty() {
        plan.again(AGAIN);
    }
    if plan.findings.tls.is_some() {
        return;
    }
    plan.findings.tls = if wanted.not_after <= now {
        Some(Problem::of(
            reasons::CertificateExpired,
            object,
            format!(
                "the certificate of {} expired at {}",
                tls.secret_name, wanted.not_after
            ),
        ))
    } else if late.is_empty() {
        None
    } else {
        Some(Problem::of(
            reasons::CertificatePending,
            format!("Pod/{}", late[0]),
            format!(
                "the certificate with the serial number {} is not served yet by {}",
                wanted.serial,
                late.join(", ")
            ),
        ))
    };
}
