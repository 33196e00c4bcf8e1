//! Directives that are taken out of the spec again, on servers that do what they are told.

use secrecy::SecretString;

use super::super::super::build;
use super::super::super::model::Credentials;
use super::*;

/// Directives, what the servers have without them, and what a user wants.
const DIRECTIVES: [(&str, &str, &str); 3] = [
    ("timeout", "0", "30"),
    ("save", "3600 1 300 100", "900 1"),
    ("slowlog-max-len", "128", "256"),
];

/// A database, and what the cluster holds about it.
struct World {
    v: Validated,
    o: Observed,
}

impl World {
    /// Servers with all of [`DIRECTIVES`] as the user wants them.
    fn configured(replicas: i32) -> Self {
        let (v, mut o) = healthy(replicas);
        for i in &mut o.instances {
            for (name, before, _) in DIRECTIVES {
                i.config.insert(name.into(), before.into());
            }
        }
        let mut world = Self { v, o };
        for (name, _, wanted) in DIRECTIVES {
            world.v.config.insert(name.into(), wanted.into());
        }
        world.settle();
        for (name, _, wanted) in DIRECTIVES {
            assert!(world.values(name).iter().all(|v| *v == wanted), "{name}");
            assert!(world.file().contains(name), "{name}");
        }
        world
    }

    /// Writes the ConfigMap, asks the plan, and carries out what it says. Returns the pods that were configured.
    fn pass(&mut self) -> Vec<String> {
        let secret = |text: &str| SecretString::from(text);
        let credentials = Credentials {
            default: secret("w"),
            operator: secret("x"),
            replication: secret("y"),
            probe: secret("z"),
        };
        let planned = run(&self.v, &self.o);
        let resources = build::build(&self.v, &self.o, &credentials).unwrap();
        self.o.objects.config_map = Some(resources.config_map);
        let mut configured = Vec::new();
        for chore in planned.chores {
            let Step::Configure { pod, directives } = chore else {
                continue;
            };
            let i = self.o.instances.iter_mut().find(|i| i.pod == pod).unwrap();
            for (name, value) in directives {
                i.config.insert(name.clone(), value.clone());
                i.accepted.insert((name, value.clone()), value);
            }
            configured.push(pod);
        }
        configured
    }

    /// Passes until nothing changes any more.
    fn settle(&mut self) {
        for _ in 0..10 {
            let before = self.o.objects.config_map.clone();
            if self.pass().is_empty() && self.o.objects.config_map == before {
                assert_eq!(run(&self.v, &self.o).findings.config, None);
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn values(&self, name: &str) -> Vec<&str> {
        let all = self.o.instances.iter();
        all.filter_map(|i| i.config.get(name).map(String::as_str))
            .collect()
    }

    fn file(&self) -> String {
        let map = self.o.objects.config_map.as_ref();
        map.and_then(|m| m.data.as_ref()).unwrap()["user.conf"].clone()
    }
}

#[test]
fn a_directive_that_is_taken_out_goes_back_to_what_it_was_and_the_others_stay() {
    for (gone, before, _) in DIRECTIVES {
        let mut w = World::configured(3);
        w.v.config.remove(gone);
        w.settle();
        assert_eq!(w.values(gone), [before; 3], "{gone}");
        assert!(!w.file().contains(gone), "{}", w.file());
        for (name, _, wanted) in DIRECTIVES.iter().filter(|d| d.0 != gone) {
            assert_eq!(w.values(name), [*wanted; 3], "{name}");
            assert!(w.file().contains(name), "{}", w.file());
        }
    }
}

#[test]
fn a_server_that_was_away_goes_back_when_it_answers() {
    let mut w = World::configured(3);
    let away = std::mem::take(&mut w.o.instances[2].server);
    w.v.config.clear();
    w.settle();
    let (name, before, wanted) = DIRECTIVES[0];
    assert_eq!(w.values(name), [before, before, wanted]);

    w.o.instances[2].server = away;
    assert_eq!(w.pass(), ["db-2"]);
    assert_eq!(w.values(name), [before; 3]);

    // The next one starts with the file of a moment ago.
    let i = &mut w.o.instances[1];
    i.accepted.clear();
    i.config.insert(name.into(), wanted.into());
    assert_eq!(w.pass(), ["db-1"]);
    assert_eq!(w.values(name), [before; 3]);
}
