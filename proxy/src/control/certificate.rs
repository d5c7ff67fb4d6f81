//! Keeps the workload's own certificate: requests it at start, renews it at half of its lifetime, and retries after
//! failures, whether or not the current one is still valid. A rotation only changes the store, so it drops no
//! connection.

use super::Seams;
use super::schedule::{BackOff, wait_until};
use crate::credentials::{CredentialError, Store};
use api::model::secret::SecretContent;
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use api::process::enroll::{Authority, EnrollError, Issued, enroll, renewal};
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

/// Keeps a valid certificate in the store; never returns.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
pub async fn run(authority: Authority, seams: Seams) {
    let failures = seams.telemetry.named("agent.num_failed_outgoing_requests");
    let requests = seams.telemetry.named("agent.num_outgoing_requests");
    let mut current: Option<Issued> = None;
    let mut back_off = BackOff::new(LONGEST_WAIT);
    loop {
        requests.fetch_add(1, Ordering::Relaxed);
        let result = obtain(&authority, current.as_ref(), &seams.credentials).await;
        let reason = result.as_ref().err().map(|error| with_causes(error));
        seams
            .status
            .send_if_modified(|status| std::mem::replace(&mut status.certificate, reason.clone()) != reason);
        match result {
            Ok(issued) => {
                back_off.succeeded();
                let jitter = rand::random::<f64>() * 2.0 - 1.0;
                let due = renewal(SystemTime::now(), issued.not_after, jitter);
                tracing::info!(identity = %issued.identity, "a certificate was issued");
                sleep_until(due, &issued, &authority, &seams.credentials).await;
                current = Some(issued);
            }
            Err(_) => {
                failures.fetch_add(1, Ordering::Relaxed);
                let wait = back_off.failed(rand::random());
                let valid = current.as_ref().is_some_and(|issued| SystemTime::now() < issued.not_after);
                tracing::warn!(
                    error = reason,
                    valid,
                    wait_ms = wait.as_millis(),
                    "no certificate; trying again"
                );
                if !valid {
                    // An expired certificate proves nothing, and a request with it fails even if the token is valid.
                    current = None;
                }
                tokio::time::sleep(wait).await;
            }
        }
    }
}

/// Requests a certificate with all proofs of identity; if the token is missing or refused, with the current
/// certificate alone.
async fn obtain(authority: &Authority, current: Option<&Issued>, store: &Store) -> Result<Issued, Failure> {
    let issued = match enroll(authority, current).await {
        Err(error) if current.is_some() && is_about_token(&error, authority) => {
            let by_certificate = Authority { token: None, ..authority.clone() };
            enroll(&by_certificate, current).await.map_err(Failure::Enroll)?
        }
        other => other.map_err(Failure::Enroll)?,
    };
    keep(&issued, authority, store).map_err(Failure::Keep)?;
    Ok(issued)
}

/// Why no certificate was obtained.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Enroll(EnrollError),
    #[error("the certificate that was issued cannot be used")]
    Keep(#[source] CredentialError),
}

fn is_about_token(error: &EnrollError, authority: &Authority) -> bool {
    match error {
        EnrollError::Authority { code: tonic::Code::Unauthenticated, .. } => true,
        EnrollError::File { file, .. } => Some(file) == authority.token.as_ref(),
        _ => false,
    }
}

fn keep(issued: &Issued, authority: &Authority, store: &Store) -> Result<(), CredentialError> {
    trust(issued, &mesh_roots(authority), store)?;
    let content = SecretContent::Certificate { chain: issued.chain.clone(), key: issued.key.clone() };
    store.set(WORKLOAD_CERTIFICATE, &content)
}

/// Trusts the roots of the response, and those of the mesh's roots file that the response lacks: during a rotation
/// of roots, both are valid.
fn trust(issued: &Issued, file: &str, store: &Store) -> Result<(), CredentialError> {
    let mut bundle = issued.roots.trim().to_owned();
    for certificate in blocks(file).filter(|certificate| !issued.roots.contains(certificate)) {
        bundle.push('\n');
        bundle.push_str(certificate);
    }
    bundle.push('\n');
    store.set(WORKLOAD_ROOTS, &SecretContent::Roots { bundle })
}

/// Reads the mesh's roots file; empty if it cannot be read, which `enroll` reports.
fn mesh_roots(authority: &Authority) -> String {
    std::fs::read_to_string(&authority.roots).unwrap_or_default()
}

/// The certificates in a PEM text.
fn blocks(pem: &str) -> impl Iterator<Item = &str> {
    pem.split_inclusive(END).filter_map(|part| part.find(BEGIN).map(|start| &part[start..]))
}

/// Waits for the time of renewal. When the mesh's roots file changes, added roots are trusted at once, because
/// peers may present certificates signed by them; the renewal then follows soon, at a slightly different time in
/// each proxy.
#[allow(clippy::disallowed_methods, reason = "this is the shell that knows the time")]
async fn sleep_until(mut moment: SystemTime, issued: &Issued, authority: &Authority, store: &Store) {
    let mut known = mesh_roots(authority);
    loop {
        let wait = wait_until(moment, SystemTime::now());
        if wait.is_zero() {
            return;
        }
        tokio::time::sleep(wait.min(LOOK_AGAIN)).await;
        let roots = mesh_roots(authority);
        if roots == known || roots.is_empty() {
            continue;
        }
        match trust(issued, &roots, store) {
            Ok(()) => {
                tracing::info!("the mesh's roots have changed; the certificate is renewed soon");
                moment = moment.min(SystemTime::now() + SPREAD.mul_f64(rand::random()));
            }
            Err(error) => {
                tracing::warn!(
                    error = with_causes(&error),
                    "the mesh's roots have changed and cannot be used"
                );
            }
        }
        known = roots;
    }
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

const LONGEST_WAIT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// The period over which the renewals of all proxies are spread after a change of roots.
const SPREAD: Duration = Duration::from_secs(10);
const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";
