//! The replies in `testdata` were taken from real servers: a primary with `min-replicas-to-write 1` and a replica on
//! loopback, one key in database 0 and two in database 3; then the replica after the primary was killed, and after its
//! promotion.

use super::*;

struct Texts {
    engine: Engine,
    version: &'static str,
    primary: &'static str,
    replica: &'static str,
    link_down: &'static str,
    promoted: &'static str,
}

macro_rules! texts {
    ($name:literal, $engine:expr, $version:literal) => {
        Texts {
            engine: $engine,
            version: $version,
            primary: include_str!(concat!("testdata/", $name, "-primary.txt")),
            replica: include_str!(concat!("testdata/", $name, "-replica.txt")),
            link_down: include_str!(concat!("testdata/", $name, "-replica-link-down.txt")),
            promoted: include_str!(concat!("testdata/", $name, "-promoted.txt")),
        }
    };
}

fn servers() -> [Texts; 4] {
    [
        texts!("redis-7.0", Engine::Redis, "7.0.15"),
        texts!("redis-8.0", Engine::Redis, "8.0.2"),
        texts!("valkey-8.1", Engine::Valkey, "8.1.1"),
        texts!("valkey-9", Engine::Valkey, "9.1.2"),
    ]
}

fn parse_all() -> Vec<(Texts, [Info; 4])> {
    servers()
        .into_iter()
        .map(|texts| {
            let infos = [
                texts.primary,
                texts.replica,
                texts.link_down,
                texts.promoted,
            ]
            .map(|text| Info::parse(text).unwrap());
            (texts, infos)
        })
        .collect()
}

#[test]
fn every_server_names_its_engine_version_and_process() {
    for (texts, infos) in parse_all() {
        for info in &infos {
            assert_eq!(info.engine, texts.engine, "{}", texts.version);
            assert_eq!(info.version, texts.version);
            assert_eq!(info.run_id.len(), 40, "{}", texts.version);
            assert_eq!(info.keys, 3, "{}", texts.version);
            assert!(info.used_memory > 100_000, "{}", texts.version);
            assert!(!info.loading && !info.aof_enabled);
            assert!(!info.last_save_failed && !info.aof_write_failed);
            assert!(info.last_save_unix > 1_700_000_000);
        }
        assert_ne!(infos[0].run_id, infos[1].run_id);
    }
}

#[test]
fn a_primary_lists_its_replicas() {
    for (texts, [primary, replica, ..]) in parse_all() {
        let version = texts.version;
        assert_eq!(primary.role, Role::Primary, "{version}");
        assert_eq!(primary.maxmemory, 100 * 1024 * 1024, "{version}");
        assert_eq!(primary.good_replicas, Some(1), "{version}");
        assert_eq!(
            (&primary.replid2, primary.second_repl_offset),
            (&None, None)
        );
        assert_eq!(primary.failover_state, FailoverState::None);
        assert_eq!(primary.primary(), None);
        assert!(!primary.link_up);
        let [link] = &primary.replicas[..] else {
            panic!("{version}: {:?}", primary.replicas)
        };
        assert_eq!(
            link.address(),
            Address::new("127.0.0.1", 17002),
            "{version}"
        );
        assert!(link.is_online() && link.lag <= 1 && link.offset <= primary.offset);
        assert!(
            primary.offset >= replica.offset && replica.offset > 0,
            "{version}"
        );
        assert_eq!(primary.sync_full, 1, "{version}");
    }
}

#[test]
fn a_replica_names_its_primary_and_its_link() {
    for (texts, [primary, replica, link_down, _]) in parse_all() {
        let version = texts.version;
        assert_eq!(replica.role, Role::Replica, "{version}");
        assert_eq!(replica.primary(), Some(Address::new("127.0.0.1", 17001)));
        assert_eq!(replica.replid, primary.replid, "{version}");
        assert!(replica.link_up && !replica.sync_in_progress, "{version}");
        assert_eq!(replica.link_down_seconds, None, "{version}");
        assert!(replica.last_io_seconds.is_some_and(|seconds| seconds < 10));
        assert_eq!((replica.priority, replica.good_replicas), (100, None));

        assert!(!link_down.link_up, "{version}");
        assert!(link_down.link_down_seconds.is_some(), "{version}");
        assert_eq!(link_down.last_io_seconds, None, "{version}");
        assert_eq!(link_down.replid, primary.replid, "{version}");
    }
}

