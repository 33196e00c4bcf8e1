//! Typed settings of the process, from flags and `HERA_...` environment variables.
//!
//! Every setting has one flag and one environment variable; the chart's values map onto the variables. A setting is
//! checked once, at the start: a bad one ends the process with exit code 2 and one line that names it.

use std::{collections::BTreeMap, fmt, net::SocketAddr, str::FromStr, time::Duration};

use clap::{ArgAction, Args, FromArgMatches, ValueEnum};

/// A setting that cannot be used. Ends the start with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("bad setting {flag}: {message}")]
pub struct SettingsError {
    /// The flag at fault, for example `--lease-duration`.
    pub flag: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl SettingsError {
    /// An error about `flag`.
    pub fn new(flag: &'static str, message: impl Into<String>) -> Self {
        Self {
            flag,
            message: message.into(),
        }
    }
}

/// Format of the log lines on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object for each line.
    Json,
    /// Lines for people.
    Text,
}

/// All settings of `hera run`.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Operators to run, comma separated (for example "redis,secrets"); all when empty
    #[arg(
        long,
        env = "HERA_CONTROLLERS",
        value_delimiter = ',',
        value_name = "NAME,..."
    )]
    pub controllers: Vec<String>,

    /// Namespaces to watch, comma separated; the whole cluster when empty
    #[arg(
        long,
        env = "HERA_NAMESPACES",
        value_delimiter = ',',
        value_name = "NAMESPACE,..."
    )]
    pub namespaces: Vec<String>,

    /// Address of the HTTP server (/healthz, /readyz, /metrics, /version)
    #[arg(
        long,
        env = "HERA_BIND_ADDRESS",
        default_value = "0.0.0.0:8080",
        value_name = "IP:PORT"
    )]
    pub bind_address: SocketAddr,

    /// Whether several replicas elect one leader through a Lease; without it exactly one replica may run
    #[arg(long, env = "HERA_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,

    /// Name of the Lease
    #[arg(
        long,
        env = "HERA_LEASE_NAME",
        default_value = "hera",
        value_name = "NAME"
    )]
    pub lease_name: String,

    /// Namespace of the Lease; when empty, that of the pod or of the kubeconfig context
    #[arg(
        long,
        env = "HERA_LEASE_NAMESPACE",
        default_value = "",
        value_name = "NAMESPACE"
    )]
    pub lease_namespace: String,

    /// Time after which a standby takes over a Lease that is not renewed
    #[arg(
        long,
        env = "HERA_LEASE_DURATION",
        default_value = "15s",
        value_name = "DURATION"
    )]
    pub lease_duration: Period,

    /// Time after which a leader that could not renew gives up; well below the Lease duration
    #[arg(
        long,
        env = "HERA_LEASE_RENEW_DEADLINE",
        default_value = "10s",
        value_name = "DURATION"
    )]
    pub lease_renew_deadline: Period,

    /// Time between two renewals of the Lease
    #[arg(
        long,
        env = "HERA_LEASE_RETRY_PERIOD",
        default_value = "2s",
        value_name = "DURATION"
    )]
    pub lease_retry_period: Period,

    /// Format of the log
    #[arg(
        long,
        env = "HERA_LOG_FORMAT",
        default_value = "json",
        value_enum,
        value_name = "FORMAT"
    )]
    pub log_format: LogFormat,

    /// Filter of the log, as of tracing's EnvFilter (for example "info,hera::operators=debug")
    #[arg(
        long,
        env = "HERA_LOG_FILTER",
        default_value = "info",
        value_name = "FILTER"
    )]
    pub log_filter: String,

    /// Objects reconciled at the same time by each operator, with exceptions (for example "8" or "8,redis=16")
    #[arg(
        long,
        env = "HERA_CONCURRENCY",
        default_value = "8",
        value_name = "N[,NAME=N...]"
    )]
    pub concurrency: Concurrency,

    /// Time limit of one call to the API server that is not a watch
    #[arg(
        long,
        env = "HERA_CALL_TIMEOUT",
        default_value = "10s",
        value_name = "DURATION"
    )]
    pub call_timeout: Period,

    /// Calls to the API server that may be under way at the same time, watches not counted
    #[arg(
        long,
        env = "HERA_MAX_CONCURRENT_CALLS",
        default_value_t = 32,
        value_name = "N"
    )]
    pub max_concurrent_calls: u16,

    /// Time limit of one reconcile
    #[arg(
        long,
        env = "HERA_RECONCILE_DEADLINE",
        default_value = "60s",
        value_name = "DURATION"
    )]
    pub reconcile_deadline: Period,

    /// Longest time between two reconciles of an object, because a watch can miss a change
    #[arg(
        long,
        env = "HERA_RESYNC_INTERVAL",
        default_value = "10m",
        value_name = "DURATION"
    )]
    pub resync_interval: Period,

    /// Time that reconciles under way get to end after SIGTERM
    #[arg(
        long,
        env = "HERA_DRAIN_TIMEOUT",
        default_value = "25s",
        value_name = "DURATION"
    )]
    pub drain_timeout: Period,

    /// Databases that may restart pods at the same time, in all operators together; 0 is no limit
    #[arg(
        long,
        env = "HERA_ROLLOUT_BUDGET",
        default_value_t = 3,
        value_name = "N"
    )]
    pub rollout_budget: u16,
}

