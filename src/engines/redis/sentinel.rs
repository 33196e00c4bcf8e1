//! The commands that Hera sends to a sentinel.
//!
//! A sentinel is the same program started with `--sentinel`; it is connected to as any server, by [`Client::connect`].
//! `PING`, the commands on ACL users and these here are what it understands; it has no `CONFIG` and no `REPLICAOF`.

use std::fmt;
use std::time::Duration;

use redis::Value;
use secrecy::{ExposeSecret, SecretString};

use super::address::Address;
use super::client::{Client, milliseconds};
use super::failure::Failure;
use super::sentinel_state::{
    Fields, MonitoredPrimary, MonitoredReplica, QuorumCheck, SentinelPeer,
};

/// How every error begins that says that the name is not monitored.
const UNKNOWN_NAME: &str = "ERR No such master";

/// An option of one monitored primary, for [`Client::sentinel_set`].
#[derive(Clone)]
pub enum SentinelOption {
    /// `auth-user`: the ACL user with which the sentinel logs in at the primary and its replicas.
    AuthUser(String),
    /// `auth-pass`: its password.
    AuthPass(SecretString),
    /// `down-after-milliseconds`.
    DownAfter(Duration),
    /// `failover-timeout`.
    FailoverTimeout(Duration),
    /// `parallel-syncs`, at least 1.
    ParallelSyncs(u32),
    /// `quorum`, at least 1.
    Quorum(u32),
}

impl SentinelOption {
    fn name(&self) -> &'static str {
        match self {
            Self::AuthUser(_) => "auth-user",
            Self::AuthPass(_) => "auth-pass",
            Self::DownAfter(_) => "down-after-milliseconds",
            Self::FailoverTimeout(_) => "failover-timeout",
            Self::ParallelSyncs(_) => "parallel-syncs",
            Self::Quorum(_) => "quorum",
        }
    }

    fn value(&self) -> String {
        match self {
            Self::AuthUser(name) => name.clone(),
            Self::AuthPass(password) => password.expose_secret().to_owned(),
            Self::DownAfter(time) | Self::FailoverTimeout(time) => milliseconds(*time).to_string(),
            Self::ParallelSyncs(number) | Self::Quorum(number) => number.to_string(),
        }
    }
}

/// Names the option only: a value may be a password.
impl fmt::Debug for SentinelOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a failover by a sentinel is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelFailoverKind {
    /// The sentinel promotes a replica without asking the primary, which takes writes for seconds more. They are lost
    /// unless they are paused.
    Plain,
    /// `COORDINATED` (Valkey 9 and newer): the primary hands over by `FAILOVER`, without loss of an acknowledged write.
    Coordinated,
}

/// What came of `SENTINEL FAILOVER`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SentinelFailoverStart {
    /// It began: poll [`Client::sentinel_primary`] and the servers.
    Started,
    /// One is in progress already (`INPROG`).
    InProgress,
    /// No replica is fit by what the sentinel knows now (`NOGOODSLAVE`). It reads their `INFO` every 10 s.
    NoGoodReplica,
}

impl Client {
    /// `SENTINEL MASTERS`: all primaries that the sentinel monitors.
    pub async fn sentinel_primaries(&self) -> Result<Vec<MonitoredPrimary>, Failure> {
        let reply: Vec<Fields> = self.sentinel(&["MASTERS"]).await?;
        reply.iter().map(MonitoredPrimary::read).collect()
    }

