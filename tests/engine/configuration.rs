//! Reading and changing the configuration of a running server.

use hera::engines::redis::{Engine, Failure};

use crate::server::{Program, Server};

pub async fn directives_are_read_and_set(program: Program) {
    let server = Server::start(&program, &[("maxmemory", "100mb")]).await;
    let client = server.hera().await;

    let info = client.info().await.unwrap();
    let (engine, version) = program.name.split_once('-').unwrap();
    assert_eq!(
        info.engine,
        if engine == "redis" {
            Engine::Redis
        } else {
            Engine::Valkey
        }
    );
    assert!(info.version.starts_with(version), "{}", info.version);

    let names = ["maxmemory", "appendonly", "no-such-directive"];
    let found = client.config_get(&names).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    assert_eq!(found, [("appendonly", "no"), ("maxmemory", "104857600")]);

    let set = [("maxmemory", "50mb"), ("maxmemory-policy", "allkeys-lru")];
    client.config_set(&set).await.unwrap();
    let found = client
        .config_get(&["maxmemory", "maxmemory-policy"])
        .await
        .unwrap();
    assert_eq!(found["maxmemory"], "52428800");
    assert_eq!(found["maxmemory-policy"], "allkeys-lru");
    assert_eq!(client.info().await.unwrap().maxmemory, 52_428_800);
}

pub async fn a_refused_directive_is_named(program: Program) {
    let server = Server::start(&program, &[]).await;
    let client = server.hera().await;
    let before = client.config_get(&["hz"]).await.unwrap();
    let cases = [
        ("no-such-directive", "1", "Unknown option"),
        ("databases", "3", "can't set immutable config"),
        ("maxmemory", "plenty", "argument must be a memory value"),
        ("timeout", "-1", "argument must be between"),
    ];
    for (name, value, why) in cases {
        // The good one before it is not applied either.
        let set = [("hz", "77"), (name, value)];
        let Err(Failure::Command(text)) = client.config_set(&set).await else {
            panic!("{name} was taken")
        };
        assert!(text.contains(name) && text.contains(why), "{text}");
    }
    assert_eq!(client.config_get(&["hz"]).await.unwrap(), before);
}
