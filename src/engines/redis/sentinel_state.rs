//! What a sentinel knows, as typed values: the replies of `SENTINEL MASTER`, `REPLICAS`, `SENTINELS` and `CKQUORUM`.
//!
//! A sentinel tells its own view, which may be old: [`MonitoredReplica::info_age`] and the like say how old.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use super::address::Address;
use super::failure::Failure;
use super::info::Role;

/// The words of the field `flags`, such as `master`, `s_down`, `disconnected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SentinelFlags(BTreeSet<String>);

impl SentinelFlags {
    /// Whether the word is there.
    pub fn has(&self, flag: &str) -> bool {
        self.0.contains(flag)
    }

    /// `s_down`: this sentinel by itself takes the instance for down.
    pub fn is_subjectively_down(&self) -> bool {
        self.has("s_down")
    }

    /// `o_down`: as many sentinels as the quorum take the primary for down.
    pub fn is_objectively_down(&self) -> bool {
        self.has("o_down")
    }

    /// `disconnected`: this sentinel has no command connection to the instance.
    pub fn is_disconnected(&self) -> bool {
        self.has("disconnected")
    }

    /// Whether this sentinel has a connection and does not take the instance for down.
    pub fn is_up(&self) -> bool {
        !self.is_subjectively_down() && !self.is_objectively_down() && !self.is_disconnected()
    }

    /// All words, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl FromIterator<String> for SentinelFlags {
    fn from_iter<I: IntoIterator<Item = String>>(words: I) -> Self {
        Self(words.into_iter().collect())
    }
}

/// How far a failover that this sentinel leads has come (`failover-state`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SentinelFailoverState {
    /// None in progress at this sentinel.
    #[default]
    None,
    /// Waits to be elected, or for its start.
    WaitStart,
    /// Chooses a replica.
    SelectReplica,
    /// Tells the chosen replica to be primary (or, coordinated, the primary to hand over).
    Promoting,
    /// Waits until the chosen replica says that it is primary.
    WaitPromotion,
    /// Points the other replicas to the new primary.
    ReconfigureReplicas,
    /// Done; the monitored address changes.
    UpdateConfig,
    /// A word that this client does not know.
    Other(String),
}

impl SentinelFailoverState {
    fn parse(word: &str) -> Self {
        match word {
            "none" => Self::None,
            "wait_start" => Self::WaitStart,
            "select_slave" => Self::SelectReplica,
            "send_slaveof_noone" => Self::Promoting,
            "wait_promotion" => Self::WaitPromotion,
            "reconf_slaves" => Self::ReconfigureReplicas,
            "update_config" => Self::UpdateConfig,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// A primary that a sentinel monitors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoredPrimary {
    /// The name that it is monitored under.
    pub name: String,
    /// Where the sentinel believes it to be.
    pub address: Address,
    /// The process's run id; empty until the sentinel has read its `INFO`.
    pub run_id: String,
    /// What the sentinel thinks of it.
    pub flags: SentinelFlags,
    /// The role that it reported last.
    pub role_reported: Option<Role>,
    /// Rises with every failover; of two sentinels that disagree, the one with the higher epoch is right.
    pub config_epoch: u64,
    /// How many replicas the sentinel knows, also those that are gone.
    pub replicas: u32,
    /// How many other sentinels this one knows, also those that are gone.
    pub other_sentinels: u32,
    /// How many sentinels have to take the primary for down before a failover is tried.
    pub quorum: u32,
    /// How long without an answer until it is taken for down.
    pub down_after: Duration,
    /// How long a failover may take; also the time until the next attempt, doubled.
    pub failover_timeout: Duration,
    /// How many replicas synchronize with the new primary at a time.
    pub parallel_syncs: u32,
    /// A failover that this sentinel leads.
    pub failover: SentinelFailoverState,
    /// Since the last good answer to a ping.
    pub last_ok_ping: Duration,
    /// Since its `INFO` was read.
    pub info_age: Duration,
}

/// A replica of a monitored primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitoredReplica {
    /// Where it is.
    pub address: Address,
    /// The process's run id; empty until the sentinel has read its `INFO`.
    pub run_id: String,
    /// What the sentinel thinks of it.
    pub flags: SentinelFlags,
    /// The role that it reported last.
    pub role_reported: Option<Role>,
    /// The primary that it follows by its own word; `None` when it follows none or has not said so yet.
    pub primary: Option<Address>,
    /// Whether its link to that primary is up.
    pub link_up: bool,
    /// For how long the link is down; zero while it is up.
    pub link_down: Duration,
    /// `replica-priority`: the lowest above 0 is promoted first, 0 never.
    pub priority: u32,
    /// Its replication offset when its `INFO` was read.
    pub offset: u64,
    /// Since the last good answer to a ping.
    pub last_ok_ping: Duration,
    /// Since its `INFO` was read: every 10 s, every second while a failover runs.
    pub info_age: Duration,
}

/// Another sentinel that monitors the same primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelPeer {
    /// Where it is.
    pub address: Address,
    /// Its own id (`SENTINEL MYID`), which it keeps in its configuration file.
    pub id: String,
    /// What this sentinel thinks of it.
    pub flags: SentinelFlags,
    /// Since its last message in the primary's channel, which it sends every 2 s.
    pub last_hello: Duration,
    /// Since the last good answer to a ping.
    pub last_ok_ping: Duration,
}

