use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::ConfigMap;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    engines::network::Network,
    k8s::events::Recorder,
    manager::{
        Leadership, Rollouts, caches::Caches, clock::Clock, fake_api::FakeApi, metrics::Metrics,
    },
    settings::Settings,
};

/// What the controller of the tests does with an object is written in the object.
#[derive(Default)]
struct Fake {
    calls: Mutex<Vec<(String, Instant)>>,
    forgotten: Mutex<Vec<String>>,
    running: AtomicUsize,
    most: AtomicUsize,
    called: Notify,
    release: Notify,
}

#[derive(Debug, thiserror::Error)]
#[error("failed as told")]
struct FakeError(Retry);

impl ReconcileError for FakeError {
    fn reason(&self) -> &'static str {
        "AsTold"
    }

    fn retry(&self) -> Retry {
        self.0
    }
}

impl Controller for Fake {
    const NAME: &'static str = "fake";
    type Kind = ConfigMap;
    type Error = FakeError;

    async fn reconcile(&self, object: Arc<ConfigMap>) -> Result<Duration, FakeError> {
        let name = object.metadata.name.clone().unwrap();
        self.calls.lock().unwrap().push((name, Instant::now()));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(running, Ordering::SeqCst);
        self.called.notify_waiters();
        let what = object
            .data
            .as_ref()
            .and_then(|data| data.get("do").cloned())
            .unwrap_or_default();
        let result = match what.as_str() {
            "fail" => Err(FakeError(Retry::Backoff)),
            "give up" => Err(FakeError(Retry::OnChange)),
            "again" => Ok(Duration::from_secs(5)),
            "wait" => {
                self.release.notified().await;
                Ok(Duration::from_secs(3600))
            }
            "hang" => std::future::pending().await,
            "panic" => {
                self.running.fetch_sub(1, Ordering::SeqCst);
                panic!("as told")
            }
            _ => Ok(Duration::from_secs(3600)),
        };
        self.running.fetch_sub(1, Ordering::SeqCst);
        result
    }

    fn forget(&self, object: &ObjectRef<ConfigMap>) {
        self.forgotten.lock().unwrap().push(object.name.clone());
        self.called.notify_waiters();
    }
}

struct Test {
    api: FakeApi,
    ctx: Context,
    controller: Arc<Fake>,
    running: tokio::task::JoinHandle<()>,
}

impl Test {
    fn start(objects: &[(&str, &str)]) -> Self {
        let api = FakeApi::default();
        for (name, what) in objects {
            put(&api, name, what);
        }
        let metrics = Arc::new(Metrics::new().unwrap());
        let client = api.client();
        let ctx = Context {
            caches: Arc::new(Caches::new(client.clone(), &[], Arc::clone(&metrics))),
            network: Network::default(),
            clock: Clock::default(),
            recorder: Recorder::new(client.clone(), "test", None),
            leadership: Leadership::always(),
            rollouts: Rollouts::new(0, Arc::clone(&metrics)),
            settings: Arc::new(Settings::from_flags(["--concurrency=3"]).unwrap()),
            shutdown: CancellationToken::new(),
            client,
            metrics,
        };
        let controller = Arc::new(Fake::default());
        let running = tokio::spawn(run(
            ctx.clone(),
            Arc::clone(&controller),
            futures::stream::pending(),
        ));
        Self {
            api,
            ctx,
            controller,
            running,
        }
    }

    fn calls(&self, name: &str) -> Vec<Instant> {
        let calls = self.controller.calls.lock().unwrap();
        calls
            .iter()
            .filter(|call| call.0 == name)
            .map(|call| call.1)
            .collect()
    }

    /// Waits until the condition holds; it is checked after each call of the controller.
    async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let wait = async {
            loop {
                let called = self.controller.called.notified();
                if condition(self) {
                    return;
                }
                let _ = tokio::time::timeout(Duration::from_secs(1), called).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(7200), wait)
            .await
            .expect("the condition");
    }
}

fn put(api: &FakeApi, name: &str, what: &str) {
    api.put("ns", name, |object| {
        object.data = Some([("do".to_owned(), what.to_owned())].into());
        object.metadata.generation = object.metadata.generation.map(|generation| generation + 1);
    });
}

