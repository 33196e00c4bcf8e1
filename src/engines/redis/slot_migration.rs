//! Moving slots from one node of a cluster to another: the three ways that servers have.
//!
//! | way | server | told to | who moves the keys |
//! | --- | --- | --- | --- |
//! | [`SlotMigrationWay::Push`] | Valkey 9 and newer | the node that has the slots | the servers, atomically |
//! | [`SlotMigrationWay::Pull`] | Redis 8.4 and newer | the node that gets the slots | the servers, atomically |
//! | [`SlotMigrationWay::Legacy`] | all | both, slot by slot | who tells them, key by key |
//!
//! The atomic ones run by themselves once they are begun, and end in a list that is polled. The list is in memory: it is gone
//! with the process, and so is a migration; who owns the slots, `CLUSTER NODES` tells.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::Value;
use secrecy::ExposeSecret;

use super::address::Address;
use super::client::{Client, milliseconds};
use super::cluster_nodes::{field, unexpected};
use super::credentials::Credentials;
use super::failure::Failure;
use super::slots::SlotSet;

/// How slots are moved between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotMigrationWay {
    /// `CLUSTER MIGRATESLOTS` at the source.
    Push,
    /// `CLUSTER MIGRATION IMPORT` at the destination. Written after its documentation.
    Pull,
    /// `CLUSTER SETSLOT` and `MIGRATE`.
    Legacy,
}

impl SlotMigrationWay {
    /// What Hera's user needs beyond [`super::hera_cluster_acl_rules`], for `ACL SETUSER` on every node. Servers refuse rules
    /// on commands that they do not have, so these cannot be given to all.
    pub fn hera_acl_rules(self) -> &'static [&'static str] {
        match self {
            Self::Push => &[
                "+cluster|migrateslots",
                "+cluster|getslotmigrations",
                "+cluster|cancelslotmigrations",
            ],
            Self::Pull => &["+cluster|migration"],
            Self::Legacy => &[],
        }
    }

    /// What the user with which nodes log in at each other (`masteruser`) needs beyond
    /// [`super::replication_acl_rules`], for `ACL SETUSER` on every node.
    ///
    /// Valkey runs what the source sends with the rights of this user, which is every command that writes, on every key.
    /// That is more than a replica needs: take it back after the migration, by applying
    /// [`super::replication_acl_rules`] again.
    pub fn replication_acl_rules(self) -> &'static [&'static str] {
        match self {
            Self::Push => &[
                "+cluster|syncslots",
                "~*",
                "+@write",
                "-flushall",
                "-flushdb",
                "-swapdb",
                "-migrate",
                "+select",
                "+multi",
                "+exec",
            ],
            Self::Pull => &["+cluster|syncslots"],
            Self::Legacy => &[],
        }
    }
}

/// An atomic migration of slots, as one of its two nodes tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMigration {
    /// The server's name for it, the same at both nodes.
    pub id: String,
    /// Which slots.
    pub slots: SlotSet,
    /// Id of the node that has them at the beginning.
    pub source: String,
    /// Id of the node that gets them.
    pub target: String,
    /// Whether the node that was asked is the one that gets them.
    pub is_import: bool,
    /// How far it has come.
    pub state: SlotMigrationState,
    /// Why it failed, or failed last; empty when it did not.
    pub message: String,
    /// When it was begun, in seconds since 1970.
    pub created_unix: u64,
}

/// How far a migration of slots has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotMigrationState {
    /// It runs; the server's word for the step.
    Running(String),
    /// The target has the slots.
    Succeeded,
    /// It was given up; the source has the slots. It has to be begun again.
    Failed,
    /// It was cancelled; the source has the slots.
    Cancelled,
}

impl SlotMigrationState {
    fn parse(word: String) -> Self {
        match word.as_str() {
            "success" | "completed" => Self::Succeeded,
            "failed" => Self::Failed,
            "cancelled" | "canceled" => Self::Cancelled,
            _ => Self::Running(word),
        }
    }

    /// Whether it has not ended.
    pub fn is_running(&self) -> bool {
        matches!(self, Self::Running(_))
    }
}

impl SlotMigration {
    /// Reads an entry of `CLUSTER GETSLOTMIGRATIONS` or `CLUSTER MIGRATION STATUS`.
    fn read(mut fields: BTreeMap<String, Value>, names: &FieldNames) -> Result<Self, Failure> {
        let operation: String = field(&mut fields, "operation")?;
        let slots: String = field(&mut fields, names.slots)?;
        Ok(Self {
            id: field(&mut fields, names.id)?,
            slots: slots.parse().map_err(|_| unexpected(&slots))?,
            source: field(&mut fields, names.source)?,
            target: field(&mut fields, names.target)?,
            is_import: operation.eq_ignore_ascii_case("import"),
            state: SlotMigrationState::parse(field(&mut fields, "state")?),
            message: field(&mut fields, names.message)?,
            created_unix: field::<u64>(&mut fields, "create_time")? / names.ticks,
        })
    }
}

