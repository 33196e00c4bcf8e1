//! What the sentinels say, and whom they would choose.

use std::cmp::Reverse;
use std::time::Duration;

use crate::engines::redis::{Address, MonitoredPrimary, MonitoredReplica, SentinelFailoverState};
use crate::operators::redis::model::{
    Instance, Observed, PORT, Sentinel, SentinelStep, SentinelView, Step, Validated,
};

/// A sentinel chooses no replica that it has not heard from for so long.
const HEARD: Duration = Duration::from_secs(5);
/// Nor one whose `INFO` is older than this; shorter while it takes the primary for lost.
const KNOWN: Duration = Duration::from_secs(30);
const KNOWN_WHEN_LOST: Duration = Duration::from_secs(5);

/// A sentinel with what it knows of our primary.
pub type Watching<'a> = (&'a Sentinel, &'a SentinelView, &'a MonitoredPrimary);

/// What all sentinels say.
pub struct Truth<'v, 'a> {
    pub v: &'v Validated,
    pub o: &'a Observed,
    name: String,
}

impl<'v, 'a> Truth<'v, 'a> {
    pub fn of(v: &'v Validated, o: &'a Observed) -> Self {
        Self {
            v,
            o,
            name: v.monitored_name(),
        }
    }

    /// The sentinels that answer and watch.
    pub fn watching(&self) -> impl Iterator<Item = Watching<'a>> {
        let pods = self.o.sentinels.pods.iter();
        pods.filter_map(|s| s.watches(&self.name).map(|(view, m)| (s, view, m)))
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Sentinels that may run and do not answer: what they do is not known.
    pub fn silent(&self) -> impl Iterator<Item = &'a Sentinel> {
        self.o.sentinels.pods.iter().filter(|s| s.is_silent())
    }

    /// So many have to agree on a failover.
    pub fn majority(&self) -> usize {
        self.o.sentinels.pods.len() / 2 + 1
    }

    /// A failover by the sentinels is under way, and nobody is promoted yet.
    pub fn is_failing_over(&self) -> bool {
        use SentinelFailoverState::{None, ReconfigureReplicas, UpdateConfig};
        self.watching()
            .any(|(_, _, m)| !matches!(m.failover, None | ReconfigureReplicas | UpdateConfig))
    }

    /// Where the primary is by the newest word of the sentinels. Of those that are equally new, the one that Hera recorded.
    pub fn claim(&self) -> Option<Address> {
        let recorded = self.o.status.election.as_ref();
        let is_recorded = |address: &Address| {
            let pod = self.pod_at(address);
            pod.is_some_and(|i| recorded.is_some_and(|e| e.candidate_uid == i.uid))
        };
        let claims = self.watching().map(|(_, view, m)| {
            let told = view.told.clone().unwrap_or_else(|| m.address.clone());
            (m.config_epoch, told)
        });
        claims
            .max_by_key(|(epoch, told)| (*epoch, is_recorded(told)))
            .map(|(_, told)| told)
    }

    /// The pod at an address.
    pub fn pod_at(&self, address: &Address) -> Option<&'a Instance> {
        let all = self.o.instances.iter();
        let mut at = all.filter(|i| {
            let ip = i.ip.as_deref();
            ip.is_some_and(|ip| address.is_same(ip, PORT))
        });
        at.next()
    }

    /// Makes all that watch forget the primary; `None` when nobody watches.
    pub fn forget(&self, why: &str) -> Option<Step> {
        let sentinels: Vec<String> = self.watching().map(|(s, ..)| s.name().to_owned()).collect();
        (!sentinels.is_empty()).then(|| {
            Step::Sentinel(SentinelStep::Forget {
                sentinels,
                why: why.to_owned(),
            })
        })
    }

    /// A sentinel that would choose a pod for which this holds, and that pod.
    pub fn chooser(
        &self,
        fits: impl Fn(&Instance) -> bool,
    ) -> Option<(&'a Sentinel, &'a Instance)> {
        let mut led = self
            .watching()
            .filter_map(|(s, view, m)| Some((s, self.choice(view, m)?)));
        led.find(|(_, chosen)| fits(chosen))
    }

    /// The pods that some sentinel could choose.
    pub fn usable(&self) -> impl Iterator<Item = &'a Instance> {
        self.o.instances.iter().filter(|i| {
            self.watching().any(|(_, view, m)| {
                let mut fit = view.replicas.iter().filter(|r| self.fits(r, m));
                fit.any(|r| self.pod_at(&r.address).is_some_and(|at| at.pod == i.pod))
            })
        })
    }

    /// The replica that this sentinel would choose by what it knows: by priority, offset and run id, as `sentinelSelectSlave` of the
    /// servers does. `None` also when no pod is at its address.
    fn choice(&self, view: &SentinelView, m: &MonitoredPrimary) -> Option<&'a Instance> {
        let fit = view.replicas.iter().filter(|r| self.fits(r, m));
        let chosen = fit.min_by_key(|r| (r.priority, Reverse(r.offset), r.run_id.clone()))?;
        self.pod_at(&chosen.address)
    }

    fn fits(&self, r: &MonitoredReplica, m: &MonitoredPrimary) -> bool {
        let known = if m.flags.is_subjectively_down() {
            KNOWN_WHEN_LOST
        } else {
            KNOWN
        };
        let down_after = self.v.sentinel.as_ref().map(|s| s.down_after);
        r.flags.is_up()
            && r.last_ok_ping <= HEARD
            && r.priority > 0
            && r.info_age <= known
            && r.link_down <= down_after.unwrap_or_default() * 10
    }
}