#[test]
fn a_promoted_replica_keeps_the_history_under_its_second_name() {
    for (texts, [primary, replica, _, promoted]) in parse_all() {
        let version = texts.version;
        assert_eq!(promoted.role, Role::Primary, "{version}");
        assert_ne!(promoted.replid, primary.replid, "{version}");
        assert_eq!(
            promoted.replid2.as_ref(),
            Some(&primary.replid),
            "{version}"
        );
        assert_eq!(promoted.second_repl_offset, Some(replica.offset + 1));
        assert!(promoted.has_history(&primary.replid), "{version}");
        assert!(!primary.has_history(&promoted.replid), "{version}");
    }
}

#[test]
fn a_short_reply_refreshes_replication_and_keeps_the_rest() {
    for (texts, [primary, ..]) in parse_all() {
        let section = texts
            .promoted
            .split("# ")
            .find(|part| part.starts_with("Replication"));
        let refreshed = primary.with_replication(section.unwrap()).unwrap();
        let promoted = Info::parse(texts.promoted).unwrap();
        assert_eq!(refreshed.replid, promoted.replid);
        assert_eq!(refreshed.replicas, []);
        assert_eq!(refreshed.run_id, primary.run_id);
        assert_eq!(refreshed.keys, 3);
    }
}

#[test]
fn lines_end_with_or_without_carriage_return() {
    let text = servers()[0].primary.replace('\n', "\r\n");
    assert_eq!(Info::parse(&text), Info::parse(servers()[0].primary));
}

#[test]
fn odd_values_are_read_as_the_servers_mean_them() {
    let base = servers()[3].primary;
    let with = |from: &str, to: &str| {
        assert!(base.contains(from), "{from}");
        Info::parse(&base.replace(from, to))
    };
    let state = |text| {
        with("master_failover_state:no-failover", text)
            .unwrap()
            .failover_state
    };
    assert_eq!(
        state("master_failover_state:waiting-for-sync"),
        FailoverState::WaitingForSync
    );
    assert_eq!(
        state("master_failover_state:failover-in-progress"),
        FailoverState::InProgress
    );
    // A replica with an IPv6 address, one that is being synchronized, and a clock that was set back.
    let info = with(
        "slave0:ip=127.0.0.1,port=17002,state=online,offset=141,lag=1,type=replica",
        "slave0:ip=fd00::2,port=6379,state=wait_bgsave,offset=0,lag=-3,type=replica\n\
         slave1:ip=10.0.0.1,port=6379,state=online,offset=7,lag=0",
    )
    .unwrap();
    assert_eq!(info.replicas[0].address(), Address::new("10.0.0.1", 6379));
    assert_eq!(info.replicas[1].address(), Address::new("fd00::2", 6379));
    assert_eq!(
        (info.replicas[1].is_online(), info.replicas[1].lag),
        (false, 0)
    );
}

#[test]
fn what_cannot_be_read_is_an_error_that_names_the_field() {
    let base = servers()[1].primary;
    let error = |from: &str, to: &str| {
        Info::parse(&base.replace(from, to))
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error("run_id:", "x:"), "INFO lacks the field run_id");
    assert_eq!(
        error("role:master", "role:sentinel"),
        r#"INFO field role has the value "sentinel""#
    );
    assert!(error("db3:keys=2", "db3:keys=two").contains("db3"));
    assert!(error("port=17002", "port=170020").contains("slave0"));
    assert!(Info::parse("").is_err());
}

proptest::proptest! {
    #[test]
    fn no_text_panics(text in "([a-z0-9_]{0,12}[:=,#]?[-0-9a-z,=]{0,20}\r?\n){0,8}") {
        let _ = Info::parse(&text);
    }

    #[test]
    fn no_damaged_reply_panics(at in 0usize..4000, with in "[^\u{0}]{0,6}") {
        let base = servers()[3].primary;
        let at = at.min(base.len());
        let _ = Info::parse(&format!("{}{with}{}", &base[..at], &base[at..]));
    }
}
