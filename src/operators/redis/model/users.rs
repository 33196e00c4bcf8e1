//! The users of clients: what is wanted, what a server was told, and where the passwords come from.

use secrecy::{ExposeSecret, SecretString};

use super::Problem;
use crate::engines::redis::{AclUser, password_hash};

/// What a rule list of a user starts with: nothing is permitted, whatever `acl-pubsub-default` says.
const NOTHING: &str = "resetkeys resetchannels -@all";

/// A user as a server is to have it, and as a line of the ACL file says it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserEntry {
    /// It may log in.
    pub enabled: bool,
    /// SHA-256 of each of its passwords.
    pub hashes: Vec<String>,
    /// ACL rules, parted by single spaces.
    pub rules: String,
}

impl UserEntry {
    /// A user of the spec. `rules` come on top of nothing.
    pub fn of_client(enabled: bool, hashes: Vec<String>, rules: &str) -> Self {
        Self {
            enabled,
            hashes,
            rules: format!("{NOTHING} {rules}").trim_end().to_owned(),
        }
    }

    /// Its line in the ACL file.
    pub fn line(&self, name: &str) -> String {
        let login = self.login().join(" ");
        format!("user {name} {login} {}\n", self.rules)
    }

    /// The user and its name that a line of the ACL file tells of.
    pub fn parse(line: &str) -> Option<(String, Self)> {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("user") {
            return None;
        }
        let name = words.next()?.to_owned();
        let enabled = words.next()? == "on";
        let words: Vec<&str> = words.collect();
        let (hashes, rules) =
            words.split_at(words.iter().take_while(|w| w.starts_with('#')).count());
        let hashes = hashes.iter().map(|hash| hash[1..].to_owned()).collect();
        let rules = rules.join(" ");
        Some((
            name,
            Self {
                enabled,
                hashes,
                rules,
            },
        ))
    }

    /// What `ACL SETUSER` is sent, so that the user is this and nothing else, whatever it was before.
    pub fn arguments(&self) -> Vec<String> {
        let rules = self.rules.split(' ').filter(|rule| !rule.is_empty());
        std::iter::once("reset".to_owned())
            .chain(self.login())
            .chain(rules.map(str::to_owned))
            .collect()
    }

    /// The same for its passwords and whether it may log in, while its rules stay as they are.
    pub fn login_arguments(&self) -> Vec<String> {
        std::iter::once("resetpass".to_owned())
            .chain(self.login())
            .collect()
    }

    fn login(&self) -> Vec<String> {
        let state = if self.enabled { "on" } else { "off" };
        std::iter::once(state.to_owned())
            .chain(self.hashes.iter().map(|hash| format!("#{hash}")))
            .collect()
    }

    /// The server's user has these passwords and no other, and may log in as here.
    pub fn same_login(&self, user: &AclUser) -> bool {
        let sorted = |list: &[String]| {
            let mut list = list.to_vec();
            list.sort();
            list
        };
        user.is_on() == self.enabled
            && !user.is_without_password()
            && sorted(&user.passwords) == sorted(&self.hashes)
    }
}

/// What a server was told of a user since it started, and its answer: the user as it then reported it, or its refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it was told.
    pub entry: UserEntry,
    /// What it answered.
    pub answer: Result<AclUser, String>,
}

/// The passwords of a user of clients.
#[derive(Clone, Debug, Default)]
pub struct Account {
    /// Those that are to be valid; the first one is published. Empty: they are not known, and the user stays as it is.
    pub passwords: Vec<SecretString>,
    /// The one that the connection Secret tells clients, when servers were given it.
    pub published: Option<SecretString>,
    /// Why the passwords are not known.
    pub problem: Option<Problem>,
}

impl Account {
    /// Hashes of all passwords that are to be valid now: the published one stays until another one is published.
    pub fn hashes(&self) -> Vec<String> {
        let mut hashes: Vec<String> = Vec::new();
        for password in self.passwords.iter().chain(&self.published) {
            let hash = password_hash(password.expose_secret());
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
        hashes
    }

    /// Hash of the password that is to be published in the end.
    pub fn first_hash(&self) -> Option<String> {
        let first = self.passwords.first()?;
        Some(password_hash(first.expose_secret()))
    }

    /// Clients are told the password that they are to have.
    pub fn is_published(&self) -> bool {
        let text = |password: Option<&SecretString>| password.map(|p| p.expose_secret().to_owned());
        self.passwords.is_empty() || text(self.published.as_ref()) == text(self.passwords.first())
    }
}
