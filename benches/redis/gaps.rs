//! Changes of the primary while a client writes.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;

use crate::common::options::say;
use crate::common::statistics::Runs;
use crate::support::database::Database;
use crate::support::faults::{delete_pod, signal};
use crate::support::hera::is_ready;
use crate::support::wait::{LONG, ensure, until};
use crate::support::writer::{Report, Writer};

const SWITCHOVER: &str = "redis.hera.dev/switchover";
/// Acknowledged writes before and after each change.
const WRITES: usize = 50;
const PODS: usize = 3;

/// One database, whose primary changes again and again.
pub struct Gaps {
    database: Database,
    /// The longest time between two acknowledged writes, for each change.
    pub runs: Runs,
    acknowledged: usize,
    lost: usize,
}

impl Gaps {
    /// No changes yet.
    pub async fn new(database: Database) -> Self {
        let gaps = Self {
            database,
            runs: Runs::default(),
            acknowledged: 0,
            lost: 0,
        };
        gaps.whole().await;
        gaps
    }

    /// Forgets the results so far.
    pub fn clear(&mut self) {
        (self.runs, self.acknowledged, self.lost) = (Runs::default(), 0, 0);
    }

    /// The lost writes in words.
    pub fn lost(&self) -> String {
        format!(
            "{} of {} in {} runs",
            self.lost,
            self.acknowledged,
            self.runs.count()
        )
    }

    /// Kills the server process of the primary; its container starts again in place.
    pub async fn kill(&mut self, run: usize) {
        let database = &self.database;
        let old = database.primary().await;
        let writer = Writer::start(database).await;
        writer.more(WRITES).await;
        signal(database, &old, "KILL").await;
        database.another_primary(&old).await;
        writer.more(WRITES).await;
        let report = writer.finish().await;
        // A container that ends often is started again later and later; a new pod begins without that past.
        let uid = database.pod(&old).await.uid();
        delete_pod(database, &old).await;
        until("the pod is another one", LONG, || async {
            let pod = database.api::<Pod>().get(&old).await;
            let uid_now = pod.map_err(|error| error.to_string())?.uid();
            ensure(uid_now != uid, || "it is the same".to_owned())
        })
        .await;
        self.note(run, &report).await;
    }

    /// Asks Hera to make another pod the primary.
    pub async fn hand_over(&mut self, run: usize) {
        let database = &self.database;
        let old = database.primary().await;
        let mut pods = database.pods().await.into_keys();
        let target = pods.find(|pod| *pod != old).expect("a replica");
        let writer = Writer::start(database).await;
        writer.more(WRITES).await;
        database.annotate(SWITCHOVER, Some(&target)).await;
        let new = database.another_primary(&old).await;
        assert_eq!(new, target, "the wanted pod is the primary");
        writer.more(WRITES).await;
        let report = writer.finish().await;
        self.note(run, &report).await;
    }

    async fn note(&mut self, run: usize, report: &Report) {
        say(&format!("run {run}: {report}"));
        self.runs.push(report.gap);
        self.acknowledged += report.acknowledged;
        self.lost += report.lost.len();
        self.whole().await;
    }

    /// Waits until all pods are ready and all replicas follow.
    async fn whole(&self) {
        let database = &self.database;
        until("all pods are ready", LONG, || async {
            let pods = database.pods().await;
            let good = |pod: &&Pod| is_ready(pod) && pod.metadata.deletion_timestamp.is_none();
            let ready = pods.values().filter(good).count();
            ensure(ready == PODS, || format!("{ready} pods are ready"))
        })
        .await;
        let primary = database.one_primary().await;
        until("all replicas follow", LONG, || async {
            for pod in database
                .pods()
                .await
                .into_keys()
                .filter(|pod| *pod != primary)
            {
                let server = database.server(&pod).await;
                let link = server.info("replication", "master_link_status").await?;
                ensure(link == "up", || format!("the link of {pod} is {link}"))?;
            }
            Ok(())
        })
        .await;
        database.ready().await;
    }
}
