//! The commands that Hera sends to a server.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, ProtocolVersion, RedisConnectionInfo, Value,
};
use secrecy::ExposeSecret;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::acl::AclUser;
use super::address::{Address, Limits};
use super::credentials::Credentials;
use super::failure::Failure;
use super::info::Info;

/// The sections of `INFO` that [`Info`] is read from. `commandstats` and the like are long and not needed.
const SECTIONS: [&str; 6] = [
    "server",
    "memory",
    "persistence",
    "stats",
    "replication",
    "keyspace",
];

/// Bytes that the reply to a login may have; the servers' are far shorter.
const LOGIN_REPLY_LIMIT: u64 = 4096;

/// A connection to one server, logged in.
///
/// Clones share the connection. It ends when the last clone is dropped, also while a server that hangs owes replies.
#[derive(Clone)]
pub struct Client {
    connection: MultiplexedConnection,
    address: Address,
    limits: Limits,
    closed: CancellationToken,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// Connects and logs in.
    ///
    /// The TCP connection has the limit `limits.connect`, the TLS handshake and the login `limits.command` each.
    pub async fn connect(
        address: &Address,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<Self, Failure> {
        let attempt = credentials.network.open(&address.host, address.port);
        let stream = timeout(limits.connect, attempt)
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|error| Failure::from_connect(&error))?;
        match &credentials.tls {
            None => Self::begin(stream, address, credentials, limits).await,
            Some(tls) => {
                let stream = tls.handshake(stream, limits.command).await?;
                Self::begin(stream, address, credentials, limits).await
            }
        }
    }

