//! The server that the first data comes from, and with which login each server replicates.

use futures::future::join_all;
use secrecy::{ExposeSecret, SecretString};

use super::super::accounts::Referenced;
use super::super::api::{BootstrapState, External, Plaintext, Redis};
use super::super::build::REPLICATION_USER;
use super::super::model::{
    ANNOUNCED_TO_SOURCE, Credentials, Instance, Observed, PrimaryLogin, Problem, Source,
    source_address,
};
use super::super::{Operator, reasons};
use crate::engines::redis::{self as engine, Address, Client, Failure, Limits, Tls};

impl Operator {
    /// Looks at the external server while it is copied. A database that was never told to copy one asks nobody.
    pub(in crate::operators::redis) async fn look_at_source(
        &self,
        redis: &Redis,
        o: &mut Observed,
        credentials: &Credentials,
        referenced: &Referenced,
    ) {
        let record = o.status.bootstrap.as_ref();
        let wish = redis.spec.bootstrap.as_ref();
        if record.is_none() && (wish.is_none() || o.status.election.is_some()) {
            return;
        }
        let over = record.is_some_and(|r| r.state == BootstrapState::Completed);
        if let Some(wish) = wish.filter(|_| !over) {
            let namespace = redis.metadata.namespace.as_deref().unwrap_or_default();
            let address = source_address(&wish.external, namespace);
            o.source = Some(source(&wish.external, address, o, referenced).await);
        }
        let source = o.source.as_ref().and_then(|s| s.login.as_ref());
        let (own, key) = (&credentials.replication, &o.key);
        // Afterwards it changes with the encryption of the database.
        let tls = redis.spec.tls.as_ref();
        let refused = tls.is_some_and(|tls| tls.plaintext == Plaintext::Refused);
        let encrypted = (!over).then_some(refused);
        let asked = o.instances.iter().map(|i| async move {
            i.info()?;
            self.login(key, i, own, source, encrypted).await.ok()
        });
        let logins = join_all(asked).await;
        for (i, login) in o.instances.iter_mut().zip(logins) {
            i.login = login;
        }
    }

    async fn login(
        &self,
        key: &str,
        i: &Instance,
        own: &SecretString,
        source: Option<&engine::Credentials>,
        encrypted: Option<bool>,
    ) -> Result<PrimaryLogin, Failure> {
        let names = [
            "masteruser",
            "masterauth",
            "tls-replication",
            "replica-announce-ip",
        ];
        let client = self.instances.client(key, &i.uid).await?;
        let mut values = client.config_get(&names).await?;
        let mut value = |name: &str| values.remove(name).unwrap_or_default();
        let (user, password) = (value("masteruser"), value("masterauth"));
        let (tls, announced) = (
            value("tls-replication") == "yes",
            value("replica-announce-ip"),
        );
        let hidden = announced == ANNOUNCED_TO_SOURCE;
        let is = |name: &str, secret: &SecretString, encrypted: Option<bool>| {
            let alike = encrypted.is_none_or(|encrypted| tls == encrypted);
            user == name && password == secret.expose_secret() && alike
        };
        let of_source =
            |s: &engine::Credentials| is(&s.username, &s.password, Some(s.tls.is_some()));
        Ok(if hidden && source.is_some_and(of_source) {
            PrimaryLogin::Source
        } else if !hidden && is(REPLICATION_USER, own, encrypted) {
            PrimaryLogin::Own
        } else {
            PrimaryLogin::Other
        })
    }
}

async fn source(
    external: &External,
    address: Address,
    o: &Observed,
    referenced: &Referenced,
) -> Source {
    let mut found = Source {
        address,
        login: None,
        server: Err(Problem::of(reasons::BootstrapSourceUnavailable, "", "")),
    };
    match login(external, &found.address.host, o, referenced) {
        Ok(login) => {
            found.server = ask(&found.address, &login).await.map(Box::new);
            found.login = Some(login);
        }
        Err(problem) => found.server = Err(problem),
    }
    found
}

fn login(
    external: &External,
    host: &str,
    o: &Observed,
    referenced: &Referenced,
) -> Result<engine::Credentials, Problem> {
    let password = match &external.password_secret_ref {
        Some(reference) => referenced.values([reference])?.pop(),
        None => None,
    };
    let user = external.username.clone().unwrap_or_default();
    let mut login = engine::Credentials::new(user, "");
    if let Some(password) = password {
        login.password = password;
    }
    if external.tls {
        let unknown = || {
            let message = "the CA of spec.tls is not known yet";
            Problem::of(reasons::BootstrapSourceUnavailable, host, message)
        };
        let ca = o.certificate.as_ref().map(|c| c.ca.as_bytes());
        let tls = Tls::new(ca.ok_or_else(unknown)?, host, None).map_err(|error| {
            Problem::of(reasons::BootstrapSourceUnavailable, host, error.to_string())
        })?;
        login.tls = Some(tls);
    }
    Ok(login)
}

async fn ask(address: &Address, login: &engine::Credentials) -> Result<engine::Info, Problem> {
    let answer = async {
        let client = Client::connect(address, login, Limits::default()).await?;
        client.info_of_any_version().await
    };
    answer.await.map_err(|failure| {
        let message = format!("{address}: {failure}");
        Problem::of(
            reasons::BootstrapSourceUnavailable,
            address.to_string(),
            message,
        )
    })
}
