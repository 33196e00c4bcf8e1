//! Which commands to servers count as writes of Hera.

/// Whether a command changes something: only these can go wrong.
pub fn changes(words: &[String]) -> bool {
    let word = |n: usize| words.get(n).map(|w| w.to_ascii_uppercase());
    match (word(0).as_deref(), word(1).as_deref()) {
        (Some("REPLICAOF" | "FAILOVER" | "MIGRATE" | "CLIENT"), _)
        | (Some("SENTINEL"), Some("MONITOR" | "REMOVE" | "SET" | "FAILOVER" | "RESET"))
        | (Some("CONFIG"), Some("SET"))
        | (Some("ACL"), Some("SETUSER" | "DELUSER")) => true,
        (Some("CLUSTER"), Some(sub)) => ![
            "INFO",
            "NODES",
            "SHARDS",
            "MYID",
            "COUNTKEYSINSLOT",
            "GETKEYSINSLOT",
            "GETSLOTMIGRATIONS",
        ]
        .contains(&sub),
        _ => false,
    }
}

/// A command without what is secret or long.
pub fn shown(words: &[String]) -> String {
    let words: Vec<&str> = words
        .iter()
        .map(|w| if w.len() > 40 { "..." } else { w })
        .collect();
    words.join(" ")
}
