//! Nodes of a cluster that learn from each other at once, and carry out what the plan says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use super::super::super::super::api::{Redis, RedisSpec};
use super::super::super::super::directives;
use super::super::super::super::model::{
    ClusterStep, Info, Instance, NodeView, Observed, Plan, PodState, Role, Server, SlotSet, Step,
    Takeover, Validated,
};
use super::super::super::super::status::{self, Picture};
use super::super::super::super::validate::validate;
use crate::engines::redis::{ClusterInfo, ClusterNode, ReplicaLink};

/// A pod with its node.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub pod: String,
    pub shard: i32,
    pub ordinal: i32,
    pub uid: String,
    pub id: String,
    pub ip: String,
    pub up: bool,
    pub addressless: bool,
    pub gate: Option<bool>,
    pub outdated: bool,
    pub disrupted: bool,
    /// It looks for its primary at a former address.
    pub astray: bool,
    /// It takes part in no vote.
    pub held_back: bool,
    pub epoch: u64,
    pub primary: Option<String>,
    pub slots: SlotSet,
    /// The slots whose keys it holds.
    pub data: SlotSet,
    pub knows: BTreeSet<String>,
    pub migrating: BTreeMap<u16, String>,
    pub importing: BTreeMap<u16, String>,
}

/// What happens.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The server of a pod is killed and starts again in place.
    Restart(usize),
    /// A pod is deleted, and made anew at another address.
    Delete(usize),
    /// A server is silent.
    Down(usize),
    /// All answer again.
    AllUp,
    /// The servers replace failed primaries by themselves.
    Vote,
    /// The user wants so many shards.
    Scale(i32),
}

/// A cluster, and Hera.
#[derive(Clone)]
pub struct Simulation {
    pub v: Validated,
    pub o: Observed,
    pub nodes: Vec<Node>,
    /// Nodes that are gone and that others still know, with the slots that they had.
    pub dead: BTreeMap<String, SlotSet>,
    /// Slots whose last copy is gone.
    pub lost: SlotSet,
    count: usize,
}

impl Simulation {
    pub fn new(shards: i32, replicas: i32, storage: bool) -> Self {
        let mut s = Self {
            v: validated(shards, replicas, storage),
            o: Observed::default(),
            nodes: Vec::new(),
            dead: BTreeMap::new(),
            lost: SlotSet::new(),
            count: 0,
        };
        s.scale(shards);
        s
    }

    pub fn scale(&mut self, shards: i32) {
        self.v.shards = shards;
        for shard in 0..shards {
            self.o.cluster.sets.entry(shard).or_default();
            for ordinal in 0..self.v.replicas {
                if !self
                    .nodes
                    .iter()
                    .any(|n| (n.shard, n.ordinal) == (shard, ordinal))
                {
                    let mut node = Node {
                        pod: format!("db-s{shard}-{ordinal}"),
                        shard,
                        ordinal,
                        ..Node::default()
                    };
                    self.renew(&mut node, true, true);
                    self.nodes.push(node);
                }
            }
        }
        self.nodes.sort_by_key(|n| (n.shard, n.ordinal));
    }

    /// A new pod, a new node, or both.
    fn renew(&mut self, node: &mut Node, pod: bool, identity: bool) {
        self.count += 1;
        (node.up, node.held_back) = (true, true);
        if pod {
            node.uid = format!("uid-{}", self.count);
            node.ip = format!("10.0.{}.{}", self.count / 250, self.count % 250 + 1);
            (node.outdated, node.disrupted, node.gate) = (false, false, None);
        }
        if identity {
            node.id = format!("id-{}", self.count);
            node.knows = [node.id.clone()].into();
            (node.epoch, node.primary) = (0, None);
            (node.slots, node.data) = <(SlotSet, SlotSet)>::default();
            (node.migrating, node.importing) = Default::default();
        }
    }