impl Settings {
    /// Settings from flags and environment alone, checked: for tests and tools that run without the command line.
    ///
    /// # Errors
    /// The first setting that cannot be used, as one line.
    pub fn from_flags<Flags>(flags: Flags) -> Result<Self, String>
    where
        Flags: IntoIterator,
        Flags::Item: Into<std::ffi::OsString> + Clone,
    {
        let command = Self::augment_args(clap::Command::new("hera").no_binary_name(true));
        let matches = command
            .try_get_matches_from(flags)
            .map_err(|error| error.to_string())?;
        let settings = Self::from_arg_matches(&matches).map_err(|error| error.to_string())?;
        settings.validate().map_err(|error| error.to_string())?;
        Ok(settings)
    }

    /// Checks what the type of a single flag cannot say.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub fn validate(&self) -> Result<(), SettingsError> {
        for (flag, period) in [
            ("--lease-duration", self.lease_duration),
            ("--lease-renew-deadline", self.lease_renew_deadline),
            ("--lease-retry-period", self.lease_retry_period),
            ("--call-timeout", self.call_timeout),
            ("--reconcile-deadline", self.reconcile_deadline),
            ("--resync-interval", self.resync_interval),
        ] {
            if period.get().is_zero() {
                return Err(SettingsError::new(flag, "must be longer than 0s"));
            }
        }
        if self.lease_duration.get() < Duration::from_secs(1) {
            // The Lease carries whole seconds.
            return Err(SettingsError::new("--lease-duration", "must be 1s or more"));
        }
        if self.lease_renew_deadline.get() > self.lease_duration.get().mul_f64(0.8) {
            // The distance is what keeps two leaders apart when their clocks run at different rates.
            return Err(SettingsError::new(
                "--lease-renew-deadline",
                format!(
                    "{} must be at most 80 % of --lease-duration {}",
                    self.lease_renew_deadline, self.lease_duration
                ),
            ));
        }
        if self.lease_retry_period.get() > self.lease_renew_deadline.get() / 2 {
            return Err(SettingsError::new(
                "--lease-retry-period",
                format!(
                    "{} must be at most half of --lease-renew-deadline {}",
                    self.lease_retry_period, self.lease_renew_deadline
                ),
            ));
        }
        if self.max_concurrent_calls == 0 {
            return Err(SettingsError::new(
                "--max-concurrent-calls",
                "must be 1 or more",
            ));
        }
        if self.lease_name.is_empty() {
            return Err(SettingsError::new("--lease-name", "must not be empty"));
        }
        for namespace in &self.namespaces {
            if !is_label(namespace) {
                return Err(SettingsError::new(
                    "--namespaces",
                    format!("{namespace:?} is not a name of a namespace"),
                ));
            }
        }
        if let Err(error) = self.log_filter.parse::<tracing_subscriber::EnvFilter>() {
            return Err(SettingsError::new(
                "--log-filter",
                format!("{:?}: {error}", self.log_filter),
            ));
        }
        Ok(())
    }
}

