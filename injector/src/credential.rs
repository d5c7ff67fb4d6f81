//! The serving certificate, loaded from files and reloaded when they change. The API server refuses a webhook whose
//! certificate has expired, so a renewed certificate must be served without a restart; an invalid one must not replace
//! a valid one.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use api::process::tls::{self, Serving, TlsError};
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// The files of the serving certificate.
#[derive(Debug, Clone)]
pub struct Files {
    /// The certificate and its chain.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// Why the serving certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The content of a file is not valid.
    #[error("{} cannot be used", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: TlsError,
    },
}

/// The content of the files, compared to detect changes.
#[derive(Clone, PartialEq, Eq)]
struct Pem {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// Publishes the newest valid certificate in a channel.
pub struct Credential {
    files: Files,
    served: Pem,
    newest: watch::Sender<Arc<Serving>>,
}

impl Credential {
    /// Loads the certificate for the first time.
    pub fn load(files: Files) -> Result<Self, CredentialError> {
        let served = read(&files)?;
        let newest = watch::Sender::new(parse(&files, &served)?);
        Ok(Self { files, served, newest })
    }

    /// Subscribes to the certificate to serve.
    pub fn watch(&self) -> watch::Receiver<Arc<Serving>> {
        self.newest.subscribe()
    }

    /// Checks for changes until `drain` is cancelled. Compares the content itself: a mounted Secret changes by swapping
    /// links, which file events do not report reliably.
    pub async fn follow(mut self, drain: CancellationToken) {
        let mut ticks = tokio::time::interval(LOOK_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut complained = None;
        while drain.run_until_cancelled(ticks.tick()).await.is_some() {
            match self.look() {
                Ok(changed) => {
                    complained = None;
                    if changed {
                        tracing::info!(certificate = %self.files.certificate.display(), "serving a new certificate");
                    }
                }
                Err(error) => {
                    let reason = format!("{:#}", anyhow::Error::from(error));
                    if complained.as_ref() != Some(&reason) {
                        tracing::warn!(
                            reason,
                            "the changed certificate cannot be used; serving the last good one"
                        );
                    }
                    complained = Some(reason);
                }
            }
        }
    }

    fn look(&mut self) -> Result<bool, CredentialError> {
        let found = read(&self.files)?;
        if found == self.served {
            return Ok(false);
        }
        let config = parse(&self.files, &found)?;
        self.served = found;
        self.newest.send_replace(config);
        Ok(true)
    }
}

fn read(files: &Files) -> Result<Pem, CredentialError> {
    let read = |path: &Path| {
        fs::read(path).map_err(|source| CredentialError::Read { path: path.to_owned(), source })
    };
    Ok(Pem { certificate: read(&files.certificate)?, key: read(&files.key)? })
}

fn parse(files: &Files, pem: &Pem) -> Result<Arc<Serving>, CredentialError> {
    let content = |path: &Path| {
        let path = path.to_owned();
        move |source| CredentialError::Content { path, source }
    };
    let chain = tls::certificates_from_pem(&pem.certificate).map_err(content(&files.certificate))?;
    let key = tls::private_key_from_pem(&pem.key).map_err(content(&files.key))?;
    tls::server_config(chain, key, None).map_err(content(&files.key))
}

const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    fn write(files: &Files) {
        let made = rcgen::generate_simple_self_signed(["injector".to_owned()]).unwrap();
        fs::write(&files.certificate, made.cert.pem()).unwrap();
        fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_changed_certificate_is_served_and_a_broken_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        write(&files);
        let credential = Credential::load(files.clone()).unwrap();
        let mut served = credential.watch();
        let drain = CancellationToken::new();
        let following = tokio::spawn(credential.follow(drain.clone()));
        fs::write(&files.certificate, "broken").unwrap();
        tokio::time::sleep(LOOK_INTERVAL * 3).await;
        assert!(!served.has_changed().unwrap());
        write(&files);
        served.changed().await.unwrap();
        drain.cancel();
        following.await.unwrap();
    }

    #[test]
    fn a_missing_or_broken_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        let message = |files: &Files| Credential::load(files.clone()).err().unwrap().to_string();
        assert!(message(&files).contains("tls.crt"));
        write(&files);
        fs::write(&files.key, "broken").unwrap();
        assert!(message(&files).contains("tls.key cannot be used"));
    }
}
