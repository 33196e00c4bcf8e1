//! The log: JSON or text on standard error, with a filter that can be changed while the process runs.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt::MakeWriter, layer::SubscriberExt, reload,
    util::SubscriberInitExt,
};

use crate::settings::LogFormat;

/// Directives that stand before those of the user, who can override them. `kube_client` would log whole answers of the API
/// server that it cannot read, which may be Secrets, and repeats errors that reach our own log anyway.
const ALWAYS: &str = "kube_client::client=off";

/// A filter that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{filter:?} is not a log filter: {message}")]
pub struct FilterError {
    filter: String,
    message: String,
}

type Apply = dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync;

/// The filter of the log.
#[derive(Clone)]
pub struct LogFilter {
    current: Arc<Mutex<String>>,
    apply: Arc<Apply>,
}

impl LogFilter {
    /// The directives in force, as they were set.
    pub fn get(&self) -> String {
        self.current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Puts other directives in force.
    ///
    /// # Errors
    /// When they cannot be read; the old ones stay.
    pub fn set(&self, directives: &str) -> Result<(), FilterError> {
        let problem = |message: String| FilterError {
            filter: directives.to_owned(),
            message,
        };
        let filter = parse(directives).map_err(problem)?;
        (self.apply)(filter).map_err(|error| problem(error.to_string()))?;
        directives.clone_into(&mut self.current.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(())
    }

    /// A filter that changes nothing: for tests.
    pub fn detached(directives: &str) -> Self {
        Self {
            current: Arc::new(Mutex::new(directives.to_owned())),
            apply: Arc::new(|_| Ok(())),
        }
    }
}

impl fmt::Debug for LogFilter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("LogFilter")
            .field(&self.get())
            .finish()
    }
}

fn parse(directives: &str) -> Result<EnvFilter, String> {
    let directives = directives.trim();
    let directives = if directives.is_empty() {
        "info"
    } else {
        directives
    };
    EnvFilter::try_new(format!("{ALWAYS},{directives}")).map_err(|error| error.to_string())
}

/// Starts the log of the process and sends panics to it.
///
/// # Errors
/// When the filter cannot be read.
pub fn start(format: LogFormat, directives: &str) -> Result<LogFilter, FilterError> {
    let filter = parse(directives).map_err(|message| FilterError {
        filter: directives.to_owned(),
        message,
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = Registry::default().with(lines(format, std::io::stderr).with_filter(filter));
    if subscriber.try_init().is_err() {
        tracing::debug!("a log is there already");
    }
    std::panic::set_hook(Box::new(|panic| {
        let location = panic
            .location()
            .map(ToString::to_string)
            .unwrap_or_default();
        let payload = panic_message(panic.payload());
        tracing::error!(location, "panic: {payload}");
    }));
    let apply = Arc::new(move |filter| handle.reload(filter));
    Ok(LogFilter {
        current: Arc::new(Mutex::new(directives.to_owned())),
        apply,
    })
}

fn lines<W>(format: LogFormat, writer: W) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer);
    match format {
        LogFormat::Json => Box::new(lines.json().flatten_event(true).with_span_list(false)),
        LogFormat::Text => Box::new(lines),
    }
}

/// The message of a panic.
pub(super) fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    let text = payload.downcast_ref::<&str>().copied();
    text.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_filter_changes_nothing() {
        let filter = LogFilter::detached("info");
        assert!(filter.set("hera=loud").is_err());
        assert_eq!(filter.get(), "info");
        filter.set("info,hera=debug").unwrap();
        assert_eq!(filter.get(), "info,hera=debug");
    }

    #[test]
    fn the_user_can_override_what_is_always_set() {
        let text = |directives| parse(directives).unwrap().to_string();
        assert!(text("info").contains("kube_client::client=off"));
        assert!(!text("kube_client::client=debug").contains("off"));
        assert!(text("").contains("info"));
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_carries_the_fields_of_its_span() {
        let written = Lines::default();
        let writer = written.clone();
        let subscriber = Registry::default().with(lines(LogFormat::Json, move || writer.clone()));
        tracing::subscriber::with_default(subscriber, || {
            let _span =
                tracing::info_span!("reconcile", controller = "redis", object = "a").entered();
            tracing::warn!(reason = "AsTold", "reconcile failed");
        });
        let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "reconcile failed");
        assert_eq!(line["reason"], "AsTold");
        assert_eq!(line["span"]["object"], "a");
        assert_eq!(line["span"]["name"], "reconcile");
    }
}
