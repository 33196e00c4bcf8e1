//! What Hera knows of redis.conf: which directives need a restart, which are set live, and when two values are the same.

use std::collections::BTreeMap;

use super::api::Mode;
use super::model::{Instance, MAX_LAG_SECONDS, Observed, Validated};

/// Directives that a running server does not take ("can't set immutable config"): they go to the file, and the pods are rolled.
/// From the `IMMUTABLE_CONFIG` entries of Redis 7 and 8 and Valkey 8 and 9.
const IMMUTABLE: &[&str] = &[
    "always-show-logo",
    "databases",
    "disable-thp",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "io-threads",
    "io-threads-do-reads",
    "loadmodule",
    "logfile",
    "rename-command",
    "set-proc-title",
    "socket-mark-id",
    "syslog-enabled",
    "syslog-facility",
    "syslog-ident",
    "tcp-backlog",
];

/// Key of the ConfigMap under which the values are kept that directives had before the user set them.
pub const DEFAULTS_KEY: &str = "defaults.json";

/// How many good replicas a primary demands before it takes a write.
pub const MIN_REPLICAS: &str = "min-replicas-to-write";

/// Whether clients have to show a certificate.
pub const AUTH_CLIENTS: &str = "tls-auth-clients";

/// It takes a restart to change this directive.
pub fn needs_restart(name: &str) -> bool {
    IMMUTABLE.contains(&name)
}

/// Directives that Hera sets by itself and keeps in effect while the server runs.
pub fn own(v: &Validated) -> BTreeMap<String, String> {
    let mut own = BTreeMap::from([
        (
            "maxmemory".to_owned(),
            v.max_memory.unwrap_or(0).to_string(),
        ),
        ("maxmemory-policy".to_owned(), v.memory_policy.to_owned()),
    ]);
    if v.takes_over() && !v.config.contains_key("appendonly") {
        own.insert("appendonly".to_owned(), "yes".to_owned());
    }
    if let Some(tls) = &v.tls {
        own.insert(
            AUTH_CLIENTS.to_owned(),
            tls.client_auth.directive().to_owned(),
        );
    }
    if v.mode != Mode::Standalone {
        own.insert(MIN_REPLICAS.to_owned(), v.min_replicas_to_write.to_string());
        own.insert(
            "min-replicas-max-lag".to_owned(),
            MAX_LAG_SECONDS.to_string(),
        );
    }
    own
}

/// All directives that are to be in effect without a restart: Hera's own, the user's, and the former values of those that the user
/// took away again.
pub fn live(v: &Validated, o: &Observed) -> BTreeMap<String, String> {
    let mut live = before(o);
    live.extend(own(v));
    live.extend(
        v.config
            .iter()
            .filter(|(name, _)| !needs_restart(name))
            .map(|(name, value)| (name.clone(), value.clone())),
    );
    live
}

/// The user's live directives that may stand in the file: those that every answering server has in effect, and those that already
/// stand there. A server that starts with a bad line does not start at all.
pub fn proven(v: &Validated, o: &Observed) -> BTreeMap<String, String> {
    let present = filed(o);
    let mut servers = o.instances.iter().filter(|i| i.info().is_some()).peekable();
    let any = servers.peek().is_some();
    let servers: Vec<_> = servers.collect();
    let mut proven = BTreeMap::new();
    for (name, value) in v.config.iter().filter(|(name, _)| !needs_restart(name)) {
        let everywhere = any && servers.iter().all(|i| in_effect(i, name, value));
        if everywhere {
            proven.insert(name.clone(), value.clone());
        } else if let Some(old) = present.get(name) {
            proven.insert(name.clone(), old.clone());
        }
    }
    proven
}

/// The server reports the value, or the one that it made of it when it accepted it.
pub fn in_effect(i: &Instance, name: &str, value: &str) -> bool {
    let Some(present) = i.config.get(name) else {
        return false;
    };
    equal(present, value) || i.accepted.get(&(name.to_owned(), value.to_owned())) == Some(present)
}

