//! Moves all slots of a node to another one with nothing but the commands of the server, as fast as one client can: what Hera is
//! compared with.

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, cmd};

use crate::support::server::{Endpoint, PATIENT};
use crate::support::wait::{LONG, ensure, until};

/// Keys of one `MIGRATE`.
const KEYS: &str = "100";

struct Node {
    connection: MultiplexedConnection,
    host: String,
    id: String,
}

impl Node {
    async fn of(endpoint: &Endpoint) -> Self {
        let connection = endpoint.connect(PATIENT).await.expect("a connection");
        let id: String = endpoint.ask(&["CLUSTER", "MYID"]).await.expect("its id");
        Self {
            connection,
            host: endpoint.host.clone(),
            id,
        }
    }

    async fn ask<T: FromRedisValue>(&mut self, words: &[&str]) -> T {
        let (name, arguments) = words.split_first().expect("a command");
        cmd(name)
            .arg(arguments)
            .query_async(&mut self.connection)
            .await
            .expect("the answer")
    }

    /// First and last slot of each range that it serves.
    async fn slots(&mut self) -> Vec<(u16, u16)> {
        let nodes: String = self.ask(&["CLUSTER", "NODES"]).await;
        let line = nodes.lines().find(|line| line.contains("myself"));
        let words = line.expect("a line of its own").split(' ').skip(8);
        words
            .map(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                (
                    first.parse().expect("a slot"),
                    last.parse().expect("a slot"),
                )
            })
            .collect()
    }
}

/// `MIGRATE`, slot by slot.
pub async fn key_by_key(from: &Endpoint, to: &Endpoint) {
    let (mut source, mut target) = (Node::of(from).await, Node::of(to).await);
    let (from_id, to_id) = (source.id.clone(), target.id.clone());
    for slot in source.slots().await.into_iter().flat_map(|(a, b)| a..=b) {
        let slot = slot.to_string();
        let set = ["CLUSTER", "SETSLOT", &slot];
        target
            .ask::<()>(&[&set[..], &["IMPORTING", &from_id]].concat())
            .await;
        source
            .ask::<()>(&[&set[..], &["MIGRATING", &to_id]].concat())
            .await;
        loop {
            let keys: Vec<String> = source.ask(&["CLUSTER", "GETKEYSINSLOT", &slot, KEYS]).await;
            if keys.is_empty() {
                break;
            }
            let mut words = vec!["MIGRATE", &target.host, "6379", "", "0", "5000", "AUTH2"];
            words.extend([from.user.as_str(), from.password.as_str(), "KEYS"]);
            words.extend(keys.iter().map(String::as_str));
            source.ask::<String>(&words).await;
        }
        let owned = [&set[..], &["NODE", &to_id]].concat();
        target.ask::<()>(&owned).await;
        source.ask::<()>(&owned).await;
    }
}

/// `CLUSTER MIGRATESLOTS`, all slots with one command.
pub async fn atomically(from: &Endpoint, to: &Endpoint) {
    let (mut source, target) = (Node::of(from).await, Node::of(to).await);
    let mut words = vec![
        "CLUSTER".to_owned(),
        "MIGRATESLOTS".into(),
        "SLOTSRANGE".into(),
    ];
    for (first, last) in source.slots().await {
        words.extend([first.to_string(), last.to_string()]);
    }
    words.extend(["NODE".to_owned(), target.id]);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    source.ask::<()>(&words).await;
    until("the slots are moved", LONG, async || {
        let left = Node::of(from).await.slots().await;
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;
}
