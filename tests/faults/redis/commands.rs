//! The commands that Hera sends.

use std::collections::BTreeMap;
use std::time::Duration;

use super::acl::User;
use super::cluster;
use super::info::info;
use super::resp::Reply;
use super::server::{Connection, HandOver, Server, normal};

/// Directives that a running server does not take.
const IMMUTABLE: [&str; 4] = ["databases", "io-threads", "tcp-backlog", "cluster-enabled"];

/// Who sends commands.
pub struct Caller {
    /// Number of the connection.
    pub id: u64,
    /// Logged in as; empty before the login.
    pub user: String,
}

/// Runs a command on the server at `ip`.
pub fn run(
    servers: &mut BTreeMap<String, Server>,
    ip: &str,
    caller: &mut Caller,
    words: &[String],
    now: Duration,
) -> Reply {
    let Some(server) = servers.get_mut(ip) else {
        return Reply::error("ERR the server is gone");
    };
    let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
    let command = lower[0].as_str();
    if command == "auth" {
        return log_in(&server.users, &mut server.connections, caller, words);
    }
    let sub = lower.get(1).map(String::as_str);
    if let Some(refused) = refusal(&server.users, caller, command, sub) {
        return refused;
    }
    match (command, sub) {
        ("ping", _) => Reply::Simple("PONG".into()),
        ("info", _) => {
            let short = lower.len() == 2 && sub == Some("replication");
            let server = &servers[ip];
            Reply::Bulk(info(server, servers, short, now))
        }
        ("replicaof", Some("no")) => {
            server.promote();
            Reply::ok()
        }
        ("replicaof", _) => replica_of(server, words),
        ("failover", _) => failover(servers, ip, &lower, now),
        ("config", Some("get")) => {
            let names = lower[2..].iter();
            let pairs = names.filter_map(|n| Some([n.clone(), server.config.get(n)?.clone()]));
            Reply::strings(pairs.flatten().collect::<Vec<_>>())
        }
        ("config", Some("set")) => config_set(server, &words[2..]),
        ("acl", Some("getuser")) => server.users.get(&words[2]).map_or(Reply::Nil, User::shown),
        ("acl", Some("setuser")) => set_user(&mut server.users, &words[2], &words[3..]),
        ("acl", Some("deluser")) => {
            for name in &words[2..] {
                server.users.remove(name);
                server.close(|c| c.user == *name);
            }
            Reply::Int(1)
        }
        ("client", Some("pause")) => {
            let limit = words[2].parse().unwrap_or(0);
            server.paused_until = now + Duration::from_millis(limit);
            Reply::ok()
        }
        ("client", Some("unpause")) => {
            server.paused_until = Duration::ZERO;
            Reply::ok()
        }
        ("client", Some("kill")) if lower[2] == "user" && !server.users.contains_key(&words[3]) => {
            Reply::error(format!("ERR No such user '{}'", words[3]))
        }
        ("client", Some("kill")) => Reply::Int(match lower[2].as_str() {
            "user" => server.close(|c| c.user == words[3] && c.id != caller.id),
            _ => server.close(|c| c.id != caller.id),
        }),
        ("command", Some("docs")) if server.valkey => {
            let empty = Reply::Array(vec![]);
            Reply::Array(vec![Reply::Bulk("cluster|migrateslots".into()), empty])
        }
        ("command", Some("docs")) => Reply::Array(vec![]),
        ("cluster", _) => cluster::run(servers, ip, words, now),
        ("migrate", _) => cluster::migrate(servers, ip, words),
        _ => Reply::error(format!("ERR unknown command '{command}'")),
    }
}

/// `AUTH`.
pub fn log_in(
    users: &BTreeMap<String, User>,
    connections: &mut [Connection],
    caller: &mut Caller,
    words: &[String],
) -> Reply {
    let (name, password) = (&words[1], &words[2]);
    if !users.get(name).is_some_and(|u| u.accepts(password)) {
        return Reply::error("WRONGPASS invalid username-password pair or user is disabled.");
    }
    caller.user.clone_from(name);
    if let Some(connection) = connections.iter_mut().find(|c| c.id == caller.id) {
        connection.user.clone_from(name);
    }
    Reply::ok()
}

