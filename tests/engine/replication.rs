//! Roles, hand-over and promotion, as Hera's user carries them out.

use std::time::Duration;

use hera::engines::redis::{Address, Client, FailoverState, Failure, Role};

use crate::server::{Program, Server, eventually, free_port, send, until};

pub async fn a_server_that_follows_nobody_reachable_takes_no_write_and_keeps_its_data(
    program: Program,
) {
    let mut server = Server::start(&program, &[("save", "3600 1")]).await;
    let mut data = server.data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    let before = server.hera().await.info().await.unwrap();
    server.shut_down();

    server.restart(&[("replicaof", "127.0.0.1 1")]).await;
    let client = server.hera().await;
    let info = client.info().await.unwrap();
    assert_ne!(info.run_id, before.run_id);
    assert_eq!(
        (info.role, info.keys, info.link_up),
        (Role::Replica, 1, false)
    );
    assert_eq!(info.primary(), Some(Address::new("127.0.0.1", 1)));
    let mut data = server.data().await;
    let refused = send(&mut data, &["SET", "k", "w"]).await.unwrap_err();
    assert!(refused.starts_with("READONLY"), "{refused}");
    assert_eq!(
        send(&mut data, &["GET", "k"]).await,
        Ok(redis::Value::BulkString(b"v".to_vec()))
    );

    client.promote().await.unwrap();
    send(&mut data, &["SET", "k", "w"]).await.unwrap();
}

pub async fn only_a_snapshot_of_an_orderly_stop_keeps_the_history(program: Program) {
    // Persistence, how the process ends, whether the history is known afterwards, keys afterwards.
    let cases = [
        (("save", "3600 1"), "orderly", true, 1),
        (("save", "3600 1"), "killed", false, 0),
        (("appendonly", "yes"), "orderly", false, 1),
        (("appendonly", "yes"), "killed", false, 1),
    ];
    for (option, end, keeps, keys) in cases {
        let mut server = Server::start(&program, &[option]).await;
        // Without a replica there is no history to keep.
        let replica = Server::start_replica(&program, &server, &[]).await;
        let mut data = server.data().await;
        send(&mut data, &["SET", "k", "v"]).await.unwrap();
        let before = server.hera().await.info().await.unwrap();
        until(&replica.hera().await, |info| info.keys == 1).await;
        match end {
            "killed" => server.kill(),
            _ => server.shut_down(),
        }
        server.restart(&[("replicaof", "127.0.0.1 1")]).await;
        let after = server.hera().await.info().await.unwrap();
        let case = format!("{option:?} {end}");
        assert_eq!(after.keys, keys, "{case}");
        assert_eq!(after.has_history(&before.replid), keeps, "{case}");
        if keeps {
            assert!(after.offset >= before.offset, "{case}");
        } else {
            assert_eq!((after.offset, &after.replid2), (1, &None), "{case}");
        }
    }
}

pub async fn a_hand_over_loses_no_acknowledged_write(program: Program) {
    hand_over_under_writes(program, async |old, _, link| {
        old.failover_to(link, Duration::from_secs(20)).await
    })
    .await;
}

pub async fn a_hand_over_without_the_wait_loses_no_acknowledged_write(program: Program) {
    hand_over_under_writes(program, async |old, new, link| {
        old.hand_over_to(new, link, Duration::from_secs(20)).await
    })
    .await;
}

