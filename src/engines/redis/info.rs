//! The reply of `INFO` as a typed value.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;

use super::address::Address;

/// Which server program runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Engine {
    /// Redis.
    #[default]
    Redis,
    /// Valkey.
    Valkey,
}

/// What a server is in replication.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// `role:master`: a replica of nobody; takes writes.
    #[default]
    Primary,
    /// `role:slave`.
    Replica,
}

/// `master_failover_state`: how far a `FAILOVER` that this server coordinates has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FailoverState {
    /// None in progress.
    #[default]
    None,
    /// Writes are paused until the target has all of them.
    WaitingForSync,
    /// The server made itself a replica and waits for the target to accept.
    InProgress,
}

/// A replica as its primary sees it (`slaveN:`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaLink {
    /// The address that the replica announces, or the one that it connects from. `FAILOVER TO` wants exactly this.
    pub ip: String,
    /// The port that the replica announces, or listens on.
    pub port: u16,
    /// `online` once the full synchronization is over; else `wait_bgsave`, `send_bulk` and the like. It stays `online`
    /// when the replica hangs: look at `lag`.
    pub state: String,
    /// The replication offset that the replica acknowledged last, in bytes.
    pub offset: u64,
    /// Seconds since that acknowledgement, which comes every second.
    pub lag: u64,
}

impl ReplicaLink {
    /// Whether the replica has the data set and follows the stream.
    pub fn is_online(&self) -> bool {
        self.state == "online"
    }

    /// Where the replica is, for [`super::Client::failover_to`].
    pub fn address(&self) -> Address {
        Address::new(self.ip.clone(), self.port)
    }
}

/// What a server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a fact of its own, not a state of one machine"
)]
pub struct Info {
    /// Redis or Valkey.
    pub engine: Engine,
    /// Version of that program, such as `8.1.1`. For Valkey not the `redis_version` that it claims to be compatible with.
    pub version: String,
    /// 40 hex digits that a process gets at its start: another one means that the process was restarted.
    pub run_id: String,
    /// Since the process was started.
    pub uptime: Duration,

    /// Primary or replica.
    pub role: Role,
    /// `master_replid`: the history that the data set belongs to, 40 hex digits. A server that starts without a data
    /// set, or is promoted, gets a new one.
    pub replid: String,
    /// `master_replid2`: the history that the server followed before it was promoted; `None` when there is none.
    pub replid2: Option<String>,
    /// Up to which offset the history `replid2` is shared; `None` when there is none.
    pub second_repl_offset: Option<u64>,
    /// How much of the history the data set holds, in bytes: `master_repl_offset` of a primary, `slave_repl_offset` of a
    /// replica. Offsets can be compared between servers only where the histories are the same.
    ///
    /// A replica that has never been synchronized shows 1, under a random `replid`. So does one that was restarted with
    /// its data set, unless it loaded a snapshot that an orderly stop wrote: neither an append-only file nor a crash keeps
    /// the history. Whether it holds data, `keys` tells.
    pub offset: u64,
    /// Of a replica: the host that it follows, as it was given in `REPLICAOF`.
    pub primary_host: Option<String>,
    /// Of a replica: the port that it follows.
    pub primary_port: Option<u16>,
    /// Of a replica: whether the link is up, which it is only after the synchronization. Of a primary: false.
    pub link_up: bool,
    /// Of a replica whose link is down: for how long; `None` also when it has never been up.
    pub link_down_seconds: Option<u64>,
    /// Of a replica whose link is up: since the last byte came from the primary (which pings every
    /// `repl-ping-replica-period`, 10 s by default).
    pub last_io_seconds: Option<u64>,
    /// Of a replica: whether a full synchronization runs. Its data set is not usable then.
    pub sync_in_progress: bool,
    /// Of a replica in a full synchronization: the bytes that came so far.
    pub sync_read_bytes: u64,
    /// `slave_priority` of a replica: 0 asks not to be promoted. 100 is the default, also shown for a primary.
    pub priority: u32,
    /// The replicas that are connected, sorted by address. A replica can have some, too.
    pub replicas: Vec<ReplicaLink>,
    /// Of a primary with `min-replicas-to-write`: how many replicas are online with a lag below the limit.
    pub good_replicas: Option<u32>,
    /// How far a planned hand-over has come.
    pub failover_state: FailoverState,

    /// Whether the data set is being loaded from disk.
    pub loading: bool,
    /// Whether the append-only file is on.
    pub aof_enabled: bool,
    /// Whether a snapshot is being written.
    pub rdb_bgsave_in_progress: bool,
    /// Whether the append-only file is being rewritten.
    pub aof_rewrite_in_progress: bool,
    /// Size of the append-only file with all its parts, in bytes; 0 when it is off.
    pub aof_size: u64,
    /// Its size after the last rewrite, in bytes.
    pub aof_base_size: u64,
    /// Seconds since 1970 of the last good snapshot, or of the start of the process.
    pub last_save_unix: u64,
    /// Whether the last snapshot failed.
    pub last_save_failed: bool,
    /// Whether the last write to the append-only file failed.
    pub aof_write_failed: bool,
    /// Writes since the last snapshot.
    pub changes_since_save: u64,

