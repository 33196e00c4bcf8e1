//! Who logs in at a server, and how it is reached.

use secrecy::SecretString;

use super::tls::Tls;
use crate::engines::network::Network;

/// Who logs in, by which network, and whether over TLS. The password is never printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Name of the ACL user. Empty: the user `default`, in the way that servers without users understand, too; and with an empty
    /// password no login at all.
    pub username: String,
    /// Its password in clear text.
    pub password: SecretString,
    /// How to speak TLS. With it there is no connection without TLS, whatever fails.
    pub tls: Option<Tls>,
    /// How the connection is opened.
    pub network: Network,
}

impl Credentials {
    /// Credentials from their parts.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: SecretString::from(password.into()),
            tls: None,
            network: Network::default(),
        }
    }

    /// The same user, over TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The same user, by this network.
    #[must_use]
    pub fn through(mut self, network: &Network) -> Self {
        self.network = network.clone();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_not_printed() {
        let printed = format!("{:?}", Credentials::new("hera", "s3cret"));
        assert!(!printed.contains("s3cret"), "{printed}");
    }
}