async fn hand_over_under_writes(
    program: Program,
    hand_over: impl AsyncFnOnce(&Client, &Client, &Address) -> Result<(), Failure>,
) {
    let primary = Server::start(&program, &[]).await;
    let target = Server::start_replica(&program, &primary, &[]).await;
    let other = Server::start_replica(&program, &primary, &[]).await;
    let (old, new) = (primary.hera().await, target.hera().await);

    // Writes without a pause until the server refuses; returns how many it acknowledged.
    let mut data = primary.data().await;
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

    let listed = old.info().await.unwrap().replicas;
    let link = listed
        .iter()
        .find(|link| link.address() == target.address())
        .unwrap();
    hand_over(&old, &new, &link.address()).await.unwrap();
    until(&new, |info| info.role == Role::Primary).await;
    let demoted = until(&old, |info| info.role == Role::Replica && info.link_up).await;
    assert_eq!(demoted.primary(), Some(target.address()));
    assert_eq!(demoted.failover_state, FailoverState::None);
    let (acknowledged, refused) = writer.await.unwrap();
    assert!(refused.starts_with("READONLY"), "{refused}");

    let mut data = target.data().await;
    let counter: u64 = redis::cmd("GET")
        .arg("counter")
        .query_async(&mut data)
        .await
        .unwrap();
    assert_eq!(counter, acknowledged);

    // The other replica stays with the old primary until it is told, and then continues where it was.
    let third = other.hera().await;
    assert_eq!(
        third.info().await.unwrap().primary(),
        Some(primary.address())
    );
    third.replica_of(&target.address()).await.unwrap();
    until(&third, |info| {
        info.link_up && info.primary() == Some(target.address())
    })
    .await;
    let info = until(&new, |info| {
        info.replicas.iter().filter(|link| link.is_online()).count() == 2
    })
    .await;
    assert_eq!((info.sync_full, info.sync_partial_ok), (0, 2));
}

pub async fn a_hand_over_to_a_stopped_replica_is_given_up(program: Program) {
    let primary = Server::start(&program, &[]).await;
    let target = Server::start_replica(&program, &primary, &[]).await;
    let client = primary.hera().await;
    let mut data = primary.data().await;
    target.stop();
    // The target misses this write, so the hand-over has to wait for it.
    send(&mut data, &["SET", "k", "v"]).await.unwrap();

    let wrong = Address::new("127.0.0.1", free_port());
    let refused = client.failover_to(&wrong, Duration::from_secs(1)).await;
    assert_eq!(
        refused,
        Err(Failure::Command(
            "ERR FAILOVER target HOST and PORT is not a replica.".into()
        ))
    );

    client
        .failover_to(&target.address(), Duration::from_millis(300))
        .await
        .unwrap();
    let info = until(&client, |info| info.failover_state == FailoverState::None).await;
    assert_eq!(info.role, Role::Primary);
    send(&mut data, &["SET", "k", "w"]).await.unwrap();

    client
        .failover_to(&target.address(), Duration::from_secs(60))
        .await
        .unwrap();
    until(&client, |info| {
        info.failover_state == FailoverState::WaitingForSync
    })
    .await;
    client.failover_abort().await.unwrap();
    until(&client, |info| info.failover_state == FailoverState::None).await;
    client.failover_abort().await.unwrap();
    send(&mut data, &["SET", "k", "x"]).await.unwrap();
}

pub async fn writes_go_on_when_the_replica_does_not_take_over(program: Program) {
    let primary = Server::start(&program, &[]).await;
    let target = Server::start_replica(&program, &primary, &[]).await;
    let (client, heir) = (primary.hera().await, target.hera().await);
    let mut data = primary.data().await;
    let limit = Duration::from_millis(300);

    // The address is not what the primary lists: it refuses, and nothing waits after that.
    let wrong = Address::new("127.0.0.1", free_port());
    let refused = client.hand_over_to(&heir, &wrong, limit).await;
    assert!(matches!(refused, Err(Failure::Command(_))), "{refused:?}");
    send(&mut data, &["SET", "k", "v"]).await.unwrap();

    // A replica that does not answer cannot be asked: the server's own hand-over is left to give up.
    target.stop();
    send(&mut data, &["SET", "k", "w"]).await.unwrap();
    client
        .hand_over_to(&heir, &target.address(), limit)
        .await
        .unwrap();
    let info = until(&client, |info| info.failover_state == FailoverState::None).await;
    assert_eq!(info.role, Role::Primary);
    send(&mut data, &["SET", "k", "x"]).await.unwrap();
}

