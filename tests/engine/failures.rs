//! What a call says when a server does not give the answer that was asked for.

use std::time::Duration;

use hera::engines::redis::{Address, Client, Credentials, Failure, Limits};

use crate::server::{PASSWORD, Program, Server, eventually, free_port, limits, send};

/// Short, because it is meant to pass.
fn short() -> Limits {
    Limits {
        connect: Duration::from_millis(300),
        command: Duration::from_millis(300),
    }
}

fn hera() -> Credentials {
    Credentials::new("hera", PASSWORD)
}

pub async fn a_killed_server_refuses_and_a_stopped_one_is_silent(program: Program) {
    let mut server = Server::start(&program, &[]).await;
    let open = Client::connect(&server.address(), &hera(), short())
        .await
        .unwrap();
    assert_eq!(open.ping().await, Ok(()));

    server.stop();
    assert_eq!(open.ping().await, Err(Failure::Timeout));
    // The kernel still takes connections for the stopped process; the login gets no answer.
    let login = Client::connect(&server.address(), &hera(), short()).await;
    assert_eq!(login.unwrap_err(), Failure::Timeout);
    assert!(!open.is_closed());
    server.signal("CONT");
    eventually(|| open.ping()).await;

    server.kill();
    open.closed().await;
    assert_eq!(open.ping().await, Err(Failure::Closed));
    let login = Client::connect(&server.address(), &hera(), limits()).await;
    assert_eq!(login.unwrap_err(), Failure::Refused);

    let nobody = Address::new("127.0.0.1", free_port());
    let login = Client::connect(&nobody, &hera(), limits()).await;
    assert_eq!(login.unwrap_err(), Failure::Refused);
}

pub async fn a_server_that_runs_a_script_lives(program: Program) {
    let server = Server::start(&program, &[("lua-time-limit", "50")]).await;
    let open = server.hera().await;
    let mut data = server.data().await;
    let mut killer = server.data().await;
    let script =
        tokio::spawn(async move { send(&mut data, &["EVAL", "while true do end", "0"]).await });
    eventually(|| async {
        match open.ping().await {
            Err(Failure::Busy) => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(open.info().await, Err(Failure::Busy));
    // A new login works, too, and finds the same.
    assert_eq!(server.hera().await.ping().await, Err(Failure::Busy));
    send(&mut killer, &["SCRIPT", "KILL"]).await.unwrap();
    script.await.unwrap().unwrap_err();
    assert_eq!(open.ping().await, Ok(()));
}

pub async fn a_server_that_loads_lives(program: Program) {
    let mut server = Server::start(&program, &[]).await;
    let mut data = server.data().await;
    send(&mut data, &["DEBUG", "POPULATE", "20000"])
        .await
        .unwrap();
    send(&mut data, &["SAVE"]).await.unwrap();
    server.kill();
    // 100 us for each key make two seconds, and the server looks at its clients in between.
    server.respawn(&[
        ("key-load-delay", "100"),
        ("loading-process-events-interval-bytes", "1024"),
    ]);
    let client = eventually(|| server.login("hera")).await;
    assert_eq!(client.ping().await, Err(Failure::Loading));
    assert!(client.info().await.unwrap().loading);
    eventually(|| client.ping()).await;
    let info = client.info().await.unwrap();
    assert_eq!((info.loading, info.keys), (false, 20_000));
}

pub async fn a_server_full_of_clients_lives(program: Program) {
    let server = Server::start(&program, &[]).await;
    let open = server.hera().await;
    open.config_set(&[("maxclients", "1")]).await.unwrap();
    for _ in 0..20 {
        match server.login("hera").await {
            Err(failure @ Failure::Command(_)) => {
                assert!(failure.is_alive());
                assert!(
                    failure.to_string().contains("max number of clients"),
                    "{failure}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(open.ping().await, Ok(()));
}

pub async fn a_replica_without_its_primary_lives(program: Program) {
    let nobody = format!("127.0.0.1 {}", free_port());
    let options = [
        ("replicaof", nobody.as_str()),
        ("replica-serve-stale-data", "no"),
    ];
    let server = Server::start(&program, &options).await;
    let client = server.hera().await;
    assert_eq!(client.ping().await, Err(Failure::MasterDown));
    assert!(!client.info().await.unwrap().link_up);
}
