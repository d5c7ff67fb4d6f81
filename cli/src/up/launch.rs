//! Makes the description of a process in a container: command, environment, user and mounts.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{Container, Pod};

use crate::kubelet::environment::{self, value_of};
use crate::up::context::Context;
use crate::up::files;
use crate::wire::Launch;

/// Describes a container's process, or another command in it, and returns the file with the description.
pub fn describe(
    context: &Context,
    pod: &Pod,
    container: &Container,
    address: &str,
    instead: Option<(&[String], Option<PathBuf>)>,
) -> Result<PathBuf, String> {
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
        return Err(format!("container {} has no command", container.name));
    }
    let (user, group, groups) = if context.users { user(pod, container) } else { (None, None, Vec::new()) };
    let launch = Launch {
        command,
        environment,
        directory: container
            .working_dir
            .clone()
            .filter(|path| !path.is_empty())
            .unwrap_or_else(|| "/".into())
            .into(),
        user,
        group,
        groups,
        mounts: files::mounts(context, pod, container, &folder)?,
        root: context.state.private().join("root"),
        terminal,
    };
    let path = folder.join(format!("launch-{}.json", context.number()));
    save(&path, &launch).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

fn variables(
    context: &Context,
    pod: &Pod,
    container: &Container,
    address: &str,
) -> Result<Vec<(String, String)>, String> {
    let place = context.place(address);
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    let own = {
        let world = context.shared.read();
        files::with_sources(&world, namespace, |sources| {
            environment::environment(pod, container, &place, sources)
        })?
    };
    let mut variables = vec![
        ("PATH".to_string(), format!("{}:{}", files::PROGRAMS, context.path)),
        ("HOME".to_string(), "/tmp".to_string()),
        ("HOSTNAME".to_string(), files::hostname(pod)),
    ];
    if !context.users && user(pod, container).0 == Some(1337) {
        // Without other users the proxy's own traffic is told from the app's by this mark.
        variables.push(("OSTRIA_SOCKET_MARK".into(), "1337".into()));
    }
    variables.retain(|(name, _)| value_of(&own, name).is_none());
    variables.extend(own);
    Ok(variables)
}

fn user(pod: &Pod, container: &Container) -> (Option<u32>, Option<u32>, Vec<u32>) {
    let of_pod = pod.spec.as_ref().and_then(|spec| spec.security_context.as_ref());
    let own = container.security_context.as_ref();
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let user = number(own.and_then(|own| own.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user)));
    let group =
        number(own.and_then(|own| own.run_as_group).or_else(|| of_pod.and_then(|pod| pod.run_as_group)));
    let extra = of_pod
        .into_iter()
        .flat_map(|pod| pod.fs_group.into_iter().chain(pod.supplemental_groups.iter().flatten().copied()));
    (user, group, extra.filter_map(|group| u32::try_from(group).ok()).collect())
}

fn save(path: &Path, launch: &Launch) -> std::io::Result<()> {
    let text = serde_json::to_vec(launch)?;
    std::fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path)?.write_all(&text)
}
