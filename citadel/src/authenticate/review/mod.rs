//! Verifies tokens with the API server (TokenReview): it alone knows whether the Pod and the service account of a token
//! still exist. Asks once for simultaneous requests with the same token, remembers the result for seconds, and asks
//! less often while the API server fails, so that neither a crowd of clients nor an outage makes the other worse.

mod memory;
mod pace;
pub mod verdict;

use crate::authenticate::review::memory::{Digest, Memory, Recalled};
use crate::authenticate::review::pace::Pace;
use crate::authenticate::review::verdict::{Outcome, Requirements, ReviewError};
use crate::authenticate::token;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::api::PostParams;
use kube::{Api, Client};
use kubernetes::client::reason;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

type Waiter = watch::Receiver<Option<Outcome>>;

/// Verifies tokens with an API server.
#[derive(Clone)]
pub struct Reviewer {
    shared: Arc<Shared>,
}

struct Shared {
    api: Api<TokenReview>,
    requirements: Requirements,
    state: Mutex<State>,
    /// Limits the reviews that the API server handles at the same time.
    places: Semaphore,
}

#[derive(Default)]
struct State {
    memory: Memory<Waiter>,
    pace: Pace,
}

impl Reviewer {
    /// Verifies tokens with the API server of `client`.
    pub fn new(client: Client, requirements: Requirements) -> Self {
        let shared = Shared {
            api: Api::all(client),
            requirements,
            state: Mutex::default(),
            places: Semaphore::new(MAX_AT_ONCE),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the identity that the token proves. `now` is the time that its expiry is compared with.
    pub async fn review(&self, token: &str, now: OffsetDateTime) -> Outcome {
        // What can't succeed isn't sent: the API server has other work.
        let claimed = token::claimed(token)?;
        let left = claimed.lifetime(&self.shared.requirements.audience, now)?;
        let mut waiter = match self.recall_or_begin(token, left)? {
            Recalled::Known(outcome) => return outcome,
            Recalled::Pending(waiter) => waiter,
        };
        let outcome = waiter.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone());
        outcome.unwrap_or_else(|| Err(ReviewError::Unavailable("the review ended".to_owned())))
    }

    fn recall_or_begin(&self, token: &str, left: Duration) -> Result<Recalled<Waiter>, ReviewError> {
        let digest = memory::digest(token);
        let now = Instant::now().into_std();
        let mut state = self.shared.lock();
        if let Some(recalled) = state.memory.recall(&digest, now) {
            return Ok(recalled);
        }
        state.pace.admit(now).map_err(ReviewError::Paused)?;
        let (sender, waiter) = watch::channel(None);
        if !state.memory.begin(digest, waiter.clone(), now) {
            return Err(ReviewError::Busy);
        }
        drop(state);
        // A task of its own: a client that disconnects does not end the review that others wait for.
        let (shared, token) = (self.shared.clone(), token.to_owned());
        tokio::spawn(async move {
            let outcome = shared.ask(token).await;
            shared.finish(digest, &outcome, left);
            sender.send_replace(Some(outcome));
        });
        Ok(Recalled::Pending(waiter))
    }
}

impl Shared {
    async fn ask(&self, token: String) -> Outcome {
        let _place = self.places.acquire().await.map_err(|_| ReviewError::Busy)?;
        let claimed = token::claimed(&token)?;
        let spec =
            TokenReviewSpec { token: Some(token), audiences: Some(vec![self.requirements.audience.clone()]) };
        let review = TokenReview { spec, ..TokenReview::default() };
        match tokio::time::timeout(TIMEOUT, self.api.create(&PostParams::default(), &review)).await {
            Ok(Ok(review)) => {
                verdict::identity(&review.status.unwrap_or_default(), &self.requirements, &claimed)
            }
            Ok(Err(error)) => Err(ReviewError::Unavailable(reason(&error))),
            Err(_) => {
                let reason = format!("it does not respond within {} seconds", TIMEOUT.as_secs());
                Err(ReviewError::Unavailable(reason))
            }
        }
    }

    fn finish(&self, digest: Digest, outcome: &Outcome, left: Duration) {
        let now = Instant::now().into_std();
        let mut state = self.lock();
        let kept = match outcome {
            Ok(_) => Some(KEPT.min(left)),
            Err(ReviewError::Unavailable(_) | ReviewError::Busy | ReviewError::Paused(_)) => None,
            // A Pod that is only just known to the API server is not refused for longer than necessary.
            Err(_) => Some(KEPT_REFUSAL.min(left)),
        };
        state.memory.finish(digest, kept.map(|kept| (outcome.clone(), now + kept)));
        if let Err(ReviewError::Unavailable(reason)) = outcome {
            if state.pace.failed(now) {
                tracing::warn!(
                    reason,
                    "the API server does not review tokens; certificates are renewed by certificate only"
                );
            }
        } else if state.pace.succeeded() {
            tracing::info!("the API server reviews tokens again");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is valid after each statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long the API server may take for a review.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long a successful review is used for further requests.
const KEPT: Duration = Duration::from_secs(10);
/// How long a refused review is used for further requests.
const KEPT_REFUSAL: Duration = Duration::from_secs(1);
const MAX_AT_ONCE: usize = 32;
