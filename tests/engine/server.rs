//! Real servers as child processes, each on a free loopback port in a temporary folder, ended with the test.

use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hera::engines::redis::{
    Address, Client, Credentials, Failure, Info, Limits, ReplicaLink, hera_acl_rules,
    password_hash, probe_acl_rules, replication_acl_rules,
};
use redis::aio::MultiplexedConnection;
use tempfile::TempDir;

/// The servers that `tests/engine/servers` fetches.
pub const NAMES: [&str; 4] = ["redis-7.0", "redis-8.0", "valkey-8.1", "valkey-9"];

/// A condition that does not come true in this time never will.
const PATIENCE: Duration = Duration::from_secs(30);

/// The password of every user but `default`, which has none.
pub const PASSWORD: &str = "correct horse battery staple";

/// An installed server program.
#[derive(Clone)]
pub struct Program {
    pub name: &'static str,
    path: PathBuf,
}

impl Program {
    /// The program of one of [`NAMES`].
    pub fn find(name: &'static str) -> Self {
        assert!(NAMES.contains(&name), "{name}");
        let cache =
            std::env::var("HERA_CACHE").unwrap_or_else(|_| "/var/cache/hera-cluster".into());
        let engine = name.split('-').next().unwrap();
        let path = Path::new(&cache)
            .join("engines")
            .join(name)
            .join("bin")
            .join(format!("{engine}-server"));
        assert!(
            path.exists(),
            "{name} is not installed: run tests/engine/servers"
        );
        Self { name, path }
    }
}

/// A running server. Dropping it kills the process.
pub struct Server {
    program: Program,
    child: Child,
    port: u16,
    folder: TempDir,
    options: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with the users of a real instance (`hera`, `replication`, `probe`) and a `default` user for the
    /// test itself, and waits until it answers. `options` are configuration directives.
    pub async fn start(program: &Program, options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let port = free_port();
        let child = spawn(program, port, folder.path(), &options);
        let mut server = Self {
            program: program.clone(),
            child,
            port,
            folder,
            options,
        };
        server.wait_until_it_answers().await;
        server
    }

