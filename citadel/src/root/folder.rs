//! The root folder: loads the four files of an authority, or creates them once. Each file is written under another
//! name, flushed, and renamed into place, so that neither a crash nor a full disk leaves a partial key.

use crate::root::material::{ISTIO, Material, MaterialError};
use crate::root::{Root, create};
use api::identity::TrustDomain;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use time::OffsetDateTime;

/// Opens the root folder: loads an existing authority, or creates and stores a self-signed one.
pub fn open(folder: &Path, trust_domain: &TrustDomain, now: OffsetDateTime) -> Result<Root, FolderError> {
    finish(folder).map_err(|source| FolderError::Write { folder: folder.to_owned(), source })?;
    let found = match load(folder)? {
        Some(found) => found,
        None => make(folder, trust_domain, now)?,
    };
    found.check(now).map_err(|source| FolderError::Material { folder: folder.to_owned(), source })
}

/// Loads the authority from a folder that was opened before. Creates nothing.
pub fn reload(folder: &Path, now: OffsetDateTime) -> Result<Root, FolderError> {
    let found = load(folder)?
        .ok_or_else(|| FolderError::Incomplete { folder: folder.to_owned(), missing: FILES.join(", ") })?;
    found.check(now).map_err(|source| FolderError::Material { folder: folder.to_owned(), source })
}

/// The modification time and length of each file.
pub type Stamp = Vec<Option<(SystemTime, u64)>>;

