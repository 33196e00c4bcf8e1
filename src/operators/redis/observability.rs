//! The objects for a Prometheus operator. The cluster may lack their kinds: then there is nothing to do.

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

use super::build::Resources;
use super::model::{Observed, Validated};
use super::{FIELD_MANAGER, Operator};
use crate::k8s::delete::{self, Options};
use crate::k8s::{self, apply};
use crate::manager::caches::{Cache, Kind};

impl Operator {
    /// Brings these objects to what the spec asks for.
    pub(super) async fn apply_monitoring(
        &self,
        v: &Validated,
        o: &Observed,
        r: &Resources,
    ) -> Result<(), k8s::Error> {
        let (monitor, rule) = tokio::join!(
            self.optional(v, o, &self.caches.pod_monitors, r.pod_monitor.as_ref()),
            self.optional(
                v,
                o,
                &self.caches.prometheus_rules,
                r.prometheus_rule.as_ref()
            ),
        );
        monitor.and(rule)
    }

    async fn optional<K>(
        &self,
        v: &Validated,
        o: &Observed,
        cache: &Cache<K>,
        wanted: Option<&K>,
    ) -> Result<(), k8s::Error>
    where
        K: Kind + Resource<DynamicType = ()> + Serialize + DeserializeOwned,
    {
        if !cache.is_ready() {
            return Ok(());
        }
        let client = &self.ctx.client;
        let live = cache.owned_by(&o.uid);
        let live = live.iter().map(AsRef::as_ref);
        if let Some(wanted) = wanted {
            let observed = live
                .clone()
                .find(|l: &&K| l.meta().name == wanted.meta().name);
            match apply::apply(client, FIELD_MANAGER, wanted, observed).await {
                // The kind went away a moment ago.
                Ok(_) | Err(k8s::Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for orphan in delete::orphans(wanted.map(std::slice::from_ref).unwrap_or_default(), live) {
            delete::delete(client, orphan, &v.owner, &Options::default()).await?;
        }
        Ok(())
    }
}