pub async fn after_a_promotion_the_others_resync_partially(program: Program) {
    let mut primary = Server::start(&program, &[]).await;
    let first = Server::start_replica(&program, &primary, &[]).await;
    let second = Server::start_replica(&program, &primary, &[]).await;
    let mut data = primary.data().await;
    for number in 0..100 {
        send(&mut data, &["SET", &format!("k{number}"), "v"])
            .await
            .unwrap();
    }
    let (one, two) = (first.hera().await, second.hera().await);
    let before = primary.hera().await.info().await.unwrap();
    for client in [&one, &two] {
        until(client, |info| {
            info.offset >= before.offset && info.keys == 100
        })
        .await;
    }
    primary.kill();
    let down = until(&one, |info| !info.link_up).await;
    assert!(down.has_history(&before.replid));

    one.promote().await.unwrap();
    let promoted = one.info().await.unwrap();
    assert_eq!(promoted.role, Role::Primary);
    assert_eq!(promoted.replid2.as_ref(), Some(&before.replid));
    two.replica_of(&first.address()).await.unwrap();
    until(&two, |info| info.link_up).await;
    let info = one.info().await.unwrap();
    assert_eq!((info.sync_full, info.sync_partial_ok), (0, 1));

    // The old one comes back empty, and as a replica it gets everything.
    primary
        .restart(&[("replicaof", &format!("127.0.0.1 {}", first.address().port))])
        .await;
    let back = primary.hera().await;
    until(&back, |info| info.link_up && info.keys == 100).await;
    assert_eq!(one.info().await.unwrap().keys, 100);
}

pub async fn an_isolated_primary_refuses_writes(program: Program) {
    let options = [
        ("min-replicas-to-write", "1"),
        ("min-replicas-max-lag", "1"),
    ];
    let primary = Server::start(&program, &options).await;
    let client = primary.hera().await;
    let mut data = primary.data().await;
    let refused = send(&mut data, &["SET", "k", "v"]).await.unwrap_err();
    assert!(refused.starts_with("NOREPLICAS"), "{refused}");
    assert_eq!(client.info().await.unwrap().good_replicas, Some(0));

    let replica = Server::start_replica(&program, &primary, &[]).await;
    until(&client, |info| info.good_replicas == Some(1)).await;
    let mut writer = data.clone();
    eventually(async || send(&mut writer.clone(), &["SET", "k", "v"]).await).await;

    // The replica hangs: it stays listed as online, but it is not a good one any more.
    replica.stop();
    let info = until(&client, |info| info.good_replicas == Some(0)).await;
    assert!(info.replicas[0].is_online() && info.replicas[0].lag > 1);
    let refused = send(&mut writer, &["SET", "k", "w"]).await.unwrap_err();
    assert!(refused.starts_with("NOREPLICAS"), "{refused}");
}

pub async fn clients_are_paused_and_disconnected(program: Program) {
    let primary = Server::start(&program, &[]).await;
    let replica = Server::start_replica(&program, &primary, &[]).await;
    let client = primary.hera().await;
    let mut data = primary.data().await;

    client.pause_writes(Duration::from_secs(600)).await.unwrap();
    let mut writer = data.clone();
    let write = tokio::spawn(async move { send(&mut writer, &["SET", "k", "v"]).await });
    // The write waits while reads by others are answered.
    let mut reader = primary.data().await;
    assert_eq!(
        send(&mut reader, &["GET", "k"]).await,
        Ok(redis::Value::Nil)
    );
    assert!(!write.is_finished());
    client.unpause_writes().await.unwrap();
    write.await.unwrap().unwrap();

    let other = primary.hera().await;
    assert_eq!(client.kill_normal_clients().await, Ok(3));
    other.closed().await;
    send(&mut data, &["PING"]).await.unwrap_err();
    assert_eq!(client.ping().await, Ok(()));
    // Replicas are not clients in this sense.
    assert!(replica.hera().await.info().await.unwrap().link_up);
    assert_eq!(client.info().await.unwrap().sync_full, 1);
}
