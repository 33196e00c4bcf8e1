//! How the kubelet asks servers and sentinels whether they live.

use k8s_openapi::api::core::v1::{ExecAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::model::Validated;
use super::tls;

/// Something listens.
pub fn tcp(port: u16) -> Probe {
    Probe {
        tcp_socket: Some(TCPSocketAction {
            port: IntOrString::Int(i32::from(port)),
            host: None,
        }),
        timeout_seconds: Some(2),
        ..Probe::default()
    }
}

/// Any answer will do. Over TLS so will the end of the handshake, whatever it is: a certificate that has expired must not end servers.
/// A connection alone is no answer, for the kernel takes it in place of a process that is stopped.
pub fn liveness(v: &Validated, cli: &str, port: u16) -> Probe {
    let command = if v.tls.is_some() {
        let ping = format!(
            "{cli}{} -p {port} ping > /dev/null 2>&1; true",
            tls::client_flags()
        );
        vec!["sh".to_owned(), "-c".to_owned(), ping]
    } else {
        [cli, "-p", &port.to_string(), "ping"]
            .map(str::to_owned)
            .to_vec()
    };
    Probe {
        exec: Some(ExecAction {
            command: Some(command),
        }),
        ..Probe::default()
    }
}