    pub fn inflict(&mut self, fault: Fault) {
        match fault {
            Fault::Restart(n) => self.replace(n, false),
            Fault::Delete(n) => self.replace(n, true),
            Fault::Down(n) => {
                let n = n % self.nodes.len();
                self.nodes[n].up = false;
            }
            Fault::AllUp => self.nodes.iter_mut().for_each(|n| n.up = true),
            Fault::Vote => self.vote(),
            Fault::Scale(shards) => self.scale(shards),
        }
    }

    fn replace(&mut self, n: usize, pod: bool) {
        let n = n % self.nodes.len();
        let identity = self.v.storage.is_none();
        let mut node = self.nodes[n].clone();
        if identity {
            if self
                .nodes
                .iter()
                .any(|o| o.id != node.id && o.knows.contains(&node.id))
            {
                self.dead.insert(node.id.clone(), node.slots.clone());
            }
            let others = self.nodes.iter().filter(|o| o.id != node.id);
            let held = others.fold(SlotSet::new(), |all, o| all.union(&o.data));
            self.lost = self.lost.union(&node.data.difference(&held));
        }
        self.renew(&mut node, pod, identity);
        for r in &mut self.nodes {
            r.astray |= pod && r.primary.as_ref() == Some(&node.id);
        }
        node.astray = false;
        self.nodes[n] = node;
        let nodes = &self.nodes;
        self.dead
            .retain(|id, _| nodes.iter().any(|n| n.knows.contains(id)));
    }

    /// A majority of the primaries replaces those that are down.
    fn vote(&mut self) {
        let owners: Vec<Node> = self
            .nodes
            .iter()
            .filter(|n| !n.slots.is_empty())
            .cloned()
            .collect();
        let dead = self.dead.values().filter(|s| !s.is_empty()).count();
        if 2 * owners.iter().filter(|n| n.up).count() <= owners.len() + dead {
            return;
        }
        let gone = self.dead.keys().cloned();
        let failed: Vec<String> = gone
            .chain(owners.iter().filter(|n| !n.up).map(|n| n.id.clone()))
            .collect();
        for id in failed {
            let heir = self
                .nodes
                .iter()
                .position(|n| n.up && !n.held_back && n.primary.as_ref() == Some(&id));
            if let Some(heir) = heir {
                self.promote(heir);
            }
        }
    }

    fn promote(&mut self, heir: usize) {
        let Some(old) = self.nodes[heir].primary.take() else {
            return;
        };
        let mut slots = self
            .dead
            .get_mut(&old)
            .map(std::mem::take)
            .unwrap_or_default();
        let id = self.nodes[heir].id.clone();
        for n in &mut self.nodes {
            if n.id == old {
                slots = std::mem::take(&mut n.slots);
                n.primary = Some(id.clone());
            } else if n.primary.as_ref() == Some(&old) {
                n.primary = Some(id.clone());
            }
        }
        self.nodes[heir].slots = slots;
        self.nodes[heir].epoch = 1 + self.nodes.iter().map(|n| n.epoch).max().unwrap();
    }

    fn line(&self, of: &Node, id: &str) -> ClusterNode {
        let Some(n) = self.nodes.iter().find(|n| n.id == id) else {
            let flags = ["master", "fail"].map(str::to_owned).into();
            let slots = self.dead.get(id).cloned().unwrap_or_default();
            return ClusterNode {
                id: id.to_owned(),
                flags,
                slots,
                ..ClusterNode::default()
            };
        };
        let role = if n.primary.is_some() {
            "slave"
        } else {
            "master"
        };
        let mut flags: BTreeSet<String> = [role.to_owned()].into();
        if !n.up {
            flags.insert("fail".into());
        }
        if n.held_back {
            flags.insert("nofailover".into());
        }
        let me = of.id == id;
        if me {
            flags.insert("myself".into());
        }
        // Only where somebody is left who knows the old address can a node that moved tell its new one.
        ClusterNode {
            id: n.id.clone(),
            ip: n.ip.clone(),
            flags,
            primary: n.primary.clone(),
            config_epoch: n.epoch,
            link_up: n.up,
            slots: n.slots.clone(),
            migrating: if me {
                n.migrating.clone()
            } else {
                BTreeMap::new()
            },
            importing: if me {
                n.importing.clone()
            } else {
                BTreeMap::new()
            },
            ..ClusterNode::default()
        }
    }

