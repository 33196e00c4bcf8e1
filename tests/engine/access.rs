//! The users that Hera creates: each can do its work, and nothing else.

use std::time::Duration;

use hera::engines::redis::{Client, Credentials, Failure, password_hash};

use crate::server::{PASSWORD, Program, Server, free_port, limits, send};

/// Commands that read, write, copy or drop data, or that lead to such.
const DATA: &[&[&str]] = &[
    &["GET", "k"],
    &["SET", "k", "v"],
    &["DEL", "k"],
    &["KEYS", "*"],
    &["SCAN", "0"],
    &["DUMP", "k"],
    &["RANDOMKEY"],
    &["DBSIZE"],
    &["FLUSHALL"],
    &["FLUSHDB"],
    &["SWAPDB", "0", "1"],
    &["MIGRATE", "127.0.0.1", "1", "k", "0", "1"],
    &["RESTORE", "k", "0", "v"],
    &["EVAL", "return 1", "0"],
    &["FUNCTION", "FLUSH"],
    &["PUBLISH", "c", "m"],
    &["SUBSCRIBE", "c"],
    &["MONITOR"],
    &["SYNC"],
    &["SAVE"],
    &["BGSAVE"],
    &["BGREWRITEAOF"],
    &["DEBUG", "RELOAD"],
    &["SHUTDOWN"],
    &["MODULE", "LIST"],
    &["CONFIG", "REWRITE"],
    &["CONFIG", "RESETSTAT"],
    &["ACL", "LIST"],
    &["ACL", "DELUSER", "default"],
    &["CLIENT", "LIST"],
    &["MULTI"],
    &["SELECT", "1"],
];

/// Asserts that the server refuses the command for lack of permission, not for another reason.
async fn assert_refused(server: &Server, user: &str, command: &[&str]) {
    let mut connection = server.data_as(user).await;
    let error = send(&mut connection, command).await;
    assert!(
        matches!(&error, Err(text) if text.starts_with("NOPERM")),
        "{user} {command:?}: {error:?}"
    );
}

pub async fn hera_can_do_its_work_and_touch_no_data(program: Program) {
    let server = Server::start(&program, &[]).await;
    let mut data = server.data().await;
    send(&mut data, &["SET", "k", "v"]).await.unwrap();
    for command in DATA.iter().chain(&[&["PSYNC", "?", "-1"][..]]) {
        assert_refused(&server, "hera", command).await;
    }
    assert_eq!(server.hera().await.info().await.unwrap().keys, 1);

    let client = server.hera().await;
    client.ping().await.unwrap();
    client.config_get(&["maxmemory"]).await.unwrap();
    client
        .config_set(&[("masterauth", PASSWORD)])
        .await
        .unwrap();
    client.pause_writes(Duration::from_millis(1)).await.unwrap();
    client.unpause_writes().await.unwrap();
    client.kill_normal_clients().await.unwrap();
    client.acl_get_user("hera").await.unwrap().unwrap();
    client
        .set_user_password("probe", &[password_hash("new")])
        .await
        .unwrap();
    client.failover_abort().await.unwrap();
    let Err(Failure::Command(text)) = client
        .failover_to(&server.address(), Duration::from_secs(1))
        .await
    else {
        panic!("there is no replica")
    };
    assert_eq!(text, "ERR FAILOVER requires connected replicas.");
    let nobody = hera::engines::redis::Address::new("127.0.0.1", free_port());
    client.replica_of(&nobody).await.unwrap();
    assert_eq!(client.info().await.unwrap().primary(), Some(nobody));
    client.promote().await.unwrap();
    assert_eq!(client.info().await.unwrap().primary(), None);
}

pub async fn replication_and_probe_users_can_do_theirs_only(program: Program) {
    let server = Server::start(&program, &[]).await;
    for command in DATA {
        assert_refused(&server, "replication", command).await;
        assert_refused(&server, "probe", command).await;
    }
    let administration: &[&[&str]] = &[
        &["REPLICAOF", "NO", "ONE"],
        &["FAILOVER", "ABORT"],
        &["CONFIG", "GET", "requirepass"],
        &["CONFIG", "SET", "hz", "10"],
        &["ACL", "SETUSER", "probe", "+@all"],
        &["CLIENT", "KILL", "TYPE", "normal"],
    ];
    for command in administration {
        assert_refused(&server, "replication", command).await;
        assert_refused(&server, "probe", command).await;
    }
    assert_refused(&server, "replication", &["INFO"]).await;
    assert_refused(&server, "probe", &["PSYNC", "?", "-1"]).await;

    let probe = server.login("probe").await.unwrap();
    probe.ping().await.unwrap();
    probe.info().await.unwrap();
    // That a replica gets its data by the replication user, every test with a replica shows.
    let replica = Server::start_replica(&program, &server, &[]).await;
    assert!(replica.hera().await.info().await.unwrap().link_up);
}

pub async fn passwords_change_by_hash_in_one_step(program: Program) {
    let server = Server::start(&program, &[("user", "app on nopass ~app:* +get")]).await;
    let client = server.hera().await;
    let login = async |password: &str| {
        let credentials = Credentials::new("app", password);
        Client::connect(&server.address(), &credentials, limits())
            .await
            .map(drop)
    };
    assert!(
        client
            .acl_get_user("app")
            .await
            .unwrap()
            .unwrap()
            .is_without_password()
    );
    login("anything").await.unwrap();

    let old = password_hash("old");
    let new = password_hash("new");
    client
        .set_user_password("app", std::slice::from_ref(&old))
        .await
        .unwrap();
    login("old").await.unwrap();
    assert!(
        matches!(login("anything").await, Err(Failure::Auth(text)) if text.starts_with("WRONGPASS"))
    );

    // Both for a while; sent twice it is the same.
    for _ in 0..2 {
        client
            .set_user_password("app", &[old.clone(), new.clone()])
            .await
            .unwrap();
        login("old").await.unwrap();
        login("new").await.unwrap();
    }
    client
        .set_user_password("app", std::slice::from_ref(&new))
        .await
        .unwrap();
    login("new").await.unwrap();
    assert!(matches!(login("old").await, Err(Failure::Auth(_))));

    let user = client.acl_get_user("app").await.unwrap().unwrap();
    assert!(user.is_on() && !user.is_without_password());
    assert_eq!(user.passwords, [new]);
    assert_eq!(user.keys, "~app:*");
    assert_eq!(user.commands, "-@all +get");
    assert_eq!(client.acl_get_user("nobody").await, Ok(None));
}

pub async fn a_refused_login_is_told_as_such(program: Program) {
    let server = Server::start(&program, &[("user", "retired off nopass +ping")]).await;
    for (user, password) in [
        ("hera", "wrong"),
        ("nobody", PASSWORD),
        ("retired", PASSWORD),
    ] {
        let credentials = Credentials::new(user, password);
        let failure = Client::connect(&server.address(), &credentials, limits())
            .await
            .unwrap_err();
        assert!(
            matches!(&failure, Failure::Auth(text) if text.starts_with("WRONGPASS")),
            "{failure}"
        );
        assert!(failure.is_alive());
    }
}