/// What is said to a caller that may not run a command.
pub fn refusal(
    users: &BTreeMap<String, User>,
    caller: &Caller,
    command: &str,
    sub: Option<&str>,
) -> Option<Reply> {
    let Some(user) = users.get(&caller.user) else {
        return Some(Reply::error("NOAUTH Authentication required."));
    };
    if user.may(command, sub) {
        return None;
    }
    let what = match (command, sub) {
        ("acl" | "client" | "config" | "cluster" | "sentinel", Some(sub)) => {
            format!("{command}|{sub}")
        }
        _ => command.to_owned(),
    };
    let name = &caller.user;
    Some(Reply::error(format!(
        "NOPERM User {name} has no permissions to run the '{what}' command"
    )))
}

fn replica_of(server: &mut Server, words: &[String]) -> Reply {
    let Some(port) = words.get(2).and_then(|p| p.parse().ok()) else {
        return Reply::error("ERR Invalid master port");
    };
    if server.hand_over.is_some() {
        return Reply::error("ERR REPLICAOF not allowed while failing over.");
    }
    server.follow(&words[1], port);
    Reply::ok()
}

fn failover(
    servers: &mut BTreeMap<String, Server>,
    ip: &str,
    lower: &[String],
    now: Duration,
) -> Reply {
    let server = &servers[ip];
    if lower.get(1).is_some_and(|w| w == "abort") {
        if servers
            .get_mut(ip)
            .and_then(|s| s.hand_over.take())
            .is_some()
        {
            return Reply::ok();
        }
        return Reply::error("ERR No failover in progress.");
    }
    if server.hand_over.is_some() {
        return Reply::error("ERR FAILOVER already in progress.");
    }
    if server.is_replica() {
        return Reply::error("ERR FAILOVER is not valid when server is a replica.");
    }
    let after = |word: &str| {
        let at = lower.iter().position(|w| w == word)?;
        lower.get(at + 1).cloned()
    };
    let Some(host) = after("to") else {
        return Reply::error("ERR syntax error");
    };
    let target = servers.get(&host);
    if !target.is_some_and(|t| t.follows(server)) {
        return Reply::error("ERR FAILOVER target HOST and PORT is not a replica.");
    }
    let limit = after("timeout").and_then(|t| t.parse().ok());
    let begun = HandOver {
        target: (host, 6379),
        deadline: limit.map(|limit| now + Duration::from_millis(limit)),
        force: lower.iter().any(|w| w == "force"),
    };
    if let Some(server) = servers.get_mut(ip) {
        server.hand_over = Some(begun);
    }
    Reply::ok()
}

fn config_set(server: &mut Server, pairs: &[String]) -> Reply {
    for pair in pairs.chunks(2) {
        let name = pair[0].to_ascii_lowercase();
        if IMMUTABLE.contains(&name.as_str()) {
            return Reply::error(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - can't set immutable config"
            ));
        }
        if !server.config.contains_key(&name) {
            return Reply::error(format!(
                "ERR Unknown option or number of arguments for CONFIG SET - '{name}'"
            ));
        }
        let number = server.config[&name].parse::<u64>().is_ok();
        let value = normal(&name, &pair[1]);
        if number && value.parse::<u64>().is_err() {
            return Reply::error(format!(
                "ERR CONFIG SET failed (possibly related to argument '{name}') - argument couldn't be parsed into an integer"
            ));
        }
    }
    for pair in pairs.chunks(2) {
        let name = pair[0].to_ascii_lowercase();
        let value = normal(&name, &pair[1]);
        if let Some(node) = server
            .node
            .as_mut()
            .filter(|_| name == "cluster-replica-no-failover")
        {
            node.held_back = value == "yes";
        }
        server.config.insert(name, value);
    }
    Reply::ok()
}

/// `ACL SETUSER`.
pub fn set_user(users: &mut BTreeMap<String, User>, name: &str, rules: &[String]) -> Reply {
    let mut user = users.get(name).cloned().unwrap_or_default();
    // A rule may come as one argument or as several.
    for rule in rules.iter().flat_map(|r| r.split_whitespace()) {
        if let Err(why) = user.rule(rule) {
            return Reply::error(why);
        }
    }
    users.insert(name.to_owned(), user);
    Reply::ok()
}
