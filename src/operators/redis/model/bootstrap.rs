//! A database that copies a server outside of it, and takes over from it.

use std::fmt;

use super::{Info, PORT, Problem};
use crate::engines::redis::{Address, Credentials};
use crate::operators::redis::api::{BootstrapStatus, Election, External, SecretKeyRef};

/// What a copy announces as its address to the external server: a name that leads nowhere. Sentinels that watch that server do not
/// take the copy for one of its replicas then, which they would make a replica again after the cut-over.
pub const ANNOUNCED_TO_SOURCE: &str = "copy.invalid";

/// Where the first data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidBootstrap {
    /// Where the server is.
    pub address: Address,
    /// ACL user; `None`: the user `default`.
    pub username: Option<String>,
    /// Where its password is; `None`: no login.
    pub password_ref: Option<SecretKeyRef>,
    /// The connection is encrypted.
    pub tls: bool,
    /// The user wants this database to take over.
    pub cut_over: bool,
}

/// Where the external server is. A name without a dot is a Service of the namespace; Hera itself runs in another one.
pub fn source_address(external: &External, namespace: &str) -> Address {
    let port = external.port.and_then(|p| u16::try_from(p).ok());
    let host = &external.host;
    let host = if host.contains(['.', ':']) {
        host.clone()
    } else {
        format!("{host}.{namespace}.svc")
    };
    Address::new(host, port.unwrap_or(PORT))
}

/// The external server.
#[derive(Clone, Debug)]
pub struct Source {
    /// Where it is.
    pub address: Address,
    /// How Hera and the replica log in; `None` while the password cannot be read.
    pub login: Option<Credentials>,
    /// What it says, or why it says nothing.
    pub server: Result<Box<Info>, Problem>,
}

/// With which login a server replicates, should it be a replica, and what it announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrimaryLogin {
    /// That of the replicas of this database.
    Own,
    /// That of the external server.
    Source,
    /// Another one.
    Other,
}

/// A step of copying an external server.
#[derive(Clone, Debug, PartialEq)]
pub enum BootstrapStep {
    /// Write down which pod replicates from the external server.
    Begin(BootstrapStatus),
    /// Make the pod a replica of the external server.
    Replicate {
        /// Pod.
        pod: String,
    },
    /// Give a server the login of the replicas of this database.
    OwnLogin {
        /// Pod.
        pod: String,
    },
    /// Pause the writes of the external server, let the candidate get the rest of them, and promote it.
    CutOver(Election),
    /// Write down that this database took over.
    Finish,
}

impl fmt::Display for BootstrapStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begin(b) => write!(f, "let Pod/{} replicate from {}", b.pod, b.source),
            Self::Replicate { pod } => {
                write!(f, "make Pod/{pod} a replica of the external server")
            }
            Self::OwnLogin { pod } => write!(f, "give Pod/{pod} the login of replicas"),
            Self::CutOver(e) => write!(f, "let Pod/{} take over", e.candidate),
            Self::Finish => f.write_str("write down that the database took over"),
        }
    }
}