    fn observe(&mut self) {
        let nodes = &self.nodes;
        let views = nodes.iter().filter(|n| n.up).map(|n| {
            let lines: Vec<ClusterNode> = n.knows.iter().map(|id| self.line(n, id)).collect();
            let info = ClusterInfo {
                is_ok: true,
                known_nodes: u32::try_from(lines.len()).unwrap(),
                my_epoch: n.epoch,
                ..ClusterInfo::default()
            };
            let view = NodeView {
                info,
                nodes: lines,
                ..NodeView::default()
            };
            (n.pod.clone(), view)
        });
        let views = views.collect();
        let instances = nodes.iter().map(|n| self.instance(n)).collect();
        self.o.cluster.views = views;
        self.o.instances = instances;
        self.o.update_revision = Some("new".into());
        self.o.may_roll = true;
    }

    fn instance(&self, n: &Node) -> Instance {
        let primary = n.primary.as_ref();
        let primary = primary.and_then(|id| self.nodes.iter().find(|p| &p.id == id));
        let replicas = self
            .nodes
            .iter()
            .filter(|r| r.up && r.primary.as_ref() == Some(&n.id));
        let info = Info {
            role: if n.primary.is_some() {
                Role::Replica
            } else {
                Role::Primary
            },
            keys: u64::from(n.data.len()),
            primary_host: primary.map(|p| {
                if n.astray {
                    "former".into()
                } else {
                    p.ip.clone()
                }
            }),
            primary_port: primary.map(|_| 6379),
            link_up: primary.is_some_and(|p| p.up && !n.astray),
            replicas: replicas
                .map(|r| ReplicaLink {
                    ip: r.ip.clone(),
                    port: 6379,
                    state: "online".into(),
                    ..ReplicaLink::default()
                })
                .collect(),
            ..Info::default()
        };
        Instance {
            pod: n.pod.clone(),
            shard: n.shard,
            ordinal: n.ordinal,
            uid: n.uid.clone(),
            ip: (!n.addressless).then(|| n.ip.clone()),
            pod_state: PodState::Running,
            pod_ready: n.up,
            ready_for: Some(Duration::from_secs(600)),
            age: Duration::from_secs(600),
            gate: n.gate,
            outdated: n.outdated,
            disrupted: n.disrupted,
            config: directives::own(&self.v),
            server: if n.up {
                Server::Up(Box::new(info))
            } else {
                Server::Down
            },
            ..Instance::default()
        }
    }

    /// Observes and decides, and keeps the status.
    pub fn plan(&mut self) -> Plan {
        self.observe();
        let plan = super::super::plan(&self.v, &self.o, Timestamp::UNIX_EPOCH);
        let picture = Picture {
            v: &self.v,
            o: &self.o,
            plan: &plan,
            now: Timestamp::UNIX_EPOCH,
            hold: None,
            failure: None,
        };
        self.o.status = status::cluster::status(&picture);
        plan
    }

    /// One reconcile.
    pub fn pass(&mut self) -> Option<Step> {
        let plan = self.plan();
        for chore in &plan.chores {
            match chore {
                Step::Gate { pod, ready } => self.node(pod).gate = Some(*ready),
                Step::Configure { pod, .. } => self.node(pod).held_back = false,
                _ => {}
            }
        }
        let gated = plan
            .chores
            .iter()
            .any(|c| matches!(c, Step::Gate { .. } | Step::Configure { .. }));
        let step = plan.step;
        if let Some(step) = &step {
            self.carry_out(step);
        }
        step.or(gated.then(|| Step::Gate {
            pod: String::new(),
            ready: true,
        }))
    }

