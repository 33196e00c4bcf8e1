//! One connection held to one server, with its last state and a channel of changes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::address::{Address, Limits};
use super::client::Client;
use super::credentials::Credentials;
use super::failure::Failure;
use super::info::Info;
use super::observation::{MonitorState, What};

/// Every how many polls all sections are read, not only `replication`.
const FULL_EVERY: u32 = 10;

/// Delays between attempts to connect: the first follows a loss at once, then they double up to the last.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LAST_DELAY: Duration = Duration::from_secs(1);

/// What a [`Monitor`] watches.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where the server listens.
    pub address: Address,
    /// Who logs in; needs `ping` and `info`.
    pub credentials: Credentials,
    /// Limits of each attempt.
    pub limits: Limits,
    /// Time between polls.
    pub interval: Duration,
}

impl Target {
    /// A target with the usual limits, polled every second.
    pub fn new(address: Address, credentials: Credentials) -> Self {
        Self {
            address,
            credentials,
            limits: Limits::default(),
            interval: Duration::from_secs(1),
        }
    }
}

/// What a [`Monitor`] tells when something changed; the new state is [`Monitor::state`].
#[derive(Clone, Debug)]
pub struct Change<T> {
    /// What the monitor was started with: whom the change concerns.
    pub tag: T,
    /// The differences, at least one.
    pub what: Vec<What>,
}

/// Watches one server until it is dropped.
///
/// It holds one connection. When the server's process ends, the connection ends, which is noticed within milliseconds;
/// a server that hangs or is cut off is noticed by a poll that gets no answer. After each failure it connects again,
/// at once and then with delays of at most a second.
pub struct Monitor {
    address: Address,
    state: watch::Receiver<MonitorState>,
    client: watch::Receiver<Option<Client>>,
    poke: Arc<Notify>,
    _task: AbortOnDropHandle<()>,
}

impl fmt::Debug for Monitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitor")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Monitor {
    /// Starts to watch. Needs a tokio runtime.
    ///
    /// Changes are sent to `changes` with a copy of `tag`; the channel is unbounded because there are few and none may be
    /// lost. When the receiver is gone, the monitor goes on and its state stays readable.
    pub fn start<T: Clone + Send + Sync + 'static>(
        target: Target,
        tag: T,
        changes: mpsc::UnboundedSender<Change<T>>,
    ) -> Self {
        let address = target.address.clone();
        let (state_sender, state) = watch::channel(MonitorState::default());
        let (client_sender, client) = watch::channel(None);
        let poke = Arc::new(Notify::new());
        let watcher = Watcher {
            target,
            poke: Arc::clone(&poke),
            client: client_sender,
            state: state_sender,
            tell: Box::new(move |what| {
                let tag = tag.clone();
                // A receiver that is gone has nobody left to tell.
                let _ = changes.send(Change { tag, what });
            }),
        };
        Self {
            address,
            state,
            client,
            poke,
            _task: AbortOnDropHandle::new(tokio::spawn(watcher.run())),
        }
    }

    /// The server's address.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// What is known now.
    pub fn state(&self) -> MonitorState {
        self.state.borrow().clone()
    }

    /// A receiver that sees every new state, also one without a [`Change`].
    pub fn states(&self) -> watch::Receiver<MonitorState> {
        self.state.clone()
    }

    /// The open connection, for commands; `None` while there is none.
    pub fn client(&self) -> Option<Client> {
        self.client
            .borrow()
            .clone()
            .filter(|client| !client.is_closed())
    }

    /// Asks for a poll or an attempt to connect now, without waiting for the next one.
    pub fn poll_now(&self) {
        self.poke.notify_one();
    }
}

/// The task behind a [`Monitor`].
struct Watcher {
    target: Target,
    poke: Arc<Notify>,
    client: watch::Sender<Option<Client>>,
    state: watch::Sender<MonitorState>,
    tell: Box<dyn Fn(Vec<What>) + Send + Sync>,
}

impl Watcher {
    async fn run(self) {
        let mut delay = Duration::ZERO;
        loop {
            let Target {
                address,
                credentials,
                limits,
                ..
            } = &self.target;
            match Client::connect(address, credentials, *limits).await {
                Ok(client) => {
                    self.client.send_replace(Some(client.clone()));
                    let (failure, answered) = self.serve(&client).await;
                    self.client.send_replace(None);
                    self.update(|state, now| state.silent(failure, now));
                    if answered {
                        delay = Duration::ZERO;
                    }
                }
                Err(failure) => {
                    self.update(|state, now| {
                        if failure.is_alive() {
                            state.answered(None, Some(failure), now);
                        } else {
                            state.silent(failure, now);
                        }
                    });
                }
            }
            tokio::select! {
                () = tokio::time::sleep(delay) => delay = (delay * 2).clamp(FIRST_DELAY, LAST_DELAY),
                () = self.poke.notified() => {}
            }
        }
    }

    /// Polls on an open connection until it fails. Returns why, and whether there was an answer before.
    async fn serve(&self, client: &Client) -> (Failure, bool) {
        // The facts that a short poll refreshes; without them the poll is a full one.
        let mut base: Option<Info> = None;
        let mut short_polls = 0;
        let mut answered = false;
        loop {
            let was_short = base.is_some();
            let (info, failure) = match poll(client, base.as_ref()).await {
                Ok(answer) => answer,
                Err(failure) => return (failure, answered),
            };
            answered = true;
            short_polls = if was_short { short_polls + 1 } else { 0 };
            // After a change, and while something is wrong, the other sections count as well.
            let is_clean = failure.is_none() && info.is_some();
            let next = info.clone();
            let is_changed = self.update(|state, now| state.answered(info, failure, now));
            let wants_full = !is_clean || short_polls >= FULL_EVERY || (was_short && is_changed);
            base = next.filter(|_| !wants_full);
            if was_short && is_changed && is_clean {
                continue;
            }
            tokio::select! {
                () = client.closed() => return (Failure::Closed, answered),
                () = tokio::time::sleep(self.target.interval) => {}
                () = self.poke.notified() => {}
            }
        }
    }

    /// Changes the state and tells the differences. Returns whether there were any.
    fn update(&self, change: impl FnOnce(&mut MonitorState, Instant)) -> bool {
        let before = self.state.borrow().clone();
        let mut after = before.clone();
        change(&mut after, Instant::now());
        let what = after.differences(&before);
        // The state first: who hears of a change reads the new state.
        self.state.send_replace(after);
        let is_changed = !what.is_empty();
        if is_changed {
            (self.tell)(what);
        }
        is_changed
    }
}

/// One poll: a short one that refreshes `base`, or a full one without it.
///
/// Fails only when no answer came. An answer that is an error, or one that cannot be read, is the second part.
async fn poll(
    client: &Client,
    base: Option<&Info>,
) -> Result<(Option<Info>, Option<Failure>), Failure> {
    let (ping, info) = client.poll(base.is_none()).await?;
    let info = info.and_then(|text| {
        match base {
            Some(base) => base.with_replication(&text),
            None => Info::parse(&text),
        }
        .map_err(|error| Failure::Protocol(error.to_string()))
    });
    Ok(match info {
        Ok(info) => (Some(info), ping.err()),
        Err(failure) => (None, ping.err().or(Some(failure))),
    })
}
