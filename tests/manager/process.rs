//! One `hera run` and what it says over HTTP.
use std::{
    fs::{self, File},
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tempfile::TempDir;

use crate::apiserver::{ApiServer, eventually};

/// A manager process, killed at the latest when dropped.
pub struct Manager {
    child: Child,
    dir: TempDir,
    address: SocketAddr,
}

impl Manager {
    /// Starts `hera run` with a Lease in `namespace` and waits for its HTTP server.
    pub async fn start(server: &ApiServer, namespace: &str, flags: &[&str]) -> Self {
        Self::start_with(&server.kubeconfig(), namespace, flags).await
    }

    /// The same with a kubeconfig of the caller's choice.
    pub async fn start_with(kubeconfig: &Path, namespace: &str, flags: &[&str]) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_hera"));
        Self::start_program(program, kubeconfig, namespace, flags).await
    }

    /// The same with another build of the program.
    pub async fn start_program(
        program: &Path,
        kubeconfig: &Path,
        namespace: &str,
        flags: &[&str],
    ) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let log = File::create(dir.path().join("log")).expect("a log file");
        let child = Command::new(program)
            .args(["run", "--bind-address=127.0.0.1:0"])
            .arg(format!("--lease-namespace={namespace}"))
            .args(flags)
            .env("KUBECONFIG", kubeconfig)
            .stderr(Stdio::from(log))
            .spawn()
            .expect("hera starts");
        let log = dir.path().join("log");
        let address = eventually("the address in the log", async || address(&log)).await;
        Self {
            child,
            dir,
            address,
        }
    }

    /// The process id.
    #[allow(dead_code)] // Only benchmarks ask.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All that was logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// The name under which this process holds the Lease.
    pub fn identity(&self) -> Option<String> {
        self.log().lines().find_map(|line| {
            let entry: serde_json::Value = serde_json::from_str(line).ok()?;
            Some(entry.get("identity")?.as_str()?.to_owned())
        })
    }

    /// One request: status code and body.
    pub fn http(&self, method: &str, path: &str, body: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.address).ok()?;
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .ok()?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: hera\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
    }

    /// Whether `/readyz` says so.
    pub fn is_ready(&self) -> bool {
        self.http("GET", "/readyz", "")
            .is_some_and(|(status, _)| status == 200)
    }

    /// The sum of the series of a metric; `None` without an answer.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let (_, text) = self.http("GET", "/metrics", "")?;
        let series = text.lines().filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        Some(
            series
                .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
                .sum(),
        )
    }

    /// Whether the process says that it leads.
    pub fn leads(&self) -> bool {
        self.metric("leader_election_master_status") == Some(1.0)
    }

    /// Sends a signal, for example `STOP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.is_ok_and(|status| status.success()), "kill -{name}");
    }

    /// Waits for the end of the process.
    pub async fn end(&mut self) -> ExitStatus {
        let child = &mut self.child;
        loop {
            if let Some(status) = child.try_wait().expect("the process can be waited for") {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // KILL also ends a process that is stopped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.child.id(), self.log());
        }
    }
}

fn address(log: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(log).ok()?;
    text.lines().find_map(|line| {
        let entry: serde_json::Value = serde_json::from_str(line).ok()?;
        entry.get("address")?.as_str()?.parse().ok()
    })
}