    /// Full synchronizations that this server gave to replicas since its start.
    pub sync_full: u64,
    /// Partial synchronizations that it gave.
    pub sync_partial_ok: u64,
    /// Partial synchronizations that were asked for and not possible.
    pub sync_partial_err: u64,

    /// Whether the server is a node of a cluster. Told only by [`super::Client::info_of_any_version`].
    pub cluster_enabled: bool,

    /// Keys in all databases.
    pub keys: u64,
    /// Bytes that the allocator handed out.
    pub used_memory: u64,
    /// The limit in bytes; 0 means none.
    pub maxmemory: u64,
    /// Bytes of `used_memory` that do not count against the limit: buffers of replicas and of the append-only file.
    pub uncounted_memory: u64,
}

/// Why a text is not the reply of `INFO` that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InfoError {
    /// A field that every supported server shows is absent.
    #[error("INFO lacks the field {0}")]
    Missing(&'static str),
    /// A field has a value that cannot be read.
    #[error("INFO field {field} has the value {value:?}")]
    Invalid {
        /// Name of the field.
        field: String,
        /// Its value.
        value: String,
    },
}

impl Info {
    /// Reads a reply with the sections `server`, `memory`, `persistence`, `stats`, `replication` and `keyspace`. Fields that
    /// only some servers or roles show may be absent.
    pub fn parse(text: &str) -> Result<Self, InfoError> {
        let fields = Fields::parse(text);
        let mut info = Self::default();
        info.read_server(&fields)?;
        info.read_replication(&fields)?;
        info.read_persistence(&fields)?;
        info.read_stats(&fields)?;
        info.cluster_enabled = fields.flag("cluster_enabled");
        info.keys = fields.keys()?;
        info.used_memory = fields.number("used_memory")?.unwrap_or_default();
        info.maxmemory = fields.number("maxmemory")?.unwrap_or_default();
        info.uncounted_memory = fields
            .number("mem_not_counted_for_evict")?
            .unwrap_or_default();
        Ok(info)
    }

    /// This value with its replication fields replaced by those of a reply to `INFO replication`.
    pub fn with_replication(&self, text: &str) -> Result<Self, InfoError> {
        let mut info = self.clone();
        info.read_replication(&Fields::parse(text))?;
        Ok(info)
    }

    /// Of a replica: where its primary is.
    pub fn primary(&self) -> Option<Address> {
        Some(Address::new(self.primary_host.clone()?, self.primary_port?))
    }

    /// Whether the data set belongs to the history `replid`, by its present or its former name.
    ///
    /// A replica that was promoted keeps the old name in `replid2` up to `second_repl_offset`.
    pub fn has_history(&self, replid: &str) -> bool {
        self.replid == replid || self.replid2.as_deref() == Some(replid)
    }

    fn read_server(&mut self, fields: &Fields<'_>) -> Result<(), InfoError> {
        // Valkey keeps a redis_version for old clients, so its own fields go first.
        if let Some(version) = fields.text("valkey_version") {
            self.engine = Engine::Valkey;
            version.clone_into(&mut self.version);
        } else {
            self.engine = match fields.text("server_name") {
                Some("valkey") => Engine::Valkey,
                _ => Engine::Redis,
            };
            fields
                .required("redis_version")?
                .clone_into(&mut self.version);
        }
        fields.required("run_id")?.clone_into(&mut self.run_id);
        self.uptime = Duration::from_secs(fields.number("uptime_in_seconds")?.unwrap_or_default());
        Ok(())
    }

    fn read_replication(&mut self, fields: &Fields<'_>) -> Result<(), InfoError> {
        self.role = match fields.required("role")? {
            "master" => Role::Primary,
            "slave" => Role::Replica,
            other => return Err(invalid("role", other)),
        };
        fields
            .required("master_replid")?
            .clone_into(&mut self.replid);
        self.replid2 = fields
            .text("master_replid2")
            .filter(|id| id.bytes().any(|byte| byte != b'0'))
            .map(str::to_owned);
        self.second_repl_offset = fields.non_negative("second_repl_offset")?;
        let is_replica = self.role == Role::Replica;
        let offset = if is_replica {
            "slave_repl_offset"
        } else {
            "master_repl_offset"
        };
        fields.required(offset)?;
        self.offset = fields.non_negative(offset)?.unwrap_or_default();
        self.primary_host = fields.text("master_host").map(str::to_owned);
        self.primary_port = fields.number("master_port")?;
        self.link_up = fields.text("master_link_status") == Some("up");
        self.link_down_seconds = fields.non_negative("master_link_down_since_seconds")?;
        self.last_io_seconds = fields.non_negative("master_last_io_seconds_ago")?;
        self.sync_in_progress = fields.flag("master_sync_in_progress");
        self.sync_read_bytes = fields
            .non_negative("master_sync_read_bytes")?
            .unwrap_or_default();
        self.priority = fields.number("slave_priority")?.unwrap_or(100);
        self.replicas = fields.replicas()?;
        self.good_replicas = fields.number("min_slaves_good_slaves")?;
        self.failover_state = match fields.text("master_failover_state") {
            None | Some("no-failover") => FailoverState::None,
            Some("waiting-for-sync") => FailoverState::WaitingForSync,
            Some("failover-in-progress") => FailoverState::InProgress,
            Some(other) => return Err(invalid("master_failover_state", other)),
        };
        Ok(())
    }

