//! Real servers as child processes, each on a free loopback port in a temporary folder, ended with the test.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::future::Future;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hera::engines::redis::{
    Address, Client, Credentials, Failure, Info, Limits, ReplicaLink, Target, hera_acl_rules,
    hera_cluster_acl_rules, hera_sentinel_acl_rules, migration_acl_rules, password_hash,
    probe_acl_rules, replication_acl_rules, sentinel_acl_rules, sentinel_client_acl_rules,
    sentinel_peer_acl_rules,
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

/// What a server is started as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Data,
    Node,
    Sentinel,
}

/// A running server. Dropping it kills the process.
pub struct Server {
    program: Program,
    kind: Kind,
    child: Child,
    port: u16,
    /// Of a node of a cluster.
    bus_port: u16,
    folder: TempDir,
    options: Vec<(String, String)>,
}

impl Server {
    /// Starts a server with the users of a real instance (`hera`, `replication`, `probe`) and a `default` user for the
    /// test itself, and waits until it answers. `options` are configuration directives.
    pub async fn start(program: &Program, options: &[(&str, &str)]) -> Self {
        Self::start_as(Kind::Data, program, options).await
    }

    /// Starts a node of a cluster that knows no other one.
    pub async fn start_node(program: &Program, options: &[(&str, &str)]) -> Self {
        Self::start_as(Kind::Node, program, options).await
    }

    /// Starts a sentinel that monitors nothing.
    pub async fn start_sentinel(program: &Program) -> Self {
        Self::start_as(Kind::Sentinel, program, &[]).await
    }

    /// Starts a sentinel with this id that monitors nothing.
    pub async fn start_sentinel_as(program: &Program, id: &str) -> Self {
        let id = format!("myid {id}");
        Self::start_as(Kind::Sentinel, program, &[("sentinel", &id)]).await
    }

