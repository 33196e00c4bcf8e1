//! A single server without a volume is restarted while a temporary replica serves: the whole way, as the servers and Kubernetes go it.

use k8s_openapi::api::core::v1::Service;
use secrecy::SecretString;
use serde_json::json;

use super::super::super::api::Surge;
use super::super::super::build::{self, Resources};
use super::super::super::model::Credentials;
use super::super::super::status::{self, Picture};
use super::*;

/// One database with what Kubernetes and the servers make of the plans.
struct World {
    redis: Redis,
    o: Observed,
    made: i32,
    /// What was done, in words.
    done: Vec<String>,
}

impl World {
    fn new(mode: &str, surge: bool) -> Self {
        let spec = json!({"mode": mode, "replicas": 1, "update": {"surge": surge}});
        let mut redis = Redis::new("db", serde_json::from_value(spec).unwrap());
        redis.metadata.uid = Some("uid".into());
        redis.metadata.namespace = Some("default".into());
        redis.metadata.generation = Some(1);
        let (_, mut o) = healthy(1);
        o.instances[0].outdated = true;
        Self {
            redis,
            o,
            made: 0,
            done: Vec::new(),
        }
    }

    /// One pass, and what follows from it.
    fn pass(&mut self) {
        let v = validate(&self.redis, &self.o).unwrap();
        let secret = || SecretString::from("secret");
        let credentials = Credentials {
            default: secret(),
            operator: secret(),
            replication: secret(),
            probe: secret(),
        };
        let built = build::build(&v, &self.o, &credentials).unwrap();
        for i in &mut self.o.instances {
            i.config = super::super::super::directives::own(&v);
        }
        let plan = run(&v, &self.o);
        let mut election = None;
        let steps: Vec<Step> = plan.step.iter().chain(&plan.chores).cloned().collect();
        for step in &steps {
            self.carry_out(step, &mut election);
        }
        let picture = Picture {
            v: &v,
            o: &self.o,
            plan: &plan,
            now: now(),
            hold: None,
            failure: None,
        };
        self.o.status = status::status(&picture, election);
        self.kubernetes(&v, &built);
        self.check();
    }

    fn named(&mut self, pod: &str) -> &mut Instance {
        self.o.instances.iter_mut().find(|i| i.pod == pod).unwrap()
    }

    fn carry_out(&mut self, step: &Step, election: &mut Option<Election>) {
        if !matches!(step, Step::Gate { .. } | Step::SetUsers { .. }) {
            self.done.push(step.to_string());
        }
        match step {
            Step::Decide(e, _) => *election = Some(e.clone()),
            Step::Complete(e) => {
                *election = Some(Election {
                    completed: true,
                    ..e.clone()
                });
            }
            Step::HandOver { from, to } => {
                let (old, new) = (self.named(from).ip.clone(), self.named(to).ip.clone());
                assert_eq!(self.keys(from), self.keys(to), "the replica has all");
                self.follow(from, new);
                let Server::Up(info) = &mut self.named(to).server else {
                    panic!()
                };
                info.role = Role::Primary;
                info.primary_host = None;
                info.link_up = false;
                assert!(old.is_some());
            }
            Step::Follow { pods, primary } => {
                let ip = self.named(primary).ip.clone();
                let keys = self.keys(primary);
                for pod in pods {
                    self.follow(pod, ip.clone());
                    let Server::Up(info) = &mut self.named(pod).server else {
                        panic!()
                    };
                    info.keys = keys;
                }
            }
            Step::Promote(e) => {
                let pod = e.candidate.clone();
                let Server::Up(info) = &mut self.named(&pod).server else {
                    panic!()
                };
                info.role = Role::Primary;
                info.primary_host = None;
            }
            Step::DeletePod { pod, .. } => {
                let i = self.named(pod);
                *i = Instance {
                    pod: i.pod.clone(),
                    ordinal: i.ordinal,
                    ..Instance::default()
                };
            }
            Step::Gate { pod, ready } => self.named(pod).gate = Some(*ready),
            Step::SetUsers { .. } => {}
            other => panic!("{other}"),
        }
        self.link();
    }

    fn follow(&mut self, pod: &str, ip: Option<String>) {
        let Server::Up(info) = &mut self.named(pod).server else {
            panic!()
        };
        info.role = Role::Replica;
        info.primary_host = ip;
        info.primary_port = Some(PORT);
        info.link_up = true;
        info.replid = HISTORY.into();
        info.last_io_seconds = Some(0);
    }

    fn keys(&self, pod: &str) -> u64 {
        let i = self.o.instances.iter().find(|i| i.pod == pod).unwrap();
        i.info().map_or(0, |info| info.keys)
    }

    fn link(&mut self) {
        let links: Vec<(Option<String>, ReplicaLink)> = self
            .o
            .instances
            .iter()
            .filter_map(|i| {
                let info = i.info().filter(|info| info.role == Role::Replica)?;
                let link = ReplicaLink {
                    ip: i.ip.clone()?,
                    port: PORT,
                    state: "online".into(),
                    offset: info.offset,
                    lag: 0,
                };
                Some((info.primary_host.clone(), link))
            })
            .collect();
        for i in &mut self.o.instances {
            let ip = i.ip.clone();
            if let Server::Up(info) = &mut i.server {
                let mine = links.iter().filter(|(host, _)| *host == ip);
                info.replicas = mine.map(|(_, link)| link.clone()).collect();
            }
        }
    }