    fn read_persistence(&mut self, fields: &Fields<'_>) -> Result<(), InfoError> {
        self.loading = fields.flag("loading");
        self.aof_enabled = fields.flag("aof_enabled");
        self.rdb_bgsave_in_progress = fields.flag("rdb_bgsave_in_progress");
        self.aof_rewrite_in_progress = fields.flag("aof_rewrite_in_progress");
        self.aof_size = fields.number("aof_current_size")?.unwrap_or_default();
        self.aof_base_size = fields.number("aof_base_size")?.unwrap_or_default();
        self.last_save_unix = fields.number("rdb_last_save_time")?.unwrap_or_default();
        self.last_save_failed = fields
            .text("rdb_last_bgsave_status")
            .is_some_and(|status| status != "ok");
        self.aof_write_failed = fields
            .text("aof_last_write_status")
            .is_some_and(|status| status != "ok");
        self.changes_since_save = fields
            .number("rdb_changes_since_last_save")?
            .unwrap_or_default();
        Ok(())
    }

    fn read_stats(&mut self, fields: &Fields<'_>) -> Result<(), InfoError> {
        self.sync_full = fields.number("sync_full")?.unwrap_or_default();
        self.sync_partial_ok = fields.number("sync_partial_ok")?.unwrap_or_default();
        self.sync_partial_err = fields.number("sync_partial_err")?.unwrap_or_default();
        Ok(())
    }
}

/// The `name:value` lines of a reply.
struct Fields<'a>(HashMap<&'a str, &'a str>);

impl<'a> Fields<'a> {
    fn parse(text: &'a str) -> Self {
        Self(
            text.lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.split_once(':'))
                .collect(),
        )
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).copied()
    }

    fn required(&self, name: &'static str) -> Result<&'a str, InfoError> {
        self.text(name).ok_or(InfoError::Missing(name))
    }

    fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("1")
    }

    fn number<T: FromStr>(&self, name: &str) -> Result<Option<T>, InfoError> {
        self.text(name).map(|value| parse(name, value)).transpose()
    }

    /// A number for which the servers show -1 when there is none.
    fn non_negative(&self, name: &str) -> Result<Option<u64>, InfoError> {
        Ok(self
            .number::<i64>(name)?
            .and_then(|value| u64::try_from(value).ok()))
    }

    /// The `slaveN:ip=...,port=...` lines.
    fn replicas(&self) -> Result<Vec<ReplicaLink>, InfoError> {
        let is_link = |name: &str| {
            name.strip_prefix("slave")
                .is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let mut replicas = self
            .0
            .iter()
            .filter(|(name, _)| is_link(name))
            .map(|(name, value)| {
                let parts: HashMap<&str, &str> = value
                    .split(',')
                    .filter_map(|part| part.split_once('='))
                    .collect();
                let part = |key: &str| parts.get(key).copied().ok_or_else(|| invalid(name, value));
                Ok(ReplicaLink {
                    ip: part("ip")?.to_owned(),
                    port: parse(name, part("port")?)?,
                    state: part("state")?.to_owned(),
                    offset: parse(name, part("offset")?)?,
                    // Below zero when the server's clock was set back.
                    lag: parse::<i64>(name, part("lag")?)?.max(0).unsigned_abs(),
                })
            })
            .collect::<Result<Vec<_>, InfoError>>()?;
        replicas.sort_by(|a, b| (&a.ip, a.port).cmp(&(&b.ip, b.port)));
        Ok(replicas)
    }

    /// The sum over the `dbN:keys=...` lines.
    fn keys(&self) -> Result<u64, InfoError> {
        let mut sum = 0;
        for (name, value) in &self.0 {
            let is_database = name
                .strip_prefix("db")
                .is_some_and(|number| number.parse::<u32>().is_ok());
            if is_database {
                let keys = value
                    .split(',')
                    .find_map(|part| part.strip_prefix("keys="))
                    .ok_or_else(|| invalid(name, value))?;
                sum += parse::<u64>(name, keys)?;
            }
        }
        Ok(sum)
    }
}

fn parse<T: FromStr>(field: &str, value: &str) -> Result<T, InfoError> {
    value.parse().map_err(|_| invalid(field, value))
}

fn invalid(field: &str, value: &str) -> InfoError {
    InfoError::Invalid {
        field: field.to_owned(),
        value: value.to_owned(),
    }
}

#[cfg(test)]
mod tests;
