//! The way of a reconcile, from the `Redis` to its status.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};
use secrecy::SecretString;

use super::accounts::{Referenced, generated};
use super::act::Outcome;
use super::api::{Redis, RedisStatus};
use super::build;
use super::error::Error;
use super::model::{Credentials, Hold, Observed, Plan, Problem, Validated};
use super::observe::Passwords;
use super::status::{self, Picture};
use super::validate::validate;
use super::{FIELD_MANAGER, NAME, Operator, news, plan, reasons, users};
use crate::k8s::apply;
use crate::k8s::events::EventType;
use crate::k8s::{self, conditions};
use crate::manager::controller::Controller;

/// After something was done, how soon to look at its effect.
const SOON: Duration = Duration::from_millis(100);
/// While changes are stopped.
const HELD: Duration = Duration::from_secs(10);
/// After something was tried in vain.
const LATER: Duration = Duration::from_secs(2);

/// The objects as they were after our own last write: the cache may lag behind it.
#[derive(Debug, Default)]
pub struct Latest(Mutex<HashMap<String, Arc<Redis>>>);

impl Latest {
    /// The newer one of the cached object and our own last write.
    fn newest(&self, cached: Arc<Redis>) -> Arc<Redis> {
        let version = |r: &Redis| {
            let version = r.metadata.resource_version.as_deref();
            version
                .and_then(|v| v.parse::<u64>().ok())
                .unwrap_or_default()
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = key(&cached);
        match all.get(&key) {
            Some(own) if own.uid() == cached.uid() && version(own) > version(&cached) => {
                own.clone()
            }
            _ => {
                all.remove(&key);
                cached
            }
        }
    }

    fn keep(&self, written: Redis) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key(&written), Arc::new(written));
    }

    fn forget(&self, key: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
    }
}

/// Under which everything is kept in memory.
fn key(redis: &Redis) -> String {
    format!(
        "{}/{}",
        redis.namespace().unwrap_or_default(),
        redis.name_any()
    )
}

impl Controller for Operator {
    const NAME: &'static str = NAME;
    type Kind = Redis;
    type Error = Error;

    async fn reconcile(&self, object: Arc<Redis>) -> Result<Duration, Error> {
        let redis = self.latest.newest(object);
        if redis.metadata.deletion_timestamp.is_some() {
            // What belongs to it goes by its owner references; nothing outside the cluster is left to clean.
            self.end(&key(&redis));
            self.metrics.gone(&key(&redis));
            return Ok(self.ctx.settings.resync_interval.get());
        }
        let now = self.ctx.clock.now();
        match Box::pin(self.pass(&redis, now)).await {
            Err(error) if error.is_conflict() => Ok(SOON),
            other => other,
        }
    }

    fn forget(&self, object: &ObjectRef<Redis>) {
        let key = format!(
            "{}/{}",
            object.namespace.as_deref().unwrap_or_default(),
            object.name
        );
        self.latest.forget(&key);
        self.metrics.gone(&key);
        self.end(&key);
    }
}

impl Operator {
    fn end(&self, key: &str) {
        self.instances.forget(key);
        self.sentinels.forget(key);
        self.certificates.forget(key);
        self.asked.forget(key);
        self.ctx.rollouts.finished(key);
    }

