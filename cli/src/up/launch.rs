//! Builds the description of a process in a container: command, environment, user and mounts.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::kubelet::environment::{self, EnvironmentError, value_of};
use crate::kubelet::security::{self, Settings};
use crate::up::context::Context;
use crate::up::files::{self, FilesError};
use crate::wire::{Launch, PROGRAMS};

/// Why the description cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The container has no command.
    #[error("container {0} has no command")]
    NoCommand(String),
    /// The environment cannot be built.
    #[error(transparent)]
    Environment(#[from] EnvironmentError),
    /// A mount cannot be built.
    #[error(transparent)]
    Files(#[from] FilesError),
    /// The description cannot be written to its file.
    #[error("{path}: {source}")]
    Save {
        /// Its file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
}

/// Describes a container's process, or another command in the container. Returns the file with the description.
pub fn describe(
    context: &Context,
    pod: &Pod,
    container: &Container,
    address: &str,
    instead: Option<(&[String], Option<PathBuf>)>,
) -> Result<PathBuf, LaunchError> {
    let uid = pod.metadata.uid.as_deref().unwrap_or_default();
    let folder = context.state.pod(uid);
    let environment = variables(context, pod, container, address)?;
    let (command, terminal) = match instead {
        Some((command, terminal)) => (command.to_vec(), terminal),
        None => {
            let lookup = |name: &str| value_of(&environment, name);
            let whole = container.command.iter().flatten().chain(container.args.iter().flatten());
            (whole.map(|part| environment::expand(part, &lookup)).collect(), None)
        }
    };
    if command.is_empty() {
        return Err(LaunchError::NoCommand(container.name.clone()));
    }
    let settings = settings(context, pod, container);
    let lookup = |name: &str| value_of(&environment, name);
    let mounts = files::mounts(context, pod, container, &folder, &lookup, &settings)?;
    let private = context.state.private();
    let launch = Launch {
        command,
        environment: environment.clone(),
        directory: container
            .working_dir
            .clone()
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/".into())
            .into(),
        user: context.users.then(|| settings.user.unwrap_or(0)),
        group: context.users.then(|| settings.group.unwrap_or(0)),
        groups: if context.users { settings.groups } else { Vec::new() },
        capabilities: settings.capabilities,
        read_only_root: settings.read_only_root,
        mounts,
        root: private.join("root"),
        empty: private.join("empty"),
        hidden: context.hidden(),
        terminal,
        control_group: context.groups.container(uid, &container.name),
    };
    let path = folder.join(format!("launch-{}.json", context.number()));
    match save(&path, &launch) {
        Ok(()) => Ok(path),
        Err(source) => Err(LaunchError::Save { path, source }),
    }
}

fn variables(
    context: &Context,
    pod: &Pod,
    container: &Container,
    address: &str,
) -> Result<Vec<(String, String)>, EnvironmentError> {
    let place = context.place(address);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let own = {
        let world = context.shared.read();
        files::with_sources(&world, namespace, |sources| {
            environment::environment(pod, container, &place, sources)
        })?
    };
    let mut variables = vec![
        ("PATH".to_string(), format!("{}:{}", PROGRAMS, context.path)),
        ("HOME".to_string(), "/tmp".to_string()),
        ("HOSTNAME".to_string(), files::hostname(pod)),
    ];
    if marks(context, pod, container) {
        // If all containers share one user, this mark distinguishes the proxy's traffic from the application's.
        variables.push(("OSTRIA_SOCKET_MARK".into(), "1337".into()));
    }
    variables.retain(|(name, _)| value_of(&own, name).is_none());
    variables.extend(own);
    Ok(variables)
}

/// Whether a container is the proxy on a machine where all containers share one user. The proxy's sockets then have a
/// mark that distinguishes its traffic from the application's, and only NET_ADMIN may set marks.
fn marks(context: &Context, pod: &Pod, container: &Container) -> bool {
    !context.users
        && pod.spec.as_ref().is_some_and(|spec| security::settings(spec, container).user == Some(PROXY))
}

fn settings(context: &Context, pod: &Pod, container: &Container) -> Settings {
    let spec = pod.spec.clone().unwrap_or_default();
    let mut settings = security::settings(&spec, container);
    if marks(context, pod, container) {
        settings.capabilities |= security::NET_ADMIN;
    }
    settings
}

/// The user whose traffic the capture rules do not redirect.
const PROXY: u32 = 1337;

fn save(path: &Path, launch: &Launch) -> std::io::Result<()> {
    let text = serde_json::to_vec(launch)?;
    std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(&text)
}
