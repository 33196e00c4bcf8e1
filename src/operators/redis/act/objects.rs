//! Steps on pods, claims and the StatefulSet.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::ResourceExt;

use super::{Pass, Undone, stale};
use crate::k8s::owner::Proof;
use crate::k8s::{conditions, delete, partial};
use crate::operators::redis::api::PRIMARY_SINCE_ANNOTATION;
use crate::operators::redis::model::READINESS_GATE;
use crate::operators::redis::{FIELD_MANAGER, build};

impl Pass<'_> {
    fn pod(&self, name: &str) -> Result<Arc<Pod>, Undone> {
        self.op
            .caches
            .pods
            .get(&self.v.namespace, name)
            .ok_or_else(|| Undone::Stale(format!("{name} is gone")))
    }

    fn claim(
        &self,
        name: &str,
    ) -> Result<(&PersistentVolumeClaim, BTreeMap<String, String>), Undone> {
        let found = self.o.objects.claims.iter().find(|c| c.name_any() == name);
        Ok((
            found.ok_or_else(|| Undone::Stale(format!("{name} is gone")))?,
            build::identity(self.v).selector(),
        ))
    }

    pub(super) async fn delete_pod(&self, name: &str, uid: &str) -> Result<(), Undone> {
        let labels = &build::identity(self.v).selector();
        let proof = Proof::Labelled { name, labels };
        self.delete_pod_of(name, uid, proof).await
    }

    pub(super) async fn delete_pod_of(
        &self,
        name: &str,
        uid: &str,
        proof: Proof<'_>,
    ) -> Result<(), Undone> {
        self.confirm().await?;
        let found = self.pod(name)?;
        if found.uid().as_deref() != Some(uid) {
            return stale(format!("{name} was replaced"));
        }
        delete::delete(
            &self.op.ctx.client,
            &*found,
            proof,
            &delete::Options::default(),
        )
        .await?;
        Ok(())
    }

    pub(super) async fn grow_claim(&self, name: &str, size: &Quantity) -> Result<(), Undone> {
        let (found, labels) = self.claim(name)?;
        let proof = Proof::Labelled {
            name,
            labels: &labels,
        };
        partial::claim_size(&self.op.ctx.client, FIELD_MANAGER, found, proof, size).await?;
        Ok(())
    }

    pub(super) async fn own_claim(&self, name: &str, owned: bool) -> Result<(), Undone> {
        let (found, labels) = self.claim(name)?;
        let proof = Proof::Labelled {
            name,
            labels: &labels,
        };
        let reference = owned.then_some(&self.v.owner);
        Ok(
            partial::claim_owner(&self.op.ctx.client, FIELD_MANAGER, found, proof, reference)
                .await?,
        )
    }

    pub(super) async fn mark_claim(&self, name: &str, since: &str) -> Result<(), Undone> {
        let (found, labels) = self.claim(name)?;
        let proof = Proof::Labelled {
            name,
            labels: &labels,
        };
        let annotations = [(PRIMARY_SINCE_ANNOTATION.to_owned(), since.to_owned())].into();
        Ok(partial::claim_annotations(
            &self.op.ctx.client,
            FIELD_MANAGER,
            found,
            proof,
            &annotations,
        )
        .await?)
    }

    /// It is known from then on as the claims that the StatefulSet makes are.
    pub(super) async fn adopt_claim(&self, name: &str) -> Result<(), Undone> {
        self.confirm().await?;
        let mut foreign = self.o.objects.foreign_claims.iter();
        let Some(found) = foreign.find(|c| c.name_any() == name) else {
            return stale(format!("{name} is gone"));
        };
        let shard = self.o.foreign.iter().find(|f| f.name == name);
        let own = match shard {
            Some(f) if self.v.clustered() => self.v.of_shard(f.shard),
            _ => self.v.clone(),
        };
        let labels = build::claim_labels(&own);
        partial::claim_labels(&self.op.ctx.client, FIELD_MANAGER, found, &labels).await?;
        Ok(())
    }

    pub(super) async fn delete_claim(&self, name: &str, uid: &str) -> Result<(), Undone> {
        self.confirm().await?;
        let (found, labels) = self.claim(name)?;
        if found.uid().as_deref() != Some(uid) {
            return stale(format!("{name} was replaced"));
        }
        let proof = Proof::Labelled {
            name,
            labels: &labels,
        };
        delete::delete(
            &self.op.ctx.client,
            found,
            proof,
            &delete::Options::default(),
        )
        .await?;
        Ok(())
    }

    pub(super) async fn recreate_statefulset(
        &self,
        set: Option<&StatefulSet>,
    ) -> Result<(), Undone> {
        let options = delete::Options::orphan();
        self.delete_statefulset(set, &options).await
    }

    pub(super) async fn delete_statefulset(
        &self,
        set: Option<&StatefulSet>,
        options: &delete::Options,
    ) -> Result<(), Undone> {
        self.confirm().await?;
        if let Some(set) = set {
            delete::delete(&self.op.ctx.client, set, &self.v.owner, options).await?;
        }
        Ok(())
    }

    pub(super) async fn gate(&self, pod: &str, ready: bool) -> Result<(), Undone> {
        let found = self.pod(pod)?;
        let (reason, message) = if ready {
            ("InSync", "it is the primary or in sync with it")
        } else {
            ("NotInSync", "it is not in sync with the primary")
        };
        let condition = partial::PodCondition {
            type_: READINESS_GATE,
            status: conditions::ConditionStatus::from(ready),
            reason,
            message,
            now: self.op.ctx.clock.now(),
        };
        let labels = build::identity(self.v).selector();
        partial::pod_condition(
            &self.op.ctx.client,
            FIELD_MANAGER,
            &found,
            Proof::Labelled {
                name: pod,
                labels: &labels,
            },
            condition,
        )
        .await?;
        Ok(())
    }
}
