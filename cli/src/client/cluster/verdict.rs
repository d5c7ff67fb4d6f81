//! The verdicts of pilot and the proxies on objects, of all replicas together.

use std::time::Duration;

use api::resource::verdict::{Verdicts, Wait, Wanted};
use tokio::time::{Instant, sleep, timeout_at};

use crate::client::cluster::pilot::{self, Page};
use crate::client::cluster::{Cluster, merge};
use crate::failure::Failure;
use crate::manifest::object::Key;
use crate::wire::Settling;

/// Waits until objects are in force, at most for the time in the request.
pub async fn settle(cluster: &Cluster, wait: &Wait) -> Result<Settling, Failure> {
    let deadline = Instant::now() + Duration::from_millis(wait.milliseconds);
    loop {
        let left = deadline.saturating_duration_since(Instant::now()).min(LONGEST);
        let milliseconds = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let page = Page::post("/debug/verdicts", &Wait { milliseconds, ..wait.clone() });
        let settling = match timeout_at(deadline + SLACK, once(cluster, &page, &wait.objects)).await {
            Ok(settling) => settling.map_err(unasked)?,
            Err(_) => Settling { trouble: Some("pilot does not respond".into()), ..Settling::default() },
        };
        if settling.settled || Instant::now() >= deadline {
            return Ok(settling);
        }
        sleep(LOOK_AGAIN).await;
    }
}

/// The failure of a user who may change objects and not ask pilot.
fn unasked(failure: Failure) -> Failure {
    match failure {
        Failure::Denied { reason, next } => Failure::Denied {
            reason: format!("the change is made, but whether it is in force cannot be asked: {reason}"),
            next: format!("use --wait=false and look at the object's status; or {next}"),
        },
        other => other,
    }
}

async fn once(cluster: &Cluster, page: &Page, wanted: &[Wanted]) -> Result<Settling, Failure> {
    let (mut verdicts, mut trouble) = (Vec::new(), None);
    for response in pilot::ask::<Verdicts>(cluster, page).await? {
        match response.content {
            Ok(one) => verdicts.push(one),
            Err(failure @ Failure::Denied { .. }) => return Err(failure),
            // A replica that is restarted is asked again.
            Err(failure) => trouble = Some(failure.reason()),
        }
    }
    let verdicts = merge::merged(verdicts, wanted);
    Ok(Settling { settled: verdicts.settled && trouble.is_none(), verdicts, missing: Vec::new(), trouble })
}

/// The verdicts on an object.
pub async fn on(cluster: &Cluster, key: &Key) -> Result<Verdicts, Failure> {
    let Key { group, kind, namespace, name } = key.clone();
    let page = Page::get(format!("/debug/verdicts?kind={kind}&namespace={namespace}&name={name}"));
    let replicas: Vec<(String, Verdicts)> = pilot::ask_all(cluster, &page).await?;
    let wanted = Wanted { group, kind, namespace, name, ..Wanted::default() };
    Ok(merge::merged(replicas.into_iter().map(|(_, one)| one).collect(), &[wanted]))
}

const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Maximum duration of one request to pilot.
const LONGEST: Duration = Duration::from_secs(5);
/// How much longer than asked for a request may take.
const SLACK: Duration = Duration::from_secs(5);