/// The answer of `SENTINEL CKQUORUM`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuorumCheck {
    /// Whether enough sentinels are usable for both the quorum and the majority that a failover needs.
    pub is_reachable: bool,
    /// How many sentinels are usable, the one asked included.
    pub usable: u32,
    /// The sentinel's words.
    pub message: String,
}

impl QuorumCheck {
    /// Reads the text of either reply: `N usable Sentinels. ...`.
    pub(super) fn read(is_reachable: bool, text: &str) -> Result<Self, Failure> {
        let usable = text
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok())
            .ok_or_else(|| unexpected("usable sentinels", text))?;
        Ok(Self {
            is_reachable,
            usable,
            message: text.to_owned(),
        })
    }
}

/// The name and value pairs of one instance.
pub(super) type Fields = BTreeMap<String, String>;

impl MonitoredPrimary {
    pub(super) fn read(fields: &Fields) -> Result<Self, Failure> {
        Ok(Self {
            name: text(fields, "name")?.to_owned(),
            address: address(fields)?,
            run_id: text(fields, "runid")?.to_owned(),
            flags: flags(fields)?,
            role_reported: role(fields),
            config_epoch: number(fields, "config-epoch")?,
            replicas: number(fields, "num-slaves")?,
            other_sentinels: number(fields, "num-other-sentinels")?,
            quorum: number(fields, "quorum")?,
            down_after: milliseconds(fields, "down-after-milliseconds")?,
            failover_timeout: milliseconds(fields, "failover-timeout")?,
            parallel_syncs: number(fields, "parallel-syncs")?,
            failover: fields
                .get("failover-state")
                .map_or(SentinelFailoverState::None, |word| {
                    SentinelFailoverState::parse(word)
                }),
            last_ok_ping: milliseconds(fields, "last-ok-ping-reply")?,
            info_age: milliseconds(fields, "info-refresh")?,
        })
    }
}

impl MonitoredReplica {
    pub(super) fn read(fields: &Fields) -> Result<Self, Failure> {
        let host = text(fields, "master-host")?;
        let port = number(fields, "master-port")?;
        let link_up = text(fields, "master-link-status")? == "ok";
        Ok(Self {
            address: address(fields)?,
            run_id: text(fields, "runid")?.to_owned(),
            flags: flags(fields)?,
            role_reported: role(fields),
            primary: (host != "?" && port != 0).then(|| Address::new(host, port)),
            link_up,
            link_down: if link_up {
                Duration::ZERO
            } else {
                milliseconds(fields, "master-link-down-time")?
            },
            priority: number(fields, "slave-priority")?,
            offset: number(fields, "slave-repl-offset")?,
            last_ok_ping: milliseconds(fields, "last-ok-ping-reply")?,
            info_age: milliseconds(fields, "info-refresh")?,
        })
    }
}

