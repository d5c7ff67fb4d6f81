//! Waits until a change is in force: written for pilot, read by pilot, in the node's packet rules, and acknowledged by
//! every proxy. `apply` waits for this, so that a request sent afterwards sees the change.

use std::time::Duration;

use api::resource::verdict::{Verdicts, Wait};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::manifest::object::PROXY;
use crate::up::context::Context;
use crate::up::plane;
use crate::wire::{ChangeResponse, Settling};

/// Waits until a change is written where pilot reads it. If that fails, the reason is added to `response`.
pub async fn written(context: &Context, response: &mut ChangeResponse) {
    let count = context.shared.count();
    let mut published = context.published.subscribe();
    // An earlier attempt may have failed for a reason that is gone.
    let done = published.wait_for(|state| state.count >= count);
    let trouble = match timeout(WRITING, done).await {
        Ok(Ok(state)) => state.trouble.clone(),
        Ok(Err(_)) => None,
        Err(_) => Some(format!("it took more than {} s", WRITING.as_secs())),
    };
    response.trouble = trouble;
}

/// Waits until everything is in force, at most for the time in the request.
pub async fn settle(context: &Context, wait: &Wait) -> Settling {
    let deadline = Instant::now() + Duration::from_millis(wait.milliseconds);
    let count = context.shared.count();
    let mut translated = context.translated.subscribe();
    let rules = timeout_at(deadline, translated.wait_for(|known| *known >= count)).await.is_ok();
    if context.injector.get().is_none() {
        return Settling { settled: rules, ..Settling::default() };
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let result = plane::settle(&Wait { milliseconds, ..wait.clone() }).await;
        let missing = result.as_ref().map(|verdicts| missing(context, verdicts)).unwrap_or_default();
        let (verdicts, trouble) = match result {
            Ok(verdicts) => (verdicts, context.published.borrow().trouble.clone()),
            Err(reason) => (Verdicts::default(), Some(format!("pilot {reason}"))),
        };
        let settled = rules && verdicts.settled && missing.is_empty() && trouble.is_none();
        if settled || Instant::now() >= deadline {
            return Settling { settled, verdicts, missing, trouble };
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// Ready pods whose proxy is not connected to pilot, so that it has older configuration.
fn missing(context: &Context, verdicts: &Verdicts) -> Vec<String> {
    let world = context.shared.read();
    let ready = world.pods.iter().filter(|(_, entry)| entry.status.is_ready() && !entry.status.leaving);
    let with_proxy = ready.filter(|(_, entry)| entry.status.containers.iter().any(|c| c.name == PROXY));
    let names = with_proxy.map(|((namespace, name), _)| format!("{name}.{namespace}"));
    names.filter(|name| !verdicts.proxies.iter().any(|proxy| proxy.proxy == *name)).collect()
}

/// Maximum time for a change to be written.
const WRITING: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