/// Returns a value that changes whenever a file of the folder does.
pub fn stamp(folder: &Path) -> Stamp {
    let of = |name: &&str| {
        let metadata = fs::metadata(folder.join(name)).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    FILES.iter().map(of).collect()
}

/// Writes the roots to a file that others read.
pub fn publish(file: &Path, roots: &str) -> Result<(), FolderError> {
    replace(file, roots, 0o644).map_err(|source| FolderError::Publish { file: file.to_owned(), source })
}

/// Reads the files, if they exist.
fn load(folder: &Path) -> Result<Option<Material>, FolderError> {
    let mut texts = Vec::new();
    for name in FILES {
        let file = folder.join(name);
        match fs::read_to_string(&file) {
            Ok(text) => texts.push(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => texts.push(None),
            Err(source) => return Err(FolderError::Read { file, source }),
        }
    }
    // An authority that is itself the root needs no chain file.
    let needed = texts.iter().zip(FILES).filter(|(_, name)| *name != CHAIN);
    let missing: Vec<&str> = needed.filter(|(text, _)| text.is_none()).map(|(_, name)| name).collect();
    if texts.iter().all(Option::is_none) {
        return Ok(None);
    }
    if !missing.is_empty() {
        return Err(FolderError::Incomplete { folder: folder.to_owned(), missing: missing.join(", ") });
    }
    warn_if_others_can_read(&folder.join(KEY));
    let mut texts = texts.into_iter().map(Option::unwrap_or_default);
    let mut next = || texts.next().unwrap_or_default();
    Ok(Some(Material { certificate: next(), key: next(), chain: next(), roots: next(), names: &ISTIO }))
}

fn make(folder: &Path, trust_domain: &TrustDomain, now: OffsetDateTime) -> Result<Material, FolderError> {
    let failed = |source| FolderError::Write { folder: folder.to_owned(), source };
    if !folder.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    // Two processes that start at the same time on one folder must end with the same root.
    let lock = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .mode(0o600)
        .open(folder.join(".lock"))
        .map_err(failed)?;
    lock.lock().map_err(failed)?;
    if let Some(found) = load(folder)? {
        return Ok(found);
    }
    let material = create::fresh(trust_domain, now).map_err(|error| failed(io::Error::other(error)))?;
    keep(folder, &material).map_err(failed)?;
    tracing::info!(folder = %folder.display(), %trust_domain, "a self-signed root was created");
    Ok(material)
}

/// Completes the creation of a root that was interrupted while the files were renamed into place. All files were
/// written completely before the first rename, so the remaining ones only need to be renamed. In any other state
/// nothing is changed.
fn finish(folder: &Path) -> io::Result<()> {
    let placed = FILES.iter().take_while(|name| folder.join(name).exists()).count();
    let rest = &FILES[placed..];
    let interrupted = placed > 0
        && !rest.is_empty()
        && rest.iter().all(|name| !folder.join(name).exists() && staged(folder, name).exists());
    if !interrupted {
        return Ok(());
    }
    rest.iter().try_for_each(|name| fs::rename(staged(folder, name), folder.join(name)))?;
    tracing::info!(folder = %folder.display(), "a root whose creation was interrupted is complete");
    File::open(folder)?.sync_all()
}

fn staged(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!(".{name}.new"))
}

/// Writes all files under temporary names before renaming any, so that a full disk is found before the first takes
/// effect.
fn keep(folder: &Path, material: &Material) -> io::Result<()> {
    let texts = [&material.certificate, &material.key, &material.chain, &material.roots];
    let staged: Vec<PathBuf> = FILES.iter().map(|name| staged(folder, name)).collect();
    let written = staged.iter().zip(texts).try_for_each(|(file, text)| write(file, text, 0o600));
    let placed = written.and_then(|()| {
        staged.iter().zip(FILES).try_for_each(|(file, name)| fs::rename(file, folder.join(name)))?;
        File::open(folder)?.sync_all()
    });
    if placed.is_err() {
        for file in &staged {
            // A file that cannot be removed was most likely never written.
            let _ = fs::remove_file(file);
        }
    }
    placed
}

fn replace(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let name = file.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let staged = file.with_file_name(format!(".{name}.new"));
    let result = write(&staged, text, mode).and_then(|()| fs::rename(&staged, file));
    if result.is_err() {
        // The temporary file may not exist, which is fine.
        let _ = fs::remove_file(&staged);
    }
    result
}

fn write(file: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut opened = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(file)?;
    // Otherwise a file left by an earlier attempt would keep its old mode.
    opened.set_permissions(fs::Permissions::from_mode(mode))?;
    opened.write_all(text.as_bytes())?;
    opened.sync_all()
}

fn warn_if_others_can_read(key: &Path) {
    let mode = fs::metadata(key).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    if mode & 0o077 != 0 {
        let mode = format!("{:o}", mode & 0o777);
        tracing::warn!(file = %key.display(), mode, "others on this machine can read the signing key; chmod 600 it");
    }
}

/// Why the root folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// An existing file cannot be read.
    #[error("{} cannot be read; give this process access to it, or choose another --root-dir", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Some of the files exist and others do not.
    #[error(
        "{} holds a part of an authority only: {missing} missing; add what is missing, or empty the folder to have a \
         new root created",
        .folder.display()
    )]
    Incomplete {
        /// The folder.
        folder: PathBuf,
        /// The missing files.
        missing: String,
    },
    /// A new root cannot be stored.
    #[error(
        "a new root cannot be written to {}; make the folder writable with room for a few kilobytes, choose another \
         --root-dir, or put ca-cert.pem, ca-key.pem, cert-chain.pem and root-cert.pem there",
        .folder.display()
    )]
    Write {
        /// The folder.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The files do not form a valid authority.
    #[error("the authority in {} cannot be used; correct the file, or empty the folder to have a new root created", .folder.display())]
    Material {
        /// The folder.
        folder: PathBuf,
        /// What is wrong.
        source: MaterialError,
    },
    /// The roots cannot be published.
    #[error("the root certificate cannot be published to {}; make its folder writable or choose another --publish-root", .file.display())]
    Publish {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

const KEY: &str = ISTIO.key;
const CHAIN: &str = ISTIO.chain;
const FILES: [&str; 4] = [ISTIO.certificate, KEY, CHAIN, ISTIO.roots];
