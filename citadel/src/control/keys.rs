//! Reads the token issuer's keys periodically, and when a request has an unknown key. If a read fails, the keys read
//! before stay in force.

use crate::audit::chain;
use crate::config::KeySource;
use crate::control::fetch::{self, FetchError};
use crate::jwks::Writer;
use api::jws::key_set::{KeySet, KeySetError};
use api::process::ready::Gate;
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::sleep;

/// Keeps the keys current, forever. Signals `ready` after the first successful read.
pub async fn run(source: KeySource, writer: Writer, ready: Gate) {
    if let KeySource::Url { url, .. } = &source
        && url.scheme_str() == Some("http")
    {
        tracing::warn!(%url, "the token issuer's keys are fetched over plaintext: an attacker on the network could forge identities");
    }
    let mut ready = Some(ready);
    let mut last: Option<KeySet> = None;
    let mut complaint = String::new();
    loop {
        let pause = match read(&source).await {
            Ok(keys) => {
                if last.as_ref() != Some(&keys) {
                    log_keys(&source, &keys);
                }
                complaint.clear();
                writer.replace(keys.clone());
                last = Some(keys);
                drop(ready.take());
                schedule(&source)
            }
            Err(error) => {
                let reason = chain(&error);
                // A lasting failure is logged once, not at every attempt.
                if reason != complaint {
                    let kept = last.as_ref().map_or(0, KeySet::len);
                    tracing::warn!(reason, kept, "the token issuer's keys cannot be read; trying again");
                    complaint = reason;
                }
                RETRY
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            // Many requests with unknown keys must not cause as many reads.
            () = async { sleep(MIN_GAP).await; writer.wanted().await } => {}
        }
    }
}

fn log_keys(source: &KeySource, keys: &KeySet) {
    let source = match source {
        KeySource::File(file) => file.display().to_string(),
        KeySource::Url { url, .. } => url.to_string(),
    };
    if keys.is_empty() {
        tracing::warn!(source, "the token issuer's key set has no usable key: every token will be refused");
    } else {
        tracing::info!(source, count = keys.len(), "the token issuer's keys were read");
    }
}

async fn read(source: &KeySource) -> Result<KeySet, KeysError> {
    let json =
        match source {
            KeySource::File(file) => tokio::fs::read(file)
                .await
                .map_err(|source| KeysError::File { file: file.clone(), source })?,
            KeySource::Url { url, roots, bearer } => fetch::get(url, roots.as_deref(), bearer.as_deref())
                .await
                .map_err(|source| KeysError::Url { url: url.to_string(), source })?,
        };
    KeySet::parse(&json).map_err(KeysError::Content)
}

fn schedule(source: &KeySource) -> Duration {
    match source {
        KeySource::File(_) => FILE_INTERVAL,
        KeySource::Url { .. } => URL_INTERVAL,
    }
}

/// Why the keys cannot be read.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("{} cannot be read; see --token-jwks", .file.display())]
    File { file: PathBuf, source: std::io::Error },
    #[error("{url} cannot be fetched; see --token-jwks")]
    Url { url: String, source: FetchError },
    #[error("{0}; see --token-jwks")]
    Content(KeySetError),
}

const FILE_INTERVAL: Duration = Duration::from_secs(10);
const URL_INTERVAL: Duration = Duration::from_mins(5);
const RETRY: Duration = Duration::from_secs(2);
const MIN_GAP: Duration = Duration::from_secs(1);
