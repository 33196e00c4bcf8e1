//! Sentinels: what they tell, a failover of each kind, and what heals them.

use std::time::Duration;

use hera::engines::redis::{
    Address, Client, Failure, MonitoredPrimary, Role, SentinelFailoverKind, SentinelFailoverStart,
    SentinelFailoverState, SentinelHandOver, SentinelHandOverError, SentinelOption,
};

use crate::server::{PASSWORD, Program, Server, eventually, free_port, send, until};

const NAME: &str = "main";
/// A loaded machine does not answer at once: only who is killed is silent for so long.
const DOWN_AFTER: Duration = Duration::from_secs(4);

/// A primary, two replicas and three sentinels that see each other.
struct Watched {
    data: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Watched {
    async fn start(program: &Program) -> Self {
        let primary = Server::start(program, &[]).await;
        let first = Server::start_replica(program, &primary, &[]).await;
        let second = Server::start_replica(program, &primary, &[]).await;
        let data = vec![primary, first, second];
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            let sentinel = Server::start_sentinel(program).await;
            monitor(&sentinel.hera().await, &data[0].address()).await;
            sentinels.push(sentinel);
        }
        let watched = Self { data, sentinels };
        for sentinel in &watched.sentinels {
            sees_all(&sentinel.hera().await, 2).await;
        }
        watched
    }

    /// Waits until all sentinels tell clients another address than `old`, and the same.
    async fn agree_on_another(&self, old: &Address) -> Address {
        let mut found = None;
        for sentinel in &self.sentinels {
            let client = sentinel.hera().await;
            let address = eventually(|| async {
                let told = client.sentinel_primary_address(NAME).await;
                let state = client.sentinel_primary(NAME).await.unwrap().unwrap();
                match told {
                    Ok(Some(address)) if address != *old && address == state.address => Ok(address),
                    other => Err(format!("{other:?} {state:?}")),
                }
            })
            .await;
            assert_eq!(*found.get_or_insert_with(|| address.clone()), address);
        }
        found.unwrap()
    }

    /// Nobody was refused anything: the rules of all who log in are enough.
    async fn assert_no_refusal(&self) {
        for server in self.data.iter().chain(&self.sentinels) {
            assert_eq!(server.refusals().await, [""; 0], "{}", server.address());
        }
    }

    fn server(&self, address: &Address) -> &Server {
        self.data
            .iter()
            .find(|server| server.address() == *address)
            .unwrap()
    }
}

async fn monitor(sentinel: &Client, primary: &Address) {
    sentinel.sentinel_monitor(NAME, primary, 2).await.unwrap();
    let options = [
        SentinelOption::AuthUser("sentinel".into()),
        SentinelOption::AuthPass(PASSWORD.into()),
        SentinelOption::DownAfter(DOWN_AFTER),
        // After an election that nobody won, the next one is twice this time later.
        SentinelOption::FailoverTimeout(Duration::from_secs(5)),
    ];
    sentinel.sentinel_set(NAME, &options).await.unwrap();
}

/// Waits until the sentinel has the primary, so many replicas in sync, and both other sentinels.
async fn sees_all(sentinel: &Client, replicas: usize) -> MonitoredPrimary {
    eventually(|| async {
        let primary = sentinel.sentinel_primary(NAME).await.unwrap().unwrap();
        let known = sentinel.sentinel_replicas(NAME).await.unwrap();
        let peers = sentinel.sentinel_peers(NAME).await.unwrap();
        let in_sync = |replica: &&_| {
            let replica: &hera::engines::redis::MonitoredReplica = replica;
            replica.flags.is_up()
                && replica.link_up
                && replica.primary.as_ref() == Some(&primary.address)
        };
        let is_complete = primary.flags.is_up()
            && known.iter().filter(in_sync).count() == replicas
            && peers.iter().filter(|peer| peer.flags.is_up()).count() == 2
            && peers.len() == 2;
        if is_complete {
            Ok(primary)
        } else {
            Err(format!("{primary:#?} {known:#?} {peers:#?}"))
        }
    })
    .await
}

