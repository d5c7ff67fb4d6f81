//! Processes a request from credentials to certificate, stage by stage: authenticate, limit, parse, authorize, issue.
//! A page to audit: everything that a client can get, it gets through `create`.

use crate::audit;
use crate::authenticate::{self, AuthenticationError, Credentials, Verifiers};
use crate::authorize::{self, Denied};
use crate::config::Policy;
use crate::flow::{Caller, Issued};
use crate::issue::{self, IssueError};
use crate::limit::Limiter;
use crate::request::{self, RequestError};
use crate::root::Root;
use crate::telemetry::Metrics;
use api::certificate::IstioCertificateRequest;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The state that decisions about requests need.
pub struct Authority {
    /// The signing root; replaced when the root folder or Secret changes.
    pub root: watch::Receiver<Arc<Root>>,
    /// The ways to verify tokens.
    pub tokens: Verifiers,
    /// What an authenticated client may have.
    pub policy: Policy,
    /// The rate limit of each identity.
    pub limiter: Mutex<Limiter>,
    /// The metrics.
    pub metrics: Metrics,
}

impl Authority {
    /// Decides on a request, and records the decision.
    pub async fn create(
        &self,
        credentials: Credentials<'_>,
        message: &IstioCertificateRequest,
    ) -> Result<Issued, Refusal> {
        self.metrics.requests.inc();
        let address = credentials.peer.address;
        let now = OffsetDateTime::now_utc();
        // The same root verifies the client and signs, even if it is replaced meanwhile.
        let root = self.root.borrow().clone();
        let caller = authenticate::caller(credentials, &root, &self.tokens, now).await.map_err(|error| {
            let refusal = Refusal::from(error);
            self.count(&refusal);
            audit::denied(address, None, &refusal);
            refusal
        })?;
        match self.decide(&caller, &root, message, now) {
            Ok(issued) => {
                self.metrics.issued.inc();
                audit::allowed(address, &caller, &issued);
                Ok(issued)
            }
            Err(refusal) => {
                self.count(&refusal);
                audit::denied(address, Some(&caller), &refusal);
                Err(refusal)
            }
        }
    }

    fn decide(
        &self,
        caller: &Caller,
        root: &Root,
        message: &IstioCertificateRequest,
        now: OffsetDateTime,
    ) -> Result<Issued, Refusal> {
        if !self.admit(caller) {
            return Err(Refusal::TooMany);
        }
        authorize::acts_for_itself(message)?;
        let requested = request::parse(message)?;
        let permit = authorize::permit(&self.policy, caller, &requested)?;
        Ok(issue::issue(root, &permit, &requested.key, now)?)
    }

    #[expect(clippy::disallowed_methods, reason = "the pipeline reads the clock for its pure stages")]
    fn admit(&self, caller: &Caller) -> bool {
        // A poisoned limiter still holds valid counts.
        self.limiter.lock().unwrap_or_else(PoisonError::into_inner).admit(&caller.id, Instant::now())
    }

    fn count(&self, refusal: &Refusal) {
        match refusal {
            Refusal::Unauthenticated(_) => &self.metrics.authentication_failures,
            Refusal::TooMany => &self.metrics.rate_limited,
            Refusal::Request(_) => &self.metrics.parsing_failures,
            Refusal::Denied(_) => &self.metrics.identity_failures,
            Refusal::Issue(_) => &self.metrics.signing_failures,
        }
        .inc();
    }
}

/// Why a request is refused, by the refusing stage.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The client is not authenticated.
    #[error("the caller is not authenticated")]
    Unauthenticated(#[from] AuthenticationError),
    /// The identity exceeds its rate limit.
    #[error("this identity exceeds its limit on certificate requests; try again later")]
    TooMany,
    /// The signing request is not acceptable.
    #[error("the request is refused")]
    Request(#[from] RequestError),
    /// The client is not authorized for its request.
    #[error("the caller is not allowed")]
    Denied(#[from] Denied),
    /// The certificate cannot be issued.
    #[error("no certificate can be issued")]
    Issue(#[from] IssueError),
}