impl SentinelPeer {
    pub(super) fn read(fields: &Fields) -> Result<Self, Failure> {
        Ok(Self {
            address: address(fields)?,
            id: text(fields, "runid")?.to_owned(),
            flags: flags(fields)?,
            last_hello: milliseconds(fields, "last-hello-message")?,
            last_ok_ping: milliseconds(fields, "last-ok-ping-reply")?,
        })
    }
}

fn text<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, Failure> {
    fields
        .get(name)
        .map(String::as_str)
        .ok_or_else(|| Failure::Protocol(format!("the field {name} is missing")))
}

fn number<T: FromStr>(fields: &Fields, name: &str) -> Result<T, Failure> {
    let value = text(fields, name)?;
    value.parse().map_err(|_| unexpected(name, value))
}

/// Milliseconds; below zero (never happened yet) counts as none.
fn milliseconds(fields: &Fields, name: &str) -> Result<Duration, Failure> {
    let value: i64 = number(fields, name)?;
    Ok(Duration::from_millis(value.max(0).unsigned_abs()))
}

fn address(fields: &Fields) -> Result<Address, Failure> {
    Ok(Address::new(text(fields, "ip")?, number(fields, "port")?))
}

fn flags(fields: &Fields) -> Result<SentinelFlags, Failure> {
    let words = text(fields, "flags")?.split(',');
    Ok(words.map(str::to_owned).collect())
}

fn role(fields: &Fields) -> Option<Role> {
    match fields.get("role-reported").map(String::as_str) {
        Some("master") => Some(Role::Primary),
        Some("slave") => Some(Role::Replica),
        _ => None,
    }
}

fn unexpected(name: &str, value: &str) -> Failure {
    Failure::Protocol(format!("{name} is {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    /// What a sentinel of Valkey 9.1 said of a replica that it had just found.
    fn young_replica() -> Fields {
        fields(&[
            ("name", "127.0.0.1:21002"),
            ("ip", "127.0.0.1"),
            ("port", "21002"),
            ("runid", ""),
            ("flags", "s_down,slave,disconnected"),
            ("last-ok-ping-reply", "868"),
            ("info-refresh", "0"),
            ("role-reported", "slave"),
            ("master-link-down-time", "-1000"),
            ("master-link-status", "err"),
            ("master-host", "?"),
            ("master-port", "0"),
            ("slave-priority", "100"),
            ("slave-repl-offset", "0"),
        ])
    }

    #[test]
    fn what_is_not_known_yet_is_none() {
        let replica = MonitoredReplica::read(&young_replica()).unwrap();
        assert_eq!(replica.primary, None);
        assert_eq!(replica.link_down, Duration::ZERO);
        assert!(replica.flags.is_subjectively_down() && replica.flags.is_disconnected());
        assert!(!replica.flags.is_up());
        assert_eq!(replica.role_reported, Some(Role::Replica));
    }

    #[test]
    fn a_field_that_is_missing_or_no_number_is_named() {
        let mut reply = young_replica();
        reply.insert("port".into(), "65536".into());
        let failure = MonitoredReplica::read(&reply).unwrap_err();
        assert!(failure.to_string().contains("port"), "{failure}");
        reply.remove("port");
        let failure = MonitoredReplica::read(&reply).unwrap_err();
        assert!(failure.to_string().contains("port"), "{failure}");
    }

    #[test]
    fn the_quorum_is_read_from_the_words() {
        let text = "2 usable Sentinels. Quorum and failover authorization can be reached";
        let check = QuorumCheck::read(true, text).unwrap();
        assert_eq!((check.is_reachable, check.usable), (true, 2));
        assert!(QuorumCheck::read(true, "nothing").is_err());
    }
}