    async fn pass(&self, redis: &Redis, now: Timestamp) -> Result<Duration, Error> {
        let hold = Hold::of(redis);
        let dry = hold.is_some();
        let referenced = self.referenced(redis).await;
        let (passwords, problem) = self.passwords(redis, &referenced);
        let credentials = if dry {
            Ok(complete(passwords))
        } else {
            self.credentials(redis, passwords).await
        };
        let credentials = match credentials {
            Ok(credentials) => credentials,
            Err(error) if error.is_conflict() => return Err(error),
            Err(error) => {
                let observed = self.observe(redis, None, None, now).await;
                self.refuse(
                    redis,
                    &observed,
                    error.condition_reason(),
                    error.to_string(),
                    now,
                )
                .await?;
                return Err(error);
            }
        };
        let mut observed = self
            .observe(redis, credentials.as_ref(), problem, now)
            .await;
        if let Some(credentials) = &credentials {
            self.read_logins(redis, &mut observed, credentials, &referenced, dry)
                .await;
        }
        let v = match validate(redis, &observed) {
            Ok(v) => v,
            Err(errors) => {
                let words: Vec<String> = errors.iter().map(ToString::to_string).collect();
                return self
                    .refuse(
                        redis,
                        &observed,
                        reasons::InvalidSpec,
                        words.join("; "),
                        now,
                    )
                    .await;
            }
        };
        let applied = match &credentials {
            Some(credentials) if !dry => self.apply(&v, &observed, credentials).await,
            _ => Ok(false),
        };
        // Until the change is seen no pod counts as outdated, and the database would look ready for the new spec.
        observed.settling |= matches!(applied, Ok(true));
        self.permit(&v, &mut observed, dry).await;
        let plan = plan::plan(&v, &observed, now);
        // What may not be restarted holds no slot of the budget.
        if !plan.rolling || plan.findings.risk.is_some() {
            self.ctx.rollouts.finished(&observed.key);
        }
        let failure = applied.as_ref().err().map(|error| {
            Problem::of(
                error.condition_reason(),
                format!("Redis/{}", v.name),
                error.to_string(),
            )
        });
        let outcome = match &credentials {
            // What was not applied does not keep a lost primary from being replaced.
            Some(_) if !dry => self.act(&v, &observed, &plan).await,
            _ => Outcome::default(),
        };
        let picture = Picture {
            v: &v,
            o: &observed,
            plan: &plan,
            now,
            hold,
            failure: failure.as_ref().or(outcome.refused.as_ref()),
        };
        let new = if v.clustered() {
            status::cluster::status(&picture)
        } else {
            let new = status::status(&picture, outcome.election.clone());
            status::bootstrap::added(&picture, new, outcome.bootstrap.clone())
        };
        self.metrics.figures.seen(&v, &observed, &new, now);
        let written = self.write(redis, new).await;
        let due = if dry {
            // Nothing is done in time; what changes starts a pass by itself.
            self.requeue(&plan, &outcome).max(HELD)
        } else if credentials.is_some() {
            self.requeue(&plan, &outcome)
        } else {
            self.ctx.settings.resync_interval.get()
        };
        let outcome_done = outcome.done;
        self.announce(redis, &plan, outcome);
        written?;
        // A plan with something to wait for is looked at again in time, whatever could not be applied.
        if !outcome_done && plan.requeue.is_none() {
            applied?;
        }
        Ok(due)
    }

    /// The passwords of the users, and how things stand with an external server.
    async fn read_logins(
        &self,
        redis: &Redis,
        o: &mut Observed,
        credentials: &Credentials,
        referenced: &Referenced,
        dry: bool,
    ) {
        o.accounts = self.accounts(redis, credentials, referenced, dry).await;
        self.look_at_source(redis, o, credentials, referenced).await;
    }

    fn requeue(&self, plan: &Plan, outcome: &Outcome) -> Duration {
        let due = plan
            .requeue
            .unwrap_or(self.ctx.settings.resync_interval.get());
        match (outcome.done, outcome.failed) {
            _ if outcome.election.as_ref().is_some_and(|e| !e.completed) => Duration::ZERO,
            (_, true) => due.min(LATER),
            (true, false) => due.min(SOON),
            (false, false) => due,
        }
    }

    /// The generated passwords, made and kept when they are not there; `None` while the user's password cannot be read and no server has one.
    async fn credentials(
        &self,
        redis: &Redis,
        known: Passwords,
    ) -> Result<Option<Credentials>, Error> {
        let referenced = !users::default_references(redis).is_empty();
        if let Some(all) = complete(known.clone()) {
            return Ok(Some(all));
        }
        if referenced && known.default.is_none() {
            return Ok(None);
        }
        let made = Credentials {
            default: known.default.unwrap_or_else(generated),
            operator: known.operator.unwrap_or_else(generated),
            replication: known.replication.unwrap_or_else(generated),
            probe: known.probe.unwrap_or_else(generated),
        };
        let Ok(v) = validate(redis, &Observed::default()) else {
            return Ok(None);
        };
        let secret = build::credentials_secret(&v, &made);
        let kept = apply::create_once(&self.ctx.client, FIELD_MANAGER, &secret)
            .await?
            .into_inner();
        Ok(merge_kept(made, &kept, referenced))
    }

