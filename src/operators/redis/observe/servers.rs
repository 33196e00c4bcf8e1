//! What one server says.

use super::super::Operator;
use super::super::certificates::Material;
use super::super::model::Instance;

impl Operator {
    pub(super) async fn ask_server(
        &self,
        key: &str,
        i: &mut Instance,
        names: &[String],
        users: &[String],
        certificate: Option<&Material>,
    ) {
        i.server = self.instances.ask(key, &i.uid).await;
        let Some(run_id) = i.info().map(|info| info.run_id.clone()) else {
            return;
        };
        let memory = self.instances.memory(key, &i.uid, &run_id);
        (i.accepted, i.refused, i.told) = (memory.accepted, memory.refused, memory.told);
        let Ok(client) = self.instances.client(key, &i.uid).await else {
            return;
        };
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (config, users) = tokio::join!(client.config_get(&names), client.acl_get_users(users));
        i.config = config.unwrap_or_default();
        i.users = users.unwrap_or_default();
        let port = i.listening().map(|l| l.tls_port).filter(|port| *port > 0);
        if let (Some(material), Some(port)) = (certificate, port) {
            i.serves_certificate = self.instances.serves(key, &i.uid, port, material).await;
            i.rereads = self.instances.rereads(key, &i.uid, material);
        }
    }
}