    /// Goes on until there is nothing to do, and returns what was done.
    pub fn settle(&mut self) -> Vec<Step> {
        let (mut steps, mut waits) = (Vec::new(), 0);
        loop {
            let before = self.o.status.clone();
            match self.pass() {
                Some(Step::Gate { .. }) => {}
                Some(step) => steps.push(step),
                // A status that changed is an event, and starts another pass.
                None if self.o.status != before => {}
                // So does the wait for a server that is on its way.
                None if self.plan().requeue.is_some() && waits < 20 => waits += 1,
                None => break,
            }
            assert!(
                steps.len() < 400,
                "it does not come to rest: {:?}",
                &steps[390..]
            );
        }
        steps
    }

    fn node(&mut self, pod: &str) -> &mut Node {
        self.nodes.iter_mut().find(|n| n.pod == pod).unwrap()
    }

    fn carry_out(&mut self, step: &Step) {
        match step {
            Step::Cluster(step) => self.cluster_step(step),
            Step::DeletePod { pod, .. } => {
                let n = self.nodes.iter().position(|n| &n.pod == pod).unwrap();
                let empty = self.nodes[n].slots.is_empty();
                assert!(empty || self.v.replicas == 1, "{pod} serves slots");
                self.replace(n, true);
            }
            other => panic!("{other}"),
        }
    }

    fn cluster_step(&mut self, step: &ClusterStep) {
        match step {
            ClusterStep::SetEpochs(epochs) => {
                for (pod, epoch) in epochs {
                    assert_eq!(self.node(pod).knows.len(), 1, "{pod} knows others");
                    self.node(pod).epoch = *epoch;
                }
            }
            ClusterStep::Meet { from, pods } => self.meet(from, pods),
            ClusterStep::AddSlots { slots, .. } => self.add_slots(slots),
            ClusterStep::Replicate(of) => self.replicate(of),
            ClusterStep::FailOver { pod, how, .. } => {
                let heir = self.nodes.iter().position(|n| &n.pod == pod).unwrap();
                let old = self.nodes[heir].primary.clone().unwrap();
                let lives = self.nodes.iter().any(|n| n.id == old && n.up);
                assert_eq!(*how == Takeover::Planned, lives, "{how:?}");
                self.promote(heir);
            }
            ClusterStep::Forget { ids, .. } => {
                for id in ids {
                    let slots = self.dead.remove(id).unwrap_or_default();
                    let held = |n: &Node| n.data.intersection(&slots).is_empty();
                    assert!(self.nodes.iter().all(held), "there is a copy of {slots}");
                    let live = self.nodes.iter().find(|n| &n.id == id);
                    assert!(live.is_none_or(|n| n.slots.is_empty() && n.shard >= self.v.shards));
                    for n in self.nodes.iter_mut().filter(|n| !ids.contains(&n.id)) {
                        n.knows.remove(id);
                    }
                }
            }
            ClusterStep::MoveSlots { from, to, slots } => self.move_slots(from, to, slots),
            ClusterStep::CloseSlots { pod, slots } => {
                let node = self.node(pod);
                node.migrating.retain(|s, _| !slots.contains(*s));
                node.importing.retain(|s, _| !slots.contains(*s));
            }
            ClusterStep::RemoveShard { shard } => {
                assert!(*shard >= self.v.shards);
                let going = self.nodes.iter().filter(|n| n.shard == *shard);
                assert!(going.clone().all(|n| n.slots.is_empty()), "it has slots");
                self.nodes.retain(|n| n.shard != *shard);
                self.o.cluster.sets.remove(shard);
            }
            other => panic!("{other}"),
        }
    }

    /// Who is met, and all that both know, know each other.
    fn meet(&mut self, from: &str, pods: &[String]) {
        let mut known = self.node(from).knows.clone();
        for pod in pods {
            known.extend(self.node(pod).knows.clone());
        }
        for n in &mut self.nodes {
            if known.contains(&n.id) {
                n.knows.extend(known.clone());
            }
        }
    }

