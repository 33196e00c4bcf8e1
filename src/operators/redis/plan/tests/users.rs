//! Users of clients, on servers that do what they are told. After every pass the rules hold that clients rely on.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};

use super::super::super::build;
use super::super::super::model::{Account, Credentials, Told, UserEntry, ValidUser};
use super::super::super::users::{self, DEFAULT};
use super::*;
use crate::engines::redis::{AclUser, password_hash};

const RULES: &str = "~app:* +@read";

/// A database whose servers have users, and what the cluster holds about it.
struct World {
    v: Validated,
    o: Observed,
}

fn secrets(list: &[&str]) -> Vec<SecretString> {
    list.iter().map(|text| SecretString::from(*text)).collect()
}

/// What a server reports of a user.
fn reported(entry: &UserEntry) -> AclUser {
    AclUser {
        flags: vec![if entry.enabled { "on" } else { "off" }.to_owned()],
        passwords: entry.hashes.clone(),
        commands: entry.rules.to_uppercase(),
        ..AclUser::default()
    }
}

impl World {
    /// The user `app` and the user `default` on each of so many servers.
    fn new(replicas: i32) -> Self {
        let (mut v, o) = healthy(replicas);
        v.users = vec![ValidUser {
            name: "app".into(),
            rules: RULES.into(),
            enabled: true,
            ..ValidUser::default()
        }];
        let mut world = Self { v, o };
        world.give(DEFAULT, &["one"]);
        world.give("app", &["a"]);
        world.settle();
        world
    }

    /// From now on these passwords are listed.
    fn give(&mut self, user: &str, passwords: &[&str]) {
        let account = self.o.accounts.entry(user.into()).or_default();
        account.passwords = secrets(passwords);
    }

    /// Writes the Secrets, asks the plan, and carries out what it says on the servers that answer. Returns the chores.
    fn pass(&mut self) -> Vec<Step> {
        let secret = |text: &str| SecretString::from(text);
        let credentials = Credentials {
            default: secret("one"),
            operator: secret("x"),
            replication: secret("y"),
            probe: secret("z"),
        };
        self.ask();
        let planned = run(&self.v, &self.o);
        // What was planned was planned before the Secrets that are written now were seen.
        let resources = build::build(&self.v, &self.o, &credentials).unwrap();
        let told: BTreeMap<String, Option<SecretString>> = self
            .o
            .accounts
            .keys()
            .map(|name| (name.clone(), users::to_publish(&self.o, name).cloned()))
            .collect();
        let wanted = users::wanted(&self.v, &self.o);
        let chores: Vec<Step> = planned
            .chores
            .into_iter()
            .filter(|c| matches!(c, Step::SetUsers { .. } | Step::RemoveUsers { .. }))
            .collect();
        for chore in &chores {
            self.carry_out(chore, &wanted);
        }
        self.o.objects.server_secret = Some(resources.server_secret);
        for (name, password) in told {
            self.o.accounts.get_mut(&name).unwrap().published = password;
        }
        self.check();
        chores
    }

    /// A server says that it has no such user, where it has none.
    fn ask(&mut self) {
        let known = users::record(&self.o).into_keys();
        let names: Vec<String> = known.chain(self.o.accounts.keys().cloned()).collect();
        for i in self.o.instances.iter_mut().filter(|i| i.info().is_some()) {
            for name in &names {
                i.users.entry(name.clone()).or_default();
            }
        }
    }

    fn carry_out(&mut self, chore: &Step, wanted: &BTreeMap<String, UserEntry>) {
        let (Step::SetUsers { pod, users } | Step::RemoveUsers { pod, users }) = chore else {
            return;
        };
        let i = self.o.instances.iter_mut().find(|i| i.pod == *pod).unwrap();
        for name in users {
            if matches!(chore, Step::RemoveUsers { .. }) {
                i.users.insert(name.clone(), None);
                continue;
            }
            let entry = wanted[name].clone();
            let answer = if entry.rules.contains("+@nonsense") {
                Err("ERR Error in ACL SETUSER modifier '+@nonsense': Unknown command".to_owned())
            } else {
                i.users.insert(name.clone(), Some(reported(&entry)));
                Ok(reported(&entry))
            };
            i.told.insert(name.clone(), Told { entry, answer });
        }
    }

    /// What clients are told is valid on every server that answers, and what stands in the file was taken by a server.
    fn check(&self) {
        for (name, account) in &self.o.accounts {
            let Some(published) = &account.published else {
                continue;
            };
            for i in self.o.instances.iter().filter(|i| i.info().is_some()) {
                let user = i.users.get(name).and_then(Option::as_ref);
                // A user that is new is published before it is there.
                if let Some(user) = user {
                    let hash = password_hash(published.expose_secret());
                    assert!(user.passwords.contains(&hash), "{name} on {}", i.pod);
                }
            }
        }
        let file = self.file();
        assert!(!file.contains("nonsense"), "{file}");
    }

