//! The simulated servers of the fault plans answer as the real ones do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hera::engines::redis::{
    Info, ReplicaLink, Role, SlotSet, hera_acl_rules, hera_cluster_acl_rules, password_hash,
    replication_acl_rules,
};
use redis::Value;

use crate::server::{PASSWORD, Program, Server, eventually, until};
use crate::simulated::commands::{self, Caller};
use crate::simulated::node::WRITABLE_DELAY;
use crate::simulated::resp::Reply;
use crate::simulated::server::{self as simulated, Link};
use crate::simulated::{gossip, info, replication};

/// Words in errors on which Hera depends.
const PHRASES: [&str; 7] = [
    "No failover in progress",
    "already in progress",
    "Unknown node",
    "already the owner",
    "not the owner",
    "immutable",
    "Unknown command or category",
];

/// A reply in a form that can be compared: of an error its code and the words that count.
fn real(value: Value) -> String {
    match value {
        Value::Okay => "+OK".into(),
        Value::SimpleString(text) => format!("+{text}"),
        Value::Int(number) => format!(":{number}"),
        Value::BulkString(bytes) => format!("${}", String::from_utf8_lossy(&bytes)),
        Value::Nil => "nil".into(),
        Value::Array(list) => format!("{:?}", list.into_iter().map(real).collect::<Vec<_>>()),
        Value::ServerError(error) => wrong(&format!(
            "{} {}",
            error.code(),
            error.details().unwrap_or_default()
        )),
        other => format!("{other:?}"),
    }
}

fn of_simulation(reply: Reply) -> String {
    match reply {
        Reply::Simple(text) => format!("+{text}"),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(text) => format!("${text}"),
        Reply::Nil => "nil".into(),
        Reply::Array(list) => {
            let list: Vec<String> = list.into_iter().map(of_simulation).collect();
            format!("{list:?}")
        }
        Reply::Error(text) => wrong(&text),
    }
}

fn wrong(text: &str) -> String {
    let code = text.split(' ').next().unwrap_or_default();
    let found = PHRASES.iter().filter(|phrase| text.contains(*phrase));
    format!("-{code} {:?}", found.collect::<Vec<_>>())
}

/// Servers as the simulation has them.
#[derive(Default)]
struct World {
    servers: BTreeMap<String, simulated::Server>,
    now: Duration,
}

impl World {
    fn start(&mut self, ip: &str, clustered: bool) {
        let hash = password_hash(PASSWORD);
        let rules = if clustered {
            hera_cluster_acl_rules()
        } else {
            hera_acl_rules()
        };
        let users = format!(
            "user default on nopass ~* &* +@all\nuser hera on #{hash} {rules}\n\
             user replication on #{hash} {}\n",
            replication_acl_rules()
        );
        let mut conf = format!("masteruser replication\nmasterauth {PASSWORD}\n");
        if clustered {
            conf.push_str("cluster-enabled yes\n");
        }
        let files = BTreeMap::from([
            ("redis.conf".to_owned(), conf),
            ("users.acl".to_owned(), users),
        ]);
        let server = simulated::Server::start(ip, ip, self.now, &files, "redis", None);
        self.servers.insert(ip.to_owned(), server);
    }

    fn send(&mut self, ip: &str, words: &[&str]) -> Reply {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        let mut caller = Caller {
            id: 0,
            user: "hera".into(),
        };
        commands::run(&mut self.servers, ip, &mut caller, &words, self.now)
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(20);
            gossip::step(&mut self.servers, self.now);
            replication::step(&mut self.servers, self.now);
        }
    }

    fn info(&self, ip: &str) -> Info {
        let server = &self.servers[ip];
        Info::parse(&info::info(server, &self.servers, false, self.now)).unwrap()
    }
}

async fn same_answers(server: &Server, clustered: bool, table: &[&str]) {
    let mut world = World::default();
    world.start("10.0.0.1", clustered);
    let mut connection = server.data_as("hera").await;
    for line in table {
        let words: Vec<&str> = line.split(' ').collect();
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = connection.send_packed_command(&command).await.unwrap();
        let expected = real(answer);
        let simulated = of_simulation(world.send("10.0.0.1", &words));
        assert_eq!(simulated, expected, "{line}");
    }
}

pub async fn a_simulated_server_answers_as_a_real_one(program: Program) {
    let server = Server::start(&program, &[]).await;
    let hash = password_hash("secret");
    let set_user = format!("ACL SETUSER app resetkeys resetchannels -@all on #{hash} ~app:* +get");
    let table = [
        "PING",
        "GET key",
        "CONFIG SET timeout 30",
        "CONFIG GET timeout",
        "CONFIG SET maxmemory 100mb",
        "CONFIG GET maxmemory",
        "CONFIG SET nosuchdirective 1",
        "CONFIG SET databases 32",
        "CONFIG SET timeout x",
        "CONFIG SET timeout 7 nosuchdirective 1",
        "CONFIG GET timeout",
        &set_user,
        "ACL SETUSER app +frobnicate",
        "ACL GETUSER nobody",
        "ACL DELUSER app",
        "ACL GETUSER app",
        "FAILOVER ABORT",
        "FAILOVER TO 127.0.0.1 1 TIMEOUT 100",
        "REPLICAOF NO ONE",
        "CLIENT PAUSE 100 WRITE",
        "CLIENT UNPAUSE",
        "CLIENT KILL USER nobody",
    ];
    same_answers(&server, false, &table).await;
}

