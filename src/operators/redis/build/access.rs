//! Users and passwords: what the servers mount, and what clients read.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use secrecy::{ExposeSecret, SecretString};

use super::super::api::Engine;
use super::super::model::{Credentials, PORT, Validated};
use super::metadata;
use crate::engines::redis::{
    hera_acl_rules, password_hash, probe_acl_rules, replication_acl_rules,
};

/// Hera's own user on every server.
pub const OPERATOR_USER: &str = "hera";
/// The user that replicas log in with.
pub const REPLICATION_USER: &str = "hera-replication";
/// The user of probes and hooks inside the pod.
pub const PROBE_USER: &str = "hera-probe";

fn bytes(text: impl Into<String>) -> ByteString {
    ByteString(text.into().into_bytes())
}

fn exposed(secret: &SecretString) -> ByteString {
    bytes(secret.expose_secret())
}

/// The generated passwords. Made once; what is in the cluster wins.
pub fn credentials_secret(v: &Validated, c: &Credentials) -> Secret {
    let mut data = BTreeMap::from([
        ("operator-password".to_owned(), exposed(&c.operator)),
        ("replication-password".to_owned(), exposed(&c.replication)),
        ("probe-password".to_owned(), exposed(&c.probe)),
    ]);
    if v.password_ref.is_none() {
        data.insert("password".to_owned(), exposed(&c.default));
    }
    Secret {
        metadata: metadata(v, v.credentials_secret()),
        data: Some(data),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// What the servers mount: users with hashed passwords, and the login of replicas.
pub fn server_secret(v: &Validated, c: &Credentials) -> Secret {
    let user = |name: &str, password: &SecretString, rules: &str| {
        format!(
            "user {name} on #{} {rules}\n",
            password_hash(password.expose_secret())
        )
    };
    let users = [
        user("default", &c.default, "~* &* +@all"),
        user(OPERATOR_USER, &c.operator, &hera_acl_rules()),
        user(REPLICATION_USER, &c.replication, &replication_acl_rules()),
        user(PROBE_USER, &c.probe, &probe_acl_rules()),
    ]
    .concat();
    let login = format!(
        "masteruser {REPLICATION_USER}\nmasterauth {}\n",
        c.replication.expose_secret()
    );
    let data = BTreeMap::from([
        ("users.acl".to_owned(), bytes(users)),
        ("replication.conf".to_owned(), bytes(login)),
        ("probe-password".to_owned(), exposed(&c.probe)),
        // Not mounted: a second copy, for the case that the Secret with the generated passwords is lost.
        ("operator-password".to_owned(), exposed(&c.operator)),
        ("replication-password".to_owned(), exposed(&c.replication)),
    ]);
    Secret {
        metadata: metadata(v, v.server_secret()),
        data: Some(data),
        type_: Some("Opaque".into()),
        ..Secret::default()
    }
}

/// How clients connect, with the keys of the Service Binding specification.
pub fn connection_secret(v: &Validated, c: &Credentials) -> Secret {
    let engine = match v.engine {
        Engine::Redis => "redis",
        Engine::Valkey => "valkey",
    };
    let host = v.primary_host();
    let uri = format!(
        "redis://default:{}@{host}:{PORT}/0",
        percent_encoded(c.default.expose_secret())
    );
    let mut data = BTreeMap::from([
        ("type".to_owned(), bytes("redis")),
        ("provider".to_owned(), bytes(engine)),
        ("host".to_owned(), bytes(host)),
        ("port".to_owned(), bytes(PORT.to_string())),
        ("username".to_owned(), bytes("default")),
        ("password".to_owned(), exposed(&c.default)),
        ("uri".to_owned(), bytes(uri)),
    ]);
    if v.gated() {
        data.insert(
            "replicas-host".to_owned(),
            bytes(format!("{}.{}.svc", v.replicas_service(), v.namespace)),
        );
    }
    Secret {
        metadata: metadata(v, v.connection_secret()),
        data: Some(data),
        type_: Some("servicebinding.io/redis".into()),
        ..Secret::default()
    }
}

/// The password as RFC 3986 allows it in the user information of a URI.
fn percent_encoded(password: &str) -> String {
    password
        .bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_password_with_reserved_characters_fits_into_a_uri() {
        assert_eq!(super::percent_encoded("a:b@c/é"), "a%3Ab%40c%2F%C3%A9");
    }
}
