//! Where the passwords of the users of clients come from: Secrets of other people, read on demand, and passwords that Hera makes once and
//! keeps in the connection Secrets.

use std::collections::{BTreeMap, HashMap};

use futures::future::join_all;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, ResourceExt};
use rand::RngExt as _;
use secrecy::{ExposeSecret, SecretString};

use super::api::{Redis, SecretKeyRef};
use super::build;
use super::model::{Account, Credentials, Observed, Problem, UserEntry, Validated};
use super::users::{self, DEFAULT};
use super::validate::validate;
use super::{FIELD_MANAGER, Operator, reasons};
use crate::engines::redis::password_hash;
use crate::k8s::{self, apply, owner};

/// The Secrets that a spec names, each read once.
pub(super) struct Referenced(HashMap<String, Result<Option<Secret>, kube::Error>>);

impl Referenced {
    /// The values that these references lead to, in order, or why one of them is not there.
    pub(super) fn values<'a>(
        &self,
        references: impl IntoIterator<Item = &'a SecretKeyRef>,
    ) -> Result<Vec<SecretString>, Problem> {
        references.into_iter().map(|r| self.value(r)).collect()
    }

    fn value(&self, reference: &SecretKeyRef) -> Result<SecretString, Problem> {
        let SecretKeyRef { name, key } = reference;
        let (reason, message) = match self.0.get(name) {
            Some(Ok(Some(secret))) => match text(secret, key) {
                Some(value) => return Ok(value),
                None => (
                    reasons::SecretKeyMissing,
                    format!("Secret {name} has no key {key} with a value"),
                ),
            },
            Some(Err(error)) => (
                reasons::ApiError,
                format!("Secret {name} could not be read: {error}"),
            ),
            Some(Ok(None)) | None => (
                reasons::SecretNotFound,
                format!("Secret {name} does not exist"),
            ),
        };
        Err(Problem::of(reason, format!("Secret/{name}"), message))
    }
}

/// A password from a Secret; an empty one is none.
pub(super) fn text(secret: &Secret, key: &str) -> Option<SecretString> {
    let bytes = &secret.data.as_ref()?.get(key)?.0;
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\n');
    (!text.is_empty()).then(|| SecretString::from(text))
}

/// A password that needs no quoting anywhere: 32 letters and digits, 190 bits.
pub(super) fn generated() -> SecretString {
    let password: String = rand::rng()
        .sample_iter(rand::distr::Alphanumeric)
        .take(32)
        .map(char::from)
        .collect();
    SecretString::from(password)
}

impl Operator {
    /// Reads the Secrets that a spec names.
    pub(super) async fn referenced(&self, redis: &Redis) -> Referenced {
        let namespace = redis.namespace().unwrap_or_default();
        let mut names: Vec<&str> = users::references(redis).map(|r| r.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let api = &Api::<Secret>::namespaced(self.ctx.client.clone(), &namespace);
        let read = names
            .into_iter()
            .map(|name| async move { (name.to_owned(), api.get_opt(name).await) });
        Referenced(join_all(read).await.into_iter().collect())
    }

    /// A password in a Secret of this database.
    pub(super) fn own_password(
        &self,
        redis: &Redis,
        secret: &str,
        key: &str,
    ) -> Option<SecretString> {
        let namespace = redis.namespace().unwrap_or_default();
        let found = self.caches.secrets.get(&namespace, secret)?;
        owner::is_controlled_by(&*found, &redis.uid().unwrap_or_default())
            .then(|| text(&found, key))
            .flatten()
    }

    /// The passwords of all users of clients. Those that are generated are made when they are not there, unless nothing may be written.
    pub(super) async fn accounts(
        &self,
        redis: &Redis,
        credentials: &Credentials,
        referenced: &Referenced,
        dry: bool,
    ) -> BTreeMap<String, Account> {
        let Ok(v) = validate(redis, &Observed::default()) else {
            return BTreeMap::new();
        };
        let server_secret = self.caches.secrets.get(&v.namespace, &v.server_secret());
        let source = &Source {
            op: self,
            redis,
            v: &v,
            filed: users::entries(server_secret.as_deref()),
            dry,
        };
        let default = async {
            let told = source.own(&v.connection_secret(), "password");
            let passwords = if v.password_refs.is_empty() {
                source.rotated(DEFAULT, credentials.default.clone()).await
            } else {
                referenced.values(&v.password_refs)
            };
            (DEFAULT.to_owned(), source.account(DEFAULT, told, passwords))
        };
        let others = v.users.iter().map(|user| async move {
            let told = source.own(&source.v.user_connection_secret(&user.name), "password");
            let passwords = if user.password_refs.is_empty() {
                source.generated(&user.name, told.clone()).await
            } else {
                referenced.values(&user.password_refs)
            };
            let account = source.account(&user.name, told, passwords);
            (user.name.clone(), account)
        });
        let (default, others) = tokio::join!(default, join_all(others));
        others.into_iter().chain([default]).collect()
    }
}

/// What the passwords of one database are found with.
struct Source<'a> {
    op: &'a Operator,
    redis: &'a Redis,
    v: &'a Validated,
    filed: BTreeMap<String, UserEntry>,
    dry: bool,
}

