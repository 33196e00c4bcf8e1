//! Who logs in at a server, and how.

use secrecy::SecretString;

use super::tls::Tls;

/// Who logs in, and whether over TLS. The password is never printed.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// Name of the ACL user. Empty: the user `default`, in the way that servers without users understand, too; and with an empty
    /// password no login at all.
    pub username: String,
    /// Its password in clear text.
    pub password: SecretString,
    /// How to speak TLS. With it there is no connection without TLS, whatever fails.
    pub tls: Option<Tls>,
}

impl Credentials {
    /// Credentials from their parts.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: SecretString::from(password.into()),
            tls: None,
        }
    }

    /// The same user, over TLS.
    #[must_use]
    pub fn with_tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
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
