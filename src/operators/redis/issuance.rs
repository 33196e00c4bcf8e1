//! Asks issuers for certificates. The kind by which they are asked belongs to another operator, and is there or not.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kube::{Api, ResourceExt};

use super::api::Certificate;
use super::model::{Observed, Problem, Validated};
use super::{FIELD_MANAGER, Operator, build, reasons};
use crate::k8s::delete::{self, Options};
use crate::k8s::{self, apply};

/// While the certificate is awaited it is looked at this often.
const AWAITED: Duration = Duration::from_secs(5);
/// An object that somebody removed is made again after this time.
const KEPT: Duration = Duration::from_secs(600);

/// What was asked for last, by `namespace/name` of the `Redis`.
#[derive(Debug, Default)]
pub struct Asked(Mutex<HashMap<String, Answer>>);

#[derive(Clone, Debug)]
struct Answer {
    wanted: Option<Certificate>,
    at: Instant,
    problem: Option<Problem>,
}

impl Asked {
    fn last(&self, key: &str) -> Option<Answer> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(key).cloned()
    }

    fn keep(&self, key: &str, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.insert(key.to_owned(), answer);
    }

    /// Nothing is kept of this `Redis`.
    pub fn forget(&self, key: &str) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.remove(key);
    }
}

impl Operator {
    /// Asks for the certificate that the spec wants an issuer for, and takes back what is not wanted any more. What is in the way is told.
    pub(super) async fn ask_for_certificate(&self, v: &Validated, o: &Observed) -> Option<Problem> {
        let wanted = build::certificate(v);
        let last = self.asked.last(&o.key);
        let secret = format!("{}-certificate", v.name);
        let there = self.caches.all_secrets.get(&v.namespace, &secret).is_some();
        match (&wanted, &last) {
            // Nobody was ever asked.
            (None, None) if !there => return None,
            (_, Some(last)) if last.wanted == wanted => {
                let patience = if wanted.is_none() || (there && last.problem.is_none()) {
                    KEPT
                } else {
                    AWAITED
                };
                if wanted.is_none() || last.at.elapsed() < patience {
                    return last.problem.clone();
                }
            }
            _ => {}
        }
        let problem = match &wanted {
            Some(wanted) => self.ask(wanted, there).await,
            None => self.take_back(v).await,
        };
        let answer = Answer {
            wanted,
            at: Instant::now(),
            problem: problem.clone(),
        };
        self.asked.keep(&o.key, answer);
        problem
    }

    async fn ask(&self, wanted: &Certificate, there: bool) -> Option<Problem> {
        let object = format!("Certificate/{}", wanted.name_any());
        let client = &self.ctx.client;
        match apply::apply(client, FIELD_MANAGER, wanted, None).await {
            Ok(_) if there => None,
            Ok(outcome) => Some(Problem::of(
                reasons::CertificateNotIssued,
                object,
                not_issued(&outcome.into_inner()),
            )),
            Err(k8s::Error::NotFound { .. }) => Some(Problem::of(
                reasons::IssuerUnknown,
                object,
                "the cluster has no kind Certificate of cert-manager.io/v1, by which spec.tls.issuerRef asks for a certificate",
            )),
            Err(error) => Some(Problem::of(
                reasons::ApiError,
                object,
                format!("the certificate could not be asked for: {error}"),
            )),
        }
    }

    /// What Hera asked for once is not kept up any more; its Secret stays for whoever uses it.
    async fn take_back(&self, v: &Validated) -> Option<Problem> {
        let api = Api::<Certificate>::namespaced(self.ctx.client.clone(), &v.namespace);
        let found = api.get_opt(&v.name).await.ok().flatten()?;
        let deleted = delete::delete(&self.ctx.client, &found, &v.owner, &Options::default()).await;
        if let Err(error) = deleted {
            tracing::warn!(certificate = v.name, %error, "the certificate is still asked for");
        }
        None
    }
}

fn not_issued(certificate: &Certificate) -> String {
    let name = certificate.name_any();
    let conditions = certificate.status.iter().flat_map(|s| &s.conditions);
    let mut ready = conditions.filter(|c| c.type_ == "Ready" && c.status != "True");
    let words = ready.next().map_or("", |c| c.message.as_str());
    format!("the certificate {name} is not issued yet: {words}")
        .trim_end_matches([':', ' '])
        .to_owned()
}
