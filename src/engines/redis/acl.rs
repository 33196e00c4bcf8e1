//! The ACL users that Hera creates, and what they may do.
//!
//! Every rule list starts from nothing (`resetkeys resetchannels -@all`) and names commands one by one, so that a command
//! that a later server adds to a category is not granted unseen.

use std::collections::BTreeMap;

use redis::Value;
use sha2::{Digest, Sha256};

use super::failure::Failure;

/// What every rule list starts with: no key, no channel, no command.
const NOTHING: &str = "resetkeys resetchannels -@all";

/// Rules of Hera's own user, without `on` and without passwords.
///
/// It sees the state of a server, assigns its role, and changes its configuration and its users. It cannot
/// read, write, copy or flush data.
pub fn hera_acl_rules() -> String {
    format!(
        "{NOTHING} +ping +info +replicaof +failover +config|get +config|set \
         +client|pause +client|unpause +client|kill +acl|setuser +acl|getuser +acl|deluser"
    )
}

/// Rules of the user that replicas log in with at their primary (`masteruser`), without `on` and without passwords.
///
/// The three commands are those that the servers' ACL manual names for replicas; a hand-over needs no more.
/// `PSYNC` hands out the whole data set, so its password is as secret as the data.
pub fn replication_acl_rules() -> String {
    format!("{NOTHING} +psync +replconf +ping")
}

/// Rules of the user that the probes of the pod log in with, without `on` and without passwords.
pub fn probe_acl_rules() -> String {
    format!("{NOTHING} +ping +info")
}

/// Rules of the user that redis_exporter logs in with, without `on` and without passwords.
///
/// It sees figures and no data: not the slow log, whose entries have arguments of commands, and not the configuration, which has
/// the password of replicas. What it asks for beyond that it does without.
pub fn exporter_acl_rules() -> String {
    format!(
        "{NOTHING} +ping +info +client|setname +latency|latest +latency|histogram +slowlog|len \
         +cluster|info"
    )
}

/// Rules of Hera's own user at a sentinel, without `on` and without passwords.
///
/// It sees what the sentinel knows, tells it what to monitor, and changes the passwords of its users.
pub fn hera_sentinel_acl_rules() -> String {
    format!(
        "{NOTHING} +ping +info +command|docs +sentinel|masters +sentinel|master +sentinel|replicas \
         +sentinel|sentinels +sentinel|get-master-addr-by-name +sentinel|myid +sentinel|ckquorum \
         +sentinel|monitor +sentinel|remove +sentinel|set +sentinel|failover +sentinel|reset \
         +sentinel|config +client|kill +acl|setuser +acl|getuser +acl|deluser"
    )
}

/// Rules of the user with which a sentinel logs in at the *data servers* (`auth-user`), without `on` and without
/// passwords.
///
/// The commands are those that the servers' Sentinel manual names, and for a coordinated failover `failover`,
/// `client|pause` (without which it silently does nothing) and `client|unpause`. The channel is the one in which sentinels
/// find each other.
pub fn sentinel_acl_rules() -> String {
    format!(
        "{NOTHING} &__sentinel__:hello +ping +info +role +multi +exec +slaveof +failover \
         +config|rewrite +client|setname +client|kill +client|pause +client|unpause \
         +script|kill +publish +subscribe"
    )
}

/// Rules of the user with which a sentinel logs in at *other sentinels* (`sentinel sentinel-user`), without `on` and
/// without passwords.
pub fn sentinel_peer_acl_rules() -> String {
    format!(
        "{NOTHING} &__sentinel__:hello +ping +publish +client|setname \
         +sentinel|is-master-down-by-addr"
    )
}

/// Rules of the user with which applications ask a *sentinel* for the primary, without `on` and without passwords.
///
/// The commands are those that client libraries send to a sentinel, but for `CLIENT SETINFO`, whose refusal they ignore:
/// Redis 7.0 does not have it and would not start with a rule on it.
pub fn sentinel_client_acl_rules() -> String {
    format!(
        "{NOTHING} &* +ping +info +role +command +client|setname +client|id \
         +subscribe +unsubscribe +psubscribe +punsubscribe +sentinel|masters +sentinel|master \
         +sentinel|replicas +sentinel|slaves +sentinel|sentinels +sentinel|get-master-addr-by-name \
         +sentinel|myid +sentinel|ckquorum"
    )
}

