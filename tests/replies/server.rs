//! A server that answers whatever it is asked with the same bytes, and Hera's client in front of it.

use std::sync::Arc;
use std::time::Duration;

use hera::engines::network::{Connection, Network};
use hera::engines::redis::{
    Address, Client, Credentials, Failure, Limits, SentinelFailoverKind, SlotMigrationWay,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

/// More than a client sends at once.
const ASKED: usize = 4096;

/// The name of each command whose reply is read, with whether these bytes were a reply to it.
pub fn readers(reply: &[u8]) -> Vec<(&'static str, bool)> {
    run(async {
        let login = client("hera", reply).await.is_ok();
        let mut found = vec![("login", login)];
        found.extend(of_servers(reply).await);
        found.extend(of_nodes(reply).await);
        found.extend(of_sentinels(reply).await);
        found
    })
}

/// What a node says of itself and the others when it shows them by this text.
pub fn nodes(text: &str) {
    let mut reply = format!("${}\r\n", text.len()).into_bytes();
    reply.extend(text.bytes());
    reply.extend(b"\r\n");
    run(async {
        let Ok(client) = client("", &reply).await else {
            return;
        };
        for node in client.cluster_nodes().await.into_iter().flatten() {
            let _ = (node.role(), node.address(), node.is_failed());
            let _ = (node.has_open_slots(), node.slots.complement());
        }
    });
}

fn run<T>(work: impl Future<Output = T>) -> T {
    // A client that waits in vain for the rest of a reply has waited long enough at once.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    match runtime {
        Ok(runtime) => runtime.block_on(work),
        Err(error) => panic!("no runtime: {error}"),
    }
}

/// A client that logs in, or does not when the user has no name.
async fn client(user: &str, reply: &[u8]) -> Result<Client, Failure> {
    let reply: Arc<[u8]> = reply.into();
    let network = Network::of(move |_, _| {
        let reply = Arc::clone(&reply);
        Box::pin(async move {
            let (near, far) = tokio::io::duplex(ASKED);
            tokio::spawn(answer(far, reply));
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    });
    let limits = Limits {
        connect: Duration::from_secs(1),
        command: Duration::from_secs(1),
    };
    let credentials = Credentials::new(user, user).through(&network);
    Client::connect(&Address::new("server", 6379), &credentials, limits).await
}

/// Answers the first command, and closes.
async fn answer(mut stream: DuplexStream, reply: Arc<[u8]>) {
    let mut asked = [0; ASKED];
    if stream.read(&mut asked).await.is_ok_and(|length| length > 0) {
        let _ = stream.write_all(&reply).await;
    }
}

/// Sends each of these commands on a connection of its own.
macro_rules! ask {
    ($reply:expr, $($method:ident($($argument:expr),*)),* $(,)?) => {
        vec![$((
            stringify!($method),
            match client("", $reply).await {
                Ok(client) => client.$method($($argument),*).await.is_ok(),
                Err(_) => false,
            },
        )),*]
    };
}

async fn of_servers(reply: &[u8]) -> Vec<(&'static str, bool)> {
    let users = ["app".to_owned()];
    ask!(
        reply,
        ping(),
        info(),
        info_of_any_version(),
        config_get(&["timeout"]),
        acl_get_user("app"),
        acl_get_users(&users),
        kill_user("app"),
        failover_abort(),
    )
}

async fn of_nodes(reply: &[u8]) -> Vec<(&'static str, bool)> {
    ask!(
        reply,
        cluster_info(),
        cluster_nodes(),
        cluster_id(),
        slot_migration_way(),
        slot_migrations(SlotMigrationWay::Push),
        slot_migrations(SlotMigrationWay::Pull),
        keys_in_slot(1, 10),
    )
}

async fn of_sentinels(reply: &[u8]) -> Vec<(&'static str, bool)> {
    ask!(
        reply,
        sentinel_primaries(),
        sentinel_primary("db"),
        sentinel_replicas("db"),
        sentinel_peers("db"),
        sentinel_primary_address("db"),
        sentinel_check_quorum("db"),
        sentinel_failover("db", SentinelFailoverKind::Plain),
        sentinel_failover_kind(),
    )
}
