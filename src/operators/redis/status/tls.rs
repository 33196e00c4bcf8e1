//! What is said of the certificate.

use super::super::model::Problem;
use super::super::reasons;
use super::{CERTIFICATE_SERVED, Picture};

/// The condition on the certificate, where there is one.
pub fn condition(p: &Picture<'_>, set: &mut impl FnMut(&str, bool, Option<&Problem>, &str, &str)) {
    if p.v.tls.is_some() {
        let (reason, words) = served(p);
        let problem = p.plan.findings.tls.as_ref();
        set(
            CERTIFICATE_SERVED,
            problem.is_none(),
            problem,
            reason,
            &words,
        );
    }
}

/// Reason and words for a certificate that every server serves.
fn served(p: &Picture<'_>) -> (&'static str, String) {
    let certificate = p.o.certificate.as_ref();
    let mut words = certificate.map_or_else(String::new, |c| {
        format!("serial number {}, valid until {}", c.serial, c.not_after)
    });
    if p.v.tls.as_ref().is_some_and(|tls| tls.plaintext) {
        words.push_str("; connections that are not encrypted are accepted too");
    }
    let expiring = certificate.is_some_and(|c| c.is_expiring(p.now));
    let reason = if expiring {
        reasons::CertificateExpiring
    } else {
        reasons::CertificateServed
    };
    (reason, words)
}