    /// Passes until there is nothing more to do; the chores of each pass.
    fn settle(&mut self) -> Vec<Vec<Step>> {
        let mut all = Vec::new();
        for _ in 0..20 {
            let before = (self.file(), self.published("app"));
            all.push(self.pass());
            if all.last().is_some_and(Vec::is_empty)
                && before == (self.file(), self.published("app"))
            {
                return all;
            }
        }
        panic!("it does not come to rest: {all:?}");
    }

    fn file(&self) -> String {
        let secret = self.o.objects.server_secret.as_ref();
        let data = secret.and_then(|s| s.data.as_ref());
        data.map(|d| String::from_utf8(d["users.acl"].0.clone()).unwrap())
            .unwrap_or_default()
    }

    fn published(&self, user: &str) -> Option<String> {
        let account: Option<&Account> = self.o.accounts.get(user);
        account.and_then(|a| a.published.as_ref().map(|p| p.expose_secret().to_owned()))
    }

    /// The passwords among these that a server accepts.
    fn valid(&self, ordinal: usize, user: &str, among: &[&'static str]) -> Vec<&'static str> {
        let present = self.o.instances[ordinal]
            .users
            .get(user)
            .and_then(Option::as_ref);
        let accepts = |p: &&&str| present.is_some_and(|u| u.passwords.contains(&password_hash(p)));
        among.iter().filter(accepts).copied().collect()
    }

    fn problem(&self) -> Option<(&'static str, String)> {
        let findings = run(&self.v, &self.o).findings.users;
        findings.first().map(|p| (p.reason, p.message.clone()))
    }

    fn applied(&self) -> Vec<(String, bool)> {
        let users = run(&self.v, &self.o).users;
        users.into_iter().map(|u| (u.name, u.applied)).collect()
    }
}

#[test]
fn a_new_user_comes_to_every_server_and_then_into_the_file() {
    let w = World::new(3);
    for i in 0..3 {
        assert_eq!(w.valid(i, "app", &["a"]), ["a"]);
        assert_eq!(w.valid(i, DEFAULT, &["one"]), ["one"]);
    }
    let line = format!(
        "user app on #{} resetkeys resetchannels -@all {RULES}\n",
        password_hash("a")
    );
    assert!(w.file().ends_with(&line), "{}", w.file());
    assert_eq!(
        (w.problem(), w.applied()),
        (None, vec![("app".into(), true)])
    );
    assert_eq!(w.published("app").as_deref(), Some("a"));
}

#[test]
fn a_user_is_told_to_no_server_before_it_is_recorded() {
    let mut w = World::new(2);
    w.o.objects.server_secret = None;
    for i in &mut w.o.instances {
        (i.users, i.told) = Default::default();
        i.users.insert("app".into(), None);
    }
    let told = |steps: Vec<Step>| {
        let of_app =
            |s: &Step| matches!(s, Step::SetUsers { users, .. } if users.contains(&"app".into()));
        steps.iter().filter(|s| of_app(s)).count()
    };
    assert_eq!(told(w.pass()), 0, "the record is written in this pass");
    assert_eq!(told(w.pass()), 2);
}

#[test]
fn both_passwords_hold_until_the_old_one_is_taken_off_the_list() {
    for user in [DEFAULT, "app"] {
        let old = if user == DEFAULT { "one" } else { "a" };
        let mut w = World::new(3);
        w.give(user, &["new", old]);
        w.settle();
        for i in 0..3 {
            assert_eq!(w.valid(i, user, &["new", old]), ["new", old], "{user}");
        }
        assert_eq!(w.published(user).as_deref(), Some("new"));
        w.give(user, &["new"]);
        w.settle();
        for i in 0..3 {
            assert_eq!(w.valid(i, user, &["new", old]), ["new"], "{user}");
        }
        assert!(!w.file().contains(&password_hash(old)));
    }
}

#[test]
fn a_password_that_is_replaced_holds_until_the_new_one_is_published() {
    let mut w = World::new(3);
    w.give("app", &["b"]);
    let mut seen = Vec::new();
    for _ in 0..8 {
        w.pass();
        seen.push((w.valid(2, "app", &["a", "b"]), w.published("app").unwrap()));
    }
    seen.dedup();
    let states: Vec<(Vec<&str>, &str)> =
        seen.iter().map(|(v, p)| (v.clone(), p.as_str())).collect();
    assert_eq!(
        states,
        [
            (vec!["a"], "a"),
            (vec!["a", "b"], "a"),
            (vec!["a", "b"], "b"),
            (vec!["b"], "b")
        ]
    );
}

#[test]
fn a_server_that_does_not_answer_keeps_the_new_password_from_being_published() {
    let mut w = World::new(3);
    w.o.instances[2].server = Server::Silent(Duration::from_secs(1));
    w.o.instances[2].users.clear();
    w.give("app", &["b", "a"]);
    w.settle();
    assert_eq!(w.published("app").as_deref(), Some("a"));
    let (reason, message) = w.problem().unwrap();
    assert_eq!(reason, reasons::UsersPending);
    assert!(message.contains("db-2"), "{message}");
    assert_eq!(w.applied(), [("app".to_owned(), false)]);

    // Its container ended: it will start with the file.
    w.o.instances[2].server = Server::Down;
    w.o.instances[2].pod_state = PodState::Ended("exit code 1".into());
    w.settle();
    assert_eq!(w.published("app").as_deref(), Some("b"));
}

#[test]
fn a_bad_rule_stays_out_of_the_file_and_the_other_users_are_applied() {
    let mut w = World::new(2);
    let before = w.file();
    w.v.users[0].rules = "+@nonsense".into();
    w.v.users.push(ValidUser {
        name: "other".into(),
        rules: "+ping".into(),
        enabled: true,
        ..ValidUser::default()
    });
    w.give("other", &["o"]);
    w.settle();
    let (reason, message) = w.problem().unwrap();
    assert_eq!(reason, reasons::InvalidUser);
    assert!(
        message.contains("spec.auth.users[app].rules") && message.contains("Unknown command"),
        "{message}"
    );
    assert_eq!(
        w.applied(),
        [("app".to_owned(), false), ("other".to_owned(), true)]
    );
    assert_eq!(w.valid(1, "app", &["a"]), ["a"], "it stays as it was");
    assert!(w.file().starts_with(&before), "{}", w.file());
    assert!(w.pass().is_empty(), "it is not tried again and again");

    w.v.users[0].rules = "~* +get".into();
    w.settle();
    assert_eq!(w.problem(), None);
    assert!(w.file().contains("~* +get"));
}

#[test]
fn a_removed_user_goes_from_every_server_and_others_stay() {
    let mut w = World::new(2);
    let by_hand = AclUser {
        passwords: vec![password_hash("secret of Vault")],
        ..AclUser::default()
    };
    for i in &mut w.o.instances {
        i.users.insert("vault".into(), Some(by_hand.clone()));
    }
    w.v.users.clear();
    w.o.accounts.remove("app");
    let chores = w.settle();
    for i in &w.o.instances {
        assert_eq!(i.users["app"], None);
        assert_eq!(i.users["vault"], Some(by_hand.clone()));
    }
    assert!(!w.file().contains("user app"));
    assert_eq!((w.problem(), chores.len()), (None, 2));

    // It comes back with a server that started with an old file, and goes again; one that somebody else made stays.
    w.o.instances[1].users.insert(
        "app".into(),
        Some(AclUser {
            passwords: vec![password_hash("a")],
            ..AclUser::default()
        }),
    );
    w.o.instances[0]
        .users
        .insert("app".into(), Some(by_hand.clone()));
    assert_eq!(
        w.pass(),
        [Step::RemoveUsers {
            pod: "db-1".into(),
            users: vec!["app".into()]
        }]
    );
    assert_eq!(w.o.instances[0].users["app"], Some(by_hand));
}

#[test]
fn what_somebody_changed_on_a_server_is_put_right() {
    let mut w = World::new(2);
    let user = w.o.instances[1]
        .users
        .get_mut("app")
        .unwrap()
        .as_mut()
        .unwrap();
    user.commands = "+@ALL".into();
    assert_eq!(
        w.pass(),
        [Step::SetUsers {
            pod: "db-1".into(),
            users: vec!["app".into()]
        }]
    );
    assert!(w.pass().is_empty());
    // The rules of the user `default` are the user's own.
    let user = w.o.instances[1]
        .users
        .get_mut(DEFAULT)
        .unwrap()
        .as_mut()
        .unwrap();
    user.commands = "-@DANGEROUS".into();
    assert!(w.pass().is_empty());
}

#[test]
fn a_hera_that_just_started_asks_once_and_says_nothing() {
    let mut w = World::new(2);
    for i in &mut w.o.instances {
        i.told.clear();
    }
    assert_eq!(
        (w.problem(), w.applied()),
        (None, vec![("app".into(), true)])
    );
    assert_eq!(w.pass().len(), 2);
    assert!(w.pass().is_empty());
}

#[test]
fn a_user_without_its_secret_stays_as_it_was() {
    let mut w = World::new(2);
    let before = w.file();
    let account = w.o.accounts.get_mut("app").unwrap();
    account.passwords.clear();
    let problem =
        super::super::super::model::Problem::of(reasons::SecretNotFound, "Secret/s", "no");
    account.problem = Some(problem);
    w.settle();
    assert_eq!(w.problem().map(|p| p.0), Some(reasons::SecretNotFound));
    assert_eq!(
        (w.file(), w.published("app").as_deref()),
        (before, Some("a"))
    );
    assert_eq!(w.valid(0, "app", &["a"]), ["a"]);
}

#[test]
fn users_are_switched_off() {
    let mut w = World::new(2);
    w.v.users[0].enabled = false;
    w.v.default_user_enabled = false;
    w.settle();
    for i in &w.o.instances {
        for name in ["app", DEFAULT] {
            assert!(!i.users[name].as_ref().unwrap().is_on(), "{name}");
        }
    }
    assert!(w.file().contains("user app off #") && w.file().contains("user default off #"));
    assert_eq!(w.problem(), None);
}
