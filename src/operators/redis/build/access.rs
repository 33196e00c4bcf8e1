//! Users and passwords: what the servers mount, and what clients read.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use secrecy::{ExposeSecret, SecretString};

use super::super::api::Engine;
use super::super::model::{CA_KEY, Credentials, Observed, SENTINEL_PORT, UserEntry, Validated};
use super::super::users::{self, DEFAULT, DEFAULT_RULES, SENTINEL_USER};
use super::{exporter, metadata, tls};
use crate::engines::redis::{
    exporter_acl_rules, hera_acl_rules, hera_cluster_acl_rules, password_hash, probe_acl_rules,
    replication_acl_rules,
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
    if v.password_refs.is_empty() {
        data.insert("password".to_owned(), exposed(&c.default));
    }
    secret(v, v.credentials_secret(), "Opaque", data)
}

/// What the servers mount: users with hashed passwords, and the login of replicas.
pub fn server_secret(v: &Validated, o: &Observed, c: &Credentials) -> Secret {
    let own = |name: &str, password: &SecretString, rules: String| {
        let entry = UserEntry {
            // A node of a cluster without a volume that restarts in place has the address of the primary that it was: its replicas
            // would copy its emptiness. Nobody logs in there to replicate before Hera has given it its place.
            enabled: !(name == REPLICATION_USER && v.clustered() && v.storage.is_none()),
            hashes: vec![password_hash(password.expose_secret())],
            rules,
        };
        entry.line(name)
    };
    let operator_rules = if v.clustered() {
        hera_cluster_acl_rules()
    } else {
        hera_acl_rules()
    };
    let mut file = [
        default_user(v, o, c).line(DEFAULT),
        own(OPERATOR_USER, &c.operator, operator_rules),
        own(REPLICATION_USER, &c.replication, replication_acl_rules()),
        own(PROBE_USER, &c.probe, probe_acl_rules()),
    ]
    .concat();
    if v.monitoring.exporter.is_some() {
        let password = exporter::password(c);
        file.push_str(&own(
            exporter::EXPORTER_USER,
            &password,
            exporter_acl_rules(),
        ));
    }
    if v.watched() {
        file.push_str(&users::of_sentinels(&c.sentinel()).line(SENTINEL_USER));
    }
    for (name, entry) in users::to_file(v, o) {
        file.push_str(&entry.line(&name));
    }
    let login = format!(
        "masteruser {REPLICATION_USER}\nmasterauth {}\n",
        c.replication.expose_secret()
    );
    let mut data = BTreeMap::from([
        (users::FILE_KEY.to_owned(), bytes(file)),
        ("replication.conf".to_owned(), bytes(login)),
        ("probe-password".to_owned(), exposed(&c.probe)),
        // Not mounted, like all that follows: a second copy, for the case that the Secret with the generated passwords is lost.
        ("operator-password".to_owned(), exposed(&c.operator)),
        ("replication-password".to_owned(), exposed(&c.replication)),
    ]);
    if v.monitoring.exporter.is_some() {
        data.insert(
            exporter::PASSWORD_FILE.to_owned(),
            exporter::password_file(v, c),
        );
    }
    for user in v.users.iter().filter(|user| user.password_refs.is_empty()) {
        if let Some(password) = users::to_publish(o, &user.name) {
            data.insert(users::copy_key(&user.name), exposed(password));
        }
    }
    let record = users::record_next(v, o);
    if !record.is_empty() {
        let text = serde_json::json!(record).to_string();
        data.insert(users::RECORD_KEY.to_owned(), bytes(text));
    }
    secret(v, v.server_secret(), "Opaque", data)
}

/// The user `default` as the file has it: as every server is to have it, or as it was while its passwords cannot be read.
fn default_user(v: &Validated, o: &Observed, c: &Credentials) -> UserEntry {
    let wanted = users::wanted(v, o).remove(DEFAULT);
    wanted.unwrap_or_else(|| UserEntry {
        enabled: v.default_user_enabled,
        hashes: users::filed(o).remove(DEFAULT).map_or_else(
            || vec![password_hash(c.default.expose_secret())],
            |filed| filed.hashes,
        ),
        rules: DEFAULT_RULES.to_owned(),
    })
}