/// Whether `name` is an RFC 1123 label, as names of namespaces are.
fn is_label(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 63
        && !name.starts_with('-')
        && !name.ends_with('-')
        && name
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A length of time in a setting: "500ms", "10s", "5m", "1h30m".
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Period(Duration);

impl Period {
    /// The length of time.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl From<Duration> for Period {
    fn from(value: Duration) -> Self {
        Self(value)
    }
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || "expected a length of time such as 500ms, 10s or 5m".to_owned();
        let signed: jiff::SignedDuration = text.parse().map_err(|_| problem())?;
        Duration::try_from(signed).map(Self).map_err(|_| problem())
    }
}

impl fmt::Display for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, formatter)
    }
}

impl fmt::Debug for Period {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// How many objects each operator reconciles at the same time: "8" or "8,redis=16".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concurrency {
    default: u16,
    exceptions: BTreeMap<String, u16>,
}

impl Concurrency {
    /// The limit of the operator `controller`; never 0.
    pub fn of(&self, controller: &str) -> u16 {
        self.exceptions
            .get(controller)
            .copied()
            .unwrap_or(self.default)
    }

    /// The operators that the setting names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.exceptions.keys().map(String::as_str)
    }
}

impl FromStr for Concurrency {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| match part.trim().parse::<u16>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{part:?} is not a number from 1 to 65535")),
        };
        let mut parts = text.split(',');
        let default = number(parts.next().unwrap_or_default())?;
        let mut exceptions = BTreeMap::new();
        for part in parts {
            let (name, value) = part
                .split_once('=')
                .ok_or_else(|| format!("{part:?} is not NAME=N"))?;
            exceptions.insert(name.trim().to_owned(), number(value)?);
        }
        Ok(Self {
            default,
            exceptions,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Settings, String> {
        Settings::from_flags(flags.iter().copied().map(ToOwned::to_owned))
    }

    #[test]
    fn defaults_are_valid() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.lease_duration.get(), Duration::from_secs(15));
        assert_eq!(settings.resync_interval.get(), Duration::from_secs(600));
        assert!(settings.controllers.is_empty());
        assert!(settings.leader_elect);
    }

    #[test]
    fn lists_and_exceptions() {
        let settings = parse(&[
            "--controllers=redis,secrets",
            "--namespaces=a,b",
            "--concurrency=4,redis=16",
            "--leader-elect=false",
        ])
        .unwrap();
        assert_eq!(settings.controllers, ["redis", "secrets"]);
        assert_eq!(settings.namespaces, ["a", "b"]);
        assert_eq!(settings.concurrency.of("redis"), 16);
        assert_eq!(settings.concurrency.of("secrets"), 4);
        assert!(!settings.leader_elect);
    }

    #[test]
    fn bad_settings_name_the_flag() {
        for (flags, part) in [
            (["--lease-renew-deadline=14s"], "--lease-renew-deadline"),
            (["--lease-retry-period=6s"], "--lease-retry-period"),
            (["--lease-duration=0s"], "--lease-duration"),
            (["--call-timeout=0s"], "--call-timeout"),
            (["--call-timeout=soon"], "--call-timeout"),
            (["--call-timeout=-5s"], "--call-timeout"),
            (["--max-concurrent-calls=0"], "--max-concurrent-calls"),
            (["--concurrency=0"], "--concurrency"),
            (["--concurrency=8,redis"], "--concurrency"),
            (["--namespaces=Bad_Name"], "--namespaces"),
            (["--log-filter=hera=loud"], "--log-filter"),
            (["--bind-address=here"], "--bind-address"),
        ] {
            let error = parse(&flags).expect_err(flags[0]);
            assert!(error.contains(part), "{flags:?}: {error}");
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let command = Settings::augment_args(clap::Command::new("hera"));
        for argument in command
            .get_arguments()
            .filter(|argument| argument.get_id() != "help")
        {
            let name = format!("HERA_{}", argument.get_id().as_str().to_uppercase());
            assert_eq!(
                argument.get_env().and_then(|name| name.to_str()),
                Some(name.as_str())
            );
            assert!(argument.get_help().is_some(), "{name} has no help");
        }
    }
}
