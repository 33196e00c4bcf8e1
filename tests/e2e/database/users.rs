//! Users and passwords: live on every server, without a restart, and without a login that fails while passwords change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::support::database::{Database, replication, standalone, with};
use crate::support::faults::delete_pod;
use crate::support::scenario::Scenario;
use crate::support::server::{Endpoint, PATIENT, kind};
use crate::support::wait::{LONG, SOON, ensure, until};

/// Between two logins of a client.
const PACE: Duration = Duration::from_millis(5);

#[tokio::test]
async fn users_work_are_confined_and_come_back_with_a_pod() {
    let s = Scenario::shared("users").await;
    let db = s.create("db", replication(2)).await;
    secret(&db, "reports", &[("now", "letmein")]).await;
    let uids = db.ready().await.instances.len();
    assert_eq!(uids, 2);
    let (uids, restarts) = (db.uids().await, db.restarts().await);
    let app = json!({"name": "app", "rules": "~app:* +@all -@admin -@dangerous"});
    let reports = json!({
        "name": "reports", "rules": "~app:* +@read", "passwordSecretRefs": [{"name": "reports", "key": "now"}]
    });
    db.patch(json!({"spec": {"auth": {"users": [app, reports]}}}))
        .await;
    applied(&db).await;

    // What the Secret of the user says is all that a client needs.
    let password = db.secret("db-connection-app", "password").await;
    assert_eq!(db.secret("db-connection-app", "username").await, "app");
    assert!(
        db.secret("db-connection-app", "uri")
            .await
            .contains(&password)
    );
    assert_eq!(
        db.secret("db-connection-reports", "password").await,
        "letmein"
    );
    let primary = db.primary().await;
    let client = login(&db, &primary, "app", &password).await;
    client.ask::<String>(&["SET", "app:1", "v"]).await.unwrap();
    for denied in [
        &["SET", "other", "v"][..],
        &["CONFIG", "GET", "*"],
        &["ACL", "LIST"],
    ] {
        let error = client.ask::<redis::Value>(denied).await.unwrap_err();
        assert_eq!(kind(&error), "NOPERM", "{denied:?}");
    }
    let reader = login(&db, &primary, "reports", "letmein").await;
    assert_eq!(reader.ask::<String>(&["GET", "app:1"]).await.unwrap(), "v");
    assert!(reader.ask::<String>(&["SET", "app:1", "w"]).await.is_err());

    // Somebody else's user stays when ours change, and when one of ours goes.
    for pod in uids.keys() {
        let words = ["ACL", "SETUSER", "vault", "on", ">vault", "~*", "+get"];
        db.server(pod).await.ask::<String>(&words).await.unwrap();
    }
    let more = json!({"name": "app", "rules": "~app:* ~more:* +@all -@admin -@dangerous"});
    db.patch(json!({"spec": {"auth": {"users": [more]}}})).await;
    applied(&db).await;
    client.ask::<String>(&["SET", "more:1", "v"]).await.unwrap();
    for pod in uids.keys() {
        refused(&db, pod, "reports", "letmein").await;
        accepted(&db, pod, "vault", "vault").await;
    }
    until("the Secret of the removed user is gone", SOON, || async {
        let found = db.api::<Secret>().get_opt("db-connection-reports").await;
        ensure(matches!(found, Ok(None)), || "not yet".into())
    })
    .await;
    assert_eq!(
        (db.uids().await, db.restarts().await),
        (uids.clone(), restarts)
    );

    // A pod that is made anew starts with the users.
    let replica = uids.keys().find(|pod| **pod != primary).unwrap();
    delete_pod(&db, replica).await;
    until("the pod is another one", LONG, || async {
        let now = db.uids().await;
        let other = now.get(replica).is_some_and(|uid| *uid != uids[replica]);
        ensure(other, || "not yet".into())
    })
    .await;
    db.ready().await;
    accepted(&db, replica, "app", &password).await;
    refused(&db, replica, "reports", "letmein").await;
    assert_eq!(db.secret("db-connection-app", "password").await, password);
}