    /// Starts a replica of `primary`, and waits until both say that it is in sync.
    pub async fn start_replica(
        program: &Program,
        primary: &Server,
        options: &[(&str, &str)],
    ) -> Self {
        let port = primary.port.to_string();
        let mut all = vec![("replicaof", format!("127.0.0.1 {port}"))];
        all.extend(
            options
                .iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        let all: Vec<_> = all
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let replica = Self::start(program, &all).await;
        until(&replica.hera().await, |info| info.link_up).await;
        // The primary takes it for online only after its first acknowledgement.
        let is_this = |link: &ReplicaLink| link.is_online() && link.address() == replica.address();
        until(&primary.hera().await, |info| {
            info.replicas.iter().any(is_this)
        })
        .await;
        replica
    }

    pub fn address(&self) -> Address {
        Address::new("127.0.0.1", self.port)
    }

    /// Logged in as Hera.
    pub async fn hera(&self) -> Client {
        self.login("hera").await.unwrap()
    }

    /// Logged in as a user with [`PASSWORD`].
    pub async fn login(&self, user: &str) -> Result<Client, Failure> {
        Client::connect(&self.address(), &Credentials::new(user, PASSWORD), limits()).await
    }

    /// A connection for data, as the user `default`.
    pub async fn data(&self) -> MultiplexedConnection {
        self.data_as("default").await
    }

    /// A connection of the library itself, as a user with [`PASSWORD`].
    pub async fn data_as(&self, user: &str) -> MultiplexedConnection {
        let login = redis::RedisConnectionInfo::default()
            .set_username(user)
            .set_password(PASSWORD);
        let info = redis::IntoConnectionInfo::into_connection_info(("127.0.0.1", self.port))
            .unwrap()
            .set_redis_settings(login);
        let config = redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE));
        redis::Client::open(info)
            .unwrap()
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap()
    }

    /// Stops the process without ending it: it runs no more when this returns. `CONT` goes on.
    pub fn stop(&self) {
        self.signal("STOP");
        let status = format!("/proc/{}/status", self.child.id());
        let deadline = Instant::now() + PATIENCE;
        while !std::fs::read_to_string(&status)
            .unwrap()
            .contains("State:\tT")
        {
            assert!(
                Instant::now() < deadline,
                "{} does not stop",
                self.program.name
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a signal by name: `CONT`, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// `kill -9`: the process is gone when this returns.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends the process in an orderly way, so that it saves its data set.
    pub fn shut_down(&mut self) {
        self.signal("TERM");
        self.child.wait().unwrap();
    }

    /// Starts the process again, with the same port and folder and with further directives; does not wait.
    pub fn respawn(&mut self, options: &[(&str, &str)]) {
        for (name, value) in options {
            self.options.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.child = spawn(&self.program, self.port, self.folder.path(), &self.options);
    }

    /// As [`Server::respawn`], and waits until it answers.
    pub async fn restart(&mut self, options: &[(&str, &str)]) {
        self.respawn(options);
        self.wait_until_it_answers().await;
    }

    /// Waits until this very process answers `INFO`, which it does while it loads as well.
    async fn wait_until_it_answers(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{} ended with {status}:\n{}", self.program.name, self.log());
            }
            if let Ok(client) = self.login("hera").await
                && client.info().await.is_ok()
                && self.log().contains("eady to accept connections")
            {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{} does not answer:\n{}",
                self.program.name,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!(
                "---- log of {} on port {}\n{}",
                self.program.name,
                self.port,
                self.log()
            );
        }
        // Both fail when the process is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Program, port: u16, folder: &Path, options: &Vec<(String, String)>) -> Child {
    let file = folder.join("server.conf");
    let log = folder.join("log");
    let _ = std::fs::remove_file(&log);
    std::fs::write(&file, configuration(port, folder, options)).unwrap();
    // The kernel ends the server when the test ends, however it ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&program.path)
        .arg(&file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn configuration(port: u16, folder: &Path, options: &Vec<(String, String)>) -> String {
    let hash = password_hash(PASSWORD);
    let folder = folder.display();
    let mut text = format!(
        "port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\nsave \"\"\nappendonly no\n\
         repl-diskless-sync-delay 0\nenable-debug-command local\n\
         masteruser replication\nmasterauth \"{PASSWORD}\"\n\
         user default on nopass ~* &* +@all\n\
         user hera on #{hash} {}\nuser replication on #{hash} {}\nuser probe on #{hash} {}\n",
        hera_acl_rules(),
        replication_acl_rules(),
        probe_acl_rules()
    );
    for (name, value) in options {
        writeln!(text, "{name} {value}").unwrap();
    }
    text
}

/// A port that nobody listens on now. The system gives out another one for a while.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Limits that a loaded machine keeps.
pub fn limits() -> Limits {
    Limits {
        connect: Duration::from_secs(5),
        command: Duration::from_secs(5),
    }
}

/// Asks until the answer is `Ok`; the error of the last attempt tells what is missing.
pub async fn eventually<T, E: Debug, F: Future<Output = Result<T, E>>>(
    mut attempt: impl FnMut() -> F,
) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => assert!(Instant::now() < deadline, "not in time: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Reads `INFO` until it is as wanted.
pub async fn until(client: &Client, wanted: impl Fn(&Info) -> bool) -> Info {
    eventually(|| async {
        let info = client
            .info()
            .await
            .map_err(|failure| format!("{failure}"))?;
        if wanted(&info) {
            Ok(info)
        } else {
            Err(format!("{info:#?}"))
        }
    })
    .await
}

/// Sends a command as data and returns its reply, or the text of the error.
pub async fn send(
    connection: &mut MultiplexedConnection,
    words: &[&str],
) -> Result<redis::Value, String> {
    let mut command = redis::cmd(words[0]);
    command.arg(&words[1..]);
    command
        .query_async(connection)
        .await
        .map_err(|error: redis::RedisError| {
            format!(
                "{} {}",
                error.code().unwrap_or_default(),
                error.detail().unwrap_or_default()
            )
        })
}
