//! Clients outside of the Kubernetes cluster: where they reach each pod, and what the nodes of a cluster tell them. Pure.
//!
//! A node of a cluster has one address for the other nodes and one for clients. The first one stays the pod's: replication and the bus
//! never leave the Kubernetes cluster. The second one is `cluster-announce-hostname` (also an IPv4 address fits into it) and, where the
//! server has it (Valkey 9), `cluster-announce-client-port`. `cluster-announce-port` would move the replicas as well.

use std::collections::BTreeMap;
use std::fmt;

use super::api::ExternalType;
use super::model::{Instance, Observed, PORT, Problem, Validated};
use super::reasons;

/// What clients are told as the host of a node.
pub const HOSTNAME: &str = "cluster-announce-hostname";
/// Whether a node tells clients host names or addresses.
pub const ENDPOINT_TYPE: &str = "cluster-preferred-endpoint-type";
/// The port that clients are told.
pub const CLIENT_PORT: &str = "cluster-announce-client-port";
/// The same for those that encrypt.
pub const CLIENT_TLS_PORT: &str = "cluster-announce-client-tls-port";
/// All of them: each is set while the server runs.
pub const DIRECTIVES: [&str; 4] = [HOSTNAME, ENDPOINT_TYPE, CLIENT_PORT, CLIENT_TLS_PORT];

/// Where clients outside reach a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Name of the Service of a pod.
pub fn service_name(pod: &str) -> String {
    format!("{pod}-external")
}

/// A text of the spec with the name of the pod in it.
pub fn for_pod(text: &str, pod: &str) -> String {
    text.replace("{pod}", pod)
}

/// Where clients outside reach this pod; `None` while it is not known.
pub fn place(v: &Validated, o: &Observed, i: &Instance) -> Option<Place> {
    let external = v.services.external.as_ref()?;
    let name = service_name(&i.pod);
    let mut services = o.objects.services.iter();
    let service = services.find(|s| s.metadata.name.as_deref() == Some(&name))?;
    let named = external.host.as_ref().map(|host| for_pod(host, &i.pod));
    match external.type_ {
        ExternalType::LoadBalancer => {
            let status = service.status.as_ref()?.load_balancer.as_ref()?;
            let first = status.ingress.as_ref()?.first()?;
            let host = first.ip.clone().or_else(|| first.hostname.clone())?;
            Some(Place {
                host: named.unwrap_or(host),
                port: PORT,
            })
        }
        ExternalType::NodePort => {
            let port = service.spec.as_ref()?.ports.as_ref()?.first()?.node_port?;
            Some(Place {
                host: named.or_else(|| i.host_ip.clone())?,
                port: u16::try_from(port).ok()?,
            })
        }
    }
}

/// A node whose port for clients differs from the one of the servers among themselves, and that cannot say so.
fn unable<'a>(v: &Validated, o: &'a Observed) -> Option<&'a Instance> {
    let answers = |i: &&Instance| i.config.contains_key(HOSTNAME);
    let mut nodes = o.instances.iter().filter(answers);
    nodes.find(|i| {
        place(v, o, i).is_some_and(|p| p.port != PORT) && !i.config.contains_key(CLIENT_PORT)
    })
}

fn names_nodes(i: &Instance) -> bool {
    i.config.get(ENDPOINT_TYPE).is_some_and(|t| t == "hostname")
}

/// This node has the host name of every other one. Before that it would tell clients of nodes without any.
fn knows_every_name(o: &Observed, i: &Instance) -> bool {
    let view = o.cluster.views.get(&i.pod);
    view.is_some_and(|view| {
        let mut nodes = view.nodes.iter().filter(|n| !n.is_in_handshake());
        nodes.all(|n| n.hostname.is_some())
    })
}

/// The directives by which this node of a cluster tells clients where the nodes are. While the place of a pod is not known, it goes on
/// with what it said before.
pub fn announced(v: &Validated, o: &Observed, i: &Instance) -> BTreeMap<String, String> {
    let mut wanted: BTreeMap<&str, String> = BTreeMap::new();
    if !v.clustered() {
        return BTreeMap::new();
    }
    if v.services.external.is_none() || unable(v, o).is_some() {
        wanted.insert(ENDPOINT_TYPE, "ip".to_owned());
        // A node that still tells names needs those of all others.
        if !o.instances.iter().any(names_nodes) {
            wanted.insert(HOSTNAME, String::new());
            wanted.insert(CLIENT_PORT, "0".to_owned());
            wanted.insert(CLIENT_TLS_PORT, "0".to_owned());
        }
    } else if let Some(place) = place(v, o, i) {
        let port = if place.port == PORT { 0 } else { place.port };
        let (plain, encrypted) = if v.tls.is_some() {
            (0, port)
        } else {
            (port, 0)
        };
        wanted.insert(HOSTNAME, place.host);
        wanted.insert(CLIENT_PORT, plain.to_string());
        wanted.insert(CLIENT_TLS_PORT, encrypted.to_string());
        if names_nodes(i) || knows_every_name(o, i) {
            wanted.insert(ENDPOINT_TYPE, "hostname".to_owned());
        }
    }
    // An older server lacks some of them; what the user sets in spec.config is the user's.
    wanted
        .into_iter()
        .filter(|(name, _)| i.config.contains_key(*name) && !v.config.contains_key(*name))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// What keeps clients outside from reaching every pod that is wanted.
pub fn problem(v: &Validated, o: &Observed) -> Option<Problem> {
    let external = v.services.external.as_ref()?;
    let wanted = |i: &&Instance| {
        i.ordinal < v.replicas && (!v.clustered() || i.shard < v.shards) && !i.uid.is_empty()
    };
    let pods = || o.instances.iter().filter(wanted);
    if let Some(i) = unable(v, o).filter(|_| v.clustered()) {
        let message = format!(
            "{} cannot tell clients another port than the one that its replicas use; {:?} needs Valkey 9 in mode Cluster",
            i.pod, external.type_
        );
        return Some(Problem::of(
            reasons::ExternalPortUnsupported,
            format!("Pod/{}", i.pod),
            message,
        ));
    }
    if let Some(i) = pods().find(|i| place(v, o, i).is_none()) {
        let service = service_name(&i.pod);
        return Some(Problem::of(
            reasons::ExternalAddressPending,
            format!("Service/{service}"),
            format!("Service/{service} has no address for clients outside yet"),
        ));
    }
    let silent = |i: &&Instance| i.config.contains_key(ENDPOINT_TYPE) && !names_nodes(i);
    let quiet = pods().find(silent).filter(|_| v.clustered())?;
    Some(Problem::of(
        reasons::ExternalAddressUntold,
        format!("Pod/{}", quiet.pod),
        format!(
            "{} does not tell clients the addresses outside yet",
            quiet.pod
        ),
    ))
}

#[cfg(test)]
mod tests;
