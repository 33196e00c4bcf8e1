//! Steps of a database that copies an external server and takes over from it.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use secrecy::{ExposeSecret, SecretString};

use super::{Outcome, Pass, Undone, stale};
use crate::engines::redis::{self as engine, Client, CutOver, Limits, Role};
use crate::operators::redis::accounts::text;
use crate::operators::redis::api::{BootstrapState, BootstrapStatus, Election};
use crate::operators::redis::build::{Published, REPLICATION_USER};
use crate::operators::redis::model::{ANNOUNCED_TO_SOURCE, BootstrapStep, Source};
use crate::operators::redis::plan::unusable;
use crate::operators::redis::reasons;

/// How long the external server takes no writes after the cut-over. Its clients have to be led to this database in this time: what it
/// takes later is not here.
const PAUSE: Duration = Duration::from_secs(120);

impl Pass<'_> {
    pub(super) async fn bootstrap(
        &self,
        step: &BootstrapStep,
        outcome: &mut Outcome,
    ) -> Result<(), Undone> {
        match step {
            BootstrapStep::Begin(record) => {
                let note = format!("{} replicates from {}", record.pod, record.source);
                outcome.event(false, reasons::BootstrapCopying, note);
                outcome.bootstrap = Some(record.clone());
                Ok(())
            }
            BootstrapStep::Replicate { pod } => self.copy_source(pod).await,
            BootstrapStep::OwnLogin { pod } => self.own_login(pod).await,
            BootstrapStep::CutOver(election) => {
                self.cut_over(election).await?;
                self.finish(outcome);
                Ok(())
            }
            BootstrapStep::Finish => {
                self.finish(outcome);
                Ok(())
            }
        }
    }

    /// Looks at both servers once more: what follows empties the one that is to be a copy.
    async fn copy_source(&self, pod: &str) -> Result<(), Undone> {
        self.confirm().await?;
        let (source, login) = self.source()?;
        let external = self.external(source, login).await?;
        let server = external.info_of_any_version().await?;
        let client = self.client(pod).await?;
        let own = client.info().await?;
        if own.role == Role::Primary {
            return stale(format!("{pod} is a primary"));
        }
        let found = Source {
            server: Ok(Box::new(server)),
            ..source.clone()
        };
        if let Some(problem) = unusable(&found, &own) {
            return stale(problem.message);
        }
        let encrypted = login.tls.is_some();
        let (user, password) = (&login.username, &login.password);
        self.log_in_with(&client, user, password, ANNOUNCED_TO_SOURCE, encrypted)
            .await?;
        Ok(client.replica_of(&source.address).await?)
    }

    async fn own_login(&self, pod: &str) -> Result<(), Undone> {
        let secret = self.o.objects.server_secret.as_ref();
        let Some(password) = secret.and_then(|s| text(s, "replication-password")) else {
            return stale("the password of the replicas is not known");
        };
        let client = self.client(pod).await?;
        let encrypted = self.v.tls.as_ref().is_some_and(|tls| !tls.plaintext);
        self.log_in_with(&client, REPLICATION_USER, &password, "", encrypted)
            .await
    }

    /// Sets with which login a server replicates, what it announces, and whether over TLS.
    async fn log_in_with(
        &self,
        client: &Client,
        user: &str,
        password: &SecretString,
        announced: &str,
        encrypted: bool,
    ) -> Result<(), Undone> {
        let mut directives = vec![
            ("masteruser", user),
            ("masterauth", password.expose_secret()),
            ("replica-announce-ip", announced),
        ];
        if self.v.tls.is_some() {
            directives.push(("tls-replication", if encrypted { "yes" } else { "no" }));
        }
        Ok(client.config_set(&directives).await?)
    }

    /// Promotes the copy when it has everything. Clients are led to it only after that was written down: should Hera end in between, it
    /// is known whether something may have been written here.
    async fn cut_over(&self, election: &Election) -> Result<(), Undone> {
        let decided = self.confirm().await?;
        if decided.as_ref() != Some(election) {
            return stale("the decision changed");
        }
        let candidate = self.instance(&election.candidate)?;
        let client = self.client(&election.candidate).await?;
        if client.info().await?.run_id != election.run_id {
            return stale(format!("{} restarted since it was chosen", candidate.pod));
        }
        let readers = self
            .o
            .instances
            .iter()
            .filter(|i| i.in_sync_with(candidate));
        self.publish(&Published {
            primary: None,
            readers: readers.collect(),
        })
        .await?;
        if self.v.bootstrap.is_none() {
            return Ok(client.promote().await?);
        }
        let (source, login) = self.source()?;
        let external = self.external(source, login).await?;
        let how = external.pause_until_copied(&client, PAUSE).await?;
        if how == CutOver::Behind {
            return stale("the copy did not get everything in time; writes go on");
        }
        tracing::info!(?how, source = %source.address, "the copy has everything");
        let promoted = client.promote().await;
        // Only where it is known that nothing happened the old server goes on; else what it took would be missing here.
        if let Err(failure) = promoted {
            let role = client.info().await.map(|info| info.role);
            if role == Ok(Role::Replica) && how == CutOver::Paused {
                external.unpause_writes().await?;
            }
            return Err(failure.into());
        }
        Ok(())
    }

    fn finish(&self, outcome: &mut Outcome) {
        let record = self.o.status.bootstrap.clone();
        let source = record
            .as_ref()
            .map(|r| r.source.clone())
            .unwrap_or_default();
        let note = format!("the database took over from {source}");
        outcome.event(false, reasons::BootstrapCompleted, note);
        outcome.bootstrap = record.map(|record| BootstrapStatus {
            state: BootstrapState::Completed,
            completed_at: Some(Time(self.op.ctx.clock.now())),
            ..record
        });
    }

    fn source(&self) -> Result<(&Source, &engine::Credentials), Undone> {
        let source = self.o.source.as_ref();
        let pair = source.and_then(|s| Some((s, s.login.as_ref()?)));
        pair.ok_or_else(|| Undone::Stale("the login of the external server is not known".into()))
    }

    async fn external(
        &self,
        source: &Source,
        login: &engine::Credentials,
    ) -> Result<Client, Undone> {
        Ok(Client::connect(&source.address, login, Limits::default()).await?)
    }
}