    /// Logs in on a stream that is open.
    async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        mut stream: S,
        address: &Address,
        credentials: &Credentials,
        limits: Limits,
    ) -> Result<Self, Failure> {
        timeout(limits.command, log_in(&mut stream, credentials))
            .await
            .map_err(|_| Failure::Timeout)??;

        // With these settings the library sends nothing by itself.
        let settings = RedisConnectionInfo::default()
            .set_protocol(ProtocolVersion::RESP2)
            .set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config)
                .await
                .map_err(|error| Failure::from_error(&error))?;

        // The driver reads the socket also while nothing is asked, so it ends as soon as the server closes the
        // connection: that is how a killed process is noticed at once.
        let closed = CancellationToken::new();
        let on_end = closed.clone().drop_guard();
        let driver = tokio::spawn(async move {
            driver.await;
            drop(on_end);
        });
        Ok(Self {
            connection,
            address: address.clone(),
            limits,
            closed,
            _driver: Arc::new(AbortOnDropHandle::new(driver)),
        })
    }

    /// The server's address, as it was given to [`Client::connect`].
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Completes when the connection has ended.
    pub async fn closed(&self) {
        self.closed.cancelled().await;
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.closed.is_cancelled()
    }

    /// `PING`: the server runs commands. `LOADING`, `BUSY` and `MASTERDOWN` come back as failures that are alive.
    pub async fn ping(&self) -> Result<(), Failure> {
        self.call(&redis::cmd("PING")).await
    }

    /// `INFO` with all sections that [`Info`] is read from. A server answers it while it loads, but not while a script
    /// keeps it busy.
    pub async fn info(&self) -> Result<Info, Failure> {
        let text: String = self.call(redis::cmd("INFO").arg(&SECTIONS)).await?;
        Info::parse(&text).map_err(|error| Failure::Protocol(error.to_string()))
    }

    /// `INFO` without arguments, which also servers before 7.0 understand, and which tells whether the server is a node of a cluster.
    pub async fn info_of_any_version(&self) -> Result<Info, Failure> {
        let text: String = self.call(&redis::cmd("INFO")).await?;
        Info::parse(&text).map_err(|error| Failure::Protocol(error.to_string()))
    }

    /// `PING` and the text of `INFO` with all sections (`full`) or only `replication`, in one round trip.
    ///
    /// The first result is that of `PING`. Fails as a whole when the connection does.
    pub(super) async fn poll(
        &self,
        full: bool,
    ) -> Result<(Result<(), Failure>, Result<String, Failure>), Failure> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("PING").cmd("INFO");
        if full {
            pipeline.arg(&SECTIONS);
        } else {
            pipeline.arg("replication");
        }
        let mut connection = self.connection.clone();
        let replies = timeout(
            self.limits.command,
            connection.send_packed_commands(&pipeline, 0, 2),
        )
        .await
        .map_err(|_| Failure::Timeout)?
        .map_err(|error| Failure::from_error(&error))?;
        let [ping, info] = <[Value; 2]>::try_from(replies)
            .map_err(|_| Failure::Protocol("a reply is missing".into()))?;
        Ok((reply(ping), reply(info)))
    }

    /// `REPLICAOF host port`: makes the server a replica of `primary`. It returns before the link is up.
    ///
    /// The server drops its own data set when it cannot continue by partial resync: the caller has to know that
    /// `primary` holds the data, and in a format that the server can read.
    pub async fn replica_of(&self, primary: &Address) -> Result<(), Failure> {
        let mut command = redis::cmd("REPLICAOF");
        command.arg(&primary.host).arg(primary.port);
        self.call(&command).await
    }

    /// `REPLICAOF NO ONE`: makes the server a primary that takes writes. No effect on one that is a primary already.
    pub async fn promote(&self) -> Result<(), Failure> {
        self.call(redis::cmd("REPLICAOF").arg("NO").arg("ONE"))
            .await
    }

    /// `FAILOVER TO host port TIMEOUT ms`, sent to the primary: it stops writes, waits until the replica has all of
    /// them, and changes places with it.
    ///
    /// `replica` is exactly what the primary shows in [`Info::replicas`]. Success says only that the hand-over began:
    /// poll [`Info::failover_state`] and [`Info::role`]. When `limit` (whole milliseconds, at least 1) passes first, the
    /// server gives up by itself and stays primary. It is not forced, which would lose writes.
    pub async fn failover_to(&self, replica: &Address, limit: Duration) -> Result<(), Failure> {
        self.call(&failover(replica, limit)).await
    }

    /// `FAILOVER TO host port TIMEOUT ms FORCE`: after `limit` the role is given away also when the replica has not
    /// acknowledged everything. It loses no write only where it is known that the replica has everything, and writes are
    /// paused.
    pub(super) async fn failover_without_wait(
        &self,
        replica: &Address,
        limit: Duration,
    ) -> Result<(), Failure> {
        self.call(failover(replica, limit).arg("FORCE")).await
    }

    /// `FAILOVER ABORT`. That none is in progress is no failure: the wish is fulfilled.
    pub async fn failover_abort(&self) -> Result<(), Failure> {
        match self.call(redis::cmd("FAILOVER").arg("ABORT")).await {
            Err(Failure::Command(text)) if text.contains("No failover in progress") => Ok(()),
            other => other,
        }
    }

    /// `CONFIG GET` of several directives. A directive that the server does not know is absent from the result.
    pub async fn config_get(&self, names: &[&str]) -> Result<BTreeMap<String, String>, Failure> {
        self.call(redis::cmd("CONFIG").arg("GET").arg(names)).await
    }

    /// `CONFIG SET` of several directives, all or none.
    ///
    /// [`Failure::Command`] holds the server's text, which names the directive that is unknown, immutable or has a bad
    /// value.
    pub async fn config_set(&self, directives: &[(&str, &str)]) -> Result<(), Failure> {
        let mut command = redis::cmd("CONFIG");
        command.arg("SET");
        for (name, value) in directives {
            command.arg(name).arg(value);
        }
        self.call(&command).await
    }

    /// Replaces all passwords of an ACL user by the given ones in one step; its rules stay.
    ///
    /// `hashes` are SHA-256 in lower-case hex ([`super::password_hash`]), so no password is sent. Connections that are
    /// open stay logged in. A user that does not exist is created without any permission, and off.
    pub async fn set_user_password(&self, user: &str, hashes: &[String]) -> Result<(), Failure> {
        let mut rules = vec!["resetpass".to_owned()];
        rules.extend(hashes.iter().map(|hash| format!("#{hash}")));
        self.acl_set_user(user, &rules).await
    }

    /// `ACL SETUSER`: applies the rules in order on top of what the user has.
    pub async fn acl_set_user(&self, user: &str, rules: &[String]) -> Result<(), Failure> {
        let mut command = redis::cmd("ACL");
        command.arg("SETUSER").arg(user).arg(rules);
        self.call(&command).await
    }

    /// `ACL GETUSER`; `None` when there is no such user.
    pub async fn acl_get_user(&self, user: &str) -> Result<Option<AclUser>, Failure> {
        match self
            .call(redis::cmd("ACL").arg("GETUSER").arg(user))
            .await?
        {
            Value::Nil => Ok(None),
            value => AclUser::from_reply(value).map(Some),
        }
    }

    /// `ACL GETUSER` of several users in one round trip, by name; `None` where there is no such user.
    pub async fn acl_get_users(
        &self,
        users: &[String],
    ) -> Result<BTreeMap<String, Option<AclUser>>, Failure> {
        let mut pipeline = redis::pipe();
        for user in users {
            pipeline.cmd("ACL").arg("GETUSER").arg(user);
        }
        let mut connection = self.connection.clone();
        let replies = timeout(
            self.limits.command,
            connection.send_packed_commands(&pipeline, 0, users.len()),
        )
        .await
        .map_err(|_| Failure::Timeout)?
        .map_err(|error| Failure::from_error(&error))?;
        let read = |value: Value| match reply(value)? {
            Value::Nil => Ok(None),
            value => AclUser::from_reply(value).map(Some),
        };
        users
            .iter()
            .zip(replies)
            .map(|(user, value)| Ok((user.clone(), read(value)?)))
            .collect()
    }

    /// `ACL DELUSER`: removes users and closes their connections. Users that do not exist are no failure.
    pub async fn acl_delete_users(&self, users: &[String]) -> Result<(), Failure> {
        let mut command = redis::cmd("ACL");
        command.arg("DELUSER").arg(users);
        self.call(&command).await
    }

    /// `CLIENT KILL USER name`: closes the connections that are logged in as this user. Returns how many.
    pub async fn kill_user(&self, user: &str) -> Result<u64, Failure> {
        let mut command = redis::cmd("CLIENT");
        command.arg("KILL").arg("USER").arg(user);
        self.call(&command).await
    }

    /// `CLIENT PAUSE ms WRITE`: commands that write wait until [`Client::unpause_writes`] or until `limit` has passed.
    /// Reads, replication and the commands of this client go on.
    pub async fn pause_writes(&self, limit: Duration) -> Result<(), Failure> {
        let mut command = redis::cmd("CLIENT");
        command.arg("PAUSE").arg(milliseconds(limit)).arg("WRITE");
        self.call(&command).await
    }

    /// `CLIENT UNPAUSE`.
    pub async fn unpause_writes(&self) -> Result<(), Failure> {
        self.call(redis::cmd("CLIENT").arg("UNPAUSE")).await
    }

    /// `CLIENT KILL TYPE normal SKIPME yes`: disconnects all clients but this connection, so that they connect again
    /// and reach the present primary. Replicas and subscribers stay. Returns how many were disconnected.
    ///
    /// Other connections of Hera to this server (a [`super::Monitor`]) are cut as well and come back by themselves.
    pub async fn kill_normal_clients(&self) -> Result<u64, Failure> {
        let mut command = redis::cmd("CLIENT");
        command
            .arg("KILL")
            .arg("TYPE")
            .arg("normal")
            .arg("SKIPME")
            .arg("yes");
        self.call(&command).await
    }

    /// `CLIENT KILL TYPE master`: the replica connects to its primary anew, as its configuration says now, and goes on where it was.
    /// Returns how many links were cut: none when it was not connected.
    pub async fn kill_primary_link(&self) -> Result<u64, Failure> {
        self.call(redis::cmd("CLIENT").arg("KILL").arg("TYPE").arg("master"))
            .await
    }

    /// Closes the connections of clients and subscribers that were made to this address and port of the server, but this one.
    pub async fn kill_clients_of(&self, ip: &str, port: u16) -> Result<u64, Failure> {
        let host = if ip.contains(':') {
            format!("[{ip}]")
        } else {
            ip.to_owned()
        };
        let mut closed = 0;
        for kind in ["normal", "pubsub"] {
            let mut command = redis::cmd("CLIENT");
            command
                .arg("KILL")
                .arg("LADDR")
                .arg(format!("{host}:{port}"));
            command.arg("TYPE").arg(kind).arg("SKIPME").arg("yes");
            closed += self.call::<u64>(&command).await?;
        }
        Ok(closed)
    }

    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Failure> {
        let mut connection = self.connection.clone();
        let value = timeout(self.limits.command, connection.send_packed_command(command))
            .await
            .map_err(|_| Failure::Timeout)?
            .map_err(|error| Failure::from_error(&error))?;
        reply(value)
    }
}

