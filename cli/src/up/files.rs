//! Writes a pod's files: volumes from objects, scratch folders, and `resolv.conf`, `hosts` and `hostname`. They are on
//! a tmpfs that only the supervisor and its pods see.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Container, Pod, ServiceAccountTokenProjection, Volume, VolumeMount};
use serde_json::Value;

use crate::beneath::{self, Access};
use crate::kubelet::address::NODE;
use crate::kubelet::check::format;
use crate::kubelet::environment::{self, Sources};
use crate::kubelet::name;
use crate::kubelet::security::Settings;
use crate::kubelet::token::Subject;
use crate::kubelet::volume::{self, Content, Holder, VolumeError};
use crate::up::context::Context;
use crate::up::world::World;
use crate::wire::{Mount, PROGRAMS};

/// Why a pod's files cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// The pod has no spec.
    #[error("has no spec")]
    NoSpec,
    /// The content of a volume cannot be determined.
    #[error("volume {volume}: {source}")]
    Content {
        /// Name of the volume.
        volume: String,
        /// The reason.
        source: VolumeError,
    },
    /// A volume's files cannot be written.
    #[error("volume {volume} cannot be created: {source}")]
    Write {
        /// Name of the volume.
        volume: String,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A container mounts a volume that the pod does not have.
    #[error("there is no volume {0}")]
    UnknownVolume(String),
    /// A mount's `subPathExpr` has an unknown variable.
    #[error("subPathExpr {0} uses an unknown variable")]
    UnknownVariable(String),
    /// A mount's `subPath` is not allowed.
    #[error("subPath {path} {reason}")]
    SubPath {
        /// The path.
        path: String,
        /// The reason.
        reason: &'static str,
    },
    /// A scratch folder cannot be made.
    #[error("{path}: {source}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Writes the volumes of a pod. A second call updates files whose content has changed.
pub fn volumes(
    context: &Context,
    pod: &Pod,
    folder: &Path,
    address: &str,
    fresh: bool,
) -> Result<(), FilesError> {
    let place = context.place(address);
    let spec = pod.spec.as_ref().ok_or(FilesError::NoSpec)?;
    let subject = subject(pod);
    let issue = |token: &ServiceAccountTokenProjection| {
        let lifetime = token.expiration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        context.signer.token(
            &subject,
            token.audience.as_deref().unwrap_or(crate::kubelet::token::ISSUER),
            lifetime.unwrap_or(3600),
        )
    };
    for volume in spec.volumes.iter().flatten().filter(|volume| fresh || volume::is_live(volume)) {
        let content = {
            let world = context.shared.read();
            with_sources(&world, &subject.namespace, |sources| {
                volume::content(pod, volume, &place, sources, &issue)
            })
        };
        let content =
            content.map_err(|source| FilesError::Content { volume: volume.name.clone(), source })?;
        let holder = volume::holder(spec, volume);
        write(&folder.join("volumes").join(&volume.name), &content, holder, context.users)
            .map_err(|source| FilesError::Write { volume: volume.name.clone(), source })?;
    }
    Ok(())
}

/// Runs a closure with look-ups of the ConfigMaps and Secrets of a namespace.
pub fn with_sources<T>(world: &World, namespace: &str, call: impl FnOnce(&Sources<'_>) -> T) -> T {
    let config_map = |name: &str| {
        let object = world.core("ConfigMap", namespace, name)?;
        let mut entries = texts(&object["data"]);
        entries.extend(
            decoded(&object["binaryData"])
                .map(|(key, value)| (key, String::from_utf8_lossy(&value).into_owned())),
        );
        Some(entries)
    };
    let secret = |name: &str| {
        let object = world.core("Secret", namespace, name)?;
        let mut entries: BTreeMap<_, _> = decoded(&object["data"]).collect();
        entries
            .extend(texts(&object["stringData"]).into_iter().map(|(key, value)| (key, value.into_bytes())));
        Some(entries)
    };
    call(&Sources { config_map: &config_map, secret: &secret })
}

/// The mounts of a container over the host's files.
pub fn mounts(
    context: &Context,
    pod: &Pod,
    container: &Container,
    folder: &Path,
    lookup: &dyn Fn(&str) -> Option<String>,
    settings: &Settings,
) -> Result<Vec<Mount>, FilesError> {
    let volumes: &[Volume] = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| FilesError::UnknownVolume(mount.name.clone()))?;
        let is_live = volume::is_live(volume);
        let host = volume.host_path.as_ref();
        mounts.push(Mount {
            source: host
                .map_or_else(|| folder.join("volumes").join(&volume.name), |host| host.path.clone().into()),
            sub_path: sub_path(mount, lookup)?,
            target: mount.mount_path.clone().into(),
            read_only: mount.read_only == Some(true) || is_live,
            makes: !is_live,
            host: host.map(|host| host.type_.clone().unwrap_or_default()),
        });
    }
    let scratch = folder.join("scratch").join(&container.name);
    for (name, target) in SCRATCH {
        let source = scratch.join(name);
        make(&source, 0o1777).map_err(|error| FilesError::Folder { path: source.clone(), source: error })?;
        // `/dev/shm` is a file system of the kernel, not part of the root file system.
        let read_only = settings.read_only_root && name != "shm";
        mounts.push(Mount { target: target.into(), read_only, ..Mount::of(source) });
    }
    for name in ["resolv.conf", "hosts", "hostname"] {
        let target = Path::new("/etc").join(name);
        mounts.push(Mount { target, read_only: true, ..Mount::of(folder.join(name)) });
    }
    mounts.push(Mount { target: PROGRAMS.into(), read_only: true, ..Mount::of(&context.programs) });
    // Volumes come first: if two mounts have the same target, the first is kept.
    Ok(mounts)
}

