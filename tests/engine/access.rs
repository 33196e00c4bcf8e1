//! The users that Hera creates: each can do its work, and nothing else.

use std::time::Duration;

use hera::engines::redis::{AclUser, Client, Credentials, Failure, password_hash};
use hera::operators::redis::model::UserEntry;

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
        &["ACL", "DELUSER", "default"],
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

pub async fn a_user_is_what_it_is_told_to_be(program: Program) {
    let entry = |rules: &str, passwords: &[&str]| {
        let hashes = passwords.iter().map(|p| password_hash(p)).collect();
        UserEntry::of_client(true, hashes, rules)
    };
    // Whatever it was before, and also where a new user may use every channel.
    let before = "app on nopass ~* &* +@all (~x +get)";
    let options = [("user", before), ("acl-pubsub-default", "allchannels")];
    let server = Server::start(&program, &options).await;
    let client = server.hera().await;
    let first = entry(
        "~app:* &app:* +@read +@connection (~tmp:* +set)",
        &["a", "b"],
    );
    client
        .acl_set_user("app", &first.arguments())
        .await
        .unwrap();
    let names = ["app".to_owned(), "nobody".to_owned()];
    let mut users = client.acl_get_users(&names).await.unwrap();
    assert_eq!(users.remove("nobody"), Some(None));
    let user = users.remove("app").flatten().unwrap();
    assert!(first.same_login(&user) && user.is_on());
    assert_eq!(
        (user.keys.as_str(), user.channels.as_str()),
        ("~app:*", "&app:*")
    );
    assert_eq!(user.selectors.len(), 1);
    assert_eq!(user.selectors[0]["keys"], "~tmp:*");

    // The same again gives the same, and a file with its line gives the same user.
    client
        .acl_set_user("app", &first.arguments())
        .await
        .unwrap();
    assert_eq!(
        client.acl_get_user("app").await.unwrap(),
        Some(user.clone())
    );
    let line = first.line("app");
    assert_eq!(
        UserEntry::parse(&line),
        Some(("app".to_owned(), first.clone()))
    );
    let from_file = line.trim_end().strip_prefix("user ").unwrap();
    let options = [("user", from_file), ("acl-pubsub-default", "allchannels")];
    let other = Server::start(&program, &options).await;
    let read = other.hera().await.acl_get_user("app").await.unwrap();
    let permissions = |user: &AclUser| AclUser {
        // Redis 7.0 has one flag more after a reset.
        flags: vec![],
        ..user.clone()
    };
    assert_eq!(read.as_ref().map(permissions), Some(permissions(&user)));

    // A rule that the server refuses changes nothing.
    for bad in ["~app:* +@nonsense", "~app:* +nonsense", "app:*", "(~x +get"] {
        let Err(Failure::Command(words)) = client
            .acl_set_user("app", &entry(bad, &["c"]).arguments())
            .await
        else {
            panic!("{bad} is taken")
        };
        assert!(words.starts_with("ERR "), "{words}");
        assert!(!words.contains(&password_hash("c")), "{words}");
    }
    assert_eq!(client.acl_get_user("app").await.unwrap(), Some(user));
}

pub async fn a_user_that_is_off_or_gone_is_cut_off(program: Program) {
    let server = Server::start(&program, &[]).await;
    let client = server.hera().await;
    let mut entry = UserEntry::of_client(true, vec![password_hash(PASSWORD)], "+ping");
    client
        .acl_set_user("app", &entry.arguments())
        .await
        .unwrap();
    let open = server.login("app").await.unwrap();
    entry.enabled = false;
    client
        .acl_set_user("app", &entry.arguments())
        .await
        .unwrap();
    // The server lets it go on.
    open.ping().await.unwrap();
    assert_eq!(client.kill_user("app").await, Ok(1));
    open.closed().await;
    assert!(matches!(server.login("app").await, Err(Failure::Auth(_))));

    entry.enabled = true;
    client
        .acl_set_user("app", &entry.arguments())
        .await
        .unwrap();
    let open = server.login("app").await.unwrap();
    for _ in 0..2 {
        let names = ["app".to_owned(), "nobody".to_owned()];
        client.acl_delete_users(&names).await.unwrap();
    }
    open.closed().await;
    assert_eq!(client.acl_get_user("app").await, Ok(None));
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
