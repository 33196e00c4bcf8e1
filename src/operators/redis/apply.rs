//! Writes the objects, and deletes those that are no longer wanted.

use k8s_openapi::api::core::v1::{ConfigMap, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt};

use super::api::IpFamily;
use super::build::{self, Resources, SERVICE_NAME_LABEL};
use super::error::Error;
use super::model::{Credentials, Observed, Validated};
use super::{FIELD_MANAGER, Operator};
use crate::k8s::apply::{self, Item};
use crate::k8s::delete::{self, Options};
use crate::k8s::{self, owner};

impl Operator {
    /// Applies the objects, and says whether the StatefulSet was changed.
    pub(super) async fn apply(
        &self,
        v: &Validated,
        o: &Observed,
        credentials: &Credentials,
    ) -> Result<bool, Error> {
        let resources = build::build(v, o, credentials)?;
        let Resources {
            server_secret,
            connection_secret,
            user_connection_secrets,
            config_map,
            start_config_map,
            sentinel_secret,
            services,
            network_policy,
            disruption_budgets,
            statefulsets,
            ..
        } = &resources;
        let live = &o.objects;
        let mut first = vec![
            Item::new(server_secret, live.server_secret.as_ref())?,
            Item::new(connection_secret, live.connection_secret.as_ref())?,
            Item::new(config_map, live.config_map.as_ref())?,
            Item::new(
                start_config_map,
                same(start_config_map, &live.start_config_maps),
            )?,
        ];
        if let Some(s) = sentinel_secret {
            first.push(Item::new(s, o.sentinels.secret.as_ref())?);
        }
        for s in user_connection_secrets {
            let mut own = live.user_secrets.iter();
            let found = own.find(|l| l.metadata.name == s.metadata.name);
            first.push(Item::new(s, found)?);
        }
        for s in services {
            first.push(Item::new(s, same(s, &live.services))?);
        }
        if let Some(policy) = network_policy {
            first.push(Item::new(policy, same(policy, &live.network_policies))?);
        }
        let budgets: Vec<&PodDisruptionBudget> = live
            .disruption_budget
            .iter()
            .chain(&o.cluster.budgets)
            .chain(&o.sentinels.budget)
            .collect();
        for budget in disruption_budgets {
            let observed = budgets
                .iter()
                .find(|l| l.metadata.name == budget.metadata.name);
            first.push(Item::new(budget, observed.copied())?);
        }
        let mut sets = Vec::new();
        for set in statefulsets {
            let observed = live.statefulset.iter().chain(o.cluster.sets.values());
            let mut observed = observed
                .chain(&o.sentinels.set)
                .filter(|l| l.metadata.name == set.metadata.name);
            sets.push(Item::new(set, observed.next())?);
        }
        let summary =
            apply::apply_groups(&self.ctx.client, FIELD_MANAGER, vec![first, sets]).await?;
        let changed = summary
            .applied
            .iter()
            .any(|(kind, _)| kind == "StatefulSet");
        for orphan in delete::orphans(disruption_budgets, budgets) {
            delete::delete(&self.ctx.client, orphan, &v.owner, &Options::default()).await?;
        }
        for orphan in delete::orphans(network_policy.as_slice(), &live.network_policies) {
            delete::delete(&self.ctx.client, orphan, &v.owner, &Options::default()).await?;
        }
        self.clean(v, o, services).await?;
        self.clean_start_configs(v, o, start_config_map).await?;
        self.apply_monitoring(v, o, &resources).await?;
        Ok(changed)
    }

    /// Deletes the redis.conf of revisions that no pod has any more.
    async fn clean_start_configs(
        &self,
        v: &Validated,
        o: &Observed,
        wanted: &ConfigMap,
    ) -> Result<(), k8s::Error> {
        let in_use = |map: &&&ConfigMap| {
            o.instances
                .iter()
                .filter_map(|i| i.config_hash.as_deref())
                .any(|hash| map.name_any() == v.start_config_map(hash))
        };
        let (live, options) = (&o.objects.start_config_maps, Options::default());
        for orphan in delete::orphans(std::slice::from_ref(wanted), live)
            .iter()
            .filter(|map| !in_use(map))
        {
            delete::delete(&self.ctx.client, *orphan, &v.owner, &options).await?;
        }
        Ok(())
    }

    /// Deletes what is there and no longer wanted.
    async fn clean(
        &self,
        v: &Validated,
        o: &Observed,
        services: &[Service],
    ) -> Result<(), k8s::Error> {
        let (live, client, options) = (&o.objects, &self.ctx.client, Options::default());
        for orphan in delete::orphans(services, &live.services) {
            delete::delete(client, orphan, &v.owner, &options).await?;
        }
        if let Some(secret) = o.sentinels.secret.as_ref()
            && !v.watched()
            && o.sentinels.set.is_none()
        {
            delete::delete(client, secret, &v.owner, &options).await?;
        }
        for unused in build::unused_user_secrets(v, o) {
            delete::delete(client, unused, &v.owner, &options).await?;
        }
        // A slice is written by Kubernetes when its Service has a selector, and by Hera otherwise. After a change the former ones
        // would stay for ever; they go when the new ones are there, so that the Service always leads somewhere.
        let led_by = |slices: &[EndpointSlice], service: &Service| {
            slices.iter().any(|slice| is_of(slice, service))
        };
        let (own, foreign) = (&live.endpoint_slices, &live.service_slices);
        // Without an address of any pod it is not known which families there are.
        let families = build::families(v, &o.instances);
        for slice in own {
            let of = services.iter().find(|s| is_of(slice, s));
            let family = |f: &IpFamily| f.word() == slice.address_type;
            let idle = !families.is_empty() && !families.iter().any(family);
            if idle || of.is_none_or(|s| has_selector(s) && led_by(foreign, s)) {
                delete::delete(client, slice, &v.owner, &options).await?;
            }
        }
        for slice in foreign {
            let of = services.iter().find(|s| is_of(slice, s));
            // Observed by the UID of a Service that is ours.
            let service = owner::controller_of(&slice.metadata);
            if of.is_some_and(|s| !has_selector(s) && led_by(own, s))
                && let Some(service) = service
            {
                delete::delete(client, slice, service, &options).await?;
            }
        }
        Ok(())
    }
}

fn same<'a, K: Resource>(object: &K, live: &'a [K]) -> Option<&'a K> {
    live.iter().find(|l| l.meta().name == object.meta().name)
}

fn is_of(slice: &EndpointSlice, service: &Service) -> bool {
    slice.labels().get(SERVICE_NAME_LABEL) == service.metadata.name.as_ref()
}

fn has_selector(service: &Service) -> bool {
    service
        .spec
        .as_ref()
        .is_some_and(|spec| spec.selector.is_some())
}
