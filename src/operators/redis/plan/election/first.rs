//! The first primary of a database, also of one that begins with volumes that were kept.

use std::cmp::Reverse;

use super::{Electorate, Verdict, keys, wait};
use crate::operators::redis::api::ElectionKind;
use crate::operators::redis::model::{Claim, Instance, Problem};
use crate::operators::redis::reasons;

impl<'a> Electorate<'a> {
    /// Volumes that were kept may be of different ages, and more keys are no proof of newer data: the one of the last primary has the
    /// newest. `None` when there is nothing to choose from.
    fn of_kept_volumes(&self) -> Option<Verdict<'a>> {
        let kept = || self.o.claims.iter().filter(|c| c.adopted);
        let with_data: Vec<&Instance> = self.eligible().filter(|i| keys(i) > 0).collect();
        let last = kept()
            .filter(|c| c.primary_since.is_some())
            .max_by_key(|c| c.primary_since.as_ref());
        let Some(last) = last else {
            let unused: Vec<&Claim> = kept().filter(|c| c.ordinal >= self.v.replicas).collect();
            return match unused.first() {
                _ if with_data.len() > 1 => Some(self.no_proof(&with_data)),
                Some(unused) => Some(self.unused(unused, "may hold newer data")),
                None => None,
            };
        };
        let mut all = self.o.instances.iter();
        let Some(chosen) = all.find(|i| i.ordinal == last.ordinal && i.info().is_some()) else {
            return Some(self.unused(last, "was the last primary's"));
        };
        if keys(chosen) == 0 && !with_data.is_empty() {
            return Some(self.no_proof(&with_data));
        }
        Some(self.elect(
            ElectionKind::Bootstrap,
            chosen,
            format!("{} has the volume of the last primary", chosen.pod),
        ))
    }

    /// A kept volume that no pod of the spec uses.
    fn unused(&self, claim: &Claim, why: &str) -> Verdict<'a> {
        let problem = Problem::of(
            reasons::NoLineageProof,
            format!("PersistentVolumeClaim/{}", claim.name),
            format!(
                "{} was kept and {why}, and with {} replicas no pod uses it: raise spec.replicas, or approve a pod",
                claim.name, self.v.replicas
            ),
        );
        Verdict {
            risk: Some(problem.clone()),
            ..wait(problem, 5.0)
        }
    }

    /// The first primary of a database: at once when all volumes are new, else when every volume with possible data was seen.
    pub(super) fn bootstrap(&self) -> Verdict<'a> {
        let adopted = |i: &Instance| {
            self.o
                .claims
                .iter()
                .any(|c| c.adopted && c.ordinal == i.ordinal)
        };
        if self.o.claims.iter().any(|c| c.adopted)
            && let Some(missing) = self
                .o
                .instances
                .iter()
                .find(|i| adopted(i) && i.info().is_none_or(|info| info.loading))
        {
            return wait(
                Problem::of(
                    reasons::WaitingForInstance,
                    format!("Pod/{}", missing.pod),
                    format!(
                        "the volume of {} existed before and may hold data",
                        missing.pod
                    ),
                ),
                1.0,
            );
        }
        if let Some(approved) = self.approved() {
            return self.elect(
                ElectionKind::Bootstrap,
                approved,
                format!("{} was approved by annotation", approved.pod),
            );
        }
        if let Some(verdict) = self.of_kept_volumes() {
            return verdict;
        }
        match self
            .eligible()
            .max_by_key(|i| (keys(i), !i.leaving(), Reverse(i.ordinal)))
        {
            Some(chosen) => self.elect(
                ElectionKind::Bootstrap,
                chosen,
                format!("{} is the first primary", chosen.pod),
            ),
            None => self.nobody(),
        }
    }
}
