//! What the sentinels of a database say, asked as an application does.

use std::collections::BTreeMap;

use hera::engines::redis::{Address, Client, Credentials, Limits};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use redis::{AsyncConnectionConfig, ConnectionAddr, IntoConnectionInfo, RedisConnectionInfo};

use super::database::Database;
use super::server::PATIENT;
use super::wait::{LONG, ensure, until};

const PORT: u16 = 26379;

fn ip(pod: &Pod) -> Result<String, String> {
    let status = pod.status.as_ref();
    let ip = status.and_then(|s| s.pod_ip.clone());
    ip.ok_or_else(|| format!("{} has no address", pod.name_any()))
}

/// The name that the sentinels know the primary under.
pub async fn monitored_name(db: &Database) -> String {
    let secret = format!("{}-connection", db.name);
    db.secret(&secret, "sentinel-master").await
}

async fn client(db: &Database, pod: &Pod) -> Result<Client, String> {
    let login = Credentials::new("default", db.password().await);
    Client::connect(&Address::new(ip(pod)?, PORT), &login, Limits::default())
        .await
        .map_err(|e| e.to_string())
}

/// The pod that this sentinel tells clients is the primary.
pub async fn told(db: &Database, sentinel: &Pod) -> Result<String, String> {
    let name = monitored_name(db).await;
    let client = client(db, sentinel).await?;
    let told = client.sentinel_primary_address(&name).await;
    let told = told
        .map_err(|e| e.to_string())?
        .ok_or_else(|| format!("{} watches nobody", sentinel.name_any()))?;
    for (name, pod) in db.pods().await {
        if ip(&pod)? == told.host {
            return Ok(name);
        }
    }
    Err(format!("nobody is at {told}"))
}

/// Waits until the database is ready, every sentinel names its primary, and sees so many replicas and the other sentinels and nobody
/// else that lives. Returns the name of the primary.
pub async fn watched(db: &Database, replicas: usize) -> String {
    db.ready().await;
    let name = monitored_name(db).await;
    until("every sentinel sees the same", LONG, || async {
        let primary = db.status().await.primary.ok_or("no primary")?;
        let sentinels = db.sentinels().await;
        for sentinel in sentinels.values() {
            let who = sentinel.name_any();
            let told = told(db, sentinel).await?;
            ensure(told == primary, || {
                format!("{who} names {told}, not {primary}")
            })?;
            let client = client(db, sentinel).await?;
            let all = client
                .sentinel_primaries()
                .await
                .map_err(|e| e.to_string())?;
            ensure(all.len() == 1, || format!("{who} watches {all:?}"))?;
            let peers = client
                .sentinel_peers(&name)
                .await
                .map_err(|e| e.to_string())?;
            let mut seen: Vec<String> = peers.iter().map(|p| p.address.host.clone()).collect();
            let mut others: Vec<String> = sentinels
                .values()
                .filter(|s| s.name_any() != who)
                .map(ip)
                .collect::<Result<_, _>>()?;
            seen.sort();
            others.sort();
            ensure(seen == others, || {
                format!("{who} sees sentinels at {seen:?}, not {others:?}")
            })?;
            let known = client
                .sentinel_replicas(&name)
                .await
                .map_err(|e| e.to_string())?;
            let up = known.iter().filter(|r| r.flags.is_up() && r.link_up);
            let up = up.count();
            ensure(up == replicas, || {
                format!("{who} sees {up} replicas: {known:?}")
            })?;
        }
        Ok(primary)
    })
    .await
}

/// How often each subcommand of `SENTINEL` was sent to a sentinel, such as `sentinel|reset`.
pub async fn commands(db: &Database, sentinel: &Pod) -> BTreeMap<String, u64> {
    let settings = RedisConnectionInfo::default()
        .set_username("default")
        .set_password(db.password().await)
        .set_skip_set_lib_name();
    let info = ConnectionAddr::Tcp(ip(sentinel).expect("an address"), PORT)
        .into_connection_info()
        .expect("an address")
        .set_redis_settings(settings);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENT))
        .set_response_timeout(Some(PATIENT));
    let mut connection = redis::Client::open(info)
        .expect("an address")
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .expect("a connection");
    let text: String = redis::cmd("INFO")
        .arg("commandstats")
        .query_async(&mut connection)
        .await
        .expect("INFO");
    let calls = |line: &str| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        Some((name.to_owned(), rest.split(',').next()?.parse().ok()?))
    };
    text.lines().filter_map(calls).collect()
}