pub async fn sentinels_tell_what_they_know_and_take_options(program: Program) {
    let watched = Watched::start(&program).await;
    let sentinel = watched.sentinels[0].hera().await;
    let primary = sees_all(&sentinel, 2).await;
    assert_eq!(primary.address, watched.data[0].address());
    assert_eq!((primary.name.as_str(), primary.quorum), (NAME, 2));
    assert_eq!((primary.replicas, primary.other_sentinels), (2, 2));
    assert_eq!(primary.down_after, DOWN_AFTER);
    assert_eq!(primary.failover, SentinelFailoverState::None);
    assert_eq!(primary.role_reported, Some(Role::Primary));
    let info = watched.data[0].hera().await.info().await.unwrap();
    assert_eq!(primary.run_id, info.run_id);
    let all = sentinel.sentinel_primaries().await.unwrap();
    assert_eq!((all.len(), &all[0].name), (1, &primary.name));
    let mut ids = Vec::new();
    for other in &watched.sentinels[1..] {
        ids.push((
            other.hera().await.sentinel_id().await.unwrap(),
            other.address(),
        ));
    }
    ids.sort();
    let peers = sentinel.sentinel_peers(NAME).await.unwrap();
    let mut seen: Vec<_> = peers
        .into_iter()
        .map(|peer| (peer.id, peer.address))
        .collect();
    seen.sort();
    assert_eq!(seen, ids);

    let options = [
        SentinelOption::ParallelSyncs(2),
        SentinelOption::Quorum(3),
        SentinelOption::FailoverTimeout(Duration::from_millis(12_345)),
    ];
    sentinel.sentinel_set(NAME, &options).await.unwrap();
    let changed = sentinel.sentinel_primary(NAME).await.unwrap().unwrap();
    assert_eq!((changed.parallel_syncs, changed.quorum), (2, 3));
    assert_eq!(changed.failover_timeout, Duration::from_millis(12_345));
    sentinel
        .sentinel_config_set("announce-port", "0")
        .await
        .unwrap();

    let check = sentinel.sentinel_check_quorum(NAME).await.unwrap();
    assert_eq!((check.is_reachable, check.usable), (true, 3));
    sentinel
        .sentinel_set(NAME, &[SentinelOption::Quorum(4)])
        .await
        .unwrap();
    let check = sentinel.sentinel_check_quorum(NAME).await.unwrap();
    assert_eq!((check.is_reachable, check.usable), (false, 3));

    let twice = sentinel.sentinel_monitor(NAME, &primary.address, 2).await;
    assert!(
        matches!(&twice, Err(Failure::Command(text)) if text.contains("Duplicate")),
        "{twice:?}"
    );
    assert_eq!(sentinel.sentinel_primary("other").await, Ok(None));
    assert_eq!(sentinel.sentinel_primary_address("other").await, Ok(None));
    sentinel.sentinel_remove("other").await.unwrap();
    let replicas = sentinel.sentinel_replicas("other").await;
    assert!(matches!(replicas, Err(Failure::Command(_))));
    // Applications may ask, and no more.
    let app = watched.sentinels[0].login("app").await.unwrap();
    assert_eq!(
        app.sentinel_primary_address(NAME).await,
        Ok(Some(primary.address))
    );
    watched.assert_no_refusal().await;
    let refused = app.sentinel_remove(NAME).await;
    assert!(matches!(refused, Err(Failure::Command(text)) if text.starts_with("NOPERM")));
    for command in [
        &["SENTINEL", "FLUSHCONFIG"][..],
        &["SENTINEL", "SIMULATE-FAILURE", "CRASH-AFTER-ELECTION"],
        &["SHUTDOWN"],
        &["ACL", "LIST"],
    ] {
        let mut hera = watched.sentinels[0].data_as("hera").await;
        let refused = send(&mut hera, command).await.unwrap_err();
        assert!(refused.starts_with("NOPERM"), "{command:?}: {refused}");
    }

    assert_eq!(sentinel.sentinel_reset(NAME).await, Ok(1));
    sees_all(&sentinel, 2).await;
}

