//! What a monitor notices, and how soon.

use std::time::{Duration, Instant};

use hera::engines::redis::{
    Change, Credentials, Failure, Limits, Monitor, MonitorState, ReplicaLink, Role, Target, What,
};
use tokio::sync::mpsc;

use crate::server::{PASSWORD, Program, Server, eventually, limits, send};

type Changes = mpsc::UnboundedReceiver<Change<&'static str>>;

fn watch(server: &Server, limits: Limits, interval: Duration) -> (Monitor, Changes) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let target = Target {
        address: server.address(),
        credentials: Credentials::new("hera", PASSWORD),
        limits,
        interval,
    };
    (Monitor::start(target, "tag", sender), receiver)
}

/// Receives until a change of this sort is told.
async fn told(changes: &mut Changes, wanted: What) {
    let search = async {
        loop {
            let change = changes.recv().await.unwrap();
            assert_eq!(change.tag, "tag");
            assert!(!change.what.is_empty());
            if change.what.contains(&wanted) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), search)
        .await
        .unwrap_or_else(|_| panic!("{wanted:?} is not told"));
}

async fn state_until(monitor: &Monitor, wanted: impl Fn(&MonitorState) -> bool) -> MonitorState {
    let mut states = monitor.states();
    tokio::time::timeout(Duration::from_secs(30), states.wait_for(wanted))
        .await
        .unwrap_or_else(|_| panic!("{:?}", monitor.state()))
        .unwrap()
        .clone()
}

pub async fn a_killed_process_is_noticed_at_once(program: Program) {
    let mut server = Server::start(&program, &[]).await;
    // No poll comes in time to notice it.
    let (monitor, mut changes) = watch(&server, limits(), Duration::from_secs(3600));
    told(&mut changes, What::Answering).await;
    let before = monitor.state().last.unwrap();
    assert!(monitor.client().is_some());

    let killed = Instant::now();
    server.kill();
    told(&mut changes, What::Silent).await;
    let noticed = killed.elapsed();
    assert!(noticed < Duration::from_secs(2), "{noticed:?}");
    let state = state_until(&monitor, |state| state.consecutive_failures >= 3).await;
    assert_eq!(state.failure, Some(Failure::Refused));
    assert!(state.failing_since.unwrap() >= state.last_answer.unwrap());
    assert!(monitor.client().is_none());
    assert_eq!(state.last.unwrap().run_id, before.run_id);

    server.restart(&[]).await;
    told(&mut changes, What::RunId).await;
    let state = monitor.state();
    assert_eq!(
        (
            state.failure,
            state.consecutive_failures,
            state.failing_since
        ),
        (None, 0, None)
    );
    assert_ne!(state.last.unwrap().run_id, before.run_id);
}

pub async fn a_stopped_process_is_noticed_by_a_poll(program: Program) {
    let server = Server::start(&program, &[]).await;
    let short = Limits {
        connect: Duration::from_millis(200),
        command: Duration::from_millis(200),
    };
    let (monitor, mut changes) = watch(&server, short, Duration::from_millis(50));
    told(&mut changes, What::Answering).await;
    let run_id = monitor.state().last.unwrap().run_id;

    server.stop();
    let state = state_until(&monitor, |state| state.consecutive_failures >= 3).await;
    assert_eq!(state.failure, Some(Failure::Timeout));
    server.signal("CONT");
    let state = state_until(&monitor, |state| state.failure.is_none()).await;
    assert_eq!(state.consecutive_failures, 0);
    assert_eq!(state.last.unwrap().run_id, run_id);
}

pub async fn a_busy_process_is_not_silent(program: Program) {
    let server = Server::start(&program, &[("lua-time-limit", "50")]).await;
    let (monitor, mut changes) = watch(&server, limits(), Duration::from_millis(20));
    told(&mut changes, What::Answering).await;
    let mut data = server.data().await;
    let mut killer = server.data().await;
    let script =
        tokio::spawn(async move { send(&mut data, &["EVAL", "while true do end", "0"]).await });
    told(&mut changes, What::Condition).await;
    let busy = monitor.state();
    assert_eq!(
        (busy.failure, busy.consecutive_failures),
        (Some(Failure::Busy), 0)
    );
    assert!(busy.last.is_some());
    // Each further answer counts as a sign of life.
    state_until(&monitor, |state| {
        state.last_answer > busy.last_answer && state.failure.is_some()
    })
    .await;
    send(&mut killer, &["SCRIPT", "KILL"]).await.unwrap();
    script.await.unwrap().unwrap_err();
    told(&mut changes, What::Condition).await;
    assert_eq!(monitor.state().failure, None);
}

pub async fn changes_of_replication_are_told(program: Program) {
    let mut primary = Server::start(&program, &[]).await;
    let (on_primary, mut primary_changes) = watch(&primary, limits(), Duration::from_millis(20));
    told(&mut primary_changes, What::Answering).await;
    let replica = Server::start_replica(&program, &primary, &[]).await;
    told(&mut primary_changes, What::Replicas).await;
    let state = state_until(&on_primary, |state| {
        state
            .last
            .as_ref()
            .is_some_and(|info| info.replicas.iter().any(ReplicaLink::is_online))
    })
    .await;
    assert_eq!(state.last.unwrap().replicas[0].address(), replica.address());

    let (on_replica, mut replica_changes) = watch(&replica, limits(), Duration::from_millis(20));
    told(&mut replica_changes, What::Answering).await;
    assert!(on_replica.state().last.unwrap().link_up);
    // Counted in a section that a short poll does not read: it comes in with a full one.
    let mut data = primary.data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    state_until(&on_replica, |state| {
        state.last.as_ref().is_some_and(|info| info.keys == 1)
    })
    .await;

    primary.kill();
    told(&mut replica_changes, What::Link).await;
    replica.hera().await.promote().await.unwrap();
    told(&mut replica_changes, What::Role).await;
    let info = on_replica.state().last.unwrap();
    assert_eq!((info.role, info.primary()), (Role::Primary, None));
}

pub async fn a_dropped_monitor_ends_its_connection(program: Program) {
    let server = Server::start(&program, &[]).await;
    let (monitor, mut changes) = watch(&server, limits(), Duration::from_secs(3600));
    told(&mut changes, What::Answering).await;
    let data = server.data().await;
    let connections = async || {
        let list: String = redis::cmd("CLIENT")
            .arg("LIST")
            .query_async(&mut data.clone())
            .await
            .unwrap();
        list.lines()
            .filter(|line| line.contains("user=hera"))
            .count()
    };
    eventually(async || match connections().await {
        1 => Ok(()),
        other => Err(other),
    })
    .await;

    // Cut off, it comes back by itself.
    send(&mut data.clone(), &["CLIENT", "KILL", "USER", "hera"])
        .await
        .unwrap();
    told(&mut changes, What::Silent).await;
    told(&mut changes, What::Answering).await;
    drop(monitor);
    eventually(async || match connections().await {
        0 => Ok(()),
        other => Err(other),
    })
    .await;
    // The channel ends with the monitor.
    while changes.recv().await.is_some() {}
}