pub async fn a_simulated_node_answers_as_a_real_one(program: Program) {
    let server = Server::start_node(&program, &[]).await;
    let id = "0123456789012345678901234567890123456789";
    let other = [
        format!("CLUSTER REPLICATE {id}"),
        format!("CLUSTER FORGET {id}"),
        format!("CLUSTER SETSLOT 5 MIGRATING {id}"),
        format!("CLUSTER SETSLOT 5 IMPORTING {id}"),
        format!("CLUSTER SETSLOT 15 MIGRATING {id}"),
    ];
    let table = [
        "CLUSTER SET-CONFIG-EPOCH 3",
        "CLUSTER SET-CONFIG-EPOCH 4",
        "CLUSTER ADDSLOTSRANGE 0 10",
        "CLUSTER ADDSLOTSRANGE 5 20",
        &other[0],
        &other[1],
        &other[2],
        &other[3],
        &other[4],
        "CLUSTER SETSLOT 5 STABLE",
        "CLUSTER FAILOVER",
        "CLUSTER ADDSLOTSRANGE 0 16383",
    ];
    same_answers(&server, true, &table).await;
}

/// A primary that starts takes no writes for a while, also when it knows who has every slot.
pub async fn a_simulated_node_waits_as_a_real_one(program: Program) {
    let begun = Instant::now();
    let server = Server::start_node(&program, &[]).await;
    let client = server.hera().await;
    client.cluster_add_slots(&SlotSet::full()).await.unwrap();
    eventually(|| async {
        let info = client.cluster_info().await.unwrap();
        info.is_ok.then_some(()).ok_or(info)
    })
    .await;
    assert!(begun.elapsed() >= WRITABLE_DELAY, "{:?}", begun.elapsed());

    let mut world = World::default();
    world.start("1", true);
    world.send("1", &["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]);
    let is_ok = |world: &World| {
        let node = world.servers["1"].node.as_ref();
        node.is_some_and(|node| node.is_ok(world.now))
    };
    while !is_ok(&world) {
        world.pass(Duration::from_millis(20));
    }
    assert_eq!(world.now, WRITABLE_DELAY);
}

/// What replication makes of histories and offsets: the proofs on which a failover rests.
pub async fn simulated_replicas_keep_histories_as_real_ones_do(program: Program) {
    let first = Server::start(&program, &[]).await;
    let second = Server::start_replica(&program, &first, &[]).await;
    let (one, two) = (first.hera().await, second.hera().await);
    let mut world = World::default();
    world.start("1", false);
    world.start("2", false);
    world.send("2", &["REPLICAOF", "1", "6379"]);
    world.pass(Duration::from_secs(1));

    // In sync: one history.
    let facts = |one: &Info, two: &Info| {
        [
            one.role == Role::Primary,
            two.role == Role::Primary,
            two.link_up,
            one.replid == two.replid,
            one.replid2.is_some(),
            two.replid2.is_some(),
            two.replid2.as_deref() == Some(one.replid.as_str()),
            one.replid2.as_deref() == Some(two.replid.as_str()),
            one.replicas.len() == 1,
            two.replicas.len() == 1,
            one.has_history(&two.replid),
            two.has_history(&one.replid),
        ]
    };
    let real = facts(&one.info().await.unwrap(), &two.info().await.unwrap());
    assert_eq!(facts(&world.info("1"), &world.info("2")), real, "in sync");

    // Promoted: a new history that remembers the old one.
    two.promote().await.unwrap();
    world.send("2", &["REPLICAOF", "NO", "ONE"]);
    world.pass(Duration::from_secs(1));
    until(&one, |info| info.replicas.is_empty()).await;
    let real = facts(&one.info().await.unwrap(), &two.info().await.unwrap());
    assert_eq!(facts(&world.info("1"), &world.info("2")), real, "promoted");

    // The former primary follows, and continues without a full synchronization.
    one.replica_of(&second.address()).await.unwrap();
    world.send("1", &["REPLICAOF", "2", "6379"]);
    world.pass(Duration::from_secs(1));
    until(&one, |info| info.link_up).await;
    until(&two, |info| {
        info.replicas.iter().any(ReplicaLink::is_online)
    })
    .await;
    assert_eq!(world.servers["1"].link, Link::Up);
    let real = facts(&two.info().await.unwrap(), &one.info().await.unwrap());
    assert_eq!(facts(&world.info("2"), &world.info("1")), real, "followed");

    // Handed back.
    let address = first.address();
    two.failover_to(&address, Duration::from_secs(5))
        .await
        .unwrap();
    world.send("2", &["FAILOVER", "TO", "1", "6379", "TIMEOUT", "5000"]);
    world.pass(Duration::from_secs(1));
    first.until(|info| info.role == Role::Primary).await;
    second.until(|info| info.link_up).await;
    let one = first
        .until(|info| info.replicas.iter().any(ReplicaLink::is_online))
        .await;
    let two = second.hera().await.info().await.unwrap();
    assert_eq!(
        facts(&world.info("1"), &world.info("2")),
        facts(&one, &two),
        "handed back"
    );
}