#[tokio::test]
async fn a_bad_rule_is_told_and_harms_nobody() {
    let s = Scenario::shared("bad-rule").await;
    let db = s.ready("db", replication(2)).await;
    let bad = json!({"name": "app", "rules": "~app:* +@nonsense"});
    let good = json!({"name": "good", "rules": "~* +get"});
    db.patch(json!({"spec": {"auth": {"users": [bad, good]}}}))
        .await;
    let told = db.wait_for("UsersApplied", "False", &["InvalidUser"]).await;
    assert!(
        told.message.contains("spec.auth.users[app].rules") && told.message.contains("nonsense"),
        "{}",
        told.message
    );
    db.wait_for("Ready", "False", &["InvalidUser"]).await;
    db.blocked("InvalidUser").await;
    db.wait_for("PrimaryAvailable", "True", &[]).await;
    let state: BTreeMap<String, bool> = until("the other user is applied", SOON, || async {
        let users = db.status().await.users;
        let state: BTreeMap<_, _> = users.into_iter().map(|u| (u.name, u.applied)).collect();
        ensure(state.get("good") == Some(&true), || format!("{state:?}"))?;
        Ok(state)
    })
    .await;
    assert!(!state["app"]);
    let password = db.secret("db-connection-good", "password").await;
    accepted(&db, &db.primary().await, "good", &password).await;

    // The file is good: a server starts with it.
    let primary = db.primary().await;
    let uids = db.uids().await;
    let replica = uids.keys().find(|pod| **pod != primary).unwrap();
    delete_pod(&db, replica).await;
    until("the new pod is in sync", LONG, || async {
        let status = db.status().await;
        let found = status.instances.iter().find(|i| i.pod == *replica);
        let back = found.is_some_and(|i| i.ready && i.uid.as_ref() != Some(&uids[replica]));
        ensure(back, || format!("{found:?}"))
    })
    .await;
    accepted(&db, replica, "good", &password).await;

    let mended = json!({"name": "app", "rules": "~app:* +@read"});
    db.patch(json!({"spec": {"auth": {"users": [mended, good]}}}))
        .await;
    db.ready().await;
    applied(&db).await;
}

/// Clients log in anew all the time, on every server, with the old password until it is taken off the list, and with the new one from
/// then on that it is published: none is ever refused.
#[tokio::test]
async fn passwords_change_and_no_login_fails() {
    let s = Scenario::shared("rotation").await;
    let db = s.create("db", replication(3)).await;
    secret(
        &db,
        "passwords",
        &[("a", "first"), ("b", "second"), ("c", "third")],
    )
    .await;
    let refs = |keys: &[&str]| -> Value {
        let list = keys
            .iter()
            .map(|key| json!({"name": "passwords", "key": key}));
        list.collect()
    };
    let spec = |keys: &[&str]| {
        let app = json!({"name": "app", "rules": "~* +@all", "passwordSecretRefs": refs(keys)});
        json!({"spec": {"auth": {"passwordSecretRefs": refs(keys), "users": [app]}}})
    };
    db.patch(spec(&["a"])).await;
    db.ready().await;
    applied(&db).await;
    let (uids, restarts) = (db.uids().await, db.restarts().await);

    let old = Logins::start(&db, "first").await;
    db.patch(spec(&["b", "a"])).await;
    published(&db, "second").await;
    let new = Logins::start(&db, "second").await;
    applied(&db).await;
    old.more(300).await;
    let without_error = old.finish();
    s.report(&format!("{without_error} logins with the old password"));

    db.patch(spec(&["b"])).await;
    for pod in uids.keys() {
        refused(&db, pod, "default", "first").await;
        refused(&db, pod, "app", "first").await;
    }
    applied(&db).await;
    new.more(300).await;

    // Without a window: the value of the Secret changes.
    secret(&db, "passwords", &[("b", "fourth")]).await;
    published(&db, "fourth").await;
    for pod in uids.keys() {
        accepted(&db, pod, "default", "fourth").await;
        refused(&db, pod, "app", "second").await;
    }
    drop(new);

    // A Secret that is not there changes nothing.
    db.patch(spec(&["nowhere"])).await;
    let told = db
        .wait_for("UsersApplied", "False", &["SecretKeyMissing"])
        .await;
    assert!(told.message.contains("nowhere"), "{}", told.message);
    accepted(&db, "db-0", "app", "fourth").await;
    db.patch(spec(&["b"])).await;
    db.ready().await;
    db.one_primary().await;
    assert_eq!((db.uids().await, db.restarts().await), (uids, restarts));
}

