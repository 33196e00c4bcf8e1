//! The commands that Hera sends to a sentinel.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;

use super::super::acl::User;
use super::super::commands::{Caller, log_in, refusal, set_user};
use super::super::resp::Reply;
use super::failover;
use super::{Failover, Monitored, Seen, Sentinel, Stage};

const UNKNOWN: &str = "ERR No such master with that name";

/// Runs a command on a sentinel.
pub fn run(
    own: &mut Sentinel,
    caller: &mut Caller,
    words: &[String],
    now: Duration,
    chance: &mut StdRng,
) -> Reply {
    let lower: Vec<String> = words.iter().map(|w| w.to_ascii_lowercase()).collect();
    let (command, sub) = (lower[0].as_str(), lower.get(1).map(String::as_str));
    if command == "auth" {
        return log_in(&own.users, &mut own.connections, caller, words);
    }
    if let Some(refused) = refusal(&own.users, caller, command, sub) {
        return refused;
    }
    match (command, sub) {
        ("ping", _) => Reply::Simple("PONG".into()),
        ("acl", Some("getuser")) => own.users.get(&words[2]).map_or(Reply::Nil, User::shown),
        ("acl", Some("setuser")) => set_user(&mut own.users, &words[2], &words[3..]),
        ("command", Some("docs")) if own.valkey => {
            Reply::Array(vec![Reply::Bulk("COORDINATED".into()), Reply::Nil])
        }
        ("command", Some("docs")) => Reply::Array(vec![]),
        ("sentinel", Some("myid")) => Reply::Bulk(own.id.clone()),
        ("sentinel", Some("masters")) => {
            let all = own.monitored.iter();
            Reply::Array(all.map(|(name, m)| m.shown(name, now)).collect())
        }
        ("sentinel", Some("get-master-addr-by-name")) => {
            own.monitored.get(&words[2]).map_or(Reply::Nil, |m| {
                let (host, port) = m.address();
                Reply::strings([host.to_owned(), port.to_string()])
            })
        }
        ("sentinel", Some("monitor")) => monitor(&mut own.monitored, words, now),
        ("sentinel", Some("failover")) => failover(own, &words[2], &lower, now, chance),
        ("sentinel", Some("reset")) => {
            let found = own.monitored.get_mut(&words[2]);
            Reply::Int(found.map_or(0, |m| {
                m.reset(now);
                1
            }))
        }
        ("sentinel", Some("remove")) => match own.monitored.remove(&words[2]) {
            Some(_) => Reply::ok(),
            None => Reply::error(UNKNOWN),
        },
        ("sentinel", Some(sub)) => match own.monitored.get_mut(&words[2]) {
            Some(m) => of_one(m, sub, words, now),
            None => Reply::error(UNKNOWN),
        },
        _ => Reply::error(format!("ERR unknown command '{command}'")),
    }
}

fn of_one(m: &mut Monitored, sub: &str, words: &[String], now: Duration) -> Reply {
    match sub {
        "master" => m.shown(&words[2], now),
        "replicas" => {
            let all = m.replicas.values();
            Reply::Array(all.map(|r| r.shown_as_replica(now)).collect())
        }
        "sentinels" => Reply::Array(m.peers.iter().map(|(id, p)| p.shown(id, now)).collect()),
        "ckquorum" => m.quorum(),
        "set" => m.set(&words[3..], now),
        _ => Reply::error(format!("ERR unknown subcommand '{sub}'")),
    }
}

fn monitor(monitored: &mut BTreeMap<String, Monitored>, words: &[String], now: Duration) -> Reply {
    if monitored.contains_key(&words[2]) {
        return Reply::error("ERR Duplicate master name");
    }
    let (Ok(port), Ok(quorum)) = (words[4].parse(), words[5].parse()) else {
        return Reply::error("ERR Invalid port or quorum");
    };
    let m = Monitored {
        quorum,
        down_after: Duration::from_secs(30),
        failover_timeout: Duration::from_secs(180),
        login: (String::new(), String::new()),
        config_epoch: 0,
        primary: Seen::new(&words[3], port, now),
        replicas: BTreeMap::new(),
        peers: BTreeMap::new(),
        agreed_down: false,
        failover: Failover::default(),
        vote: (String::new(), 0),
        next_hello: now,
    };
    monitored.insert(words[2].clone(), m);
    Reply::ok()
}

fn failover(
    own: &mut Sentinel,
    name: &str,
    lower: &[String],
    now: Duration,
    chance: &mut StdRng,
) -> Reply {
    let Some(mut m) = own.monitored.remove(name) else {
        return Reply::error(UNKNOWN);
    };
    let reply = if m.failover.stage != Stage::None {
        Reply::error("INPROG Failover already in progress")
    } else if failover::choose(&m, now).is_none() {
        Reply::error("NOGOODSLAVE No suitable replica to promote")
    } else {
        failover::begin(own, &mut m, true, now, chance);
        m.failover.coordinated = lower.iter().any(|w| w == "coordinated");
        Reply::ok()
    };
    own.monitored.insert(name.to_owned(), m);
    reply
}

impl Monitored {
    fn set(&mut self, pairs: &[String], now: Duration) -> Reply {
        for pair in pairs.chunks(2) {
            let value = &pair[1];
            let number: Result<u64, _> = value.parse();
            match (pair[0].as_str(), number) {
                ("auth-user", _) => self.login.0.clone_from(value),
                ("auth-pass", _) => self.login.1.clone_from(value),
                ("quorum", Ok(number)) => self.quorum = usize::try_from(number).unwrap_or_default(),
                ("down-after-milliseconds", Ok(time)) => {
                    self.down_after = Duration::from_millis(time);
                }
                ("failover-timeout", Ok(time)) => {
                    self.failover_timeout = Duration::from_millis(time);
                }
                (name, _) => {
                    return Reply::error(format!(
                        "ERR Invalid argument '{value}' for SENTINEL SET '{name}'"
                    ));
                }
            }
        }
        // With a login it connects anew.
        for seen in self.replicas.values_mut().chain([&mut self.primary]) {
            seen.next_ping = now;
        }
        Reply::ok()
    }

    /// It forgets everything but the primary, and connects anew.
    fn reset(&mut self, now: Duration) {
        self.primary = Seen::new(&self.primary.host.clone(), self.primary.port, now);
        self.replicas.clear();
        self.peers.clear();
        self.agreed_down = false;
        self.failover = Failover::default();
    }
}
