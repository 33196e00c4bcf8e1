//! Users and passwords.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Users of clients and their passwords.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("!has(self.passwordSecretRef) || !has(self.passwordSecretRefs)").message("spec.auth.passwordSecretRefs: cannot be used together with spec.auth.passwordSecretRef; move that one into the list")
)]
pub struct Auth {
    /// Key of a Secret with the password of the user `default`. Absent: Hera generates one, once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_secret_ref: Option<SecretKeyRef>,
    /// The same for several passwords that are valid at the same time. The first one is in the connection Secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub password_secret_refs: Vec<SecretKeyRef>,
    /// Whether clients may log in as the user `default`. Default: Enabled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_user: Option<DefaultUser>,
    /// ACL users beside `default`. Users that are not listed here and were not made by Hera are left alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    #[x_kube(
        validation = Rule::new("self.all(u, u.name != 'default' && !u.name.startsWith('hera'))").message("spec.auth.users.name: the names default and hera... are taken; for the user default there are spec.auth.passwordSecretRefs and spec.auth.defaultUser"),
        validation = Rule::new("self.all(u, !u.rules.matches('(?i)(^|[ ])([<>#!][^ ]*|on|off|nopass|resetpass|reset)([ ]|$)'))").message("spec.auth.users.rules: must have no rules on passwords and no on, off or reset; use passwordSecretRefs and enabled")
    )]
    pub users: Vec<User>,
}

/// An ACL user.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct User {
    /// Its name. The Secret `NAME-connection-USER` tells clients how to log in.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// ACL rules, such as `~app:* +@read`. Nothing is permitted that is not named here.
    #[schemars(length(max = 1024), regex(pattern = r"^[^\x00-\x1f\x7f]*$"))]
    pub rules: String,
    /// Keys of Secrets with its passwords. All of them are valid; the first one is in its connection Secret. Absent: Hera
    /// generates a password, once.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(min = 1, max = 4), extend("x-kubernetes-list-type" = "atomic"))]
    pub password_secret_refs: Vec<SecretKeyRef>,
    /// Whether it may log in. Default: true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Whether clients may log in as the user `default`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
pub enum DefaultUser {
    /// They may.
    #[default]
    Enabled,
    /// They may not, and connections of this user are closed.
    Disabled,
}

/// A key of a Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyRef {
    /// Name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Key in the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}
