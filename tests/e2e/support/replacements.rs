//! Watches in which order the pods of a database are replaced, and how many are missing at the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::ResourceExt;
use tokio::task::JoinHandle;

use super::database::Database;
use super::hera::is_ready;

const LOOK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Seen {
    order: Vec<String>,
    most_missing: usize,
}

/// Watches from now on.
pub struct Replacements {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

impl Drop for Replacements {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Replacements {
    /// Starts to watch. All pods must be Ready.
    pub async fn start(database: &Database) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let first = database.uids().await;
        let task = tokio::spawn(watch(database.clone(), first, seen.clone()));
        Self { seen, task }
    }

    /// The pods in the order in which their successors came up.
    pub fn order(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.order.clone()
    }

    /// The most pods that were missing, ending, or not Ready yet after they were made, at the same time.
    pub fn most_missing(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.most_missing
    }
}

async fn watch(database: Database, first: BTreeMap<String, String>, seen: Arc<Mutex<Seen>>) {
    let mut known: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    // A pod that became Ready once is up; its readiness may change later for other reasons.
    let mut up: BTreeSet<String> = first.values().cloned().collect();
    for (name, uid) in &first {
        known.entry(name.clone()).or_default().insert(uid.clone());
    }
    loop {
        // Of the servers alone, as those that it began with.
        let pods = database.pods().await;
        let mut missing = first.len();
        for pod in pods.values() {
            let (name, uid) = (pod.name_any(), pod.uid().unwrap_or_default());
            if is_ready(pod) {
                up.insert(uid.clone());
            }
            if up.contains(&uid) && pod.metadata.deletion_timestamp.is_none() {
                missing = missing.saturating_sub(1);
            }
            if known.entry(name.clone()).or_default().insert(uid) {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                seen.order.push(name);
            }
        }
        {
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.most_missing = seen.most_missing.max(missing);
        }
        tokio::time::sleep(LOOK).await;
    }
}