/// Sends `AUTH` and reads its reply, which is one line.
///
/// It is done on the bare stream because a server that is at its limit of clients says so unasked and closes: the library
/// would take that line for no reply of anything, and a server that lives would look like one that is gone.
async fn log_in<S: AsyncRead + AsyncWrite + Unpin>(
    stream: &mut S,
    credentials: &Credentials,
) -> Result<(), Failure> {
    let (user, password) = (&credentials.username, credentials.password.expose_secret());
    let mut login = redis::cmd("AUTH");
    match (user.as_str(), password) {
        ("", "") => return Ok(()),
        ("", password) => login.arg(password),
        (user, password) => login.arg(user).arg(password),
    };
    // A failed write is told by the read that follows, after what the server may have said before.
    let written = async {
        stream.write_all(&login.get_packed_command()).await?;
        // A TLS stream keeps what it encrypted until it is flushed.
        stream.flush().await
    }
    .await;
    let mut line = Vec::new();
    let read = BufReader::new(stream)
        .take(LOGIN_REPLY_LIMIT)
        .read_until(b'\n', &mut line)
        .await;
    if line.is_empty() {
        return Err(match read.and(written.map(|()| 0)) {
            Ok(_) => Failure::Closed,
            Err(error) => Failure::from_connect(&error),
        });
    }
    match redis::parse_redis_value(&line) {
        Ok(value) => reply::<()>(value).map_err(Failure::during_login),
        Err(error) => Err(Failure::Protocol(error.to_string())),
    }
}