    async fn start_as(kind: Kind, program: &Program, options: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let (port, bus_port) = (free_port(), free_port());
        let text = configuration(kind, port, bus_port, folder.path(), &options);
        let child = spawn(program, kind, folder.path(), &text);
        let mut server = Self {
            program: program.clone(),
            kind,
            child,
            port,
            bus_port,
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

    /// The port of the cluster bus.
    pub fn bus_port(&self) -> u16 {
        self.bus_port
    }

    /// Logged in as Hera.
    pub async fn hera(&self) -> Client {
        self.login("hera").await.unwrap()
    }

    /// For whom connects by itself, as Hera.
    pub fn target(&self) -> Target {
        let mut target = Target::new(self.address(), Credentials::new("hera", PASSWORD));
        target.limits = limits();
        target
    }

    /// As [`until`], on connections of its own: a sentinel cuts those to whom it changes.
    pub async fn until(&self, wanted: impl Fn(&Info) -> bool) -> Info {
        eventually(|| async {
            let client = self
                .login("hera")
                .await
                .map_err(|failure| failure.to_string())?;
            match client.info().await {
                Ok(info) if wanted(&info) => Ok(info),
                other => Err(format!("{other:#?}")),
            }
        })
        .await
    }

    /// A sentinel with these two files, their folders and port replaced by those of the test.
    pub async fn start_with_files(program: &Program, conf: &str, users: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let path = folder.path().display().to_string();
        std::fs::write(folder.path().join("users.acl"), users).unwrap();
        let text = conf
            .replace("26379", &port.to_string())
            .replace("/etc/hera", &path)
            .replace("/data", &path);
        let text = format!("{text}logfile {path}/log\n");
        let child = spawn(program, Kind::Sentinel, folder.path(), &text);
        let mut server = Self {
            program: program.clone(),
            kind: Kind::Sentinel,
            child,
            port,
            bus_port: port,
            folder,
            options: Vec::new(),
        };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = server.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}:\n{}", server.log());
            assert!(Instant::now() < deadline, "{}", server.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        server
    }

    /// Logged in as a user with this password.
    pub async fn login_with(&self, user: &str, password: &str) -> Result<Client, Failure> {
        Client::connect(&self.address(), &Credentials::new(user, password), limits()).await
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
        let folder = self.folder.path();
        let text = configuration(self.kind, self.port, self.bus_port, folder, &self.options);
        self.child = spawn(&self.program, self.kind, folder, &text);
    }

    /// Starts the process, which has ended, in the same folder at another address.
    pub async fn start_elsewhere(&mut self) {
        (self.port, self.bus_port) = (free_port(), free_port());
        self.restart(&[]).await;
    }

    /// What the server refused to users for lack of permission, one line each.
    pub async fn refusals(&self) -> Vec<String> {
        let mut connection = self.data().await;
        let log: Vec<BTreeMap<String, redis::Value>> = redis::cmd("ACL")
            .arg("LOG")
            .query_async(&mut connection)
            .await
            .unwrap();
        let text = |entry: &BTreeMap<String, redis::Value>, name: &str| {
            redis::from_redis_value::<String>(entry[name].clone()).unwrap()
        };
        log.iter()
            .map(|entry| format!("{} {}", text(entry, "username"), text(entry, "object")))
            .collect()
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
            if let Ok(client) = self.login("hera").await {
                let is_up = match self.kind {
                    Kind::Sentinel => client.sentinel_id().await.is_ok(),
                    Kind::Data | Kind::Node => {
                        client.info().await.is_ok()
                            && self.log().contains("eady to accept connections")
                    }
                };
                if is_up {
                    return;
                }
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

fn spawn(program: &Program, kind: Kind, folder: &Path, configuration: &str) -> Child {
    let file = folder.join("server.conf");
    let log = folder.join("log");
    let _ = std::fs::remove_file(&log);
    std::fs::write(&file, configuration).unwrap();
    // The kernel ends the server when the test ends, however it ends.
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(&program.path)
        .arg(&file)
        .args((kind == Kind::Sentinel).then_some("--sentinel"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

fn configuration(
    kind: Kind,
    port: u16,
    bus_port: u16,
    folder: &Path,
    options: &Vec<(String, String)>,
) -> String {
    let hash = password_hash(PASSWORD);
    let folder = folder.display();
    let mut text = format!(
        "port {port}\nbind 127.0.0.1\ndir {folder}\nlogfile {folder}/log\n\
         user default on nopass ~* &* +@all\n"
    );
    if kind != Kind::Sentinel {
        write!(
            text,
            "save \"\"\nappendonly no\nrepl-diskless-sync-delay 0\nenable-debug-command local\n\
             masteruser replication\nmasterauth \"{PASSWORD}\"\n"
        )
        .unwrap();
    }
    let users = match kind {
        Kind::Data => vec![
            ("hera", hera_acl_rules()),
            ("replication", replication_acl_rules()),
            ("probe", probe_acl_rules()),
            ("sentinel", sentinel_acl_rules()),
        ],
        Kind::Node => vec![
            ("hera", hera_cluster_acl_rules()),
            ("replication", replication_acl_rules()),
            ("hera-migration", migration_acl_rules()),
        ],
        Kind::Sentinel => vec![
            ("hera", hera_sentinel_acl_rules()),
            ("sentinel", sentinel_peer_acl_rules()),
            ("app", sentinel_client_acl_rules()),
        ],
    };
    for (user, rules) in users {
        writeln!(text, "user {user} on #{hash} {rules}").unwrap();
    }
    match kind {
        Kind::Data => {}
        Kind::Node => write!(
            text,
            "cluster-enabled yes\ncluster-port {bus_port}\ncluster-node-timeout 5000\n\
             cluster-allow-replica-migration no\ncluster-replica-validity-factor 0\n"
        )
        .unwrap(),
        Kind::Sentinel => write!(
            text,
            "sentinel sentinel-user sentinel\nsentinel sentinel-pass \"{PASSWORD}\"\n"
        )
        .unwrap(),
    }
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
