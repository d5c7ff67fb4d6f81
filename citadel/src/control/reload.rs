//! Takes up a new signing certificate, key or root when an operator changes the root folder, without a restart. A
//! change that does not make a working authority is told and left alone: the old one goes on.

use crate::audit::chain;
use crate::root::Root;
use crate::root::folder::{self, FolderError, Stamp};
use api::process::tls;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::watch;

/// Where the root comes from and where it is published.
pub struct Folder {
    /// The root folder.
    pub root: PathBuf,
    /// The state of the folder that is in use.
    pub taken: Stamp,
    /// Where the root certificate is written for others.
    pub published: Option<PathBuf>,
}

/// Watches the folder for ever.
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
                // Four files are rarely written in one instant: it is tried again, and told once.
                if reason != complaint {
                    tracing::warn!(
                        reason,
                        "the root folder has changed and cannot be used; the old root goes on"
                    );
                    complaint = reason;
                }
            }
        }
    }
}

/// Publishes before the first certificate under a new root is issued, so that its holder can be believed.
fn read(folder: &Folder) -> Result<Root, FolderError> {
    let root = folder::reload(&folder.root, OffsetDateTime::now_utc())?;
    if let Some(file) = &folder.published {
        folder::publish(file, root.roots_pem())?;
    }
    Ok(root)
}

fn warn_of_strangers(old: &Root, new: &Root) {
    let known = tls::certificates_from_pem(new.roots_pem().as_bytes()).unwrap_or_default();
    let before = tls::certificates_from_pem(old.roots_pem().as_bytes()).unwrap_or_default();
    if before.iter().any(|root| !known.contains(root)) {
        tracing::warn!(
            "root-cert.pem no longer holds the old root: workloads refuse each other until all have renewed; keep both \
             roots in the file during a change"
        );
    }
}

/// Whoever is not trusted any more is shut out within a second, here and at pilot, which reads what is published.
const INTERVAL: Duration = Duration::from_millis(250);
