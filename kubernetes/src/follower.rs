//! Keeps one watch of the API server alive through errors: it waits, resumes, or lists again if the server no longer has
//! the version that was read last. Exists because kube's own back-off grows to a minute: after an outage of the API
//! server, the control plane must know the cluster again within seconds.

use crate::client::watch_reason;
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Resource};
use rand::Rng;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::time::Duration;

/// An event of a watch.
#[derive(Debug)]
pub enum Step<K> {
    /// The API server reports an event.
    Event(Event<K>),
    /// An attempt has failed, for this reason. Another attempt follows.
    Failed(String),
}

/// An event of a watch, or why an attempt to follow it has failed.
pub type Reported<K> = Result<Event<K>, String>;

/// A watch that resumes after errors.
pub struct Follower<K> {
    api: Api<K>,
    config: watcher::Config,
    /// The kind, for the log.
    name: String,
    stream: BoxStream<'static, watcher::Result<Event<K>>>,
    /// Attempts that have failed since the last success.
    failures: u32,
    /// How long to wait before the next attempt.
    pause: Option<Duration>,
}

impl<K> Follower<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    /// Begins to watch the objects with these fields.
    pub fn new(api: Api<K>, fields: Option<&str>, name: String) -> Self {
        let config = watcher::Config::default().timeout(LONGEST_WATCH);
        let config = fields.map_or_else(|| config.clone(), |fields| config.clone().fields(fields));
        let stream = watcher(api.clone(), config.clone()).boxed();
        Self { api, config, name, stream, failures: 0, pause: None }
    }

    /// Waits for the next step. `None` if the API server does not serve the kind.
    pub async fn next(&mut self) -> Option<Step<K>> {
        if let Some(pause) = self.pause.take() {
            tokio::time::sleep(pause).await;
        }
        loop {
            match self.stream.next().await {
                Some(Ok(event)) => {
                    // `Init` precedes the request, so it is no success.
                    if !matches!(event, Event::Init) && self.failures > 0 {
                        tracing::info!(kind = self.name, "the watch has resumed");
                        self.failures = 0;
                    }
                    return Some(Step::Event(event));
                }
                Some(Err(error)) => {
                    let code = code(&error);
                    if code == Some(NOT_FOUND) {
                        return None;
                    }
                    let reason = watch_reason(&error);
                    if self.failures == 0 {
                        tracing::warn!(
                            kind = self.name,
                            error = reason,
                            "the watch is interrupted; trying again"
                        );
                    } else {
                        tracing::debug!(kind = self.name, error = reason, "the watch cannot be resumed yet");
                    }
                    self.pause = Some(delay(self.failures));
                    self.failures += 1;
                    // The watcher itself lists again only when an established watch reports that it has expired.
                    if code.is_some_and(|code| FORGOTTEN.contains(&code)) {
                        self.restart();
                    }
                    return Some(Step::Failed(reason));
                }
                None => self.restart(),
            }
        }
    }

    fn restart(&mut self) {
        self.stream = watcher(self.api.clone(), self.config.clone()).boxed();
    }
}

/// The events of a watch that goes on forever. For kinds that every API server serves.
pub fn events<K>(
    api: Api<K>,
    fields: Option<&str>,
    name: &str,
) -> impl Stream<Item = Reported<K>> + Send + Unpin + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let follower = Follower::new(api, fields, name.to_owned());
    stream::unfold(follower, async |mut follower| {
        let item = match follower.next().await {
            Some(Step::Event(event)) => Ok(event),
            Some(Step::Failed(reason)) => Err(reason),
            None => {
                follower.restart();
                follower.pause = Some(LONGEST_DELAY);
                Err("the API server does not serve this kind".to_owned())
            }
        };
        Some((item, follower))
    })
    .boxed()
}

/// The HTTP status with which the API server refuses.
fn code(error: &watcher::Error) -> Option<u16> {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => Some(status.code),
        _ => None,
    }
}

/// How long to wait after this many failures, with a random part so that replicas do not return together.
fn delay(failures: u32) -> Duration {
    let base = FIRST_DELAY.saturating_mul(1 << failures.min(8)).min(LONGEST_DELAY);
    base.mul_f64(rand::rng().random_range(0.5..1.0))
}

const NOT_FOUND: u16 = 404;
/// The version is too old, or (504) newer than those that a restored server knows.
const FORGOTTEN: &[u16] = &[410, 504];
/// Seconds after which the server ends a watch, which is resumed at once. A connection that was lost without a notice is
/// found five seconds later.
const LONGEST_WATCH: u32 = 60;
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{Request, Response};
    use http_body_util::Full;
    use k8s_openapi::api::core::v1::Namespace;
    use kube::Client;
    use std::convert::Infallible;
    use tokio::time::Instant;

    /// A client of an API server that is away until `back`, and then has no namespace and ends each watch at once.
    fn client(back: Instant) -> Client {
        let respond = move |request: Request<kube::client::Body>| async move {
            let status = if Instant::now() < back { 503 } else { 200 };
            let is_watch = request.uri().query().is_some_and(|query| query.contains("watch="));
            let text = match (status, is_watch) {
                (200, true) => "",
                (200, false) => {
                    r#"{"kind": "NamespaceList", "metadata": {"resourceVersion": "1"}, "items": []}"#
                }
                _ => r#"{"kind": "Status", "status": "Failure", "message": "away", "code": 503}"#,
            };
            let response = Response::builder().status(status).body(Full::new(Bytes::from(text)));
            Ok::<_, Infallible>(response.expect("it is well-formed"))
        };
        Client::new(tower::service_fn(respond), "default")
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_goes_on_within_seconds_after_a_long_outage() {
        for minutes in [1, 60] {
            let back = Instant::now() + Duration::from_mins(minutes);
            let api: Api<Namespace> = Api::all(client(back));
            let mut watch = events(api, None, "Namespace");
            let mut failures = 0_u64;
            loop {
                match watch.next().await.expect("it goes on") {
                    Ok(Event::InitDone) => break,
                    Ok(_) => {}
                    Err(reason) => {
                        assert_eq!(reason, "away");
                        failures += 1;
                    }
                }
            }
            let late = Instant::now() - back;
            assert!(late <= LONGEST_DELAY, "{late:?} after an outage of {minutes} minutes");
            assert!(failures < minutes * 30, "{failures} requests in {minutes} minutes");
        }
    }
}