pub async fn a_killed_primary_is_replaced(program: Program) {
    let mut watched = Watched::start(&program).await;
    let old = watched.data[0].address();
    let mut data = watched.data[0].data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    for replica in &watched.data[1..] {
        until(&replica.hera().await, |info| info.keys == 1).await;
    }
    watched.data[0].kill();

    let new = watched.agree_on_another(&old).await;
    let promoted = watched.server(&new);
    promoted
        .until(|info| info.role == Role::Primary && info.replicas.len() == 1)
        .await;
    let mut data = watched.server(&new).data().await;
    assert_eq!(
        send(&mut data, &["GET", "k"]).await,
        Ok(redis::Value::BulkString(b"v".to_vec()))
    );
    let state = watched.sentinels[0].hera().await;
    let state = state.sentinel_primary(NAME).await.unwrap().unwrap();
    assert!(state.config_epoch > 0);

    // Back again, empty, it is made a replica.
    watched.data[0].restart(&[]).await;
    let back = watched.data[0].until(|info| info.link_up).await;
    assert_eq!((back.primary(), back.keys), (Some(new), 1));
    watched.assert_no_refusal().await;
}

pub async fn a_hand_over_loses_no_acknowledged_write(program: Program) {
    let watched = Watched::start(&program).await;
    let old = watched.data[0].address();
    let sentinel = watched.sentinels[0].hera().await;
    let primary = watched.data[0].hera().await;
    let replicas = [watched.data[1].target(), watched.data[2].target()];
    let expected = if program.name == "valkey-9" {
        SentinelFailoverKind::Coordinated
    } else {
        SentinelFailoverKind::Plain
    };
    assert_eq!(sentinel.sentinel_failover_kind().await, Ok(expected));

    // Writes without a pause until the server refuses; returns how many it acknowledged.
    let mut data = watched.data[0].data().await;
    let (progress, mut written) = tokio::sync::watch::channel(0_u64);
    let writer = tokio::spawn(async move {
        let mut acknowledged = 0;
        loop {
            match send(&mut data, &["INCR", "counter"]).await {
                Ok(_) => acknowledged += 1,
                Err(text) => return (acknowledged, text),
            }
            progress.send_replace(acknowledged);
        }
    });
    written.wait_for(|count| *count > 100).await.unwrap();

    let hand_over = SentinelHandOver {
        sentinel: &sentinel,
        name: NAME,
        primary: &primary,
        replicas: &replicas,
    };
    let new = hand_over.run().await.unwrap();
    let (acknowledged, refused) = writer.await.unwrap();
    // A coordinated one cuts the clients, so that the fate of the last write is unknown to the writer.
    let is_cut = refused.trim().is_empty();
    assert!(is_cut || refused.starts_with("READONLY"), "{refused}");
    assert_eq!(watched.agree_on_another(&old).await, new);
    for server in &watched.data {
        if server.address() != new {
            server
                .until(|info| info.link_up && info.primary().as_ref() == Some(&new))
                .await;
        }
    }
    let mut data = watched.server(&new).data().await;
    let counter: u64 = redis::cmd("GET")
        .arg("counter")
        .query_async(&mut data)
        .await
        .unwrap();
    assert!(
        counter == acknowledged || (is_cut && counter == acknowledged + 1),
        "{counter} {acknowledged}"
    );
    // Writes are not paused where they are taken now.
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    watched.assert_no_refusal().await;
}

