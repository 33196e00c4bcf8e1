//! Two managers, one leads: clean stop, sudden end, pause.
use std::time::{Duration, Instant};

use hera::operators;
use k8s_openapi::{
    api::coordination::v1::Lease,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::{
    apiserver::{ApiServer, eventually},
    process::Manager,
};

/// Short periods, so that the tests are; the proportions are those of the defaults.
const FAST: &[&str] = &[
    "--lease-duration=3s",
    "--lease-renew-deadline=2s",
    "--lease-retry-period=400ms",
];

struct Setting {
    server: &'static ApiServer,
    namespace: String,
    leases: Api<Lease>,
}

impl Setting {
    async fn new() -> Self {
        static DEFINITIONS: OnceCell<()> = OnceCell::const_new();
        let server = ApiServer::shared();
        let client = server.client().await;
        DEFINITIONS.get_or_init(|| install(client.clone())).await;
        let namespace = server.namespace(&client).await;
        let leases = Api::namespaced(client, &namespace);
        Self {
            server,
            namespace,
            leases,
        }
    }

    async fn start(&self) -> Manager {
        Manager::start(self.server, &self.namespace, FAST).await
    }

    /// A leader and a standby, both ready.
    async fn pair(&self) -> (Manager, Manager) {
        let leader = self.start().await;
        eventually("the first manager leads", async || {
            leader.leads().then_some(())
        })
        .await;
        let standby = self.start().await;
        eventually("the standby is ready", async || {
            standby.is_ready().then_some(())
        })
        .await;
        assert!(leader.is_ready() && !standby.leads());
        (leader, standby)
    }

    async fn holder(&self) -> Option<String> {
        let lease = self.leases.get_opt("hera").await.ok()??;
        lease
            .spec?
            .holder_identity
            .filter(|holder| !holder.is_empty())
    }
}

async fn install(client: Client) {
    let api = Api::<CustomResourceDefinition>::all(client);
    for definition in operators::crds() {
        api.create(&PostParams::default(), &definition)
            .await
            .expect("the definition is accepted");
    }
}

#[tokio::test]
async fn a_clean_stop_hands_over_at_once() {
    let setting = Setting::new().await;
    let (mut leader, standby) = setting.pair().await;
    assert_eq!(setting.holder().await, leader.identity());
    let stopped = Instant::now();
    leader.signal("TERM");
    assert_eq!(leader.end().await.code(), Some(0), "{}", leader.log());
    assert!(leader.log().contains("released the lease"));
    eventually("the standby leads", async || standby.leads().then_some(())).await;
    println!("handed over in {:?}", stopped.elapsed());
    assert_eq!(setting.holder().await, standby.identity());
    assert!(!standby.log().contains("WARN"), "{}", standby.log());
}

#[tokio::test]
async fn a_killed_leader_is_replaced_when_its_lease_ends() {
    let setting = Setting::new().await;
    let (mut leader, standby) = setting.pair().await;
    leader.signal("KILL");
    assert_eq!(leader.end().await.code(), None);
    assert_eq!(
        setting.holder().await,
        leader.identity(),
        "nobody released it"
    );
    assert!(!standby.leads(), "not before the lease has ended");
    eventually("the standby leads", async || standby.leads().then_some(())).await;
    assert_eq!(setting.holder().await, standby.identity());
}

#[tokio::test]
async fn a_paused_leader_ends_when_it_wakes_up() {
    let setting = Setting::new().await;
    let (mut leader, standby) = setting.pair().await;
    leader.signal("STOP");
    eventually("the standby leads", async || standby.leads().then_some(())).await;
    leader.signal("CONT");
    let status = leader.end().await;
    assert_eq!(status.code(), Some(1), "{}", leader.log());
    assert!(
        leader.log().contains("leadership is lost"),
        "{}",
        leader.log()
    );
    assert_eq!(
        setting.holder().await,
        standby.identity(),
        "the old leader took nothing back"
    );
    assert!(standby.leads());
}

#[tokio::test]
async fn a_lease_that_is_edited_or_deleted_is_kept() {
    let setting = Setting::new().await;
    let (leader, standby) = setting.pair().await;
    let note = json!({ "metadata": { "annotations": { "note": "by somebody else" } } });
    let edited = setting
        .leases
        .patch("hera", &PatchParams::default(), &Patch::Merge(note))
        .await;
    edited.expect("the lease can be edited");
    let renewals = |manager: &Manager| {
        manager
            .metric("rest_client_requests_total")
            .unwrap_or_default()
    };
    let before = renewals(&leader);
    eventually("more renewals", async || {
        (renewals(&leader) > before + 4.0).then_some(())
    })
    .await;
    let lease = setting
        .leases
        .get("hera")
        .await
        .expect("the lease is there");
    assert!(
        lease
            .metadata
            .annotations
            .unwrap_or_default()
            .contains_key("note")
    );
    setting
        .leases
        .delete("hera", &DeleteParams::default())
        .await
        .expect("the lease can be deleted");
    eventually("the lease is made again", async || setting.holder().await).await;
    assert_eq!(setting.holder().await, leader.identity());
    assert!(leader.leads() && !standby.leads());
}

#[tokio::test]
async fn at_rest_nothing_is_written() {
    let setting = Setting::new().await;
    let (leader, standby) = setting.pair().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for manager in [&leader, &standby] {
        assert_eq!(manager.metric("hera_api_writes_total"), Some(0.0));
        assert_eq!(manager.metric("hera_watch_restarts_total"), Some(0.0));
    }
    println!(
        "resident: {:?} bytes",
        leader.metric("process_resident_memory_bytes")
    );
}

#[tokio::test]
async fn the_log_filter_changes_at_run_time() {
    let setting = Setting::new().await;
    let manager = setting.start().await;
    assert_eq!(
        manager.http("GET", "/healthz", ""),
        Some((200, "ok\n".to_owned()))
    );
    assert!(!manager.log().contains("DEBUG"));
    let answer = manager.http("PUT", "/log-filter", "debug");
    assert_eq!(answer, Some((200, "debug\n".to_owned())));
    eventually("debug lines", async || {
        manager.log().contains("DEBUG").then_some(())
    })
    .await;
    assert_eq!(
        manager
            .http("PUT", "/log-filter", "a=b=c")
            .map(|answer| answer.0),
        Some(400)
    );
}
