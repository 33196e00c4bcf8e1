//! The Redis operator: `Redis` (`redis.hera.dev/v1alpha1`).
//!
//! One reconcile: observe, validate, build, apply, plan, act, status. The pure stages are `validate`, `build`, `plan` and `status`.

pub mod accounts;
pub mod act;
pub mod api;
pub mod apply;
pub mod build;
pub mod certificates;
pub mod directives;
pub mod encryption;
pub mod error;
pub mod external;
pub mod figures;
pub mod instances;
pub mod issuance;
pub mod metrics;
pub mod model;
pub mod news;
pub mod observability;
pub mod observe;
pub mod plan;
pub mod rbac;
pub mod reasons;
pub mod reconcile;
pub mod sentinels;
pub mod status;
pub mod users;
pub mod validate;
pub mod versions;

use std::sync::Arc;

use futures::{Stream, StreamExt};
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Secret, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::ResourceExt;
use kube::core::PartialObjectMeta;
use kube::runtime::reflector::ObjectRef;
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

use self::api::Redis;
use self::certificates::Certificates;
use self::instances::Instances;
use self::issuance::Asked;
use self::metrics::Metrics;
use self::reconcile::Latest;
use self::sentinels::Connections;
use crate::k8s::prometheus::{PodMonitor, PrometheusRule};
use crate::manager::caches::{Cache, Kind};
use crate::manager::{Context, Registration, controller};

/// Name of this operator: in `--controllers`, in metrics, and in its field manager `hera-redis`.
pub const NAME: &str = "redis";
/// Field manager of all that this operator writes.
pub const FIELD_MANAGER: &str = "hera-redis";
/// API group of its kinds.
pub const GROUP: &str = "redis.hera.dev";

/// The operator with what it holds while the process leads.
pub struct Operator {
    ctx: Context,
    caches: Watched,
    instances: Instances,
    sentinels: Connections,
    latest: Latest,
    metrics: Metrics,
    certificates: Certificates,
    asked: Asked,
}

#[derive(Clone)]
struct Watched {
    redises: Cache<Redis>,
    statefulsets: Cache<StatefulSet>,
    pods: Cache<Pod>,
    services: Cache<Service>,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    endpoint_slices: Cache<EndpointSlice>,
    disruption_budgets: Cache<PodDisruptionBudget>,
    network_policies: Cache<NetworkPolicy>,
    pod_monitors: Cache<PodMonitor>,
    prometheus_rules: Cache<PrometheusRule>,
    claims: Cache<PersistentVolumeClaim>,
    /// Every Secret, but only its metadata: a Secret that a spec names may be anybody's.
    all_secrets: Cache<PartialObjectMeta<Secret>>,
}

impl Watched {
    fn of(ctx: &Context) -> Self {
        let c = &ctx.caches;
        Self {
            redises: c.all(),
            statefulsets: c.owned(),
            pods: c.owned(),
            services: c.owned(),
            config_maps: c.owned(),
            secrets: c.owned(),
            endpoint_slices: c.owned(),
            disruption_budgets: c.owned(),
            network_policies: c.owned(),
            pod_monitors: c.optional(),
            prometheus_rules: c.optional(),
            claims: c.owned(),
            all_secrets: c.all(),
        }
    }
}

/// How the process starts this operator.
pub fn registration() -> Registration {
    Registration::new(NAME, |ctx| {
        let caches = Watched::of(&ctx);
        run(ctx, caches)
    })
}

async fn run(ctx: Context, caches: Watched) {
    #[allow(clippy::expect_used)] // At the start, and only when two metrics have the same name.
    let metrics = Metrics::register(ctx.metrics.catalog()).expect("names of metrics are unique");
    let (sender, mut changes) = mpsc::unbounded_channel();
    let servers = futures::stream::poll_fn(move |cx| changes.poll_recv(cx))
        .map(|change: crate::engines::redis::Change<ObjectRef<Redis>>| change.tag);
    let redises = caches.redises.clone();
    let referrers = caches.all_secrets.triggers(move |secret| {
        let (namespace, name) = (secret.namespace().unwrap_or_default(), secret.name_any());
        let named = |r: &Redis| {
            users::references(r).any(|s| s.name == name)
                || r.spec
                    .tls
                    .as_ref()
                    .is_some_and(|t| t.secret(&r.name_any()) == name)
        };
        redises
            .list(&namespace, named)
            .iter()
            .map(|r| ObjectRef::from_obj(&**r))
            .collect::<Vec<_>>()
    });
    let triggers = futures::stream::select_all([
        servers.boxed(),
        referrers.boxed(),
        caches.statefulsets.owners().boxed(),
        caches.pods.triggers(named).boxed(),
        caches.services.owners().boxed(),
        caches.config_maps.owners().boxed(),
        caches.secrets.owners().boxed(),
        caches.endpoint_slices.owners().boxed(),
        caches.disruption_budgets.owners().boxed(),
        caches.network_policies.owners().boxed(),
        caches.pod_monitors.owners().boxed(),
        caches.prometheus_rules.owners().boxed(),
        arrivals(&caches.pod_monitors, &caches.redises).boxed(),
        arrivals(&caches.prometheus_rules, &caches.redises).boxed(),
        caches.claims.triggers(named).boxed(),
    ]);
    let operator = Operator {
        ctx: ctx.clone(),
        caches,
        instances: Instances::new(sender),
        sentinels: Connections::default(),
        latest: Latest::default(),
        metrics,
        certificates: Certificates::default(),
        asked: Asked::default(),
    };
    let operator = Arc::new(operator);
    let _figures = AbortOnDropHandle::new(tokio::spawn(refresh(Arc::clone(&operator))));
    controller::run(ctx, operator, triggers).await;
}

/// Keeps the figures of all databases fresh, for ever.
async fn refresh(operator: Arc<Operator>) {
    let mut tick = tokio::time::interval(figures::PERIOD);
    loop {
        tick.tick().await;
        for (key, servers) in operator.instances.last_known() {
            if operator.metrics.figures.refresh(&key, &servers) {
                operator.instances.look_at(&key);
            }
        }
    }
}

/// The `Redis` that an object names in its label: pods belong to the StatefulSet, claims to nobody.
fn named<K: ResourceExt>(object: &K) -> Option<ObjectRef<Redis>> {
    let name = object.labels().get(model::NAME_LABEL)?;
    Some(ObjectRef::new(name).within(object.namespace().as_deref()?))
}

/// All that ask for an object of the kind, once, when the kind is there.
fn arrivals<K: Kind>(
    kind: &Cache<K>,
    redises: &Cache<Redis>,
) -> impl Stream<Item = ObjectRef<Redis>> + Send + 'static {
    let (kind, redises) = (kind.clone(), redises.clone());
    let there = async move {
        kind.ready().await;
        let asks = |r: &Redis| {
            let monitoring = r.spec.monitoring.as_ref();
            monitoring.is_some_and(|m| m.pod_monitor.is_some() || m.rules.is_some())
        };
        let asking = redises.find(asks);
        futures::stream::iter(asking.into_iter().map(|r| ObjectRef::from_obj(&*r)))
    };
    futures::stream::once(there).flatten()
}