pub async fn a_replica_that_is_behind_stops_the_hand_over(program: Program) {
    let watched = Watched::start(&program).await;
    let sentinel = watched.sentinels[0].hera().await;
    if sentinel.sentinel_failover_kind().await == Ok(SentinelFailoverKind::Coordinated) {
        // The servers themselves see to it.
        return;
    }
    let primary = watched.data[0].hera().await;
    let replicas = [watched.data[1].target(), watched.data[2].target()];
    // It follows nobody reachable, which the sentinel does not know yet.
    let nobody = Address::new("127.0.0.1", free_port());
    let behind = watched.data[1].hera().await;
    behind.replica_of(&nobody).await.unwrap();
    let hand_over = SentinelHandOver {
        sentinel: &sentinel,
        name: NAME,
        primary: &primary,
        replicas: &replicas,
    };
    assert_eq!(
        hand_over.run().await,
        Err(SentinelHandOverError::NotInSync(watched.data[1].address()))
    );
    let mut data = watched.data[0].data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    assert_eq!(primary.info().await.unwrap().role, Role::Primary);
}

pub async fn a_sentinel_that_forgot_is_told_again(program: Program) {
    let mut watched = Watched::start(&program).await;
    let before = watched.sentinels[2].hera().await.sentinel_id().await;
    watched.sentinels[2].kill();
    // Its configuration file is that of a new one.
    watched.sentinels[2].restart(&[]).await;
    let forgetful = watched.sentinels[2].hera().await;
    assert_eq!(forgetful.sentinel_primaries().await, Ok(vec![]));
    assert_ne!(forgetful.sentinel_id().await, before);

    monitor(&forgetful, &watched.data[0].address()).await;
    for sentinel in &watched.sentinels {
        let client = sentinel.hera().await;
        // The others drop the one that was at that address before.
        sees_all(&client, 2).await;
        let check = client.sentinel_check_quorum(NAME).await.unwrap();
        assert_eq!((check.is_reachable, check.usable), (true, 3));
    }
    watched.assert_no_refusal().await;
}

pub async fn a_primary_that_moved_is_monitored_again(program: Program) {
    let mut primary = Server::start(&program, &[]).await;
    let old = primary.address();
    let sentinel = Server::start_sentinel(&program).await;
    let client = sentinel.hera().await;
    monitor(&client, &old).await;
    primary.shut_down();
    primary.start_elsewhere().await;
    // Nobody is there to fail over to.
    eventually(|| async {
        let state = client.sentinel_primary(NAME).await.unwrap().unwrap();
        if state.flags.is_subjectively_down() {
            assert_eq!(state.address, old);
            Ok(())
        } else {
            Err(state)
        }
    })
    .await;
    let start = client
        .sentinel_failover(NAME, SentinelFailoverKind::Plain)
        .await;
    assert_eq!(start, Ok(SentinelFailoverStart::NoGoodReplica));

    client.sentinel_remove(NAME).await.unwrap();
    client.sentinel_remove(NAME).await.unwrap();
    monitor(&client, &primary.address()).await;
    eventually(|| async {
        let state = client.sentinel_primary(NAME).await.unwrap().unwrap();
        let is_seen = state.flags.is_up() && !state.run_id.is_empty();
        if is_seen { Ok(()) } else { Err(state) }
    })
    .await;
}

/// The id of a sentinel that is replaced stays, so that nobody counts the one that is gone.
pub async fn a_replaced_sentinel_with_the_same_id_is_the_same(program: Program) {
    let primary = Server::start(&program, &[]).await;
    let id = |n: usize| format!("{n:040x}");
    let mut sentinels = Vec::new();
    for n in 1..=3 {
        let sentinel = Server::start_sentinel_as(&program, &id(n)).await;
        let client = sentinel.hera().await;
        assert_eq!(client.sentinel_id().await, Ok(id(n)));
        monitor(&client, &primary.address()).await;
        sentinels.push(sentinel);
    }
    for sentinel in &sentinels {
        sees_all(&sentinel.hera().await, 0).await;
    }
    sentinels[2].kill();
    // Elsewhere, with nothing but its id.
    sentinels[2].start_elsewhere().await;
    let address = sentinels[2].address();
    let client = sentinels[2].hera().await;
    assert_eq!(client.sentinel_primaries().await, Ok(vec![]));
    monitor(&client, &primary.address()).await;
    for sentinel in &sentinels {
        sees_all(&sentinel.hera().await, 0).await;
    }
    for sentinel in &sentinels[..2] {
        let peers = sentinel.hera().await.sentinel_peers(NAME).await.unwrap();
        let replaced: Vec<_> = peers.iter().filter(|peer| peer.id == id(3)).collect();
        assert_eq!((peers.len(), replaced.len()), (2, 1), "{peers:?}");
        assert_eq!(replaced[0].address, address);
    }
}