/// How clients connect, with the keys of the Service Binding specification. It has no login while the user `default` has none.
pub fn connection_secret(v: &Validated, o: &Observed, c: &Credentials) -> Secret {
    let password = users::to_publish(o, DEFAULT).unwrap_or(&c.default);
    let login = v.default_user_enabled.then_some((DEFAULT, password));
    connection(v, o, v.connection_secret(), login)
}

/// How clients connect as this user.
pub fn user_connection_secret(
    v: &Validated,
    o: &Observed,
    user: &str,
    password: &SecretString,
) -> Secret {
    let name = v.user_connection_secret(user);
    connection(v, o, name, Some((user, password)))
}

/// The connection Secrets of all users whose passwords are known.
pub fn user_connection_secrets(v: &Validated, o: &Observed) -> Vec<Secret> {
    let known = v.users.iter().filter_map(|user| {
        let password = users::to_publish(o, &user.name)?;
        Some(user_connection_secret(v, o, &user.name, password))
    });
    known.collect()
}

/// Another generated password of a user, and the one that it takes the place of. It stays as long as both are to be valid.
pub fn rotation_secret(
    v: &Validated,
    user: &str,
    text: &str,
    next: &SecretString,
    previous: &SecretString,
) -> Secret {
    let data = BTreeMap::from([
        ("password".to_owned(), exposed(next)),
        ("previous".to_owned(), exposed(previous)),
    ]);
    secret(v, v.rotation_secret(user, text), "Opaque", data)
}

/// Secrets of users that are there and that nothing needs any more.
pub fn unused_user_secrets<'a>(v: &Validated, o: &'a Observed) -> Vec<&'a Secret> {
    let connections = v.users.iter().map(|u| v.user_connection_secret(&u.name));
    let rotations = v
        .rotations
        .iter()
        .map(|(u, text)| v.rotation_secret(u, text));
    let used: BTreeSet<String> = connections.chain(rotations).collect();
    let all = o.objects.user_secrets.iter();
    all.filter(|s| !used.contains(&s.name_any())).collect()
}

fn connection(
    v: &Validated,
    o: &Observed,
    name: String,
    login: Option<(&str, &SecretString)>,
) -> Secret {
    let engine = match v.engine {
        Engine::Redis => "redis",
        Engine::Valkey => "valkey",
    };
    let (host, port) = (v.primary_host(), tls::port(v, o));
    let encrypted = tls::is_published(v, o);
    let mut data = BTreeMap::from([
        ("type".to_owned(), bytes("redis")),
        ("provider".to_owned(), bytes(engine)),
        ("host".to_owned(), bytes(host.clone())),
        ("port".to_owned(), bytes(port.to_string())),
    ]);
    if encrypted && let Some(ca) = tls::published_ca(o) {
        data.insert(CA_KEY.to_owned(), ca);
    }
    if let Some((user, password)) = login {
        let scheme = if encrypted { "rediss" } else { "redis" };
        let uri = format!(
            "{scheme}://{user}:{}@{host}:{port}/0",
            percent_encoded(password.expose_secret())
        );
        data.insert("username".to_owned(), bytes(user));
        data.insert("password".to_owned(), exposed(password));
        data.insert("uri".to_owned(), bytes(uri));
    }
    if v.clustered() {
        data.insert("mode".to_owned(), bytes("cluster"));
    }
    if v.watched() {
        let name = v.monitored_name();
        data.insert("sentinel-host".to_owned(), bytes(v.sentinel_host()));
        data.insert("sentinel-port".to_owned(), bytes(SENTINEL_PORT.to_string()));
        data.insert("sentinel-master".to_owned(), bytes(name));
    }
    if v.gated() {
        data.insert(
            "replicas-host".to_owned(),
            bytes(format!("{}.{}.svc", v.replicas_service(), v.namespace)),
        );
    }
    secret(v, name, "servicebinding.io/redis", data)
}

fn secret(v: &Validated, name: String, type_: &str, data: BTreeMap<String, ByteString>) -> Secret {
    Secret {
        metadata: metadata(v, name),
        data: Some(data),
        type_: Some(type_.into()),
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
