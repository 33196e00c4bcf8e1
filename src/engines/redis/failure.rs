//! Why a call failed, and what that says about the server.

use std::io;

use redis::{RedisError, ServerError};
use thiserror::Error;

/// Why a call to a server failed.
///
/// The first question after a failure is whether the server lives ([`Failure::is_alive`]): a server that answers
/// `BUSY` or `LOADING` must not be failed over or killed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Failure {
    /// The connection was refused: the host is up and no process listens on the port.
    #[error("connection refused")]
    Refused,
    /// An open connection ended before the reply. The process ended, or it closed this one connection (`CLIENT KILL`,
    /// a deleted ACL user): connect again to tell the two apart.
    #[error("connection closed by the server")]
    Closed,
    /// No answer within the limit: the process hangs or is stopped, or the network drops packets.
    #[error("no answer within the time limit")]
    Timeout,
    /// The host cannot be reached (no route, network down, name unknown).
    #[error("unreachable: {0}")]
    Unreachable(String),
    /// The server refuses the login (`WRONGPASS`, `NOAUTH`, or `NOPERM` for the login itself).
    #[error("login refused: {0}")]
    Auth(String),
    /// No connection by TLS: the certificate of the server is not the one that is expected, or the server wants one of the
    /// client, or it does not speak TLS. A process runs there and answers.
    #[error("TLS failed: {0}")]
    Tls(String),
    /// The server runs a script or a function for a long time (`BUSY`). It lives.
    #[error("busy running a script")]
    Busy,
    /// The server loads its data set (`LOADING`). It lives.
    #[error("loading the data set")]
    Loading,
    /// A replica without a link to its primary that must not serve stale data (`MASTERDOWN`). It lives.
    #[error("link to the primary is down and stale data is not served")]
    MasterDown,
    /// Any other error reply, with its full text.
    #[error("{0}")]
    Command(String),
    /// Something answered, but not what was asked for.
    #[error("unexpected reply: {0}")]
    Protocol(String),
}

impl Failure {
    /// The failure as one CamelCase word, for conditions, events and metric labels.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused => "ConnectionRefused",
            Self::Closed => "ConnectionClosed",
            Self::Timeout => "Timeout",
            Self::Unreachable(_) => "Unreachable",
            Self::Auth(_) => "AuthenticationFailed",
            Self::Tls(_) => "TLSFailed",
            Self::Busy => "Busy",
            Self::Loading => "Loading",
            Self::MasterDown => "MasterDown",
            Self::Command(_) => "CommandFailed",
            Self::Protocol(_) => "ProtocolError",
        }
    }

    /// Whether the failure itself proves that a server process runs and answers.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Refused | Self::Closed | Self::Timeout | Self::Unreachable(_) => false,
            Self::Auth(_)
            | Self::Tls(_)
            | Self::Busy
            | Self::Loading
            | Self::MasterDown
            | Self::Command(_)
            | Self::Protocol(_) => true,
        }
    }

    /// The failure of an attempt to connect.
    pub(super) fn from_connect(error: &io::Error) -> Self {
        if let Some(tls) = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
        {
            return Self::Tls(tls.to_string());
        }
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Closed,
            io::ErrorKind::TimedOut => Self::Timeout,
            _ => Self::Unreachable(error.to_string()),
        }
    }

    /// The failure that an error reply means.
    pub(super) fn from_reply(error: &ServerError) -> Self {
        Self::from_code(error.code(), error.details())
    }

    /// The failure that an error of the library means, on a connection that was open.
    pub(super) fn from_error(error: &RedisError) -> Self {
        if error.is_timeout() {
            Self::Timeout
        } else if error.is_io_error() {
            // Nothing else can end an established connection's read or write.
            Self::Closed
        } else if let Some(code) = error.code() {
            Self::from_code(code, error.detail())
        } else {
            Self::Protocol(error.to_string())
        }
    }

    fn from_code(code: &str, details: Option<&str>) -> Self {
        let text = || match details {
            Some(details) => format!("{code} {details}"),
            None => code.to_owned(),
        };
        match code {
            "BUSY" => Self::Busy,
            "LOADING" => Self::Loading,
            "MASTERDOWN" => Self::MasterDown,
            "NOAUTH" | "WRONGPASS" => Self::Auth(text()),
            _ => Self::Command(text()),
        }
    }

    /// The same failure seen while logging in, where any refusal is one of the login. What has nothing to do with the
    /// user (the limit of clients is reached) stays as it is.
    pub(super) fn during_login(self) -> Self {
        match self {
            Self::Command(text) if text.starts_with("NOPERM") || text.contains("AUTH") => {
                Self::Auth(text)
            }
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_of_a_living_server_are_told_apart() {
        let cases = [
            ("BUSY", "Redis is busy running a script.", Failure::Busy),
            (
                "LOADING",
                "Redis is loading the dataset in memory",
                Failure::Loading,
            ),
            (
                "MASTERDOWN",
                "Link with MASTER is down",
                Failure::MasterDown,
            ),
            (
                "NOAUTH",
                "Authentication required.",
                Failure::Auth("NOAUTH Authentication required.".into()),
            ),
            (
                "WRONGPASS",
                "invalid username-password pair",
                Failure::Auth("WRONGPASS invalid username-password pair".into()),
            ),
            (
                "ERR",
                "max number of clients reached",
                Failure::Command("ERR max number of clients reached".into()),
            ),
            (
                "NOPERM",
                "User a has no permissions",
                Failure::Command("NOPERM User a has no permissions".into()),
            ),
        ];
        for (code, details, expected) in cases {
            let failure = Failure::from_code(code, Some(details));
            assert_eq!(failure, expected);
            assert!(failure.is_alive(), "{failure} is an answer");
        }
    }

    #[test]
    fn silence_is_not_life() {
        for failure in [
            Failure::Refused,
            Failure::Closed,
            Failure::Timeout,
            Failure::Unreachable("no route".into()),
        ] {
            assert!(!failure.is_alive(), "{failure}");
        }
    }

    #[test]
    fn connect_errors_are_told_apart() {
        let of = |kind: io::ErrorKind| Failure::from_connect(&io::Error::from(kind));
        assert_eq!(of(io::ErrorKind::ConnectionRefused), Failure::Refused);
        assert_eq!(of(io::ErrorKind::TimedOut), Failure::Timeout);
        assert_eq!(of(io::ErrorKind::ConnectionReset), Failure::Closed);
        assert!(matches!(
            of(io::ErrorKind::HostUnreachable),
            Failure::Unreachable(_)
        ));
    }
}
