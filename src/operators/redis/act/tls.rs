//! Steps on the encryption of servers. All can be done again: a server that was switched in part is switched anew.

use futures::future::join_all;

use super::{Pass, Undone};
use crate::engines::redis::{Client, Failure};
use crate::operators::redis::build;
use crate::operators::redis::model::{BUS_PORT, Instance, PORT, Role, ValidTls};

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

impl Pass<'_> {
    /// Setting the files again makes the server read them, also when their names stay the same; open connections go on.
    pub(super) async fn reload_certificate(&self, pod: &str) -> Result<(), Undone> {
        let files = build::tls::files();
        let directives: Vec<(&str, &str)> = files
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        self.client(pod).await?.config_set(&directives).await?;
        let uid = &self.instance(pod)?.uid;
        self.op.instances.reread(&self.o.key, uid);
        Ok(())
    }

    /// Makes these servers accept plaintext or refuse it.
    pub(super) async fn listen(&self, pods: &[String], plaintext: bool) -> Result<(), Undone> {
        self.confirm().await?;
        let Some(tls) = self.v.tls.as_ref().filter(|t| t.plaintext == plaintext) else {
            return super::stale("the encryption that is wanted changed");
        };
        let mut servers = Vec::new();
        for pod in pods {
            servers.push((self.instance(pod)?, self.client(pod).await?));
        }
        if self.v.clustered() {
            // Those that the others connect to first.
            for replicas in [false, true] {
                let of_role = servers.iter().filter(|(i, _)| is_replica(i) == replicas);
                let nodes = join_all(of_role.map(|(i, c)| switch_node(tls, i, c)));
                nodes.await.into_iter().collect::<Result<Vec<()>, _>>()?;
            }
        } else {
            for (i, client) in &servers {
                switch(tls, i, client).await?;
            }
        }
        for (i, client) in &servers {
            if !plaintext && let Some(ip) = &i.ip {
                client.kill_clients_of(ip, PORT).await?;
            }
            self.op.instances.poll_now(&self.o.key, &i.uid);
        }
        Ok(())
    }
}

fn is_replica(i: &Instance) -> bool {
    i.info().is_some_and(|info| info.role == Role::Replica)
}

/// A replica connects anew to its primary, which was switched before. Not before it is told how: a server that gets an encrypted
/// greeting on a port for plaintext lets it wait for a minute.
async fn connect_anew(tls: &ValidTls, client: &Client) -> Result<(), Failure> {
    let directive = ("tls-replication", word(!tls.plaintext));
    client.config_set(&[directive]).await?;
    client.kill_primary_link().await.map(drop)
}

/// The ports in the order in which one sets the other free.
fn ports(tls: &ValidTls) -> Vec<(&'static str, String)> {
    let (encrypted, plain) = (tls.port(), if tls.plaintext { PORT } else { 0 });
    let mut ports = vec![
        ("port", plain.to_string()),
        ("tls-port", encrypted.to_string()),
    ];
    if tls.plaintext {
        ports.reverse();
    }
    ports
}

async fn set(client: &Client, directives: &[(&'static str, String)]) -> Result<(), Failure> {
    let directives: Vec<(&str, &str)> = directives
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    client.config_set(&directives).await
}

/// The ports last: by them it is seen that all else is done. To its primary a replica tells the port that it is going to have.
async fn switch(tls: &ValidTls, i: &Instance, client: &Client) -> Result<(), Failure> {
    if is_replica(i) {
        let announced = PORT.to_string();
        client
            .config_set(&[("replica-announce-port", &announced)])
            .await?;
        connect_anew(tls, client).await?;
    }
    let mut directives = ports(tls);
    directives.push(("tls-replication", word(!tls.plaintext).to_owned()));
    set(client, &directives).await
}

/// The same of a node of a cluster, with its bus. The others make their links to it anew when they see its new port.
async fn switch_node(tls: &ValidTls, i: &Instance, client: &Client) -> Result<(), Failure> {
    const ANNOUNCED: &str = "cluster-announce-tls-port";
    if is_replica(i) {
        connect_anew(tls, client).await?;
    }
    client
        .config_set(&[("cluster-announce-bus-port", &BUS_PORT.to_string())])
        .await?;
    let mut directives = ports(tls);
    directives.push(("tls-cluster", word(!tls.plaintext).to_owned()));
    directives.push(("tls-replication", word(!tls.plaintext).to_owned()));
    set(client, &directives).await?;
    // Valkey 8 goes on to tell its former port until it is told one.
    let before = client.config_get(&[ANNOUNCED]).await?;
    let before = before.get(ANNOUNCED).map_or("0", String::as_str);
    if before == "0" {
        client
            .config_set(&[(ANNOUNCED, &tls.port().to_string())])
            .await?;
        client.config_set(&[(ANNOUNCED, "0")]).await?;
    }
    Ok(())
}
