//! A real API server for tests: etcd, kube-apiserver and the controllers that collect garbage, on free loopback ports, with
//! all files in one temporary folder.
//!
//! The programs are found in `$HERA_TEST_BIN`, else in the cache of the throw-away cluster. They belong to a guardian shell
//! that waits for the end of its standard input, which is this process's end, however it comes: then it kills them and
//! removes the folder.
#![allow(dead_code, clippy::expect_used, clippy::panic)]
use std::{
    env,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client, Config,
    api::{ObjectMeta, PostParams},
    config::{KubeConfigOptions, Kubeconfig},
};

/// How long the start may take on a machine that is busy with other tests.
const START: Duration = Duration::from_secs(120);

const GUARDIAN: &str = r#"
trap '' INT TERM HUP
dir=$1 bin=$2 client=$3 peer=$4 port=$5
cd "$dir" || exit 1
openssl ecparam -genkey -name prime256v1 -noout -out sa.key 2>openssl.log || exit 1
openssl ec -in sa.key -pubout -out sa.pub 2>>openssl.log || exit 1
"$bin/etcd" --data-dir="$dir/etcd" --unsafe-no-fsync --log-level=error \
  --listen-client-urls="http://127.0.0.1:$client" --advertise-client-urls="http://127.0.0.1:$client" \
  --listen-peer-urls="http://127.0.0.1:$peer" --initial-advertise-peer-urls="http://127.0.0.1:$peer" \
  --initial-cluster="default=http://127.0.0.1:$peer" >etcd.log 2>&1 &
etcd=$!
"$bin/kube-apiserver" --etcd-servers="http://127.0.0.1:$client" --bind-address=127.0.0.1 --secure-port="$port" \
  --advertise-address=127.0.0.1 --endpoint-reconciler-type=none --cert-dir="$dir/certs" --token-auth-file="$dir/tokens" \
  --service-account-issuer=https://kubernetes.default.svc.cluster.local \
  --service-account-signing-key-file="$dir/sa.key" --service-account-key-file="$dir/sa.pub" \
  --service-cluster-ip-range=10.96.0.0/16,fd00:10::/112 --authorization-mode=RBAC --profiling=false \
  --shutdown-delay-duration=0s >apiserver.log 2>&1 &
apiserver=$!
echo "$etcd $apiserver"
manager=
while read -r word; do
  [ "$word" = controllers ] || continue
  "$bin/kube-controller-manager" --kubeconfig="$dir/kubeconfig" --leader-elect=false --secure-port=0 \
    --controllers=garbage-collector-controller,namespace-controller,serviceaccount-controller \
    >controllers.log 2>&1 &
  manager=$!
done
kill -9 $etcd $apiserver $manager
wait
rm -rf "$dir"
"#;

/// A running API server.
pub struct ApiServer {
    dir: PathBuf,
    url: String,
    // Its standard input is what keeps the servers alive.
    guardian: Child,
}

