//! Loads certificates that another program writes: a mounted folder with the workload's own, and files that TLS
//! contexts name. The files are polled every few seconds, which costs less than watching them and also detects a
//! swapped mount.

use crate::credentials::Store;
use api::model::secret::SecretContent;
use api::name::{WORKLOAD_CERTIFICATE, WORKLOAD_ROOTS};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Whether a folder holds the workload's certificate.
pub fn is_there(folder: &Path) -> bool {
    FILES.iter().all(|file| folder.join(file).is_file())
}

/// Keeps the store in step with the files; never returns. `folder`: where the workload's own certificate is mounted.
pub async fn run(folder: Option<std::path::PathBuf>, store: Arc<Store>) {
    let mut seen = None;
    loop {
        if let Some(folder) = &folder {
            load(folder, &mut seen, &store);
        }
        for error in store.reload_files() {
            tracing::warn!(%error, "a certificate file cannot be used; its last good version stays in force");
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Loads the folder if its modification times differ from `seen`.
fn load(folder: &Path, seen: &mut Option<Vec<SystemTime>>, store: &Store) {
    match read(folder, seen.as_deref()) {
        Ok(None) => {}
        Ok(Some((certificate, roots, times))) => {
            let set = store
                .set(WORKLOAD_CERTIFICATE, &certificate)
                .and_then(|()| store.set(WORKLOAD_ROOTS, &roots));
            match set {
                Ok(()) => {
                    tracing::info!(folder = %folder.display(), "using the mounted certificate");
                    *seen = Some(times);
                }
                Err(error) => tracing::warn!(%error, "the mounted certificate cannot be used"),
            }
        }
        Err(error) => {
            tracing::warn!(folder = %folder.display(), %error, "the mounted certificate cannot be read");
        }
    }
}

type Read = (SecretContent, SecretContent, Vec<SystemTime>);

fn read(folder: &Path, seen: Option<&[SystemTime]>) -> std::io::Result<Option<Read>> {
    let paths = FILES.map(|file| folder.join(file));
    let times =
        paths.iter().map(|path| std::fs::metadata(path)?.modified()).collect::<Result<Vec<_>, _>>()?;
    if seen == Some(&times[..]) {
        return Ok(None);
    }
    let [chain, key, bundle] = paths;
    let certificate = SecretContent::Certificate {
        chain: std::fs::read_to_string(chain)?,
        key: std::fs::read_to_string(key)?,
    };
    Ok(Some((certificate, SecretContent::Roots { bundle: std::fs::read_to_string(bundle)? }, times)))
}

const FILES: [&str; 3] = ["cert-chain.pem", "key.pem", "root-cert.pem"];
const INTERVAL: Duration = Duration::from_secs(5);