/// What the two kinds of servers call the same things.
struct FieldNames {
    id: &'static str,
    slots: &'static str,
    source: &'static str,
    target: &'static str,
    message: &'static str,
    /// Units of time in a second.
    ticks: u64,
}

const PUSH: FieldNames = FieldNames {
    id: "name",
    slots: "slot_ranges",
    source: "source_node",
    target: "target_node",
    message: "message",
    ticks: 1,
};

const PULL: FieldNames = FieldNames {
    id: "id",
    slots: "slots",
    source: "source",
    target: "dest",
    message: "last_error",
    ticks: 1000,
};

/// What `CLUSTER SETSLOT` makes of a slot, with the id of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SlotState<'a> {
    /// At the node that gets it: commands after `ASKING` are served. The id is that of the node that has it.
    Importing(&'a str),
    /// At the node that has it: a key that is gone is answered with `ASK`. The id is that of the node that gets it.
    Migrating(&'a str),
    /// The slot belongs to the node with this id; it is no longer open.
    Node(&'a str),
    /// No longer open; the owner stays.
    Stable,
}

/// Where `MIGRATE` sends keys, and who logs in there.
#[derive(Clone, Copy, Debug)]
pub struct MigrateTo<'a> {
    /// The node that gets them; the TLS port when the cluster bus uses TLS.
    pub address: &'a Address,
    /// The user with [`super::migration_acl_rules`].
    pub credentials: &'a Credentials,
    /// Whether a key that is there already is replaced. It is there when an earlier `MIGRATE` was cut off; the source is
    /// right then, as it served the key until now.
    pub replace: bool,
}

impl Client {
    /// Which ways to move slots this server has. It is asked, not derived from its version. All nodes have to agree.
    pub async fn slot_migration_way(&self) -> Result<SlotMigrationWay, Failure> {
        let docs: BTreeMap<String, Value> = super::cluster_nodes::from(
            self.command_docs(&["cluster|migrateslots", "cluster|migration"])
                .await?,
        )?;
        Ok(if docs.contains_key("cluster|migrateslots") {
            SlotMigrationWay::Push
        } else if docs.contains_key("cluster|migration") {
            SlotMigrationWay::Pull
        } else {
            SlotMigrationWay::Legacy
        })
    }

    /// `CLUSTER MIGRATESLOTS SLOTSRANGE ... NODE id` at the node that has the slots ([`SlotMigrationWay::Push`]).
    ///
    /// Success says that it began: poll [`Client::slot_migrations`].
    pub async fn push_slots(&self, slots: &SlotSet, target: &str) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("MIGRATESLOTS").arg("SLOTSRANGE");
        for range in slots.ranges() {
            command.arg(*range.start()).arg(*range.end());
        }
        command.arg("NODE").arg(target);
        self.call(&command).await
    }

    /// `CLUSTER MIGRATION IMPORT ...` at the node that gets the slots ([`SlotMigrationWay::Pull`]); the slots have to belong
    /// to one node. Returns the id of the migration.
    ///
    /// Success says that it began: poll [`Client::slot_migrations`]. The server tries again by itself after a failure.
    pub async fn pull_slots(&self, slots: &SlotSet) -> Result<String, Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("MIGRATION").arg("IMPORT");
        for range in slots.ranges() {
            command.arg(*range.start()).arg(*range.end());
        }
        self.call(&command).await
    }

    /// The atomic migrations that the node knows, running and ended; none where the way is
    /// [`SlotMigrationWay::Legacy`], whose open slots are in [`super::ClusterNode`].
    pub async fn slot_migrations(
        &self,
        way: SlotMigrationWay,
    ) -> Result<Vec<SlotMigration>, Failure> {
        let (words, names): (&[&str], _) = match way {
            SlotMigrationWay::Push => (&["GETSLOTMIGRATIONS"], &PUSH),
            SlotMigrationWay::Pull => (&["MIGRATION", "STATUS", "ALL"], &PULL),
            SlotMigrationWay::Legacy => return Ok(Vec::new()),
        };
        let reply: Vec<BTreeMap<String, Value>> =
            self.call(redis::cmd("CLUSTER").arg(words)).await?;
        reply
            .into_iter()
            .map(|fields| SlotMigration::read(fields, names))
            .collect()
    }

    /// Cancels all atomic migrations that the node was told to do: at the source for [`SlotMigrationWay::Push`], at the
    /// destination for [`SlotMigrationWay::Pull`]. That there is none is no failure.
    pub async fn cancel_slot_migrations(&self, way: SlotMigrationWay) -> Result<(), Failure> {
        let words: &[&str] = match way {
            SlotMigrationWay::Push => &["CANCELSLOTMIGRATIONS"],
            SlotMigrationWay::Pull => &["MIGRATION", "CANCEL", "ALL"],
            SlotMigrationWay::Legacy => return Ok(()),
        };
        match self.call::<Value>(redis::cmd("CLUSTER").arg(words)).await {
            Err(Failure::Command(text)) if text.contains("No migrations ongoing") => Ok(()),
            other => other.map(drop),
        }
    }

    /// `CLUSTER SETSLOT`.
    ///
    /// To move a slot: importing at the destination, migrating at the source, move the keys, then the new node at the
    /// destination *first*, at the source, and at the other primaries. A source that still has keys of the slot refuses the
    /// last step.
    pub async fn cluster_set_slot(&self, slot: u16, state: SlotState<'_>) -> Result<(), Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot);
        match state {
            SlotState::Importing(id) => command.arg("IMPORTING").arg(id),
            SlotState::Migrating(id) => command.arg("MIGRATING").arg(id),
            SlotState::Node(id) => command.arg("NODE").arg(id),
            SlotState::Stable => command.arg("STABLE"),
        };
        self.call(&command).await
    }

    /// `CLUSTER GETKEYSINSLOT`: names of keys of the slot that the node holds, `limit` at most. Logged in with
    /// [`super::migration_acl_rules`], since names are data.
    pub async fn keys_in_slot(&self, slot: u16, limit: u32) -> Result<Vec<Vec<u8>>, Failure> {
        let mut command = redis::cmd("CLUSTER");
        command.arg("GETKEYSINSLOT").arg(slot).arg(limit);
        self.call(&command).await
    }

    /// `MIGRATE ... AUTH2 ... KEYS`: moves keys to another node; each is in one of the two places at any time. Returns whether
    /// any of them was here. Logged in with [`super::migration_acl_rules`].
    ///
    /// Both servers stand still meanwhile, so few keys at a time. `limit` is how long the nodes may stay silent towards each
    /// other; it should be shorter than this client's own limit for a command.
    pub async fn migrate_keys(
        &self,
        to: MigrateTo<'_>,
        keys: &[Vec<u8>],
        limit: Duration,
    ) -> Result<bool, Failure> {
        let mut command = redis::cmd("MIGRATE");
        command
            .arg(&to.address.host)
            .arg(to.address.port)
            .arg("")
            .arg(0)
            .arg(milliseconds(limit));
        if to.replace {
            command.arg("REPLACE");
        }
        command
            .arg("AUTH2")
            .arg(&to.credentials.username)
            .arg(to.credentials.password.expose_secret())
            .arg("KEYS")
            .arg(keys);
        let answer: String = self.call(&command).await?;
        Ok(answer != "NOKEY")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(pairs: &[(&str, &str)]) -> BTreeMap<String, Value> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), Value::BulkString((*value).into())))
            .collect()
    }

    #[test]
    fn an_entry_of_a_redis_server_is_read_by_its_own_names() {
        let fields = entry(&[
            ("id", "24cf41718b20f7f05901743dffc40bc9b15db339"),
            ("slots", "0-1000 1200"),
            ("source", "1098d90d9ba2d1f12965442daf501ef0b6667bec"),
            ("dest", "b3b5b426e7ea6166d1548b2a26e1d5adeb1213ac"),
            ("operation", "migrate"),
            ("state", "completed"),
            ("last_error", ""),
            ("create_time", "1757849528694"),
        ]);
        let migration = SlotMigration::read(fields, &PULL).unwrap();
        assert_eq!(migration.slots.to_string(), "0-1000 1200");
        assert_eq!(migration.state, SlotMigrationState::Succeeded);
        assert!(!migration.is_import && !migration.state.is_running());
        assert_eq!(migration.created_unix, 1_757_849_528);
    }

    #[test]
    fn only_the_last_words_end_a_migration() {
        for (word, is_running) in [
            ("success", false),
            ("failed", false),
            ("cancelled", false),
            ("canceled", false),
            ("snapshotting", true),
            ("a-word-of-a-later-server", true),
        ] {
            assert_eq!(
                SlotMigrationState::parse(word.into()).is_running(),
                is_running
            );
        }
    }
}
