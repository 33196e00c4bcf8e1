//! Where a server listens, and how long a call may take.

use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// Where a server listens.
///
/// `host` is the IP address of the pod. Names are resolved, but a name can change its meaning between two calls, and
/// `FAILOVER TO` and `slaveN:ip=` speak of addresses: use addresses.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address {
    /// IP address, without brackets for IPv6.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl Address {
    /// An address from its parts.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }

    /// Whether both mean the same place: IPv6 addresses are compared as addresses, not as text.
    pub fn is_same(&self, host: &str, port: u16) -> bool {
        self.port == port
            && match (self.host.parse::<IpAddr>(), host.parse::<IpAddr>()) {
                (Ok(a), Ok(b)) => a == b,
                _ => self.host == host,
            }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// How long a call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Until the TCP connection is there. The login that follows has the limit of a command.
    pub connect: Duration,
    /// From sending a command until its whole reply is there.
    pub command: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(1),
            command: Duration::from_secs(2),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_printed_in_brackets_and_compared_by_value() {
        let address = Address::new("fd00::1", 6379);
        assert_eq!(address.to_string(), "[fd00::1]:6379");
        assert!(address.is_same("fd00:0:0::1", 6379));
        assert!(!address.is_same("fd00::1", 6380));
        assert_eq!(Address::new("10.0.0.1", 1).to_string(), "10.0.0.1:1");
    }
}
