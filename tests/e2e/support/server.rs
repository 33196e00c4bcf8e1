//! Connections to the servers, as users make them.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo, RedisError,
};

/// A reply takes longer only when the server is stopped or cut off.
const LIMIT: Duration = Duration::from_secs(1);

/// Where a server is and how to log in.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub host: String,
    pub user: String,
    pub password: String,
}

impl Endpoint {
    /// Connects, and logs in.
    pub async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        let settings = RedisConnectionInfo::default()
            .set_username(&self.user)
            .set_password(&self.password)
            .set_skip_set_lib_name();
        let info = ConnectionAddr::Tcp(self.host.clone(), 6379)
            .into_connection_info()?
            .set_redis_settings(settings);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT));
        redis::Client::open(info)?
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// One command on a connection of its own.
    pub async fn ask<T: redis::FromRedisValue>(&self, words: &[&str]) -> Result<T, RedisError> {
        let mut connection = self.connect().await?;
        let (name, arguments) = words.split_first().expect("a command");
        let mut command = redis::cmd(name);
        command.arg(arguments);
        command.query_async(&mut connection).await
    }

    /// A value of `CONFIG GET`.
    pub async fn config(&self, directive: &str) -> Result<String, String> {
        self.ask::<BTreeMap<String, String>>(&["CONFIG", "GET", directive])
            .await
            .map_err(|error| error.to_string())?
            .remove(directive)
            .ok_or_else(|| format!("there is no directive {directive}"))
    }

    /// `master` or `slave`.
    pub async fn role(&self) -> Result<String, String> {
        self.info("replication", "role").await
    }

    /// A field of `INFO`.
    pub async fn info(&self, section: &str, field: &str) -> Result<String, String> {
        let text: String = self
            .ask(&["INFO", section])
            .await
            .map_err(|error| error.to_string())?;
        text.lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(name, _)| *name == field)
            .map(|(_, value)| value.trim().to_owned())
            .ok_or_else(|| format!("INFO has no {field}"))
    }
}

/// What kind of failure it was: the server's word for it, or what happened to the connection.
pub fn kind(error: &RedisError) -> String {
    if let Some(code) = error.code() {
        code.to_owned()
    } else if error.is_timeout() {
        "timeout".to_owned()
    } else if error.is_connection_refusal() {
        "connection refused".to_owned()
    } else if error.is_connection_dropped() || error.is_io_error() {
        "connection lost".to_owned()
    } else {
        error.category().to_owned()
    }
}
