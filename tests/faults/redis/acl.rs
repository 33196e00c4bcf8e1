//! The users of a server.

use std::collections::BTreeMap;

use hera::engines::redis::password_hash;

use super::resp::Reply;

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    pub on: bool,
    pub nopass: bool,
    pub hashes: Vec<String>,
    pub commands: Vec<String>,
    pub keys: Vec<String>,
    pub channels: Vec<String>,
}

/// The users of a process that starts with these files.
pub fn read(pod: &str, files: &BTreeMap<String, String>) -> BTreeMap<String, User> {
    let mut users = BTreeMap::from([("default".to_owned(), User::unlimited())]);
    let file = files.get("users.acl").map(String::as_str);
    for line in file.unwrap_or_default().lines() {
        let mut words = line.split_whitespace().skip(1);
        let Some(name) = words.next() else { continue };
        let mut user = User::default();
        for rule in words {
            user.rule(rule).unwrap_or_else(|why| panic!("{pod}: {why}"));
        }
        users.insert(name.to_owned(), user);
    }
    users
}

/// Commands that a rule may name; a real server refuses others.
const UNKNOWN: [&str; 2] = ["nosuchcommand", "frobnicate"];

impl User {
    /// The user `default` of a server without a file of users.
    pub fn unlimited() -> Self {
        let mut user = Self::default();
        for rule in ["on", "nopass", "~*", "&*", "+@all"] {
            let _ = user.rule(rule);
        }
        user
    }

    /// Applies one rule, or says what is wrong with it.
    pub fn rule(&mut self, rule: &str) -> Result<(), String> {
        match rule {
            "on" => self.on = true,
            "off" => self.on = false,
            "nopass" => {
                self.nopass = true;
                self.hashes.clear();
            }
            "resetpass" => {
                self.nopass = false;
                self.hashes.clear();
            }
            "reset" => *self = Self::default(),
            "resetkeys" => self.keys.clear(),
            "resetchannels" => self.channels.clear(),
            "allkeys" => self.keys = vec!["~*".into()],
            "allchannels" => self.channels = vec!["&*".into()],
            "allcommands" | "+@all" => self.commands = vec!["+@all".into()],
            "nocommands" | "-@all" => self.commands = vec!["-@all".into()],
            "sanitize-payload" | "skip-sanitize-payload" => {}
            _ => {
                let wrong = |why| format!("ERR Error in ACL SETUSER modifier '{rule}': {why}");
                return self.longer(rule).map_err(wrong);
            }
        }
        Ok(())
    }

    fn longer(&mut self, rule: &str) -> Result<(), &'static str> {
        let mut chars = rule.chars();
        let first = chars.next().ok_or("Syntax error")?;
        let rest = chars.as_str().to_owned();
        match first {
            '#' if rest.len() == 64 => self.add(rest),
            '>' => self.add(password_hash(&rest)),
            '!' => self.hashes.retain(|h| *h != rest),
            '<' => self.hashes.retain(|h| *h != password_hash(&rest)),
            '~' | '%' => push(&mut self.keys, rule),
            '&' => push(&mut self.channels, rule),
            '+' | '-' => {
                if rest.is_empty() || UNKNOWN.contains(&rest.as_str()) {
                    return Err("Unknown command or category name in ACL");
                }
                if self.commands.is_empty() {
                    self.commands.push("-@all".into());
                }
                self.commands.retain(|c| c[1..] != rest);
                self.commands.push(rule.to_owned());
            }
            _ => return Err("Syntax error"),
        }
        Ok(())
    }

    fn add(&mut self, hash: String) {
        self.nopass = false;
        if !self.hashes.contains(&hash) {
            self.hashes.push(hash);
        }
    }

    /// Whether this password logs in.
    pub fn accepts(&self, password: &str) -> bool {
        self.on && (self.nopass || self.hashes.contains(&password_hash(password)))
    }

    /// Whether the user may run a command.
    pub fn may(&self, command: &str, subcommand: Option<&str>) -> bool {
        let full = subcommand.map(|s| format!("{command}|{s}"));
        let mut may = false;
        for rule in &self.commands {
            let (sign, what) = rule.split_at(1);
            if what == "@all" || what == command || full.as_deref() == Some(what) {
                may = sign == "+";
            }
        }
        may
    }

    /// The reply of `ACL GETUSER`.
    pub fn shown(&self) -> Reply {
        let mut flags = vec![if self.on { "on" } else { "off" }];
        if self.nopass {
            flags.push("nopass");
        }
        flags.push("sanitize-payload");
        let commands = if self.commands.is_empty() {
            "-@all".to_owned()
        } else {
            self.commands.join(" ")
        };
        Reply::Array(vec![
            Reply::Bulk("flags".into()),
            Reply::strings(flags),
            Reply::Bulk("passwords".into()),
            Reply::strings(self.hashes.clone()),
            Reply::Bulk("commands".into()),
            Reply::Bulk(commands),
            Reply::Bulk("keys".into()),
            Reply::Bulk(self.keys.join(" ")),
            Reply::Bulk("channels".into()),
            Reply::Bulk(self.channels.join(" ")),
            Reply::Bulk("selectors".into()),
            Reply::Array(vec![]),
        ])
    }
}

fn push(list: &mut Vec<String>, rule: &str) {
    if !list.iter().any(|known| known == rule) {
        list.push(rule.to_owned());
    }
}
