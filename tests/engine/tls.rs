//! TLS: whom the client trusts, a rotation without a restart, and a certificate of the client.

use std::path::Path;
use std::time::Duration;

use hera::engines::redis::{
    Address, Client, ClientIdentity, Credentials, Failure, Monitor, ServedCertificate, Target, Tls,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SerialNumber,
};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::server::{PASSWORD, Program, Server, eventually, free_port, limits};

/// The name that all servers share, at whatever address.
pub const NAME: &str = "redis.databases.svc";

pub type Authority = CertifiedIssuer<'static, KeyPair>;

pub fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(vec![]).unwrap();
    // Servers look for the issuer by its name.
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate for [`NAME`] and its key, as PEM.
pub fn issue(authority: &Authority, serial: &[u8]) -> (String, String) {
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params.not_after = rcgen::date_time_ymd(2050, 1, 2);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// The folder that a server reads its certificate from.
pub struct Files(TempDir);

impl Files {
    pub fn new(authority: &Authority) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.crt"), authority.pem()).unwrap();
        Self(folder)
    }

    pub fn write(&self, (certificate, key): &(String, String)) {
        std::fs::write(self.0.path().join("tls.crt"), certificate).unwrap();
        std::fs::write(self.0.path().join("tls.key"), key).unwrap();
    }

    pub fn path(&self, name: &str) -> String {
        let path: &Path = self.0.path();
        path.join(name).to_str().unwrap().to_owned()
    }

    /// Tells the server to read the files.
    pub async fn load(&self, client: &Client) -> Result<(), Failure> {
        client
            .config_set(&[
                ("tls-cert-file", &self.path("tls.crt")),
                ("tls-key-file", &self.path("tls.key")),
                ("tls-ca-cert-file", &self.path("ca.crt")),
            ])
            .await
    }
}

/// A server that was started without TLS, with TLS turned on beside its plain port; and its TLS port.
async fn start(program: &Program, files: &Files, clients: &str) -> (Server, Address) {
    let server = Server::start(program, &[]).await;
    let client = server.hera().await;
    files.load(&client).await.unwrap();
    client
        .config_set(&[("tls-auth-clients", clients)])
        .await
        .unwrap();
    let address = Address::new("127.0.0.1", free_port());
    client
        .config_set(&[("tls-port", &address.port.to_string())])
        .await
        .unwrap();
    (server, address)
}

fn hera() -> Credentials {
    Credentials::new("hera", PASSWORD)
}

async fn connect(address: &Address, tls: &Tls) -> Result<Client, Failure> {
    Client::connect(address, &hera().with_tls(tls.clone()), limits()).await
}

pub async fn only_the_expected_server_is_trusted(program: Program) {
    let authority = authority("authority");
    let files = Files::new(&authority);
    files.write(&issue(&authority, &[0x01, 0xab]));
    let (server, address) = start(&program, &files, "no").await;
    let tls = Tls::new(authority.pem().as_bytes(), NAME, None).unwrap();

    let client = connect(&address, &tls).await.unwrap();
    client.ping().await.unwrap();
    let plain = server.hera().await.info().await.unwrap();
    assert_eq!(client.info().await.unwrap().run_id, plain.run_id);
    let wrong = Credentials::new("hera", "wrong").with_tls(tls.clone());
    let refused = Client::connect(&address, &wrong, limits()).await;
    assert!(matches!(refused, Err(Failure::Auth(_))));

    let stranger = self::authority("stranger");
    for (ca, name) in [(&stranger, NAME), (&authority, "other.svc")] {
        let other = Tls::new(ca.pem().as_bytes(), name, None).unwrap();
        let failure = connect(&address, &other).await.unwrap_err();
        assert!(matches!(failure, Failure::Tls(_)), "{failure}");
        assert!(failure.is_alive());
    }
    // Both CAs, as while one is replaced by the other.
    let both = stranger.pem() + &authority.pem();
    let tls_of_both = Tls::new(both.as_bytes(), NAME, None).unwrap();
    connect(&address, &tls_of_both).await.unwrap();
    // Never without TLS: a plain port is no way out. The server waits for more of what it takes for a command.
    let plain_port = connect(&server.address(), &tls).await;
    assert!(plain_port.is_err(), "{plain_port:?}");
    let nobody = Address::new("127.0.0.1", free_port());
    assert_eq!(connect(&nobody, &tls).await.unwrap_err(), Failure::Refused);
}

