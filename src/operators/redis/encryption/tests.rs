//! No way leads past a state in which clients, replicas or Hera could not get through.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::StatefulSet;
use serde_json::json;

use super::*;
use crate::operators::redis::api::{InstanceStatus, RedisSpec};

fn redis(tls: &serde_json::Value) -> Redis {
    let spec: RedisSpec = serde_json::from_value(json!({ "tls": tls })).unwrap();
    Redis::new("db", spec)
}

/// Whether a pod has a certificate, and which ports its server says that it listens on.
type Pod = (bool, Option<(&'static str, &'static str)>);

/// Pods, each with whether it has a certificate and which ports its server says that it listens on.
fn pods(pods: &[Pod]) -> Observed {
    let instance = |(n, (has_certificate, ports)): (usize, &Pod)| Instance {
        pod: format!("db-{n}"),
        uid: format!("uid-{n}"),
        has_certificate: *has_certificate,
        config: ports.map_or_else(BTreeMap::new, |(plain, encrypted)| {
            BTreeMap::from([
                ("port".to_owned(), plain.to_owned()),
                ("tls-port".to_owned(), encrypted.to_owned()),
            ])
        }),
        ..Instance::default()
    };
    let set = json!({"spec": {"selector": {}, "serviceName": "db-pods", "template": {"spec": {
        "containers": [], "volumes": [{"name": "tls", "secret": {"secretName": "former"}}],
    }}}});
    let set: StatefulSet = serde_json::from_value(set).unwrap();
    let mut o = Observed {
        instances: pods.iter().enumerate().map(instance).collect(),
        ..Observed::default()
    };
    o.objects.statefulset = Some(set);
    o
}

fn record(o: &mut Observed, plaintext: bool) {
    o.status.instances = (0..o.instances.len())
        .map(|n| InstanceStatus {
            pod: format!("db-{n}"),
            uid: Some(format!("uid-{n}")),
            plaintext: Some(plaintext),
            ..InstanceStatus::default()
        })
        .collect();
}

const PLAIN: Pod = (false, Some(("6379", "0")));
const BOTH: Pod = (true, Some(("6379", "6380")));
const ENCRYPTED: Pod = (true, Some(("0", "6379")));
const SILENT: Pod = (true, None);

#[test]
fn plaintext_is_refused_only_when_every_pod_has_a_certificate() {
    let allowed = json!({"secretName": "s", "plaintext": "Allowed"});
    let refused = json!({"secretName": "s"});
    for (tls, given, plaintext) in [
        (&refused, &[][..], false),
        (&refused, &[ENCRYPTED, SILENT], false),
        (&refused, &[BOTH, BOTH], false),
        (&refused, &[BOTH, PLAIN], true),
        (&allowed, &[], true),
        (&allowed, &[ENCRYPTED], true),
    ] {
        let found = effective(&redis(tls), &pods(given)).unwrap();
        assert_eq!(
            (found.plaintext, &*found.secret_name),
            (plaintext, "s"),
            "{tls} {given:?}"
        );
    }
}

#[test]
fn the_certificate_stays_until_every_server_accepts_plaintext() {
    let none = json!(null);
    for (given, secret) in [
        (&[][..], None),
        (&[PLAIN, PLAIN], None),
        (&[BOTH, PLAIN], None),
        (&[BOTH, ENCRYPTED], Some("former")),
    ] {
        let found = effective(&redis(&none), &pods(given));
        assert_eq!(found.as_ref().map(|t| &*t.secret_name), secret, "{given:?}");
        assert!(found.is_none_or(|t| t.plaintext));
    }
    // What does not answer now is as it was.
    let mut o = pods(&[BOTH, SILENT]);
    record(&mut o, false);
    assert!(effective(&redis(&none), &o).is_some());
    record(&mut o, true);
    assert!(effective(&redis(&none), &o).is_none());
}

/// Whoever can keep TLS from working must not get a password in clear text.
#[test]
fn plaintext_is_no_way_out() {
    let refused = redis(&json!({"secretName": "s"}));
    let mut o = pods(&[SILENT]);
    let tls = |ways: &[Route]| ways.iter().map(|r| (r.port, r.tls)).collect::<Vec<_>>();
    let ways = |redis: &Redis, o: &Observed| tls(&routes(redis, o, &o.instances[0]));
    assert_eq!(ways(&refused, &o), [(6379, true), (6380, true)]);
    record(&mut o, false);
    assert_eq!(ways(&refused, &o), [(6379, true), (6380, true)]);
    // Another pod of the same name was recorded.
    record(&mut o, true);
    o.status.instances[0].uid = Some("other".into());
    assert_eq!(ways(&refused, &o), [(6379, true), (6380, true)]);

    record(&mut o, true);
    assert_eq!(ways(&refused, &o), [(6379, false), (6379, true)]);
    let allowed = redis(&json!({"secretName": "s", "plaintext": "Allowed"}));
    assert_eq!(ways(&allowed, &o), [(6379, false), (6379, true)]);
    assert_eq!(ways(&refused, &pods(&[PLAIN])), [(6379, false)]);
    assert_eq!(ways(&redis(&json!(null)), &pods(&[PLAIN])), [(6379, false)]);
}
