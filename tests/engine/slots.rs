//! Slots move between nodes while a client writes, key by key and atomically, and nothing is lost.

use std::collections::BTreeMap;
use std::time::Duration;

use hera::engines::redis::{
    Client, Credentials, Failure, MigrateTo, Role, SlotMigrationState, SlotMigrationWay, SlotSet,
    SlotState,
};
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cluster::Cluster;
use crate::server::{PASSWORD, Program, eventually, send};

/// The keys of each of these are in one slot.
const TAGS: [&str; 4] = ["a", "b", "c", "d"];
const KEYS_IN_SLOT: usize = 60;
/// A value of each kind: the command that makes it, and what follows the key.
const VALUES: [&[&str]; 6] = [
    &["HSET", "field", "value"],
    &["RPUSH", "a", "b"],
    &["SADD", "a", "b"],
    &["ZADD", "1", "a"],
    &["XADD", "1-1", "field", "value"],
    &["SET", "value", "EX", "100000"],
];

async fn slot_of(connection: &mut MultiplexedConnection, key: &str) -> u16 {
    redis::cmd("CLUSTER")
        .arg("KEYSLOT")
        .arg(key)
        .query_async(connection)
        .await
        .unwrap()
}

/// Sends a command to the node that the servers name, as a client does that knows nothing of slots.
async fn follow(nodes: &mut BTreeMap<u16, MultiplexedConnection>, words: &[&str]) -> redis::Value {
    let mut port = *nodes.keys().next().unwrap();
    let mut asking = false;
    loop {
        let connection = nodes.get_mut(&port).unwrap();
        if asking {
            send(connection, &["ASKING"]).await.unwrap();
        }
        let error = match send(connection, words).await {
            Ok(value) => return value,
            Err(error) => error,
        };
        let place = error.split([' ', ':']).next_back();
        asking = error.starts_with("ASK ");
        if asking || error.starts_with("MOVED ") {
            port = place.unwrap().parse().unwrap();
        } else {
            assert!(error.starts_with("TRYAGAIN"), "{words:?}: {error}");
        }
    }
}

/// Increments all keys in turn until it is told to stop; what it was acknowledged, by key.
struct Writer {
    progress: watch::Receiver<u64>,
    stop: watch::Sender<bool>,
    task: JoinHandle<BTreeMap<String, u64>>,
}

impl Writer {
    fn start(mut nodes: BTreeMap<u16, MultiplexedConnection>) -> Self {
        let (rounds, progress) = watch::channel(0);
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let mut acknowledged = BTreeMap::new();
            while !*stopped.borrow() {
                for tag in TAGS {
                    for index in 0..KEYS_IN_SLOT {
                        let key = format!("{{{tag}}}{index}");
                        let reply = follow(&mut nodes, &["INCR", &key]).await;
                        let count = acknowledged.entry(key).or_insert(0);
                        *count += 1;
                        // A lost key would begin again at 1.
                        assert_eq!(reply, redis::Value::Int(i64::try_from(*count).unwrap()));
                    }
                }
                rounds.send_modify(|count| *count += 1);
            }
            acknowledged
        });
        Self {
            progress,
            stop,
            task,
        }
    }

    /// Waits until all keys were written once more.
    async fn round(&mut self) {
        let now = *self.progress.borrow();
        let more = self.progress.wait_for(|rounds| *rounds > now + 1).await;
        more.unwrap();
    }

    async fn stop(self) -> BTreeMap<String, u64> {
        self.stop.send_replace(true);
        self.task.await.unwrap()
    }
}

/// A cluster of three primaries, with a writer, and slots with data that all belong to the node `source`.
struct Moving {
    cluster: Cluster,
    writer: Writer,
    source: usize,
    target: usize,
    slots: SlotSet,
}

