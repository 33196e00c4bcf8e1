//! How a sentinel tells what it knows.

use std::time::Duration;

use super::super::resp::Reply;
use super::{Monitored, Peer, Seen, Stage};

fn pairs(list: Vec<(&str, String)>) -> Reply {
    let words = list
        .into_iter()
        .flat_map(|(name, value)| [name.to_owned(), value]);
    Reply::strings(words)
}

fn milliseconds(time: Duration) -> String {
    time.as_millis().to_string()
}

fn age(at: Option<Duration>, now: Duration) -> String {
    milliseconds(at.map_or(Duration::ZERO, |at| now.saturating_sub(at)))
}

fn flags(words: &[(&str, bool)]) -> String {
    let set: Vec<&str> = words.iter().filter(|w| w.1).map(|w| w.0).collect();
    set.join(",")
}

impl Seen {
    fn fields(&self, role: &'static str, now: Duration) -> Vec<(&'static str, String)> {
        let says = if self.says_replica { "slave" } else { "master" };
        vec![
            ("ip", self.host.clone()),
            ("port", self.port.to_string()),
            ("runid", self.run_id.clone()),
            (
                "flags",
                flags(&[
                    ("s_down", self.down.is_some()),
                    (role, true),
                    ("disconnected", !self.connected),
                ]),
            ),
            ("last-ok-ping-reply", age(Some(self.answered), now)),
            ("info-refresh", age(self.info, now)),
            ("role-reported", says.to_owned()),
        ]
    }

    pub(super) fn shown_as_replica(&self, now: Duration) -> Reply {
        let (host, port) = self.follows.clone().unwrap_or(("?".to_owned(), 0));
        let mut all = self.fields("slave", now);
        all.extend([
            ("name", format!("{}:{}", self.host, self.port)),
            ("master-link-down-time", milliseconds(self.link_down)),
            (
                "master-link-status",
                if self.link_up { "ok" } else { "err" }.to_owned(),
            ),
            ("master-host", host),
            ("master-port", port.to_string()),
            ("slave-priority", self.priority.to_string()),
            ("slave-repl-offset", self.offset.to_string()),
        ]);
        pairs(all)
    }
}

impl Peer {
    pub(super) fn shown(&self, id: &str, now: Duration) -> Reply {
        pairs(vec![
            ("name", id.to_owned()),
            ("ip", self.ip.clone()),
            ("port", "26379".to_owned()),
            ("runid", id.to_owned()),
            (
                "flags",
                flags(&[
                    ("s_down", self.down),
                    ("sentinel", true),
                    ("disconnected", !self.connected),
                ]),
            ),
            ("last-hello-message", age(Some(self.heard), now)),
            ("last-ok-ping-reply", age(Some(self.answered), now)),
        ])
    }
}

impl Monitored {
    pub(super) fn shown(&self, name: &str, now: Duration) -> Reply {
        let mut all = self.primary.fields("master", now);
        let more = [
            ("o_down", self.agreed_down),
            ("failover_in_progress", self.failover.stage != Stage::None),
        ];
        for (_, words) in all.iter_mut().filter(|(name, _)| *name == "flags") {
            for (word, _) in more.iter().filter(|w| w.1) {
                *words = format!("{words},{word}");
            }
        }
        all.extend([
            ("name", name.to_owned()),
            ("config-epoch", self.config_epoch.to_string()),
            ("num-slaves", self.replicas.len().to_string()),
            ("num-other-sentinels", self.peers.len().to_string()),
            ("quorum", self.quorum.to_string()),
            ("down-after-milliseconds", milliseconds(self.down_after)),
            ("failover-timeout", milliseconds(self.failover_timeout)),
            ("parallel-syncs", "1".to_owned()),
        ]);
        if let Some(word) = self.failover.stage.word() {
            all.push(("failover-state", word.to_owned()));
        }
        pairs(all)
    }

    /// `CKQUORUM`.
    pub(super) fn quorum(&self) -> Reply {
        let usable = self.peers.values().filter(|p| p.connected && !p.down);
        let usable = usable.count() + 1;
        let majority = self.majority();
        if usable >= self.quorum.max(majority) {
            return Reply::Simple(format!(
                "OK {usable} usable Sentinels. Quorum and failover authorization can be reached"
            ));
        }
        Reply::error(format!(
            "NOQUORUM {usable} usable Sentinels. Not enough available Sentinels"
        ))
    }
}

impl Stage {
    fn word(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::WaitStart => "wait_start",
            Self::SelectReplica => "select_slave",
            Self::Promoting => "send_slaveof_noone",
            Self::WaitPromotion => "wait_promotion",
            Self::Reconfigure => "reconf_slaves",
            Self::UpdateConfig => "update_config",
        })
    }
}