    /// `SENTINEL MASTER name`; `None` when the sentinel does not monitor that name.
    pub async fn sentinel_primary(&self, name: &str) -> Result<Option<MonitoredPrimary>, Failure> {
        match self.sentinel::<Fields>(&["MASTER", name]).await {
            Ok(reply) => MonitoredPrimary::read(&reply).map(Some),
            Err(failure) if is_unknown_name(&failure) => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// `SENTINEL REPLICAS name`: the replicas that the sentinel knows, also those that are gone. An unknown name is a
    /// [`Failure::Command`].
    pub async fn sentinel_replicas(&self, name: &str) -> Result<Vec<MonitoredReplica>, Failure> {
        let reply: Vec<Fields> = self.sentinel(&["REPLICAS", name]).await?;
        reply.iter().map(MonitoredReplica::read).collect()
    }

    /// `SENTINEL SENTINELS name`: the *other* sentinels that this one knows, also those that are gone. An unknown name is
    /// a [`Failure::Command`].
    pub async fn sentinel_peers(&self, name: &str) -> Result<Vec<SentinelPeer>, Failure> {
        let reply: Vec<Fields> = self.sentinel(&["SENTINELS", name]).await?;
        reply.iter().map(SentinelPeer::read).collect()
    }

    /// `SENTINEL GET-MASTER-ADDR-BY-NAME`: the address that the sentinel tells clients, which during a failover is
    /// already the new one. `None` when it does not monitor that name.
    pub async fn sentinel_primary_address(&self, name: &str) -> Result<Option<Address>, Failure> {
        let reply: Option<(String, u16)> =
            self.sentinel(&["GET-MASTER-ADDR-BY-NAME", name]).await?;
        Ok(reply.map(|(host, port)| Address::new(host, port)))
    }

    /// `SENTINEL MYID`: 40 hex digits, kept in the sentinel's configuration file.
    pub async fn sentinel_id(&self) -> Result<String, Failure> {
        self.sentinel(&["MYID"]).await
    }

    /// `SENTINEL MONITOR`: begins to monitor a primary. `primary` has to be an IP address.
    ///
    /// A name that is monitored already is refused (`Duplicate`), also with the same address. Set the login and the other
    /// options right after it ([`Client::sentinel_set`]).
    pub async fn sentinel_monitor(
        &self,
        name: &str,
        primary: &Address,
        quorum: u32,
    ) -> Result<(), Failure> {
        let (port, quorum) = (primary.port.to_string(), quorum.to_string());
        self.sentinel(&["MONITOR", name, &primary.host, &port, &quorum])
            .await
    }

    /// `SENTINEL REMOVE`: stops to monitor. A name that is not monitored is no failure: the wish is fulfilled.
    ///
    /// The sentinel forgets the replicas, the other sentinels and the epoch of that name.
    pub async fn sentinel_remove(&self, name: &str) -> Result<(), Failure> {
        match self.sentinel(&["REMOVE", name]).await {
            Err(failure) if is_unknown_name(&failure) => Ok(()),
            other => other,
        }
    }

    /// `SENTINEL SET name option value ...`. The sentinel keeps them in its configuration file.
    ///
    /// With another login it connects again. [`Failure::Command`] names what is wrong; options before the wrong one are
    /// set then.
    pub async fn sentinel_set(
        &self,
        name: &str,
        options: &[SentinelOption],
    ) -> Result<(), Failure> {
        let mut command = redis::cmd("SENTINEL");
        command.arg("SET").arg(name);
        for option in options {
            command.arg(option.name()).arg(option.value());
        }
        self.call(&command).await
    }

    /// `SENTINEL CONFIG SET`: an option of the sentinel itself, such as `sentinel-user`, `sentinel-pass` (its login at other
    /// sentinels), `announce-ip`. TLS cannot be set this way.
    pub async fn sentinel_config_set(&self, option: &str, value: &str) -> Result<(), Failure> {
        self.sentinel(&["CONFIG", "SET", option, value]).await
    }

    /// `SENTINEL CKQUORUM`: whether a failover could be agreed on now, by what this sentinel knows. An unknown name is a
    /// [`Failure::Command`].
    pub async fn sentinel_check_quorum(&self, name: &str) -> Result<QuorumCheck, Failure> {
        match self.sentinel::<String>(&["CKQUORUM", name]).await {
            Ok(text) => QuorumCheck::read(true, text.trim_start_matches("OK ")),
            Err(Failure::Command(text)) => match text.strip_prefix("NOQUORUM ") {
                Some(text) => QuorumCheck::read(false, text),
                None => Err(Failure::Command(text)),
            },
            Err(failure) => Err(failure),
        }
    }

    /// `SENTINEL FAILOVER`: begins a failover without asking the other sentinels, which follow the higher epoch.
    ///
    /// The sentinel chooses the replica itself: the lowest `replica-priority`, then the highest offset that it has seen.
    pub async fn sentinel_failover(
        &self,
        name: &str,
        kind: SentinelFailoverKind,
    ) -> Result<SentinelFailoverStart, Failure> {
        let mut words = vec!["FAILOVER", name];
        if kind == SentinelFailoverKind::Coordinated {
            words.push("COORDINATED");
        }
        match self.sentinel::<()>(&words).await {
            Ok(()) => Ok(SentinelFailoverStart::Started),
            Err(Failure::Command(text)) if text.starts_with("INPROG") => {
                Ok(SentinelFailoverStart::InProgress)
            }
            Err(Failure::Command(text)) if text.starts_with("NOGOODSLAVE") => {
                Ok(SentinelFailoverStart::NoGoodReplica)
            }
            Err(failure) => Err(failure),
        }
    }

    /// The best kind of planned failover that this sentinel program has. It is asked, not derived from its version.
    ///
    /// [`SentinelFailoverKind::Coordinated`] needs a primary that has `FAILOVER`, which all supported servers have, and
    /// the sentinel's user there has to be allowed to use it ([`super::sentinel_acl_rules`]).
    pub async fn sentinel_failover_kind(&self) -> Result<SentinelFailoverKind, Failure> {
        let docs = self.command_docs(&["sentinel|failover"]).await?;
        Ok(if mentions(&docs, "COORDINATED") {
            SentinelFailoverKind::Coordinated
        } else {
            SentinelFailoverKind::Plain
        })
    }

    /// `SENTINEL RESET name`: forgets the replicas and the other sentinels of that name, and a failover in progress.
    /// Returns how many names it concerned. `name` is taken as a glob pattern.
    ///
    /// The last resort, against replicas and sentinels that are gone for good and are still counted. The sentinel is blind
    /// until it has found them again (about 10 s), so: one sentinel at a time, never while a failover runs or the primary
    /// is down, and the next one only when this one sees all others again.
    pub async fn sentinel_reset(&self, name: &str) -> Result<u64, Failure> {
        self.sentinel(&["RESET", name]).await
    }

    async fn sentinel<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, Failure> {
        self.call(redis::cmd("SENTINEL").arg(words)).await
    }

    /// `COMMAND DOCS` of some commands; what the server does not have is left out of its reply.
    pub(super) async fn command_docs(&self, names: &[&str]) -> Result<Value, Failure> {
        self.call(redis::cmd("COMMAND").arg("DOCS").arg(names))
            .await
    }
}

/// Whether a text occurs in a reply as a whole string.
pub(super) fn mentions(value: &Value, word: &str) -> bool {
    match value {
        Value::BulkString(bytes) => bytes == word.as_bytes(),
        Value::SimpleString(text) => text == word,
        Value::Array(values) => values.iter().any(|value| mentions(value, word)),
        _ => false,
    }
}

fn is_unknown_name(failure: &Failure) -> bool {
    matches!(failure, Failure::Command(text) if text.starts_with(UNKNOWN_NAME))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_sent_but_not_printed() {
        let option = SentinelOption::AuthPass("s3cret".into());
        assert_eq!(option.value(), "s3cret");
        assert_eq!(format!("{option:?}"), "auth-pass");
    }
}