impl ApiServer {
    /// The API server of this test process, started by the first test that asks for it.
    ///
    /// # Panics
    /// When it does not start.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<ApiServer> = OnceLock::new();
        SHARED.get_or_init(|| {
            let bin = programs().unwrap_or_else(|missing| panic!("{missing}"));
            // Another process may take a port between its choice and its use.
            let mut failures = vec![];
            for _ in 0..3 {
                match Self::start(&bin) {
                    Ok(server) => return server,
                    Err(failure) => failures.push(failure),
                }
            }
            panic!("no API server:\n{}", failures.join("\n"))
        })
    }

    fn start(bin: &Path) -> Result<Self, String> {
        let dir = tempfile::Builder::new()
            .prefix("hera-api-")
            .tempdir()
            .map_err(|e| e.to_string())?
            .keep();
        let [client, peer, port] = free_ports();
        let url = format!("https://127.0.0.1:{port}");
        fs::write(dir.join("tokens"), "admin,admin,admin,system:masters\n")
            .map_err(|e| e.to_string())?;
        let mut guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "guardian"])
            .args([dir.as_path(), bin])
            .args([client, peer, port].map(|p| p.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("sh: {e}"))?;
        let mut pids = String::new();
        if let Some(out) = guardian.stdout.take() {
            BufReader::new(out)
                .read_line(&mut pids)
                .map_err(|e| e.to_string())?;
        }
        let mut server = Self { dir, url, guardian };
        server.wait_until_ready(&pids)?;
        server.start_controllers()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self, pids: &str) -> Result<(), String> {
        let pids: Vec<_> = pids.split_whitespace().collect();
        if pids.is_empty() {
            return Err(
                self.failure("the guardian could not start the servers (is openssl installed?)")
            );
        }
        let certificate = self.dir.join("certs/apiserver.crt");
        let started = Instant::now();
        loop {
            if certificate.exists() && self.is_ready() {
                return Ok(());
            }
            if let Some(pid) = pids.iter().find(|pid| has_ended(pid)) {
                return Err(self.failure(&format!("process {pid} of {pids:?} has ended")));
            }
            if started.elapsed() > START {
                return Err(self.failure("it is not ready"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn is_ready(&self) -> bool {
        if !self.kubeconfig().exists() && self.write_kubeconfig().is_err() {
            return false;
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        // The caller may be inside a runtime of its own, which does not let it block on another.
        let (Ok(runtime), Ok(config)) = (runtime, self.kubeconfig_content()) else {
            return false;
        };
        std::thread::spawn(move || {
            runtime.block_on(async {
                let Ok(config) =
                    Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await
                else {
                    return false;
                };
                let Ok(client) = Client::try_from(config) else {
                    return false;
                };
                let Ok(request) = http::Request::get("/readyz").body(vec![]) else {
                    return false;
                };
                client
                    .request_text(request)
                    .await
                    .is_ok_and(|text| text == "ok")
            })
        })
        .join()
        .unwrap_or(false)
    }

    fn write_kubeconfig(&self) -> std::io::Result<()> {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             contexts: [{{name: test, context: {{cluster: test, user: admin}}}}]\n\
             clusters: [{{name: test, cluster: {{server: \"{}\", certificate-authority: \"{}\"}}}}]\n\
             users: [{{name: admin, user: {{token: admin}}}}]\n",
            self.url,
            self.dir.join("certs/apiserver.crt").display()
        );
        fs::write(self.kubeconfig(), text)
    }

    fn start_controllers(&mut self) -> Result<(), String> {
        let Some(stdin) = self.guardian.stdin.as_mut() else {
            return Err("the guardian has no input".to_owned());
        };
        stdin.write_all(b"controllers\n").map_err(|e| e.to_string())
    }

    /// What happened, with the last words of the servers.
    fn failure(&self, what: &str) -> String {
        let mut text = what.to_owned();
        for log in ["openssl.log", "etcd.log", "apiserver.log"] {
            let content = fs::read_to_string(self.dir.join(log)).unwrap_or_default();
            let lines: Vec<_> = content.lines().collect();
            for line in &lines[lines.len().saturating_sub(5)..] {
                let _ = write!(text, "\n  {log}: {line}");
            }
        }
        text
    }

    /// A kubeconfig file for this server, as cluster administrator.
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("kubeconfig")
    }

    /// A kubeconfig file for acting as another user.
    pub fn kubeconfig_as(&self, user: &str) -> PathBuf {
        let text =
            fs::read_to_string(self.kubeconfig()).expect("the kubeconfig was written at the start");
        let path = self.dir.join(format!("kubeconfig-{user}"));
        let text = text.replace(
            "user: {token: admin}",
            &format!("user: {{token: admin, as: {user}}}"),
        );
        fs::write(&path, text).expect("the folder is writable");
        path
    }

    fn kubeconfig_content(&self) -> Result<Kubeconfig, String> {
        Kubeconfig::read_from(self.kubeconfig()).map_err(|e| e.to_string())
    }

    /// The configuration of a client, as cluster administrator.
    pub async fn config(&self) -> Config {
        let content = self
            .kubeconfig_content()
            .expect("the kubeconfig was written at the start");
        Config::from_custom_kubeconfig(content, &KubeConfigOptions::default())
            .await
            .expect("the kubeconfig is valid")
    }

    /// A client as cluster administrator. Each test makes its own, because its connections belong to the test's runtime.
    pub async fn client(&self) -> Client {
        Client::try_from(self.config().await).expect("the configuration is valid")
    }

    /// A client that acts as another user, for example `system:serviceaccount:NAMESPACE:NAME`.
    pub async fn client_as(&self, user: &str, groups: &[&str]) -> Client {
        let mut config = self.config().await;
        config.auth_info.impersonate = Some(user.to_owned());
        config.auth_info.impersonate_groups =
            Some(groups.iter().map(ToString::to_string).collect());
        Client::try_from(config).expect("the configuration is valid")
    }

    /// Makes a namespace for one test.
    pub async fn namespace(&self, client: &Client) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("test-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let namespace = Namespace {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                ..ObjectMeta::default()
            },
            ..Namespace::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace can be made");
        name
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
    }
}

/// Waits until `condition` gives a value; asks again in short intervals.
///
/// # Panics
/// When a minute has passed.
pub async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "never: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The folder with etcd and the Kubernetes programs.
pub fn programs() -> Result<PathBuf, String> {
    let cache = || {
        PathBuf::from(env::var_os("CLUSTER_CACHE").unwrap_or("/var/cache/hera-cluster".into()))
            .join("bin")
    };
    let bin = env::var_os("HERA_TEST_BIN").map_or_else(cache, PathBuf::from);
    for program in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        if !bin.join(program).exists() {
            return Err(format!(
                "{program} is missing in {}: run make cluster-build, or set HERA_TEST_BIN",
                bin.display()
            ));
        }
    }
    Ok(bin)
}

fn has_ended(pid: &str) -> bool {
    match fs::read_to_string(Path::new("/proc").join(pid).join("stat")) {
        // An ended process whose parent has not asked for its result yet is a zombie.
        Ok(stat) => stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.trim_start().starts_with('Z')),
        Err(_) => true,
    }
}

/// Ports of the loopback interface that nobody uses now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let sockets = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free loopback port"));
    sockets.map(|socket| socket.local_addr().expect("it is bound").port())
}
