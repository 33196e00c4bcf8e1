//! From plaintext to encryption and back while clients go on: in which state the database is on its way, and how Hera reaches each
//! server meanwhile.
//!
//! A server without a certificate in its pod is restarted first. Then all accept both, and from there they switch while they run. In
//! every state something listens on the same port, so that replicas, probes and Hera find each server there.

use super::api::{ClientAuth, Plaintext, Redis};
use super::model::{Instance, Observed, PORT, Route, TLS_PORT, ValidTls, certificate_secret};

/// Name of the Secret with the certificate, as long as there are pods that have it.
pub fn secret_name(redis: &Redis, o: &Observed) -> Option<String> {
    let name = redis.metadata.name.as_deref().unwrap_or_default();
    let wanted = redis.spec.tls.as_ref().map(|tls| tls.secret(name));
    wanted.or_else(|| present_secret(o))
}

/// The Secret that the present pod template mounts.
fn present_secret(o: &Observed) -> Option<String> {
    let mut sets = o.objects.statefulset.iter().chain(o.cluster.sets.values());
    sets.find_map(|set| certificate_secret(set.spec.as_ref()?.template.spec.as_ref()?))
}

/// The encryption that the database can have now. Plaintext is not refused before every pod has a certificate, and the certificate is
/// not taken away before every server accepts plaintext.
pub fn effective(redis: &Redis, o: &Observed) -> Option<ValidTls> {
    let name = redis.metadata.name.as_deref().unwrap_or_default();
    let mut pods = o.instances.iter().filter(|i| !i.uid.is_empty());
    match &redis.spec.tls {
        Some(tls) => Some(ValidTls {
            secret_name: tls.secret(name),
            issuer: tls.issuer_ref.clone(),
            client_auth: tls.client_auth,
            plaintext: tls.plaintext == Plaintext::Allowed
                || pods.any(|i| !i.terminating && !i.has_certificate),
        }),
        None => pods
            .any(|i| i.has_certificate && takes_plaintext(o, i) == Some(false))
            .then(|| present_secret(o))
            .flatten()
            .map(|secret_name| ValidTls {
                secret_name,
                issuer: None,
                client_auth: ClientAuth::Optional,
                plaintext: true,
            }),
    }
}

/// Whether the server accepts plaintext, as it says or as it was last known.
pub fn takes_plaintext(o: &Observed, i: &Instance) -> Option<bool> {
    let recorded = || {
        let all = o.status.instances.iter();
        let mut own = all.filter(|s| s.pod == i.pod && s.uid.as_deref() == Some(&i.uid));
        own.next()?.plaintext
    };
    i.listening().map(|l| l.plaintext).or_else(recorded)
}

/// What is recorded of a server: whether it accepts plaintext, when it could do otherwise.
pub fn recorded(o: &Observed, i: &Instance) -> Option<bool> {
    i.has_certificate.then(|| takes_plaintext(o, i)).flatten()
}

/// How the server of a pod may be reached, the likeliest first. Plaintext is tried only where the spec or the record of the server
/// allows it: that TLS fails is no reason to do without.
pub fn routes(redis: &Redis, o: &Observed, i: &Instance) -> Vec<Route> {
    let plain = Route {
        port: PORT,
        tls: false,
    };
    let encrypted = |port| Route { port, tls: true };
    let refused = redis.spec.tls.as_ref().map(|t| t.plaintext) == Some(Plaintext::Refused);
    if !i.has_certificate {
        vec![plain]
    } else if !refused || takes_plaintext(o, i) == Some(true) {
        vec![plain, encrypted(PORT)]
    } else {
        // One that restarted with the file of before.
        vec![encrypted(PORT), encrypted(TLS_PORT)]
    }
}

#[cfg(test)]
mod tests;
