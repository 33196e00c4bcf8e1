//! Events as `kubectl get events` shows them.
use hera::k8s::events::{EventType, Recorder};
use k8s_openapi::api::{core::v1::ConfigMap, events::v1::Event};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams},
};

use crate::fixtures::{live, owner, start};

async fn all(client: &Client, namespace: &str) -> Vec<Event> {
    let api: Api<Event> = Api::namespaced(client.clone(), namespace);
    api.list(&ListParams::default())
        .await
        .expect("a list")
        .items
}

#[tokio::test]
async fn repeated_events_count_up_and_other_notes_are_other_events() {
    let (client, ns) = start().await;
    owner(&client, &ns, "o").await;
    let regarding = live::<ConfigMap>(&client, &ns, "o").await.object_ref(&());
    let recorder = Recorder::new(client.clone(), "hera", Some("hera-0".into()));
    let moved = async |recorder: &Recorder, note: &str| {
        recorder
            .transition(
                &regarding,
                EventType::Warning,
                "PrimaryMoved",
                "Failover",
                note,
            )
            .await;
    };

    moved(&recorder, "from a to b").await;
    moved(&recorder.clone(), "from a to b").await;
    let events = all(&client, &ns).await;
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!(event.series.as_ref().map(|s| s.count), Some(2));
    assert_eq!(event.type_.as_deref(), Some("Warning"));
    assert_eq!(event.reason.as_deref(), Some("PrimaryMoved"));
    assert_eq!(event.reporting_controller.as_deref(), Some("hera"));
    assert_eq!(event.reporting_instance.as_deref(), Some("hera-0"));
    assert_eq!(
        event.regarding.as_ref().and_then(|r| r.uid.clone()),
        regarding.uid
    );

    moved(&recorder, "from b to a").await;
    assert_eq!(all(&client, &ns).await.len(), 2);

    // An event that has expired in between is made anew.
    let api: Api<Event> = Api::namespaced(client.clone(), &ns);
    for event in all(&client, &ns).await {
        api.delete(&event.name_any(), &DeleteParams::default())
            .await
            .expect("deleted");
    }
    moved(&recorder, "from a to b").await;
    let notes: Vec<_> = all(&client, &ns)
        .await
        .into_iter()
        .filter_map(|e| e.note)
        .collect();
    assert_eq!(notes, ["from a to b"]);
}

#[tokio::test]
async fn an_event_that_cannot_be_written_is_no_error() {
    let (client, ns) = start().await;
    owner(&client, &ns, "o").await;
    let regarding = live::<ConfigMap>(&client, &ns, "o").await.object_ref(&());
    let nobody = crate::apiserver::ApiServer::shared()
        .client_as("nobody", &[])
        .await;
    let recorder = Recorder::new(nobody, "hera", None);
    recorder
        .transition(
            &regarding,
            EventType::Normal,
            "Test",
            "Test",
            "x".repeat(2000),
        )
        .await;
    assert!(all(&client, &ns).await.is_empty());
    let recorder = Recorder::new(client.clone(), "hera", None);
    recorder
        .transition(
            &regarding,
            EventType::Normal,
            "Test",
            "Test",
            "x".repeat(2000),
        )
        .await;
    assert_eq!(
        all(&client, &ns).await.len(),
        1,
        "a long note is cut, not refused"
    );
}
