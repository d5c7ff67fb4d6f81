//! The store of secrets: one writer, and handshakes that read without a lock.

use super::error::CredentialError;
use super::file::FileSecret;
use super::loaded::{Loaded, SecretInfo};
use api::model::secret::SecretContent;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

/// The current secrets by name. One writer at a time is expected (control); any number of handshakes may read.
#[derive(Debug, Default)]
pub struct Store {
    secrets: ArcSwap<BTreeMap<String, Arc<Loaded>>>,
    files: Mutex<BTreeMap<String, FileSecret>>,
}

impl Store {
    /// Creates a store without secrets.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Sets or replaces a secret. On an error the previous one stays.
    pub fn set(&self, name: &str, content: &SecretContent) -> Result<(), CredentialError> {
        let loaded = Arc::new(Loaded::parse(name, content)?);
        self.secrets.rcu(|secrets| {
            let mut next = BTreeMap::clone(secrets);
            next.insert(name.to_owned(), loaded.clone());
            next
        });
        Ok(())
    }

    /// Removes a secret; later handshakes that need it fail.
    pub fn remove(&self, name: &str) {
        self.secrets.rcu(|secrets| {
            let mut next = BTreeMap::clone(secrets);
            next.remove(name);
            next
        });
    }

    /// Whether the store has a secret of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.secrets.load().contains_key(name)
    }

    /// When the secret's first certificate expires.
    pub fn expiry(&self, name: &str) -> Option<SystemTime> {
        self.secrets.load().get(name).map(|loaded| loaded.info.not_after)
    }

    /// The public facts of every secret.
    pub fn dump(&self) -> Vec<SecretInfo> {
        self.secrets.load().values().map(|loaded| loaded.info.clone()).collect()
    }

    /// Reads file secrets again if their files have changed. Returns the errors; a secret that cannot be read keeps
    /// its last good version.
    pub fn reload_files(&self) -> Vec<CredentialError> {
        let mut files = self.files.lock().expect("no holder of this lock panics");
        let mut errors = vec![];
        for (name, source) in files.iter_mut() {
            match source.read_if_changed() {
                Ok(Some(content)) => errors.extend(self.set(name, &content).err()),
                Ok(None) => {}
                Err(error) => errors.push(error),
            }
        }
        errors
    }

    /// Loads a secret from files under a name derived from them, and registers it for `reload_files`.
    pub(super) fn add_file(&self, mut source: FileSecret) -> Result<String, CredentialError> {
        let name = source.name();
        let mut files = self.files.lock().expect("no holder of this lock panics");
        if !files.contains_key(&name) {
            if let Some(content) = source.read_if_changed()? {
                self.set(&name, &content)?;
            }
            files.insert(name.clone(), source);
        }
        Ok(name)
    }

    pub(super) fn find(&self, name: &str) -> Option<Arc<Loaded>> {
        self.secrets.load().get(name).cloned()
    }
}