#[tokio::test]
async fn generated_passwords_change_when_asked() {
    let s = Scenario::shared("generated").await;
    let spec = json!({"auth": {"users": [{"name": "app", "rules": "~* +@all"}]}});
    let db = s.ready("db", with(standalone(), spec)).await;
    applied(&db).await;
    let uids = db.uids().await;
    let present = async || {
        (
            db.secret("db-connection", "password").await,
            db.secret("db-connection-app", "password").await,
        )
    };
    let before = present().await;
    db.annotate("redis.hera.dev/rotate-password", Some("default=1,app=1"))
        .await;
    let after = until("both are published", SOON, || async {
        let after = present().await;
        let changed = after.0 != before.0 && after.1 != before.1;
        ensure(changed, || "not yet".into())?;
        Ok(after)
    })
    .await;
    for (default, app) in [&before, &after] {
        accepted(&db, "db-0", "default", default).await;
        accepted(&db, "db-0", "app", app).await;
    }
    db.annotate("redis.hera.dev/rotate-password", None).await;
    refused(&db, "db-0", "default", &before.0).await;
    refused(&db, "db-0", "app", &before.1).await;
    db.ready().await;
    assert_eq!(present().await, after);
    until("nothing is left of the change", SOON, || async {
        let secrets = db.list::<Secret>().await;
        let left = secrets.iter().map(ResourceExt::name_any);
        let left: Vec<String> = left.filter(|n| n.contains("rotation")).collect();
        ensure(left.is_empty(), || format!("{left:?}"))
    })
    .await;

    // A Secret that somebody deletes comes back with the same password.
    db.api::<Secret>()
        .delete("db-connection-app", &DeleteParams::default())
        .await
        .unwrap();
    until("the Secret is back", SOON, || async {
        let found = db.api::<Secret>().get_opt("db-connection-app").await;
        ensure(matches!(found, Ok(Some(_))), || "not yet".into())
    })
    .await;
    assert_eq!(present().await, after);
    accepted(&db, "db-0", "app", &after.1).await;
    assert_eq!(db.uids().await, uids);
}

#[tokio::test]
async fn the_default_user_is_disabled() {
    let s = Scenario::shared("default-user").await;
    let db = s.ready("db", replication(2)).await;
    let (uids, password) = (db.uids().await, db.password().await);
    let primary = db.primary().await;
    let mut open = db.server(&primary).await.connect(PATIENT).await.unwrap();
    let ping = redis::cmd("PING");
    ping.query_async::<String>(&mut open).await.unwrap();

    let app = json!({"name": "app", "rules": "~* +@all"});
    db.patch(json!({"spec": {"auth": {"defaultUser": "Disabled", "users": [app]}}}))
        .await;
    for pod in uids.keys() {
        refused(&db, pod, "default", &password).await;
    }
    db.ready().await;
    applied(&db).await;
    until("the open connection is closed", SOON, || {
        let mut open = open.clone();
        async move {
            let answer = redis::cmd("PING").query_async::<String>(&mut open).await;
            ensure(answer.is_err(), || "it answers".into())
        }
    })
    .await;
    let connection: Secret = db.api().get("db-connection").await.unwrap();
    let data = connection.data.unwrap_or_default();
    assert!(!data.contains_key("password") && data.contains_key("host"));

    // Nothing of Hera needs it.
    let replica = uids.keys().find(|pod| **pod != primary).unwrap();
    db.annotate("redis.hera.dev/switchover", Some(replica))
        .await;
    assert_eq!(&db.another_primary(&primary).await, replica);
    db.ready().await;
    let app = db.secret("db-connection-app", "password").await;
    accepted(&db, replica, "app", &app).await;
    assert_eq!(db.uids().await, uids);

    db.patch(json!({"spec": {"auth": {"defaultUser": "Enabled"}}}))
        .await;
    db.ready().await;
    applied(&db).await;
    accepted(&db, &primary, "default", &db.password().await).await;
}