/// Rules of Hera's own user at a node of a cluster, without `on` and without passwords.
///
/// Those of [`hera_acl_rules`], and what it takes to build a cluster and to keep it whole. What only some servers have is in
/// [`super::SlotMigrationWay::hera_acl_rules`].
pub fn hera_cluster_acl_rules() -> String {
    format!(
        "{} +command|docs +cluster|info +cluster|nodes +cluster|myid +cluster|meet \
         +cluster|set-config-epoch +cluster|addslotsrange +cluster|replicate +cluster|failover \
         +cluster|forget +cluster|setslot",
        hera_acl_rules()
    )
}

/// Rules of the user that moves keys of a cluster one by one, without `on` and without passwords.
///
/// It logs in at the node that has the keys, and that node logs in with it where they go. `MIGRATE` demands the right to
/// read and write each key, so this user can copy all data elsewhere: give it a password only while slots are moved.
pub fn migration_acl_rules() -> String {
    format!("{NOTHING} ~* +ping +cluster|getkeysinslot +migrate +select +restore-asking")
}

/// SHA-256 of a password in lower-case hex, as `ACL SETUSER user #hash` takes it.
pub fn password_hash(password: &str) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(password.as_bytes()) {
        for digit in [byte >> 4, byte & 15] {
            text.extend(char::from_digit(u32::from(digit), 16));
        }
    }
    text
}

/// An ACL user as `ACL GETUSER` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AclUser {
    /// `on` or `off`, and such as `nopass`, `sanitize-payload`.
    pub flags: Vec<String>,
    /// SHA-256 of each password, lower-case hex.
    pub passwords: Vec<String>,
    /// Command rules, such as `-@all +ping`.
    pub commands: String,
    /// Key patterns, such as `~app:*`.
    pub keys: String,
    /// Channel patterns, such as `&*`.
    pub channels: String,
    /// Further sets of permissions, each with the fields `commands`, `keys` and `channels`.
    pub selectors: Vec<BTreeMap<String, String>>,
}

impl AclUser {
    /// Whether the user may log in at all.
    pub fn is_on(&self) -> bool {
        self.flags.iter().any(|flag| flag == "on")
    }

    /// Whether any password is accepted.
    pub fn is_without_password(&self) -> bool {
        self.flags.iter().any(|flag| flag == "nopass")
    }

    /// Reads the reply of `ACL GETUSER`.
    pub(super) fn from_reply(value: Value) -> Result<Self, Failure> {
        fn read<T: redis::FromRedisValue + Default>(value: Option<Value>) -> Result<T, Failure> {
            value.map_or_else(
                || Ok(T::default()),
                |value| {
                    redis::from_redis_value(value)
                        .map_err(|error| Failure::Protocol(error.to_string()))
                },
            )
        }
        let mut fields: BTreeMap<String, Value> = read(Some(value))?;
        Ok(Self {
            flags: read(fields.remove("flags"))?,
            passwords: read(fields.remove("passwords"))?,
            commands: read(fields.remove("commands"))?,
            keys: read(fields.remove("keys"))?,
            channels: read(fields.remove("channels"))?,
            selectors: read(fields.remove("selectors"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_hash_is_sha256_in_lower_case_hex() {
        assert_eq!(
            password_hash("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn rules_start_from_nothing_and_grant_no_category() {
        for rules in [
            hera_acl_rules(),
            replication_acl_rules(),
            probe_acl_rules(),
            exporter_acl_rules(),
            hera_sentinel_acl_rules(),
            sentinel_acl_rules(),
            sentinel_peer_acl_rules(),
            sentinel_client_acl_rules(),
            hera_cluster_acl_rules(),
        ] {
            let granted = rules.strip_prefix(NOTHING).unwrap();
            for rule in granted.split_whitespace() {
                assert!(
                    rule.starts_with(['+', '&']) && !rule.contains('@'),
                    "{rule}"
                );
            }
        }
    }
}