    /// Asks others for what the plan depends on: the certificate, and leave to restart pods.
    async fn permit(&self, v: &Validated, o: &mut Observed, dry: bool) {
        if !dry {
            let problem = self.ask_for_certificate(v, o).await;
            o.certificate_problem = problem.or(o.certificate_problem.take());
        }
        o.may_roll = dry || self.may_roll(o);
    }

    fn may_roll(&self, o: &Observed) -> bool {
        let outdated = o.instances.iter().filter(|i| i.outdated).count();
        outdated == 0
            || self
                .ctx
                .rollouts
                .admit(&o.key, outdated < o.instances.len())
    }

    async fn refuse(
        &self,
        redis: &Redis,
        o: &Observed,
        reason: &'static str,
        message: String,
        now: Timestamp,
    ) -> Result<Duration, Error> {
        self.write(redis, status::refused(redis, o, reason, message, now))
            .await?;
        Ok(self.ctx.settings.resync_interval.get())
    }

    async fn write(&self, redis: &Redis, new: RedisStatus) -> Result<(), Error> {
        if let Some(written) = k8s::status::write(
            &self.ctx.client,
            FIELD_MANAGER,
            redis,
            &new,
            redis.status.as_ref(),
        )
        .await?
        {
            self.latest.keep(written);
        }
        self.metrics.seen(&key(redis), &new);
        let old = redis
            .status
            .as_ref()
            .map(|s| s.conditions.as_slice())
            .unwrap_or_default();
        let transitions = conditions::transitions(old, &new.conditions);
        let news = transitions.iter().filter(|t| news::is_news(t));
        let events = news.map(|t| {
            (
                news::is_bad(t.condition),
                t.condition.reason.clone(),
                t.condition.message.clone(),
            )
        });
        self.publish(redis, events.collect());
        Ok(())
    }

    /// Events are written beside the reconcile: a failover does not wait for them.
    fn publish(&self, redis: &Redis, list: Vec<(bool, String, String)>) {
        if list.is_empty() {
            return;
        }
        let (recorder, reference) = (self.ctx.recorder.clone(), redis.object_ref(&()));
        tokio::spawn(async move {
            for (warning, reason, note) in list {
                let type_ = if warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                };
                recorder
                    .transition(&reference, type_, &reason, "Reconcile", note)
                    .await;
            }
        });
    }

    fn announce(&self, redis: &Redis, plan: &Plan, outcome: Outcome) {
        if outcome.done {
            let steps: Vec<String> = plan
                .step
                .iter()
                .chain(&plan.chores)
                .map(ToString::to_string)
                .collect();
            tracing::info!(steps = steps.join("; "), "done");
        }
        self.publish(redis, outcome.events);
    }
}

fn complete(p: Passwords) -> Option<Credentials> {
    Some(Credentials {
        default: p.default?,
        operator: p.operator?,
        replication: p.replication?,
        probe: p.probe?,
    })
}

/// What the cluster holds wins over what was made a moment ago.
fn merge_kept(made: Credentials, kept: &Secret, referenced: bool) -> Option<Credentials> {
    let value = |key: &str| {
        let bytes = &kept.data.as_ref()?.get(key)?.0;
        std::str::from_utf8(bytes).ok().map(SecretString::from)
    };
    Some(Credentials {
        default: if referenced {
            made.default
        } else {
            value("password").unwrap_or(made.default)
        },
        operator: value("operator-password")?,
        replication: value("replication-password")?,
        probe: value("probe-password")?,
    })
}
