//! Reloads the signing certificate, key and roots when an operator changes the root folder, without a restart. If the
//! changed files do not form a valid authority, the error is logged and the old authority stays in force.

use crate::audit::chain;
use crate::root::Root;
use crate::root::folder::{self, FolderError, Stamp};
use api::process::tls;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// The folder that the root is loaded from, and the file it is published to.
pub struct Folder {
    /// The root folder.
    pub root: PathBuf,
    /// The stamp of the folder content in use.
    pub taken: Stamp,
    /// The file that the root certificate is published to.
    pub published: Option<PathBuf>,
}

/// Watches the folder, forever.
pub async fn run(mut folder: Folder, sender: watch::Sender<Arc<Root>>) {
    let mut complaint = String::new();
    loop {
        tokio::time::sleep(INTERVAL).await;
        let stamp = folder::stamp(&folder.root);
        if stamp == folder.taken {
            continue;
        }
        match read(&folder) {
            Ok(root) => {
                warn_of_strangers(&sender.borrow(), &root);
                sender.send_replace(Arc::new(root));
                tracing::info!(folder = %folder.root.display(), "the signing certificate was replaced");
                folder.taken = stamp;
                complaint.clear();
            }
            Err(error) => {
                let reason = chain(&error);
                // The four files are rarely written at the same instant, so loading is retried and an error logged
                // once.
                if reason != complaint {
                    tracing::warn!(
                        reason,
                        "the root folder has changed and cannot be used; the old root stays in force"
                    );
                    complaint = reason;
                }
            }
        }
    }
}

/// Loads and publishes the root. It is published before the first certificate under it is issued, so that peers can
/// verify that certificate.
fn read(folder: &Folder) -> Result<Root, FolderError> {
    let root = folder::reload(&folder.root, OffsetDateTime::now_utc())?;
    if let Some(file) = &folder.published {
        folder::publish(file, root.roots_pem())?;
    }
    Ok(root)
}

/// Warns if the old root is no longer among the new ones.
pub(super) fn warn_of_strangers(old: &Root, new: &Root) {
    let known = tls::certificates_from_pem(new.roots_pem().as_bytes()).unwrap_or_default();
    let before = tls::certificates_from_pem(old.roots_pem().as_bytes()).unwrap_or_default();
    if before.iter().any(|root| !known.contains(root)) {
        tracing::warn!(
            "root-cert.pem no longer holds the old root: workloads refuse each other until all have renewed; keep both \
             roots in the file during a change"
        );
    }
}

/// How often the folder is checked. A client whose root is removed loses access within a second, here and at pilot,
/// which reads the published file.
const INTERVAL: Duration = Duration::from_millis(250);