pub async fn a_rotation_is_seen_by_the_served_serial(program: Program) {
    let authority = authority("authority");
    let files = Files::new(&authority);
    let (first, second) = (issue(&authority, &[0x01]), issue(&authority, &[0x02, 0xff]));
    files.write(&first);
    let (_server, address) = start(&program, &files, "no").await;
    let tls = Tls::new(authority.pem().as_bytes(), NAME, None).unwrap();
    let client = connect(&address, &tls).await.unwrap();
    let served = async || tls.served_certificate(&address, limits()).await.unwrap();
    let expected = |pair: &(String, String)| ServedCertificate::from_pem(pair.0.as_bytes());

    let before = served().await;
    assert_eq!(before.serial, "1");
    assert_eq!(before.not_after.to_string(), "2050-01-02T00:00:00Z");
    assert_eq!(expected(&first), Ok(before.clone()));

    // New files alone change nothing; a pair that does not fit is refused, and the old one is served on.
    files.write(&(second.0.clone(), first.1.clone()));
    assert_eq!(served().await, before);
    let refused = files.load(&client).await;
    assert!(matches!(refused, Err(Failure::Command(_))), "{refused:?}");
    assert_eq!(served().await, before);

    files.write(&second);
    files.load(&client).await.unwrap();
    let after = served().await;
    assert_eq!(after.serial, "2ff");
    assert_eq!(expected(&second), Ok(after));
    // The open connection stays.
    client.ping().await.unwrap();
}

pub async fn a_certificate_of_the_client_is_demanded(program: Program) {
    let authority = authority("authority");
    let files = Files::new(&authority);
    files.write(&issue(&authority, &[0x01]));
    let (_server, address) = start(&program, &files, "yes").await;
    let ca = authority.pem();
    let identity = |by: &Authority| {
        let (certificate, key) = issue(by, &[0x05]);
        ClientIdentity {
            certificates: certificate.into_bytes(),
            key: key.into_bytes().into(),
        }
    };

    let own = Tls::new(ca.as_bytes(), NAME, Some(&identity(&authority))).unwrap();
    connect(&address, &own).await.unwrap().ping().await.unwrap();
    let without = Tls::new(ca.as_bytes(), NAME, None).unwrap();
    let strange = Tls::new(
        ca.as_bytes(),
        NAME,
        Some(&identity(&self::authority("stranger"))),
    )
    .unwrap();
    for tls in [&without, &strange] {
        let failure = connect(&address, tls).await.unwrap_err();
        // The server closes right after it has said why, which may come first.
        assert!(
            matches!(failure, Failure::Tls(_) | Failure::Closed),
            "{failure}"
        );
    }
    let served = without.served_certificate(&address, limits()).await;
    assert_eq!(served.unwrap().serial, "1");
}

pub async fn a_monitor_watches_over_tls(program: Program) {
    let authority = authority("authority");
    let files = Files::new(&authority);
    files.write(&issue(&authority, &[0x01]));
    let (mut server, address) = start(&program, &files, "no").await;
    let tls = Tls::new(authority.pem().as_bytes(), NAME, None).unwrap();
    let mut target = Target::new(address, hera().with_tls(tls));
    target.limits = limits();
    // Polls do not help to notice the end.
    target.interval = Duration::from_secs(3600);
    let (changes, mut told) = mpsc::unbounded_channel();
    let monitor = Monitor::start(target, (), changes);
    told.recv().await.unwrap();
    let client = eventually(|| async { monitor.client().ok_or("no connection") }).await;
    client.ping().await.unwrap();
    server.kill();
    eventually(|| async {
        if monitor.client().is_none() {
            Ok(())
        } else {
            Err("still there")
        }
    })
    .await;
}
