//! The reply of `INFO`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::server::{Link, Server};

/// The text, of the section `replication` alone or of all that Hera asks for.
pub fn info(
    server: &Server,
    servers: &BTreeMap<String, Server>,
    short: bool,
    now: Duration,
) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &dyn std::fmt::Display| {
        let _ = write!(text, "{name}:{value}\r\n");
    };
    if !short {
        line(
            "redis_version",
            &if server.valkey { "7.2.4" } else { "8.0.2" },
        );
        if server.valkey {
            line("server_name", &"valkey");
            line("valkey_version", &"9.0.1");
        }
        line("run_id", &server.run_id);
        line(
            "uptime_in_seconds",
            &now.saturating_sub(server.born).as_secs(),
        );
        line("used_memory", &1_000_000);
        line("maxmemory", &server.config["maxmemory"]);
        line("loading", &0);
        line("rdb_last_bgsave_status", &"ok");
        line("aof_last_write_status", &"ok");
        if !server.data.is_empty() {
            let keys = format!("keys={},expires=0,avg_ttl=0", server.data.len());
            line("db0", &keys);
        }
    }
    if let Some((host, port)) = &server.primary {
        line("role", &"slave");
        line("master_host", host);
        line("master_port", port);
        let up = server.link == Link::Up;
        line("master_link_status", &if up { "up" } else { "down" });
        let heard = i64::try_from(now.saturating_sub(server.heard).as_secs()).unwrap_or_default();
        line("master_last_io_seconds_ago", &if up { heard } else { -1 });
        let syncs = matches!(server.link, Link::Sync(_));
        line("master_sync_in_progress", &i32::from(syncs));
        line("slave_repl_offset", &server.offset);
        if !up {
            let lost = server.link_lost.map(|at| now.saturating_sub(at).as_secs());
            let lost = lost.map_or(-1, |s| i64::try_from(s).unwrap_or_default());
            line("master_link_down_since_seconds", &lost);
        }
        line("slave_priority", &server.config["replica-priority"]);
    } else {
        line("role", &"master");
    }
    let replicas: Vec<&Server> = servers.values().filter(|r| r.follows(server)).collect();
    line("connected_slaves", &replicas.len());
    if server.config["min-replicas-to-write"] != "0" {
        let good = replicas.iter().filter(|r| r.link == Link::Up).count();
        line("min_slaves_good_slaves", &good);
    }
    for (n, replica) in replicas.iter().enumerate() {
        let state = if replica.link == Link::Up {
            "online"
        } else {
            "wait_bgsave"
        };
        let value = format!(
            "ip={},port=6379,state={state},offset={},lag=0",
            replica.ip, replica.offset
        );
        line(&format!("slave{n}"), &value);
    }
    let state = match &server.hand_over {
        None => "no-failover",
        Some(_) if server.is_replica() => "failover-in-progress",
        Some(_) => "waiting-for-sync",
    };
    line("master_failover_state", &state);
    line("master_replid", &server.replid);
    let none = "0".repeat(40);
    line("master_replid2", server.replid2.as_ref().unwrap_or(&none));
    line("master_repl_offset", &server.offset);
    let second = i64::try_from(server.second_offset).unwrap_or_default();
    let second = server.replid2.as_ref().map_or(-1, |_| second);
    line("second_repl_offset", &second);
    text
}
