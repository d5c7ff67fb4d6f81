//! Secrets stored in files: reads them, and reads them again when they change.

use super::error::CredentialError;
use api::model::secret::SecretContent;
use std::time::SystemTime;

/// A secret that is read from files.
#[derive(Debug)]
pub(super) struct FileSecret {
    files: Files,
    /// The files' modification times when they were last read.
    seen: Option<Vec<SystemTime>>,
}

#[derive(Debug)]
enum Files {
    Certificate { chain: String, key: String },
    Roots { bundle: String },
}

impl FileSecret {
    pub(super) fn certificate(chain: &str, key: &str) -> Self {
        Self { files: Files::Certificate { chain: chain.to_owned(), key: key.to_owned() }, seen: None }
    }

    pub(super) fn roots(bundle: &str) -> Self {
        Self { files: Files::Roots { bundle: bundle.to_owned() }, seen: None }
    }

    /// The secret's name, as in Istio.
    pub(super) fn name(&self) -> String {
        match &self.files {
            Files::Certificate { chain, key } => format!("file-cert:{chain}~{key}"),
            Files::Roots { bundle } => format!("file-root:{bundle}"),
        }
    }

    pub(super) fn read_if_changed(&mut self) -> Result<Option<SecretContent>, CredentialError> {
        let paths: Vec<&String> = match &self.files {
            Files::Certificate { chain, key } => vec![chain, key],
            Files::Roots { bundle } => vec![bundle],
        };
        let times = paths.into_iter().map(|path| modified(path)).collect::<Result<Vec<_>, _>>()?;
        if self.seen.as_ref() == Some(&times) {
            return Ok(None);
        }
        let content = match &self.files {
            Files::Certificate { chain, key } => {
                SecretContent::Certificate { chain: read(chain)?, key: read(key)? }
            }
            Files::Roots { bundle } => SecretContent::Roots { bundle: read(bundle)? },
        };
        self.seen = Some(times);
        Ok(Some(content))
    }
}

fn modified(path: &str) -> Result<SystemTime, CredentialError> {
    std::fs::metadata(path).and_then(|data| data.modified()).map_err(|error| unreadable(path, &error))
}

fn read(path: &str) -> Result<String, CredentialError> {
    std::fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &str, error: &std::io::Error) -> CredentialError {
    CredentialError::File { path: path.to_owned(), reason: error.to_string() }
}
