//! A server that Hera does not manage is copied, and the copy takes over.

use std::time::Duration;

use hera::engines::redis::{Client, Credentials, CutOver, Role};
use redis::Value;
use secrecy::SecretString;

use crate::server::{PASSWORD, Program, Server, eventually, limits, send, until};

const PAUSE: Duration = Duration::from_secs(60);

/// A server with data, and one that was started as those of mode Replication are.
async fn pair(program: &Program) -> (Server, Server) {
    let source = Server::start(program, &[]).await;
    let copy = Server::start(program, &[("replicaof", "127.0.0.1 1")]).await;
    let mut data = source.data().await;
    for n in 0..100 {
        let key = format!("k{n}");
        send(&mut data, &["SET", &key, "v"]).await.unwrap();
    }
    (source, copy)
}

/// Somebody whom the external server knows.
async fn foreigner(source: &Server, rules: &[&str]) {
    let mut data = source.data().await;
    let password = format!(">{PASSWORD}");
    let mut words = vec!["ACL", "SETUSER", "copy", "reset", "on", &password];
    words.extend(rules);
    send(&mut data, &words).await.unwrap();
}

async fn copy_as(user: &str, source: &Server, copy: &Server) {
    let client = copy.hera().await;
    let login = [("masteruser", user), ("masterauth", PASSWORD)];
    client.config_set(&login).await.unwrap();
    client.replica_of(&source.address()).await.unwrap();
    until(&client, |info| info.link_up && info.keys == 100).await;
}

pub async fn a_copy_has_all_that_was_acknowledged_and_its_own_users(program: Program) {
    let (source, copy) = pair(&program).await;
    foreigner(&source, &["~*", "&*", "+@all"]).await;
    copy_as("copy", &source, &copy).await;

    // A full synchronization brings data and no users: Hera's are as they were, the other server's are not there.
    let client = copy.hera().await;
    assert_eq!(client.acl_get_user("copy").await.unwrap(), None);
    copy.login("probe").await.unwrap().ping().await.unwrap();

    let mut data = source.data().await;
    let (progress, mut written) = tokio::sync::watch::channel(0_i64);
    let writer = tokio::spawn(async move {
        for n in 1.. {
            if send(&mut data, &["SET", "last", &n.to_string()])
                .await
                .is_err()
            {
                return;
            }
            progress.send_replace(n);
        }
    });
    written.wait_for(|n| *n > 100).await.unwrap();
    let external = source.login("copy").await.unwrap();
    let how = eventually(|| async {
        match external.pause_until_copied(&client, PAUSE).await {
            Ok(CutOver::Behind) => Err("behind".to_owned()),
            other => other.map_err(|failure| failure.to_string()),
        }
    })
    .await;
    assert_eq!(how, CutOver::Paused);
    client.promote().await.unwrap();
    let acknowledged = *written.borrow_and_update();
    let mut there = copy.data().await;
    let found = send(&mut there, &["GET", "last"]).await.unwrap();
    let Value::BulkString(text) = found else {
        panic!("{found:?}")
    };
    let found: i64 = String::from_utf8(text).unwrap().parse().unwrap();
    assert!(found >= acknowledged, "{found} {acknowledged}");
    assert!(!written.has_changed().unwrap(), "writes are paused");
    send(&mut there, &["SET", "new", "v"]).await.unwrap();
    assert_eq!(client.info().await.unwrap().role, Role::Primary);
    writer.abort();
}

pub async fn writes_go_on_when_the_copy_is_behind(program: Program) {
    let (source, copy) = pair(&program).await;
    foreigner(&source, &["~*", "&*", "+@all"]).await;
    let external = source.login("copy").await.unwrap();
    // It has not begun to replicate.
    let how = external
        .pause_until_copied(&copy.hera().await, PAUSE)
        .await
        .unwrap();
    assert_eq!(how, CutOver::Behind);
    let mut data = source.data().await;
    send(&mut data, &["SET", "k0", "v"]).await.unwrap();

    // A copy that hangs: the question fails, and writes go on.
    copy_as("copy", &source, &copy).await;
    let client = copy.hera().await;
    copy.stop();
    external
        .pause_until_copied(&client, PAUSE)
        .await
        .unwrap_err();
    send(&mut data, &["SET", "k0", "w"]).await.unwrap();
    copy.signal("CONT");
}

pub async fn without_the_right_to_pause_writes_have_to_stand_still(program: Program) {
    let (source, copy) = pair(&program).await;
    foreigner(&source, &["+psync", "+replconf", "+ping", "+info"]).await;
    copy_as("copy", &source, &copy).await;
    let external = source.login("copy").await.unwrap();
    let client = copy.hera().await;
    let how = external.pause_until_copied(&client, PAUSE).await.unwrap();
    assert_eq!(how, CutOver::StoodStill);
    let mut data = source.data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
}

pub async fn servers_without_a_password_and_with_one_are_entered(program: Program) {
    let source = Server::start(&program, &[]).await;
    let enter = async |password: &str| {
        let mut login = Credentials::new("", "");
        login.password = SecretString::from(password.to_owned());
        let client = Client::connect(&source.address(), &login, limits()).await?;
        client.info_of_any_version().await
    };
    let info = enter("").await.unwrap();
    assert!(!info.cluster_enabled);
    let mut data = source.data().await;
    send(&mut data, &["CONFIG", "SET", "requirepass", "secret"])
        .await
        .unwrap();
    enter("secret").await.unwrap();
    enter("").await.unwrap_err();
    enter("wrong").await.unwrap_err();

    let node = Server::start_node(&program, &[]).await;
    let client = node.login("default").await.unwrap();
    assert!(client.info_of_any_version().await.unwrap().cluster_enabled);
}