/// Reads a reply, or the failure that it is.
fn reply<T: FromRedisValue>(value: Value) -> Result<T, Failure> {
    match value {
        Value::ServerError(error) => Err(Failure::from_reply(&error)),
        value => T::from_redis_value(value).map_err(|error| Failure::Protocol(error.to_string())),
    }
}

fn failover(replica: &Address, limit: Duration) -> Cmd {
    let mut command = redis::cmd("FAILOVER");
    command
        .arg("TO")
        .arg(&replica.host)
        .arg(replica.port)
        .arg("TIMEOUT")
        .arg(milliseconds(limit));
    command
}

/// Whole milliseconds, at least 1: the servers refuse 0 or take it for "no limit".
pub(super) fn milliseconds(limit: Duration) -> u64 {
    u64::try_from(limit.as_millis())
        .unwrap_or(u64::MAX)
        .clamp(1, i64::MAX.unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    /// What a login finds where a peer sends `reply` and then closes, or stays silent.
    async fn login_at_peer_that_sends(reply: Vec<u8>, closes: bool) -> Failure {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(&reply).await;
            if !closes {
                std::future::pending::<()>().await;
            }
        });
        let limits = Limits {
            connect: Duration::from_secs(10),
            command: Duration::from_millis(if closes { 10_000 } else { 100 }),
        };
        let address = Address::new("127.0.0.1", port);
        let login = Client::connect(&address, &Credentials::new("a", "b"), limits).await;
        peer.abort();
        login.unwrap_err()
    }

    #[tokio::test]
    async fn a_peer_that_is_no_such_server_is_told_apart() {
        assert_eq!(
            login_at_peer_that_sends(vec![], true).await,
            Failure::Closed
        );
        assert_eq!(
            login_at_peer_that_sends(vec![], false).await,
            Failure::Timeout
        );
        for reply in [
            b"HTTP/1.1 400 Bad Request\r\n".to_vec(),
            b"x".repeat(100_000),
            b"+OK".to_vec(),
        ] {
            let failure = login_at_peer_that_sends(reply, true).await;
            assert!(matches!(failure, Failure::Protocol(_)), "{failure}");
        }
        // What the server says unasked before it closes is its answer.
        let full = b"-ERR max number of clients reached\r\n".to_vec();
        assert_eq!(
            login_at_peer_that_sends(full, true).await,
            Failure::Command("ERR max number of clients reached".into())
        );
    }

    #[test]
    fn a_limit_is_sent_as_whole_milliseconds_and_never_as_none() {
        assert_eq!(milliseconds(Duration::ZERO), 1);
        assert_eq!(milliseconds(Duration::from_micros(1500)), 1);
        assert_eq!(milliseconds(Duration::MAX), i64::MAX.unsigned_abs());
    }
}