impl Moving {
    async fn start(program: &Program) -> Self {
        let cluster = Cluster::start(program, 3, false).await;
        let writer = Writer::start(connections(&cluster).await);
        let mut data = cluster.nodes[0].data().await;
        let mut tagged = SlotSet::new();
        for tag in TAGS {
            let slot = slot_of(&mut data, tag).await;
            tagged = tagged.union(&SlotSet::from_ranges([slot..=slot]));
        }
        let mut largest = (0, SlotSet::new());
        for (index, node) in cluster.nodes.iter().enumerate() {
            let nodes = node.hera().await.cluster_nodes().await.unwrap();
            let me = nodes.iter().find(|node| node.is_myself()).unwrap();
            let slots = me.slots.intersection(&tagged);
            if slots.len() > largest.1.len() {
                largest = (index, slots);
            }
        }
        let (source, slots) = largest;
        let mut moving = Self {
            cluster,
            writer,
            source,
            target: (source + 1) % 3,
            slots,
        };
        moving.writer.round().await;
        let mut nodes = connections(&moving.cluster).await;
        for tag in TAGS {
            for words in VALUES {
                let key = format!("{{{tag}}}{}", words[0]);
                let mut command = vec![words[0], &key];
                command.extend(&words[1..]);
                follow(&mut nodes, &command).await;
            }
        }
        moving
    }

    async fn hera(&self, index: usize) -> Client {
        self.cluster.nodes[index].hera().await
    }