/// Waits until the users of the present spec are on every server.
async fn applied(db: &Database) {
    db.wait_for("UsersApplied", "True", &["UsersVerified"])
        .await;
    until("the status says so of each user", SOON, || async {
        let users = db.status().await.users;
        ensure(users.iter().all(|u| u.applied), || format!("{users:?}"))
    })
    .await;
}

/// Waits until the connection Secrets of `default` and `app` have this password.
async fn published(db: &Database, password: &str) {
    until("the password is published", SOON, || async {
        for secret in ["db-connection", "db-connection-app"] {
            let now = db.secret(secret, "password").await;
            ensure(now == password, || format!("{secret} has {now}"))?;
        }
        Ok(())
    })
    .await;
}

/// A client of one server.
async fn login(db: &Database, pod: &str, user: &str, password: &str) -> Endpoint {
    let status = db.pod(pod).await.status.unwrap_or_default();
    Endpoint {
        host: status.pod_ip.expect("an address of the pod"),
        port: db.port().await,
        user: user.into(),
        password: password.into(),
        encryption: db.encryption().await,
    }
}

async fn accepted(db: &Database, pod: &str, user: &str, password: &str) {
    let client = login(db, pod, user, password).await;
    until(&format!("{pod} accepts {user}"), SOON, || async {
        client
            .connect(PATIENT)
            .await
            .map(drop)
            .map_err(|e| e.to_string())
    })
    .await;
}

async fn refused(db: &Database, pod: &str, user: &str, password: &str) {
    let client = login(db, pod, user, password).await;
    until(&format!("{pod} refuses {user}"), SOON, || async {
        match client.connect(PATIENT).await {
            Err(error) if error.kind() == redis::ErrorKind::AuthenticationFailed => Ok(()),
            other => Err(format!("{:?}", other.map(drop))),
        }
    })
    .await;
}

/// Makes a Secret, or changes its values.
async fn secret(db: &Database, name: &str, values: &[(&str, &str)]) {
    let values: BTreeMap<String, String> = values
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
        .collect();
    let api = db.api::<Secret>();
    if api.get_opt(name).await.expect("an answer").is_some() {
        let patch = Patch::Merge(json!({"stringData": values}));
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .expect("the Secret is changed");
        return;
    }
    let object = Secret {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        string_data: Some(values),
        ..Secret::default()
    };
    api.create(&PostParams::default(), &object)
        .await
        .expect("the Secret is made");
}

/// Clients that log in anew all the time, as `default` and as `app`, on every server.
struct Logins {
    log: Arc<Mutex<(usize, Vec<String>)>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Logins {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Logins {
    async fn start(db: &Database, password: &str) -> Self {
        let log = Arc::<Mutex<(usize, Vec<String>)>>::default();
        let mut tasks = Vec::new();
        for pod in db.uids().await.into_keys() {
            for user in ["default", "app"] {
                let client = login(db, &pod, user, password).await;
                let (log, who) = (log.clone(), format!("{user} on {pod}"));
                tasks.push(tokio::spawn(async move {
                    loop {
                        let result = client.ask::<String>(&["PING"]).await;
                        {
                            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                            match result {
                                Ok(_) => log.0 += 1,
                                Err(error) => log.1.push(format!("{who}: {error}")),
                            }
                        }
                        tokio::time::sleep(PACE).await;
                    }
                }));
            }
        }
        let logins = Self { log, tasks };
        logins.more(30).await;
        logins
    }

    /// Waits for so many more logins, none of which may fail.
    async fn more(&self, count: usize) {
        let before = self.log.lock().unwrap_or_else(PoisonError::into_inner).0;
        until("clients log in", SOON, || async {
            let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
            assert!(log.1.is_empty(), "{:?}", log.1);
            ensure(log.0 >= before + count, || format!("{} did", log.0))
        })
        .await;
    }

    /// How many logins there were. None failed.
    fn finish(self) -> usize {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(log.1.is_empty(), "{:?}", log.1);
        log.0
    }
}
