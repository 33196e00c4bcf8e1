//! No reply panics: whatever a server answers to whatever Hera asks, it is read or refused.
//!
//! The same is asked of the replies that a fuzzer thinks of (`fuzz`), which starts from the seeds that are read here.
#![allow(clippy::unwrap_used, clippy::panic)]

mod server;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

/// What real servers answered. In the folder `replies` each is named after the command.
fn seeds(folder: &str) -> Vec<(String, Vec<u8>)> {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds");
    let folder = seeds.join(folder);
    let files = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.sort();
    let name = |file: &Path| file.file_stem().unwrap().to_str().unwrap().to_owned();
    files
        .iter()
        .map(|file| (name(file), std::fs::read(file).unwrap()))
        .collect()
}

#[test]
fn every_command_reads_its_reply() {
    let mut left: BTreeSet<&str> = server::readers(b"").into_iter().map(|r| r.0).collect();
    for (name, reply) in seeds("replies") {
        let readers = server::readers(&reply);
        let reads = readers
            .iter()
            .any(|(reader, reads)| name.starts_with(reader) && *reads);
        assert!(reads, "{name}: {readers:?}");
        left.retain(|reader| !readers.contains(&(reader, true)));
    }
    assert!(left.is_empty(), "no seed is a reply to {left:?}");
}

/// Names and values that replies have, and others.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "flags",
        "passwords",
        "commands",
        "selectors",
        "on",
        "name",
        "ip",
        "port",
        "runid",
        "quorum",
        "master-host",
        "slots",
        "nodes",
        "id",
        "role",
        "health",
        "replication-offset",
        "state",
        "slot_ranges",
        "create_time",
        "-1",
        "0",
        "16384",
        "99999999999999999999",
        "?",
        "",
    ];
    prop_oneof![
        4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned),
        1 => any::<String>(),
        1 => Just(String::new()),
    ]
}

/// Replies that are well formed.
fn reply() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        4 => word().prop_map(|w| format!("${}\r\n{w}\r\n", w.len()).into_bytes()),
        1 => any::<i64>().prop_map(|n| format!(":{n}\r\n").into_bytes()),
        1 => "[+-][A-Z]{0,8} [ -~]{0,20}".prop_map(|line| format!("{line}\r\n").into_bytes()),
        1 => Just(b"$-1\r\n".to_vec()),
        1 => Just(b"*-1\r\n".to_vec()),
    ];
    leaf.prop_recursive(4, 32, 8, |inner| {
        prop::collection::vec(inner, 0..8).prop_map(|items| {
            [format!("*{}\r\n", items.len()).into_bytes(), items.concat()].concat()
        })
    })
}

/// The strings of a reply: each with where it begins, where its content begins, and where that ends.
fn strings(reply: &[u8]) -> Vec<(usize, usize, usize)> {
    let (mut at, mut found) = (0, Vec::new());
    while let Some(length) = reply[at..].windows(2).position(|w| w == b"\r\n") {
        let (line, content) = (&reply[at..at + length], at + length + 2);
        let size = line
            .strip_prefix(b"$")
            .and_then(|n| std::str::from_utf8(n).ok());
        let start = at;
        at = content;
        if let Some(size) = size.and_then(|n| n.parse::<usize>().ok()) {
            found.push((start, content, content + size));
            at = content + size + 2;
        }
    }
    found
}

/// Which part of an answer is replaced: some bytes, or all.
fn part() -> impl Strategy<Value = Option<(prop::sample::Index, usize)>> {
    prop::option::of((any::<prop::sample::Index>(), 0..12_usize))
}

fn replace(bytes: &mut Vec<u8>, part: Option<(prop::sample::Index, usize)>, by: Vec<u8>) {
    let (at, length) = part.map_or((0, bytes.len()), |(at, length)| {
        (at.index(bytes.len() + 1), length)
    });
    let end = (at + length).min(bytes.len());
    bytes.splice(at..end, by);
}

/// Real replies one string of which says something else.
fn altered() -> impl Strategy<Value = Vec<u8>> {
    let seeds: Vec<Vec<u8>> = seeds("replies").into_iter().map(|seed| seed.1).collect();
    let seeds = seeds.into_iter().filter(|seed| !strings(seed).is_empty());
    let seed = prop::sample::select(seeds.collect::<Vec<_>>());
    let which = any::<prop::sample::Index>();
    (seed, which, part(), word()).prop_map(|(seed, which, part, by)| {
        let all = strings(&seed);
        let (start, content, end) = all[which.index(all.len())];
        let mut text = seed[content..end].to_vec();
        replace(&mut text, part, by.into_bytes());
        let head = format!("${}\r\n", text.len()).into_bytes();
        [&seed[..start], &head, &text, &seed[end..]].concat()
    })
}

/// Real answers a part of which is other bytes.
fn damaged(folder: &str) -> impl Strategy<Value = Vec<u8>> + use<> {
    let by = prop_oneof![
        word().prop_map(String::into_bytes),
        any::<Vec<u8>>(),
        reply()
    ];
    let seeds: Vec<Vec<u8>> = seeds(folder).into_iter().map(|seed| seed.1).collect();
    (prop::sample::select(seeds), part(), by).prop_map(|(mut seed, part, by)| {
        replace(&mut seed, part, by);
        seed
    })
}

/// What a server may answer.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        5 => altered(),
        2 => damaged("replies"),
        2 => reply(),
        1 => any::<Vec<u8>>(),
    ]
}

proptest! {
    #[test]
    fn no_reply_panics(reply in answer()) {
        server::readers(&reply);
    }

    #[test]
    fn no_nodes_panic(text in damaged("cluster_nodes")) {
        server::nodes(&String::from_utf8_lossy(&text));
    }
}