    /// All nodes agree that the target has the slots, no key stayed behind, and every acknowledged write is there.
    async fn assert_moved(mut self) {
        let target = self.cluster.id(self.target).await;
        let slots = self.slots.clone();
        self.cluster.until_whole(0).await;
        self.cluster
            .until_all(|nodes| {
                nodes.iter().all(|node| {
                    let has = !node.slots.is_disjoint(&slots);
                    has == (node.id == target) && !node.has_open_slots()
                })
            })
            .await;
        self.writer.round().await;
        let mut source = self.cluster.nodes[self.source].data().await;
        for slot in self.slots.iter() {
            let left = send(
                &mut source,
                &["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()],
            )
            .await;
            assert_eq!(left, Ok(redis::Value::Int(0)));
        }
        let acknowledged = self.writer.stop().await;
        let mut nodes = connections(&self.cluster).await;
        for tag in TAGS {
            for words in VALUES {
                let key = format!("{{{tag}}}{}", words[0]);
                let exists = follow(&mut nodes, &["EXISTS", &key]).await;
                assert_eq!(exists, redis::Value::Int(1), "{key}");
            }
        }
        for (key, count) in acknowledged {
            let value = follow(&mut nodes, &["GET", &key]).await;
            assert_eq!(
                value,
                redis::Value::BulkString(count.to_string().into_bytes())
            );
        }
    }
}

async fn connections(cluster: &Cluster) -> BTreeMap<u16, MultiplexedConnection> {
    let mut all = BTreeMap::new();
    for node in &cluster.nodes {
        all.insert(node.address().port, node.data().await);
    }
    all
}

pub async fn slots_are_moved_key_by_key_under_writes(program: Program) {
    let mut moving = Moving::start(&program).await;
    let (source, target) = (
        moving.hera(moving.source).await,
        moving.hera(moving.target).await,
    );
    let (source_id, target_id) = (
        source.cluster_id().await.unwrap(),
        target.cluster_id().await.unwrap(),
    );
    let mover = moving.cluster.nodes[moving.source]
        .login("hera-migration")
        .await
        .unwrap();
    let address = moving.cluster.nodes[moving.target].address();
    let credentials = Credentials::new("hera-migration", PASSWORD);
    let to = MigrateTo {
        address: &address,
        credentials: &credentials,
        replace: true,
    };
    let limit = Duration::from_secs(4);
    for slot in moving.slots.clone().iter() {
        target
            .cluster_set_slot(slot, SlotState::Importing(&source_id))
            .await
            .unwrap();
        source
            .cluster_set_slot(slot, SlotState::Migrating(&target_id))
            .await
            .unwrap();
        let nodes = source.cluster_nodes().await.unwrap();
        let me = nodes.iter().find(|node| node.is_myself()).unwrap();
        assert_eq!(me.migrating.get(&slot), Some(&target_id));
        // The writer goes on while keys are here and there.
        moving.writer.round().await;
        let mut last = Vec::new();
        loop {
            let keys = mover.keys_in_slot(slot, 7).await.unwrap();
            if keys.is_empty() {
                break;
            }
            last.clone_from(&keys);
            assert_eq!(mover.migrate_keys(to, &keys, limit).await, Ok(true));
            moving.writer.round().await;
        }
        // A key that is not here any more.
        assert_eq!(mover.migrate_keys(to, &last, limit).await, Ok(false));
        for client in [&target, &source] {
            client
                .cluster_set_slot(slot, SlotState::Node(&target_id))
                .await
                .unwrap();
        }
    }
    moving.cluster.assert_no_refusal().await;
    moving.assert_moved().await;
}

pub async fn slots_are_moved_atomically_under_writes(program: Program) {
    let mut moving = Moving::start(&program).await;
    let (source, target) = (
        moving.hera(moving.source).await,
        moving.hera(moving.target).await,
    );
    let way = source.slot_migration_way().await.unwrap();
    let expected = if program.name == "valkey-9" {
        SlotMigrationWay::Push
    } else {
        SlotMigrationWay::Legacy
    };
    assert_eq!(way, expected);
    let words = |rules: &[&str]| {
        rules
            .iter()
            .map(|rule| (*rule).to_owned())
            .collect::<Vec<_>>()
    };
    for node in &moving.cluster.nodes {
        let client = node.hera().await;
        for (user, rules) in [
            ("hera", way.hera_acl_rules()),
            ("replication", way.replication_acl_rules()),
        ] {
            client.acl_set_user(user, &words(rules)).await.unwrap();
        }
    }
    if way == SlotMigrationWay::Legacy {
        assert_eq!(source.slot_migrations(way).await, Ok(vec![]));
        source.cancel_slot_migrations(way).await.unwrap();
        moving.writer.stop().await;
        return;
    }

    let (source_id, target_id) = (
        source.cluster_id().await.unwrap(),
        target.cluster_id().await.unwrap(),
    );
    source.cancel_slot_migrations(way).await.unwrap();
    assert_eq!(source.slot_migrations(way).await, Ok(vec![]));
    let not_here = target.push_slots(&moving.slots, &source_id).await;
    assert!(matches!(not_here, Err(Failure::Command(_))), "{not_here:?}");

    // Given up on the way, the slots stay where they are.
    let mut data = moving.cluster.nodes[moving.target].data().await;
    send(
        &mut data,
        &["ACL", "SETUSER", "replication", "-cluster|syncslots"],
    )
    .await
    .unwrap();
    source.push_slots(&moving.slots, &target_id).await.unwrap();
    let failed = ended(&source, way).await;
    assert_eq!(failed.0, SlotMigrationState::Failed);
    assert!(failed.1.contains("syncslots"), "{failed:?}");
    let client = moving.hera(moving.target).await;
    client
        .acl_set_user("replication", &words(way.replication_acl_rules()))
        .await
        .unwrap();
    send(&mut data, &["ACL", "LOG", "RESET"]).await.unwrap();
    moving.writer.round().await;

    source.push_slots(&moving.slots, &target_id).await.unwrap();
    let moved = ended(&source, way).await;
    assert_eq!(moved.0, SlotMigrationState::Succeeded, "{moved:?}");
    let all = target.slot_migrations(way).await.unwrap();
    let import = all.iter().find(|migration| migration.is_import).unwrap();
    assert_eq!(import.slots, moving.slots);
    assert_eq!((&import.source, &import.target), (&source_id, &target_id));
    assert!(import.created_unix > 1_700_000_000);
    moving.cluster.assert_no_refusal().await;
    assert_eq!(source.info().await.unwrap().role, Role::Primary);
    moving.assert_moved().await;
}

/// Waits until the latest migration has ended: how, and why.
async fn ended(source: &Client, way: SlotMigrationWay) -> (SlotMigrationState, String) {
    eventually(|| async {
        let all = source.slot_migrations(way).await.unwrap();
        match all.first() {
            Some(latest) if !latest.state.is_running() => {
                Ok((latest.state.clone(), latest.message.clone()))
            }
            other => Err(format!("{other:?}")),
        }
    })
    .await
}
