//! Certificates: each server serves the one of the Secret, and takes a new one without a restart.

use std::time::Duration;

use jiff::Timestamp;

use super::super::model::{
    Instance, Listening, Observed, Plan, Problem, Step, Topology, Validated,
};
use super::super::reasons;

/// The kubelet brings a changed Secret into the pods within about a minute; until then servers read the old files again.
const AGAIN: Duration = Duration::from_secs(5);

/// Plans which servers have to read their certificate again.
pub fn plan(v: &Validated, o: &Observed, now: Timestamp, plan: &mut Plan) {
    let Some(tls) = &v.tls else { return };
    let object = format!("Secret/{}", tls.secret_name);
    plan.findings.tls.clone_from(&o.certificate_problem);
    if o.certificate_problem.is_some() && tls.issuer.is_some() {
        plan.again(AGAIN);
    }
    let Some(wanted) = &o.certificate else { return };
    let late: Vec<&str> = o
        .instances
        .iter()
        .filter(|i| i.serves_certificate == Some(false))
        .map(|i| i.pod.as_str())
        .collect();
    for i in &o.instances {
        let again = i.serves_certificate.is_some() && i.rereads == Some(Duration::ZERO);
        if again || late.contains(&i.pod.as_str()) {
            plan.chores
                .push(Step::ReloadCertificate { pod: i.pod.clone() });
        }
        if let Some(after) = i.rereads {
            plan.again(after.max(AGAIN));
        }
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

/// Servers that answer and do not listen as they should.
fn astray<'a>(v: &Validated, o: &'a Observed) -> Vec<&'a Instance> {
    let Some(tls) = &v.tls else { return Vec::new() };
    let wanted = Listening::wanted(tls, v.clustered());
    let astray = |i: &&Instance| {
        i.has_certificate && !i.terminating && i.listening().is_some_and(|l| l != wanted)
    };
    o.instances.iter().filter(astray).collect()
}

/// What keeps these from being switched: nobody is left without plaintext by a server whose certificate Hera could not verify.
fn unverified<'a>(v: &Validated, astray: &[&'a Instance]) -> Option<&'a Instance> {
    let refuse = v.tls.as_ref().is_some_and(|tls| !tls.plaintext);
    let unverified = astray.iter().find(|i| i.serves_certificate != Some(true));
    unverified.copied().filter(|_| refuse)
}

fn changing(plan: &mut Plan, astray: &[&Instance], waits_for: Option<&str>) {
    let names: Vec<&str> = astray.iter().map(|i| i.pod.as_str()).collect();
    let mut message = format!("to be switched: {}", names.join(", "));
    if let Some(what) = waits_for {
        message = format!("{message}; waiting for {what}");
    }
    plan.findings.tls.get_or_insert_with(|| {
        Problem::of(
            reasons::EncryptionChanging,
            format!("Pod/{}", names[0]),
            message,
        )
    });
    plan.again(Duration::from_secs(1));
}

/// Lets servers change over between plaintext and encryption, given a primary that serves: the primary first, since it is whom the
/// others connect to, then one replica after the other, each when those before it are in sync again.
pub fn listen(v: &Validated, o: &Observed, primary: &Instance, plan: &mut Plan) {
    let astray = astray(v, o);
    let (Some(first), Some(tls)) = (astray.first(), &v.tls) else {
        return;
    };
    let is_astray = |pod: &str| astray.iter().any(|i| i.pod == pod);
    let behind = o.instances.iter().find(|i| {
        let done = i.ordinal < v.replicas && i.pod != primary.pod && !is_astray(&i.pod);
        done && i.info().is_some() && !i.in_sync_with(primary)
    });
    let next = astray.iter().find(|i| i.pod == primary.pod);
    let waits_for = unverified(v, &astray).or(behind.filter(|_| next.is_none()));
    changing(plan, &astray, waits_for.map(|i| i.pod.as_str()));
    if waits_for.is_none() {
        plan.propose(Step::Listen {
            pods: vec![next.unwrap_or(first).pod.clone()],
            plaintext: tls.plaintext,
        });
    }
}

/// The same in mode Cluster: the nodes all at once, as they find each other only when they speak alike. Whether they do so now, or wait.
pub fn listen_together(v: &Validated, o: &Observed, t: &Topology<'_>, plan: &mut Plan) -> bool {
    let astray = astray(v, o);
    let (false, Some(tls)) = (astray.is_empty(), &v.tls) else {
        return false;
    };
    let answers = |i: &&Instance| !i.uid.is_empty() && i.listening().is_some();
    let begun = o.instances.iter().filter(answers).count() > astray.len();
    let silent = o.instances.iter().find(|i| !answers(i));
    let waits_for = if let Some(i) = unverified(v, &astray) {
        Some(i.pod.as_str())
    } else if begun {
        None
    } else if let Some(i) = silent {
        Some(i.pod.as_str())
    } else if !t.agrees(v) || !t.missing.is_empty() {
        Some("the nodes to agree")
    } else if t.members.iter().any(|m| m.me.has_open_slots()) {
        Some("slots that are on their way")
    } else {
        None
    };
    changing(plan, &astray, waits_for);
    if waits_for.is_none() {
        plan.propose(Step::Listen {
            pods: astray.iter().map(|i| i.pod.clone()).collect(),
            plaintext: tls.plaintext,
        });
    }
    true
}
