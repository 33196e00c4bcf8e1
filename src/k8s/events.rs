//! Events, on transitions only, from one recorder in the process.
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::api::core::v1::ObjectReference;
pub use kube::runtime::events::EventType;
use kube::{
    Client,
    runtime::events::{self, Event, Reporter},
};
use tokio::time::{Instant, timeout};

/// The longest note that the API accepts is shorter than 1024 bytes.
const MAX_NOTE: usize = 1000;
/// How long a repeated event is counted on the first one; longer ago, it is a new event.
const SERIES: Duration = Duration::from_secs(360);
/// An event is never worth more waiting than this.
const TIME_LIMIT: Duration = Duration::from_secs(5);

/// Publishes events. Clones share what they know, so that a repeated event counts up in place of making another one.
///
/// The library's recorder counts a repeated event up without looking at its note; two transitions with the same reason and
/// another note (a primary that moved to another pod) would then show the first note. So there is one such recorder for each
/// note of the last minutes.
#[derive(Clone)]
pub struct Recorder {
    client: Client,
    reporter: Reporter,
    by_note: Arc<Mutex<HashMap<String, (events::Recorder, Instant)>>>,
}

impl std::fmt::Debug for Recorder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorder")
            .field("reporter", &self.reporter)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    /// A recorder that reports as `controller` (for example `hera`) and, when given, as the pod `instance`.
    pub fn new(client: Client, controller: &str, instance: Option<String>) -> Self {
        Self {
            client,
            reporter: Reporter {
                controller: controller.to_owned(),
                instance,
            },
            by_note: Arc::default(),
        }
    }

    /// Publishes one transition of the object `regarding`. `reason` is that of the condition, `action` what Hera did or tries
    /// to do (CamelCase), `note` for people; no secret may be in it.
    ///
    /// An event that cannot be written is logged and otherwise lost: it never holds up a reconcile.
    pub async fn transition(
        &self,
        regarding: &ObjectReference,
        type_: EventType,
        reason: &str,
        action: &str,
        note: impl Into<String>,
    ) {
        let note = shortened(note.into());
        let event = Event {
            type_,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note: Some(note.clone()),
            secondary: None,
        };
        let known = self.recorder(&note);
        let published = match timeout(TIME_LIMIT, known.publish(&event, regarding)).await {
            // The event that was to be counted up has expired or was deleted: make a new one.
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => {
                self.forget(&note);
                timeout(TIME_LIMIT, self.recorder(&note).publish(&event, regarding)).await
            }
            other => other,
        };
        match published {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(reason, %error, "an event could not be written"),
            Err(_) => tracing::warn!(reason, "an event could not be written in time"),
        }
    }

    fn recorder(&self, note: &str) -> events::Recorder {
        let now = Instant::now();
        let mut by_note = self.by_note.lock().unwrap_or_else(PoisonError::into_inner);
        by_note.retain(|_, (_, used)| now.duration_since(*used) < SERIES);
        let (recorder, used) = by_note.entry(note.to_owned()).or_insert_with(|| {
            (
                events::Recorder::new(self.client.clone(), self.reporter.clone()),
                now,
            )
        });
        *used = now;
        recorder.clone()
    }

    fn forget(&self, note: &str) {
        self.by_note
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(note);
    }
}

fn shortened(mut note: String) -> String {
    if note.len() > MAX_NOTE {
        let end = (0..=MAX_NOTE)
            .rev()
            .find(|end| note.is_char_boundary(*end))
            .unwrap_or(0);
        note.truncate(end);
    }
    note
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_notes_are_cut_between_characters() {
        assert_eq!(shortened("short".into()), "short");
        let cut = shortened("ä".repeat(MAX_NOTE));
        assert_eq!(cut.len(), MAX_NOTE);
        assert_eq!(shortened(format!("x{cut}")).len(), MAX_NOTE - 1);
    }
}