    fn add_slots(&mut self, slots: &BTreeMap<String, SlotSet>) {
        for (pod, slots) in slots {
            let owned = self
                .nodes
                .iter()
                .map(|n| &n.slots)
                .chain(self.dead.values());
            let owned = owned.fold(SlotSet::new(), |all, s| all.union(s));
            assert!(slots.is_disjoint(&owned), "{slots} have an owner");
            let held = self.nodes.iter().any(|n| !n.data.is_disjoint(slots));
            assert!(!held, "a pod holds data of {slots}");
            let node = self.node(pod);
            assert!(node.primary.is_none());
            node.slots = node.slots.union(slots);
            node.data = node.data.union(slots);
        }
    }

    fn replicate(&mut self, of: &BTreeMap<String, String>) {
        for (pod, primary) in of {
            let primary = self.node(primary).clone();
            let node = self.node(pod).clone();
            assert!(primary.up && primary.primary.is_none() && node.slots.is_empty());
            let others = self.nodes.iter().filter(|n| n.id != node.id);
            let held = others.fold(SlotSet::new(), |all, n| all.union(&n.data));
            let last = node.data.difference(&held);
            assert!(last.is_empty(), "{pod} has the last copy of {last}");
            let node = self.node(pod);
            node.primary = Some(primary.id);
            node.astray = false;
            node.data = primary.data;
        }
    }

    fn move_slots(&mut self, from: &str, to: &str, slots: &SlotSet) {
        let (source, target) = (self.node(from).clone(), self.node(to).clone());
        assert!(
            source.slots.intersection(slots) == *slots,
            "{from} has not all of {slots}"
        );
        assert!(target.primary.is_none() && source.id != target.id);
        for n in &mut self.nodes {
            let of = |id: &str| n.id == id || n.primary.as_deref() == Some(id);
            if of(&source.id) {
                n.slots = n.slots.difference(slots);
                n.data = n.data.difference(slots);
            } else if of(&target.id) {
                n.data = n.data.union(slots);
            }
            if n.id == target.id {
                n.slots = n.slots.union(slots);
            }
            if n.id == source.id || n.id == target.id {
                n.migrating.retain(|s, _| !slots.contains(*s));
                n.importing.retain(|s, _| !slots.contains(*s));
            }
        }
    }

    /// Every slot has one owner, every shard its share and its replicas, and all know each other and nobody else.
    pub fn whole(&mut self) {
        let plan = self.plan();
        assert_eq!(plan.findings.primary, None);
        assert_eq!(plan.findings.slots, None);
        assert_eq!(plan.findings.replication, None);
        let ids: BTreeSet<String> = self.nodes.iter().map(|n| n.id.clone()).collect();
        let mut sum = 0;
        let mut all = SlotSet::new();
        for n in &self.nodes {
            assert_eq!(n.knows, ids, "{}", n.pod);
            assert!(n.shard < self.v.shards);
            sum += u32::from(n.slots.len());
            all = all.union(&n.slots);
            if let Some(id) = &n.primary {
                let primary = self.nodes.iter().find(|p| &p.id == id).unwrap();
                assert_eq!(primary.shard, n.shard);
                assert!(n.slots.is_empty() && !primary.slots.is_empty());
            } else {
                let share = 16_384 / self.v.shards;
                let has = i32::from(n.slots.len());
                assert!(has == share || has == share + 1, "{} has {has}", n.pod);
            }
        }
        assert!(all.is_full() && sum == 16_384, "{sum}");
        let ready = self
            .o
            .status
            .conditions
            .iter()
            .find(|c| c.type_ == status::READY);
        assert_eq!(ready.unwrap().status, "True", "{ready:?}");
    }
}

fn validated(shards: i32, replicas: i32, storage: bool) -> Validated {
    let mut spec = serde_json::json!({
        "mode": "Cluster", "shards": shards, "replicasPerShard": replicas - 1,
    });
    if storage {
        spec["storage"] = serde_json::json!({"size": "1Gi"});
    }
    let spec: RedisSpec = serde_json::from_value(spec).unwrap();
    let mut redis = Redis::new("db", spec);
    redis.metadata.namespace = Some("shop".into());
    redis.metadata.uid = Some("uid".into());
    validate(&redis, &Observed::default()).unwrap()
}