/// Values from before the user set a directive: kept as long as a server may still have the user's value.
pub fn before(o: &Observed) -> BTreeMap<String, String> {
    let text = o
        .objects
        .config_map
        .as_ref()
        .and_then(|c| c.data.as_ref())
        .and_then(|d| d.get(DEFAULTS_KEY));
    text.and_then(|t| serde_json::from_str(t).ok())
        .unwrap_or_default()
}

/// What [`before`] is to be from now on.
pub fn before_next(v: &Validated, o: &Observed) -> BTreeMap<String, String> {
    let own = own(v);
    let mut kept = before(o);
    for name in v
        .config
        .keys()
        .filter(|name| !needs_restart(name) && !own.contains_key(*name))
    {
        if kept.contains_key(name) || filed(o).contains_key(name) {
            continue;
        }
        let untouched = o.instances.iter().find(|i| {
            !i.accepted.keys().any(|(accepted, _)| accepted == name) && i.config.contains_key(name)
        });
        if let Some(value) = untouched.and_then(|i| i.config.get(name)) {
            kept.insert(name.clone(), value.clone());
        }
    }
    kept
}

/// The user's directives in the file as it is.
pub fn filed(o: &Observed) -> BTreeMap<String, String> {
    let text = o
        .objects
        .config_map
        .as_ref()
        .and_then(|c| c.data.as_ref())
        .and_then(|d| d.get("user.conf"));
    text.map(|t| {
        t.lines()
            .filter_map(|line| line.split_once(' '))
            .map(|(name, value)| (name.to_owned(), unquote(value)))
            .collect()
    })
    .unwrap_or_default()
}

/// A line of redis.conf.
pub fn line(name: &str, value: &str) -> String {
    let plain = !value.is_empty()
        && value
            .chars()
            .all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#'));
    // A value of several words is several arguments, as in `save 900 1`; it stays as the user wrote it.
    let words = value.contains(' ')
        && value
            .chars()
            .all(|c| c == ' ' || (c.is_ascii_graphic() && !matches!(c, '\\' | '#')));
    if plain || words {
        format!("{name} {value}")
    } else {
        format!(
            "{name} \"{}\"",
            value.replace('\\', "\\\\").replace('"', "\\\"")
        )
    }
}

fn unquote(value: &str) -> String {
    value
        .strip_prefix('"')
        .and_then(|v| v.strip_suffix('"'))
        .map_or_else(
            || value.to_owned(),
            |v| v.replace("\\\"", "\"").replace("\\\\", "\\"),
        )
}

/// Two values mean the same: numbers with units, words in any case, yes and no.
pub fn equal(a: &str, b: &str) -> bool {
    let unquoted = |s: &str| s.trim().trim_matches('"').to_owned();
    let (a, b) = (unquoted(a), unquoted(b));
    a.eq_ignore_ascii_case(&b) || matches!((bytes(&a), bytes(&b)), (Some(x), Some(y)) if x == y)
}

/// A size as redis.conf writes it: `1k` is 1000, `1kb` is 1024.
fn bytes(text: &str) -> Option<i128> {
    let text = text.to_ascii_lowercase();
    let split = text
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let factor: i128 = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<i128>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_compared_by_meaning() {
        for (a, b, same) in [
            ("104857600", "100mb", true),
            ("100000000", "100m", true),
            ("yes", "YES", true),
            ("900 1", "900 1", true),
            ("", "\"\"", true),
            ("1", "2", false),
            ("100mb", "100m", false),
            ("99999999999999999999999999999999999999999g", "1", false),
        ] {
            assert_eq!(equal(a, b), same, "{a:?} {b:?}");
        }
    }

    #[test]
    fn lines_keep_words_and_quote_the_rest() {
        assert_eq!(line("save", "900 1"), "save 900 1");
        assert_eq!(line("save", ""), "save \"\"");
        assert_eq!(line("x", "a\"b"), "x \"a\\\"b\"");
        assert_eq!(unquote("\"a\\\"b\""), "a\"b");
    }
}