/// The `subPath` of a mount with its variables replaced.
fn sub_path(
    mount: &VolumeMount,
    lookup: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<PathBuf>, FilesError> {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let path = match (given(&mount.sub_path), given(&mount.sub_path_expr)) {
        (Some(path), _) => path,
        (None, None) => return Ok(None),
        (None, Some(text)) => {
            let missing = Cell::new(false);
            let path = environment::expand(&text, &|name| {
                let value = lookup(name);
                missing.set(missing.get() || value.is_none());
                value
            });
            if missing.get() {
                return Err(FilesError::UnknownVariable(text));
            }
            path
        }
    };
    match format::descending(&path) {
        None => Ok(Some(path.into())),
        Some(reason) => Err(FilesError::SubPath { path, reason }),
    }
}

/// Writes `resolv.conf`, `hosts` and `hostname`.
pub fn network(pod: &Pod, folder: &Path, address: &str) -> std::io::Result<()> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let hostname = hostname(pod);
    make(folder, 0o711)?;
    let folder = beneath::folder(folder)?;
    let put = |name: &str, text: &str| {
        beneath::replace(&folder, name.as_ref(), text.as_bytes(), Access::own(0o644))
    };
    let search = format!("{namespace}.svc.cluster.local svc.cluster.local cluster.local");
    put("resolv.conf", &format!("nameserver {NODE}\nsearch {search}\noptions ndots:5\n"))?;
    let subdomain = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref());
    let full = subdomain
        .map(|subdomain| format!("{hostname}.{subdomain}.{namespace}.svc.cluster.local "))
        .unwrap_or_default();
    let mut hosts = format!("127.0.0.1 localhost\n::1 localhost\n{address} {full}{hostname}\n");
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        let _ = writeln!(hosts, "{} {}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join(" "));
    }
    put("hosts", &hosts)?;
    put("hostname", &format!("{hostname}\n"))
}

/// The pod's host name.
pub fn hostname(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    name::hostname(&given.or_else(|| pod.metadata.name.clone()).unwrap_or_default())
}

/// The subject of a pod's tokens.
pub fn subject(pod: &Pod) -> Subject {
    let metadata = &pod.metadata;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    Subject {
        namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
        account: account.filter(|account| !account.is_empty()).unwrap_or_else(|| "default".into()),
        pod: Some((metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default())),
    }
}

/// Scratch folders of each container: source name and target.
const SCRATCH: [(&str, &str); 4] =
    [("tmp", "/tmp"), ("var-tmp", "/var/tmp"), ("run", "/run"), ("shm", "/dev/shm")];

fn write(folder: &Path, content: &Content, holder: Holder, users: bool) -> std::io::Result<()> {
    let access =
        |mode| Access { mode, user: users.then_some(holder.user), group: holder.group.filter(|_| users) };
    let place = || {
        make(folder.parent().unwrap_or(folder), 0o711)?;
        make(folder, 0o755)?;
        beneath::folder(folder)
    };
    match content {
        Content::Host => Ok(()),
        Content::Empty => {
            let access = Access { user: None, ..access(holder.folder(0o777)) };
            access.give(place()?)
        }
        Content::Files(files) => {
            let root = place()?;
            let around = access(holder.folder(0o755));
            around.give(&root)?;
            let wanted: BTreeSet<PathBuf> = files.iter().map(|file| folder.join(&file.path)).collect();
            prune(folder, &wanted)?;
            for file in files {
                let path = Path::new(&file.path);
                if beneath::read(&root, path).is_ok_and(|old| old == file.content) {
                    continue;
                }
                let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
                let parent = beneath::make_folder(&root, path.parent().unwrap_or(Path::new("")), around)?;
                beneath::replace(parent, name, &file.content, access(holder.mode(file.mode)))?;
            }
            Ok(())
        }
    }
}

/// Removes files that a volume does not contain any longer. Only `ostria` writes to this folder, so no path in it leads
/// elsewhere.
fn prune(folder: &Path, wanted: &BTreeSet<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.symlink_metadata()?.is_dir() {
            prune(&path, wanted)?;
        } else if !wanted.contains(&path) {
            std::fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn make(folder: &Path, mode: u32) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(mode))
}

fn texts(data: &Value) -> BTreeMap<String, String> {
    let entries = data.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string()))).collect()
}

fn decoded(data: &Value) -> impl Iterator<Item = (String, Vec<u8>)> + '_ {
    let entries = data.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| {
        let text: String = value.as_str()?.split_whitespace().collect();
        Some((key.clone(), STANDARD.decode(text).ok()?))
    })
}