    /// The StatefulSet makes and removes pods, and the Services are as they were applied.
    fn kubernetes(&mut self, v: &Validated, built: &Resources) {
        self.o.objects.services = built.services.clone();
        let spec = built.statefulsets[0].spec.clone().unwrap();
        let wanted = spec.replicas.unwrap();
        self.o.instances.retain(|i| i.ordinal < wanted);
        for ordinal in 0..wanted {
            let present = self.o.instances.iter().any(|i| i.ordinal == ordinal);
            if !present {
                self.o.instances.push(Instance {
                    pod: format!("db-{ordinal}"),
                    ordinal,
                    ..Instance::default()
                });
            }
        }
        for i in self.o.instances.iter_mut().filter(|i| i.uid.is_empty()) {
            self.made += 1;
            let fresh = if v.gated() {
                restarted(i.ordinal, 0)
            } else {
                Info {
                    keys: 0,
                    replid: format!("fresh-{}", self.made),
                    ..server(i.ordinal, true)
                }
            };
            *i = Instance {
                uid: format!("pod-{}-{}", i.ordinal, self.made),
                ip: Some(format!("10.0.1.{}", self.made)),
                ..instance(i.ordinal, fresh)
            };
        }
        self.o.instances.sort_by_key(|i| i.ordinal);
        self.o.objects.statefulset = Some(built.statefulsets[0].clone());
        self.link();
    }

    /// At every moment a server has the data, and clients are led to one that has it.
    fn check(&self) {
        let all: Vec<(String, u64)> = self
            .o
            .instances
            .iter()
            .map(|i| (i.pod.clone(), self.keys(&i.pod)))
            .collect();
        assert!(
            all.iter().any(|(_, keys)| *keys == 10),
            "{all:?} {:?}",
            self.done
        );
        if let Some(primary) = &self.o.status.primary {
            let led = all.iter().find(|(pod, _)| pod == primary).map(|(_, k)| *k);
            assert!(led.is_none() || led == Some(10), "{all:?} {:?}", self.done);
        }
        if self.o.instances.len() > 1 {
            let service = |s: &&Service| s.metadata.name.as_deref() == Some("db");
            let service = self.o.objects.services.iter().find(service).unwrap();
            assert_eq!(service.spec.as_ref().unwrap().selector, None);
        }
    }

    fn settle(&mut self) {
        for _ in 0..60 {
            self.pass();
        }
    }
}

#[test]
fn a_single_server_is_restarted_behind_a_temporary_replica() {
    for mode in ["Standalone", "Replication"] {
        let mut w = World::new(mode, true);
        let uid = w.o.instances[0].uid.clone();
        w.settle();
        let pods: Vec<&str> = w.o.instances.iter().map(|i| i.pod.as_str()).collect();
        assert_eq!(pods, ["db-0"], "{mode}: {:?}", w.done);
        assert_ne!(w.o.instances[0].uid, uid, "{mode}: it was restarted");
        assert_eq!(w.keys("db-0"), 10);
        assert_eq!(w.o.status.surge, None);
        assert_eq!(w.o.status.primary.as_deref(), Some("db-0"));
        let v = validate(&w.redis, &w.o).unwrap();
        assert_eq!(format!("{:?}", v.mode), mode);
        let deleted = w.done.iter().filter(|d| d.starts_with("delete")).count();
        assert_eq!(deleted, 1, "{:?}", w.done);
        w.done.clear();
        w.settle();
        assert!(w.done.is_empty(), "nothing more to do: {:?}", w.done);
    }
}

#[test]
fn without_the_wish_nothing_is_begun() {
    let mut w = World::new("Standalone", false);
    w.settle();
    assert!(w.done.is_empty(), "{:?}", w.done);
    assert_eq!((w.o.status.surge.clone(), w.o.instances.len()), (None, 1));
}

/// The template is set back while the temporary replica comes up, or the new one cannot run: the server was never touched.
#[test]
fn a_change_that_is_set_back_ends_it() {
    let mut w = World::new("Standalone", true);
    for _ in 0..3 {
        w.pass();
    }
    assert_eq!(w.o.instances.len(), 2, "{:?}", w.done);
    w.o.instances[0].outdated = false;
    w.o.instances[1].server = Server::Down;
    w.settle();
    assert_eq!(w.o.instances.len(), 1);
    assert_eq!(w.o.instances[0].uid, "pod-0");
    assert_eq!(w.o.status.surge, None);
}

/// The server is restarted only when the temporary replica has all data.
#[test]
fn a_temporary_replica_that_does_not_come_into_sync_holds_the_restart() {
    for broken in [
        Server::Down,
        Server::Loading,
        Server::Silent(Duration::from_secs(1)),
    ] {
        let mut w = World::new("Standalone", true);
        for _ in 0..40 {
            w.pass();
            if let Some(i) = w.o.instances.get_mut(1) {
                i.server = broken.clone();
            }
        }
        assert_eq!(w.o.instances[0].uid, "pod-0", "{:?}", w.done);
        assert_eq!(
            w.o.status.surge,
            Some(Surge {
                pod: "db-1".into(),
                ending: false
            })
        );
    }
}

#[test]
fn what_the_user_holds_back_is_held_back() {
    let mut w = World::new("Standalone", true);
    w.redis.spec.update.as_mut().unwrap().paused = true;
    w.settle();
    assert_eq!((w.o.status.surge.clone(), w.o.instances.len()), (None, 1));
}

/// More pods are asked for in the middle: the temporary one is one of them.
#[test]
fn scaling_out_takes_the_temporary_replica_over() {
    let mut w = World::new("Replication", true);
    for _ in 0..4 {
        w.pass();
    }
    assert_eq!(w.o.instances.len(), 2);
    w.redis.spec.replicas = Some(3);
    w.settle();
    assert_eq!(w.o.instances.len(), 3);
    assert_eq!(w.o.status.surge, None);
    assert!(w.o.instances.iter().all(|i| !i.outdated), "{:?}", w.done);
}
