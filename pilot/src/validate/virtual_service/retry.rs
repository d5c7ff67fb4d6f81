//! Pure. Validates retry policies, of routes and of the mesh.

use crate::catalog::route::Retries;
use crate::check::finding::Findings;
use crate::check::value;
use api::model::route::RetryOn;
use api::resource::kind::virtual_service as written;

pub(in crate::validate) fn retries(
    f: &mut Findings,
    path: &str,
    written: Option<&written::Retries>,
) -> Option<Retries> {
    let written = written?;
    f.unserved(format!("{path}.retryRemoteLocalities"), &written.retry_remote_localities);
    let attempts = u32::try_from(written.attempts).ok().filter(|n| *n <= MAX_ATTEMPTS);
    if attempts.is_none() {
        let reason = format!("{} is not a valid number of attempts", written.attempts);
        f.error(format!("{path}.attempts"), reason, "write a number from 0 to 1000");
    }
    let retry_on = written.retry_on.as_deref().filter(|text| !text.is_empty());
    if attempts == Some(0) {
        let next = "give attempts a number";
        let fields = [
            ("perTryTimeout", written.per_try_timeout.is_some()),
            ("retryOn", retry_on.is_some()),
            ("retryRemoteLocalities", written.retry_remote_localities.written().is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, given)| *given) {
            f.error(format!("{path}.{field}"), "has no effect with 0 attempts", next);
        }
        if written.backoff.is_some() {
            f.warn(format!("{path}.backoff"), "has no effect with 0 attempts", next);
        }
    }
    let per_try = value::period(f, &format!("{path}.perTryTimeout"), written.per_try_timeout.as_deref());
    let backoff = value::period(f, &format!("{path}.backoff"), written.backoff.as_deref());
    let (on, status_codes) = conditions(f, &format!("{path}.retryOn"), retry_on);
    Some(Retries {
        attempts: attempts.unwrap_or_default(),
        per_try_timeout: per_try,
        on,
        status_codes,
        backoff,
        ignore_previous_hosts: written.retry_ignore_previous_hosts,
    })
}

/// Parses retry conditions by Envoy's names. Numbers are status codes, which form a condition of their own.
fn conditions(f: &mut Findings, path: &str, text: Option<&str>) -> (Option<Vec<RetryOn>>, Vec<u16>) {
    let Some(text) = text else { return (None, vec![]) };
    let mut on = vec![];
    let mut codes = vec![];
    for word in text.split(',') {
        match (RetryOn::from_name(word), word.parse::<u16>()) {
            (Some(condition), _) if !on.contains(&condition) => on.push(condition),
            (Some(_), _) => {}
            (None, Ok(code)) if is_registered(code) => codes.push(code),
            (None, Ok(code)) => {
                f.error(path, format!("{code} is not a registered status code"), "write one such as 503");
            }
            (None, Err(_)) if KNOWN.contains(&word) => f.not_supported(path, &format!("`{word}` is")),
            (None, Err(_)) => {
                let names: Vec<&str> = RetryOn::NAMES.iter().map(|(_, name)| *name).collect();
                let next = format!("write status codes, or some of {}", names.join(", "));
                f.error(path, format!("`{word}` is not a known retry condition"), &next);
            }
        }
    }
    if !codes.is_empty() && !on.contains(&RetryOn::RetriableStatusCodes) {
        on.push(RetryOn::RetriableStatusCodes);
    }
    (Some(on), codes)
}

/// Whether a status code is registered. Others are refused, as in Istio.
fn is_registered(code: u16) -> bool {
    http::StatusCode::from_u16(code).is_ok_and(|status| status.canonical_reason().is_some())
}

const MAX_ATTEMPTS: u32 = 1000;

/// Conditions that Envoy supports but the configuration model does not.
const KNOWN: &[&str] =
    &["envoy-ratelimited", "retriable-headers", "http3-post-connect-failure", "unauthenticated"];