/// A server that started anew may be empty: with this priority no sentinel chooses it.
pub async fn a_replica_with_priority_0_is_not_chosen(program: Program) {
    let primary = Server::start(&program, &[]).await;
    let options = [("replica-priority", "0")];
    let replica = Server::start_replica(&program, &primary, &options).await;
    let sentinel = Server::start_sentinel(&program).await;
    let client = sentinel.hera().await;
    monitor(&client, &primary.address()).await;
    let priority = |wanted: u32| {
        let client = &client;
        eventually(move || async move {
            let known = client.sentinel_replicas(NAME).await.unwrap();
            match &known[..] {
                [one] if one.priority == wanted && one.link_up => Ok(()),
                _ => Err(known),
            }
        })
    };
    priority(0).await;
    let plain = SentinelFailoverKind::Plain;
    let start = client.sentinel_failover(NAME, plain).await;
    assert_eq!(start, Ok(SentinelFailoverStart::NoGoodReplica));
    // Set while it runs, it is chosen as soon as the sentinel has heard of it.
    let server = replica.hera().await;
    server
        .config_set(&[("replica-priority", "50")])
        .await
        .unwrap();
    priority(50).await;
    let start = client.sentinel_failover(NAME, plain).await;
    assert_eq!(start, Ok(SentinelFailoverStart::Started));
    replica.until(|info| info.role == Role::Primary).await;
}

/// What Hera gives to the pods, with the folders of the test.
pub async fn a_sentinel_starts_with_what_hera_builds(program: Program) {
    use hera::operators::redis::{api, build, model, validate};
    let spec = serde_json::json!({
        "mode": "Sentinel",
        "engine": if program.name.starts_with("valkey") { "Valkey" } else { "Redis" },
    });
    let mut redis = api::Redis::new("db", serde_json::from_value(spec).unwrap());
    redis.metadata.namespace = Some("shop".into());
    redis.metadata.uid = Some("uid".into());
    let observed = model::Observed::default();
    let valid = validate::validate(&redis, &observed).unwrap();
    let credentials = model::Credentials {
        default: "one".into(),
        operator: "two".into(),
        replication: "three".into(),
        probe: "four".into(),
    };
    let built = build::build(&valid, &observed, &credentials).unwrap();
    let data = built.sentinel_secret.unwrap().data.unwrap();
    let text = |key: &str| String::from_utf8(data[key].0.clone()).unwrap();
    let sentinel =
        Server::start_with_files(&program, &text("sentinel.conf"), &text("users.acl")).await;
    let hera = sentinel.login_with("hera", "two").await.unwrap();
    assert_eq!(hera.sentinel_primaries().await, Ok(vec![]));
    // It keeps what it is told in its file, and its users out of it.
    let nobody = Address::new("127.0.0.1", free_port());
    hera.sentinel_monitor(NAME, &nobody, 2).await.unwrap();
    let app = sentinel.login_with("default", "one").await.unwrap();
    assert_eq!(app.sentinel_primary_address(NAME).await, Ok(Some(nobody)));
    let refused = app.sentinel_remove(NAME).await;
    assert!(matches!(refused, Err(Failure::Command(text)) if text.starts_with("NOPERM")));
    assert!(sentinel.login_with("default", "two").await.is_err());
}