fn gaps(calls: &[Instant]) -> Vec<Duration> {
    calls.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[tokio::test(start_paused = true)]
async fn all_objects_are_reconciled_and_again_after_the_resync_interval() {
    let test = Test::start(&[("a", ""), ("b", ""), ("c", "again")]);
    test.until(|test| test.calls("a").len() == 2).await;
    let resync = gaps(&test.calls("a"))[0].as_secs_f64();
    assert!(
        (540.0..=660.1).contains(&resync),
        "an hour is capped at 10 min, varied by 10 %: {resync}"
    );
    let again = gaps(&test.calls("c"));
    assert!(
        again
            .iter()
            .all(|gap| (4.4..=5.6).contains(&gap.as_secs_f64())),
        "{again:?}"
    );
    let exposed = test.ctx.metrics.text().unwrap();
    assert!(
        exposed.contains(r#"controller_runtime_max_concurrent_reconciles{controller="fake"} 3"#)
    );
    assert!(
        exposed
            .contains(r#"controller_runtime_reconcile_total{controller="fake",result="error"} 0"#)
    );
    assert!(
        exposed.contains(r#"workqueue_depth{name="fake"} 0"#),
        "{exposed}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_counted_and_stops_nothing() {
    let test = Test::start(&[("a", "panic"), ("b", "again")]);
    test.until(|test| test.calls("a").len() > 3 && test.calls("b").len() > 3)
        .await;
    assert!(
        test.ctx
            .metrics
            .reconcile_panics
            .with_label_values(&["fake"])
            .get()
            >= 3
    );
    assert_eq!(
        test.ctx
            .metrics
            .in_backoff
            .with_label_values(&["fake"])
            .get(),
        1
    );
    put(&test.api, "a", "");
    test.until(|test| {
        test.ctx
            .metrics
            .in_backoff
            .with_label_values(&["fake"])
            .get()
            == 0
    })
    .await;
    assert!(!test.running.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_reconcile_that_hangs_ends_at_its_deadline() {
    let test = Test::start(&[("a", "hang")]);
    test.until(|test| test.calls("a").len() == 2).await;
    let gap = gaps(&test.calls("a"))[0].as_secs_f64();
    assert!(
        (60.0..62.0).contains(&gap),
        "60 s and the first delay: {gap}"
    );
    assert_eq!(
        test.ctx
            .metrics
            .reconcile_timeouts
            .with_label_values(&["fake"])
            .get(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_tried_again_later_each_time_and_at_once_after_a_change() {
    let test = Test::start(&[("a", "fail"), ("b", "give up")]);
    test.until(|test| test.calls("a").len() == 12).await;
    let delays = gaps(&test.calls("a"));
    let ceilings = (1..).map(backoff::ceiling);
    for (delay, ceiling) in delays.iter().zip(ceilings) {
        // The timer of the queue counts whole milliseconds.
        assert!(*delay <= ceiling + Duration::from_millis(5), "{delays:?}");
    }
    assert!(
        delays.iter().sum::<Duration>() > Duration::from_secs(60),
        "{delays:?}"
    );
    assert!(
        test.calls("b").len() <= 4,
        "only the resync interval tries again what waits for the user"
    );
    assert!(
        test.ctx
            .metrics
            .reconcile_reasons
            .with_label_values(&["fake", "AsTold"])
            .get()
            > 12
    );

    let before = test.calls("a").len();
    let changed = Instant::now();
    put(&test.api, "a", "fail");
    test.until(|test| test.calls("a").len() > before + 1).await;
    let after = &test.calls("a")[before..];
    assert!(
        after[1] - changed < Duration::from_secs(2),
        "a new generation starts the backoff over"
    );
}

#[tokio::test(start_paused = true)]
async fn concurrency_is_bounded_and_the_queue_is_measured() {
    let names: Vec<String> = (0..10).map(|number| format!("o{number}")).collect();
    let objects: Vec<_> = names.iter().map(|name| (name.as_str(), "wait")).collect();
    let test = Test::start(&objects);
    test.until(|test| test.controller.running.load(Ordering::SeqCst) == 3)
        .await;
    let metrics = &test.ctx.metrics;
    assert_eq!(metrics.active_workers.with_label_values(&["fake"]).get(), 3);
    assert_eq!(metrics.queue_depth.with_label_values(&["fake"]).get(), 7);
    for done in 1..=10 {
        test.controller.release.notify_one();
        test.until(|test| {
            test.ctx
                .metrics
                .reconcile_seconds
                .with_label_values(&["fake"])
                .get_sample_count()
                >= done
        })
        .await;
    }
    assert_eq!(test.controller.most.load(Ordering::SeqCst), 3);
    assert_eq!(metrics.queue_depth.with_label_values(&["fake"]).get(), 0);
    assert_eq!(metrics.active_workers.with_label_values(&["fake"]).get(), 0);
}

#[tokio::test(start_paused = true)]
async fn deleted_objects_are_forgotten() {
    let test = Test::start(&[("a", "fail"), ("b", "")]);
    test.until(|test| test.calls("a").len() == 2 && test.calls("b").len() == 1)
        .await;
    test.api.delete("ns", "a");
    test.until(|test| !test.controller.forgotten.lock().unwrap().is_empty())
        .await;
    let calls = test.calls("a").len();
    assert_eq!(
        test.ctx
            .metrics
            .in_backoff
            .with_label_values(&["fake"])
            .get(),
        0
    );
    // Another object of the same name, while the watch was broken.
    test.api.delete_unseen_and_break("ns", "b");
    put(&test.api, "b", "");
    test.until(|test| test.calls("b").len() == 2).await;
    let forgotten = test.controller.forgotten.lock().unwrap().clone();
    assert!(forgotten.contains(&"b".to_owned()), "{forgotten:?}");
    assert_eq!(test.calls("a").len(), calls);
}

#[tokio::test(start_paused = true)]
async fn shutdown_waits_for_what_is_under_way() {
    let test = Test::start(&[("a", "wait"), ("b", "again")]);
    test.until(|test| test.calls("a").len() == 1 && test.calls("b").len() > 2)
        .await;
    test.ctx.shutdown.cancel();
    let calls = test.controller.calls.lock().unwrap().len();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!test.running.is_finished(), "a is still being reconciled");
    assert_eq!(
        test.controller.calls.lock().unwrap().len(),
        calls,
        "nothing new is begun"
    );
    test.controller.release.notify_one();
    test.running.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_leadership_nothing_is_reconciled() {
    let test = Test::start(&[("a", "again")]);
    test.until(|test| test.calls("a").len() == 2).await;
    test.ctx.leadership.end();
    let calls = test.calls("a").len();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(test.calls("a").len() <= calls + 1);
}

#[tokio::test(start_paused = true)]
async fn objects_wait_until_every_cache_is_complete() {
    let api = FakeApi::default();
    put(&api, "a", "");
    let test = Test::start(&[("a", "")]);
    test.until(|test| test.calls("a").len() == 1).await;
    // A second controller whose other cache cannot be listed.
    let broken = FakeApi::default();
    broken.fail_lists(Some(500));
    let ctx = Context {
        caches: Arc::new(Caches::new(
            broken.client(),
            &[],
            Arc::clone(&test.ctx.metrics),
        )),
        ..test.ctx.clone()
    };
    let controller = Arc::new(Fake::default());
    put(&broken, "a", "");
    let running = tokio::spawn(run(
        ctx.clone(),
        Arc::clone(&controller),
        futures::stream::pending(),
    ));
    tokio::time::sleep(Duration::from_secs(300)).await;
    assert!(controller.calls.lock().unwrap().is_empty());
    ctx.shutdown.cancel();
    running.await.unwrap();
}

#[test]
fn errors_are_one_line_with_their_causes() {
    #[derive(Debug, thiserror::Error)]
    #[error("cannot apply")]
    struct Outer(#[source] std::io::Error);
    let error = Outer(std::io::Error::other("refused"));
    assert_eq!(with_sources(&error), "cannot apply: refused");
}
