//! A pod's files: volumes made from objects, scratch folders, and the three files of the network. They lie on
//! the tmpfs that only the supervisor and its pods see.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{Container, Pod, ServiceAccountTokenProjection, Volume};
use serde_json::Value;

use crate::kubelet::address::NODE;
use crate::kubelet::environment::Sources;
use crate::kubelet::name;
use crate::kubelet::token::Subject;
use crate::kubelet::volume::{self, Content};
use crate::state::lock::replace;
use crate::up::context::Context;
use crate::up::world::World;
use crate::wire::Mount;

/// Writes the volumes of a pod; a second time to bring changed content into them.
pub fn volumes(
    context: &Context,
    pod: &Pod,
    folder: &Path,
    address: &str,
    fresh: bool,
) -> Result<(), String> {
    let place = context.place(address);
    let spec = pod.spec.as_ref().ok_or("has no spec")?;
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
        let content = content.map_err(|reason| format!("volume {} {reason}", volume.name))?;
        write(&folder.join("volumes").join(&volume.name), &content)
            .map_err(|error| format!("volume {} cannot be written: {error}", volume.name))?;
    }
    Ok(())
}

/// Calls with look-ups of configuration in a namespace.
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

/// What a container sees besides the host's files.
pub fn mounts(
    context: &Context,
    pod: &Pod,
    container: &Container,
    folder: &Path,
) -> Result<Vec<Mount>, String> {
    let volumes: &[Volume] = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref()).unwrap_or_default();
    let mut mounts = Vec::new();
    for mount in container.volume_mounts.iter().flatten() {
        let volume = volumes.iter().find(|volume| volume.name == mount.name);
        let volume = volume.ok_or_else(|| format!("no volume is named {}", mount.name))?;
        let base = match &volume.host_path {
            Some(host) => PathBuf::from(&host.path),
            None => folder.join("volumes").join(&volume.name),
        };
        let source = mount.sub_path.as_ref().map_or(base.clone(), |path| base.join(path));
        if !source.exists() {
            make(&source, 0o777).map_err(|error| format!("{}: {error}", source.display()))?;
        }
        let read_only = mount.read_only == Some(true) || volume::is_live(volume);
        mounts.push(Mount { source, target: mount.mount_path.clone().into(), read_only });
    }
    let scratch = folder.join("scratch").join(&container.name);
    for (name, target) in SCRATCH {
        let source = scratch.join(name);
        make(&source, 0o1777).map_err(|error| error.to_string())?;
        mounts.push(Mount { source, target: target.into(), read_only: false });
    }
    for name in ["resolv.conf", "hosts", "hostname"] {
        let target = Path::new("/etc").join(name);
        mounts.push(Mount { source: folder.join(name), target, read_only: true });
    }
    mounts.push(Mount { source: context.programs.clone(), target: PROGRAMS.into(), read_only: true });
    let state = context.state.root();
    if !SCRATCH.iter().any(|(_, target)| state.starts_with(target)) {
        let empty = context.state.private().join("empty");
        make(&empty, 0o755).map_err(|error| error.to_string())?;
        mounts.push(Mount { source: empty, target: state.into(), read_only: true });
    }
    // A volume goes before what would lie there otherwise.
    let mut taken = std::collections::BTreeSet::new();
    mounts.retain(|mount| taken.insert(mount.target.clone()));
    Ok(mounts)
}

/// Writes `resolv.conf`, `hosts` and `hostname`.
pub fn network(pod: &Pod, folder: &Path, address: &str) -> std::io::Result<()> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let hostname = hostname(pod);
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, PermissionsExt::from_mode(0o711))?;
    let search = format!("{namespace}.svc.cluster.local svc.cluster.local cluster.local");
    std::fs::write(
        folder.join("resolv.conf"),
        format!("nameserver {NODE}\nsearch {search}\noptions ndots:5\n"),
    )?;
    let subdomain = pod.spec.as_ref().and_then(|spec| spec.subdomain.as_deref());
    let full = subdomain
        .map(|subdomain| format!("{hostname}.{subdomain}.{namespace}.svc.cluster.local "))
        .unwrap_or_default();
    let mut hosts = format!("127.0.0.1 localhost\n::1 localhost\n{address} {full}{hostname}\n");
    for alias in pod.spec.iter().flat_map(|spec| spec.host_aliases.iter().flatten()) {
        let _ = writeln!(hosts, "{} {}", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join(" "));
    }
    std::fs::write(folder.join("hosts"), hosts)?;
    std::fs::write(folder.join("hostname"), format!("{hostname}\n"))
}

/// The pod's host name.
pub fn hostname(pod: &Pod) -> String {
    let given = pod.spec.as_ref().and_then(|spec| spec.hostname.clone());
    name::hostname(&given.or_else(|| pod.metadata.name.clone()).unwrap_or_default())
}

/// Who a pod's tokens speak for.
pub fn subject(pod: &Pod) -> Subject {
    let metadata = &pod.metadata;
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    Subject {
        namespace: metadata.namespace.clone().unwrap_or_else(|| "default".into()),
        account: account.filter(|account| !account.is_empty()).unwrap_or_else(|| "default".into()),
        pod: Some((metadata.name.clone().unwrap_or_default(), metadata.uid.clone().unwrap_or_default())),
    }
}

/// Where containers see the folder of `ostria`.
pub const PROGRAMS: &str = "/opt/ostria/bin";

/// Folders that each container may write.
const SCRATCH: [(&str, &str); 4] =
    [("tmp", "/tmp"), ("var-tmp", "/var/tmp"), ("run", "/run"), ("shm", "/dev/shm")];

fn write(folder: &Path, content: &Content) -> std::io::Result<()> {
    match content {
        Content::Host(_) => Ok(()),
        Content::Empty => make(folder, 0o777),
        Content::Files(files) => {
            make(folder, 0o755)?;
            for file in files {
                let path = folder.join(&file.path);
                if std::fs::read(&path).is_ok_and(|old| old == file.content) {
                    continue;
                }
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                replace(&path, &file.content)?;
                std::fs::set_permissions(&path, PermissionsExt::from_mode(file.mode))?;
            }
            Ok(())
        }
    }
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