impl Source<'_> {
    fn own(&self, secret: &str, key: &str) -> Option<SecretString> {
        self.op.own_password(self.redis, secret, key)
    }

    fn account(
        &self,
        user: &str,
        told: Option<SecretString>,
        passwords: Result<Vec<SecretString>, Problem>,
    ) -> Account {
        let (passwords, problem) = match passwords {
            Ok(passwords) => (passwords, None),
            Err(problem) => (Vec::new(), Some(problem)),
        };
        let given = |password: &SecretString| {
            let hash = password_hash(password.expose_secret());
            let filed = self.filed.get(user);
            filed.is_some_and(|entry| entry.hashes.contains(&hash))
                || passwords
                    .iter()
                    .any(|p| p.expose_secret() == password.expose_secret())
        };
        Account {
            published: told.filter(given),
            passwords,
            problem,
        }
    }

    /// The generated password of a user. Its second copy is for the case that the connection Secret is lost.
    async fn generated(
        &self,
        user: &str,
        told: Option<SecretString>,
    ) -> Result<Vec<SecretString>, Problem> {
        let copy = self.own(&self.v.server_secret(), &users::copy_key(user));
        let copies: Vec<SecretString> = told.into_iter().chain(copy).collect();
        if let Some(present) = users::present(&copies, self.filed.get(user)) {
            return self.rotated(user, present).await;
        }
        if self.dry {
            return Ok(Vec::new());
        }
        let made = build::user_connection_secret(self.v, &Observed::default(), user, &generated());
        let kept = self.create_once(&made).await?;
        Ok(text(&kept, "password").into_iter().collect())
    }

    /// While another password is asked for: that one, and the one that it takes the place of.
    async fn rotated(
        &self,
        user: &str,
        present: SecretString,
    ) -> Result<Vec<SecretString>, Problem> {
        let Some(wish) = self.v.rotations.get(user) else {
            return Ok(vec![present]);
        };
        let name = self.v.rotation_secret(user, wish);
        let pair = (self.own(&name, "password"), self.own(&name, "previous"));
        if let (Some(next), Some(previous)) = pair {
            return Ok(vec![next, previous]);
        }
        if self.dry {
            return Ok(vec![present]);
        }
        let made = build::rotation_secret(self.v, user, wish, &generated(), &present);
        let kept = self.create_once(&made).await?;
        let values = ["password", "previous"].map(|key| text(&kept, key));
        Ok(values.into_iter().flatten().collect())
    }

    async fn create_once(&self, secret: &Secret) -> Result<Secret, Problem> {
        let created = apply::create_once(&self.op.ctx.client, FIELD_MANAGER, secret).await;
        created.map(apply::Outcome::into_inner).map_err(|error| {
            let reason = match error {
                k8s::Error::NameConflict { .. } => reasons::NameConflict,
                _ => reasons::ApiError,
            };
            Problem::of(
                reason,
                format!("Secret/{}", secret.name_any()),
                error.to_string(),
            )
        })
    }
}
