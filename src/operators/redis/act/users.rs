//! Steps on the users of clients.

use super::{Pass, Undone};
use crate::engines::redis::{AclUser, Failure};
use crate::operators::redis::build::OPERATOR_USER;
use crate::operators::redis::model::Told;
use crate::operators::redis::users::{self, DEFAULT};

impl Pass<'_> {
    /// Tells a server its users, reads each one back, and remembers the answer.
    pub(super) async fn set_users(&self, pod: &str, names: &[String]) -> Result<(), Undone> {
        let i = self.instance(pod)?;
        let client = self.client(pod).await?;
        let wanted = users::wanted(self.v, self.o);
        for (name, entry) in names.iter().filter_map(|name| wanted.get_key_value(name)) {
            let arguments = if name == DEFAULT {
                entry.login_arguments()
            } else {
                entry.arguments()
            };
            let answer = match client.acl_set_user(name, &arguments).await {
                Ok(()) => Ok(client.acl_get_user(name).await?.unwrap_or_default()),
                Err(Failure::Command(words)) if words.starts_with("ERR ") && name != DEFAULT => {
                    Err(words)
                }
                Err(other) => return Err(other.into()),
            };
            let before = i.users.get(name).and_then(Option::as_ref);
            // A server lets connections go on that logged in before.
            if !entry.enabled && answer.is_ok() && before.is_some_and(AclUser::is_on) {
                client.kill_user(name).await?;
            }
            let told = Told {
                entry: entry.clone(),
                answer,
            };
            self.op
                .instances
                .remember_user(&self.o.key, &i.uid, name, told);
        }
        Ok(())
    }

    /// Removes users from a server, and their connections with them.
    pub(super) async fn remove_users(&self, pod: &str, names: &[String]) -> Result<(), Undone> {
        let client = self.client(pod).await?;
        match client.acl_delete_users(names).await {
            // A server that an older Hera started does not permit it yet.
            Err(Failure::Command(words)) if words.starts_with("NOPERM") => {
                let right = "+acl|deluser".to_owned();
                client.acl_set_user(OPERATOR_USER, &[right]).await?;
                Ok(client.acl_delete_users(names).await?)
            }
            other => Ok(other?),
        }
    }
}
