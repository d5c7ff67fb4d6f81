//! Saves the end of each container's log when a mesh is taken down, and reads it for `logs --previous`. The logs are kept
//! until the next mesh with the same state folder ends.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::state::State;
use crate::state::folder::{self, Folder};
use crate::state::lock::Lock;

/// The logs of the mesh that was taken down last.
#[derive(Debug)]
pub struct Last {
    folder: PathBuf,
}

impl Last {
    /// The last mesh's logs. `None` if a mesh is running, or if no logs were saved.
    pub fn without_mesh(state: &State) -> Result<Option<Self>, folder::Error> {
        let runs = Lock::read(state)?.is_some_and(|lock| lock.is_held());
        let folder = state.last_logs();
        // The folder is read only if no other user can have written it.
        Ok((!runs && Folder::open(&folder)?.is_some()).then_some(Self { folder }))
    }

    /// The output of a pod's container. Without a name, the first container that is not a sidecar.
    pub fn log(&self, namespace: &str, pod: &str, container: Option<&str>) -> Result<String, Failure> {
        let pod = pod.trim_start_matches("pod/");
        let begin = format!("{namespace}_{pod}");
        let mut found: Vec<String> = names(&self.folder);
        found.retain(|name| name.strip_prefix(&begin).is_some_and(|rest| rest.starts_with('_')));
        let of =
            |name: &String| name.strip_prefix(&begin).unwrap_or_default().trim_start_matches('_').to_string();
        let containers: Vec<String> =
            found.iter().map(of).map(|name| name.trim_end_matches(".log").into()).collect();
        let wanted = match container {
            Some(container) => containers.iter().find(|known| *known == container),
            None => containers.iter().find(|known| !known.starts_with("istio-")).or(containers.first()),
        };
        let Some(wanted) = wanted else {
            let kept: Vec<String> = names(&self.folder);
            let kept: Vec<&str> = kept.iter().map(|name| name.trim_end_matches(".log")).collect();
            let reason = format!(
                "no mesh is running, and the last one saved no log of pod \"{pod}\" in namespace {namespace}; it saved those of {}",
                kept.join(", ")
            );
            return Err(Failure::missing(
                reason,
                "name one of these pods, or start the mesh with `ostria up`",
            ));
        };
        let file = self.folder.join(format!("{begin}_{wanted}.log"));
        std::fs::read(&file)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| Failure::blocked(format!("{}: {error}", file.display()), "start the mesh again"))
    }
}

/// Saves the end of each container's last log. Logs with the latest output come first, until the space is used up.
pub fn keep(state: &State) -> std::io::Result<()> {
    let mut files: Vec<(std::time::SystemTime, PathBuf, String)> = Vec::new();
    for pod in std::fs::read_dir(state.logs())?.flatten().filter(|entry| entry.path().is_dir()) {
        let name = pod.file_name().to_string_lossy().into_owned();
        for (container, path) in latest(&pod.path()) {
            let changed = path.metadata().and_then(|found| found.modified())?;
            files.push((changed, path, format!("{name}_{container}.log")));
        }
    }
    files.sort_by_key(|(changed, ..)| std::cmp::Reverse(*changed));
    let target = state.last_logs();
    let folder = Folder::make(&target).map_err(std::io::Error::other)?;
    for old in names(&target) {
        drop(std::fs::remove_file(target.join(old)));
    }
    let mut room = MAX_LOGS;
    for (_, path, name) in files {
        let bytes = end(&path, MAX_LOG.min(room))?;
        if !bytes.is_empty() {
            folder.write(&name, &bytes)?;
        }
        room -= bytes.len() as u64;
    }
    Ok(())
}

/// The last log of each container of a pod.
fn latest(pod: &Path) -> Vec<(String, PathBuf)> {
    let mut found: std::collections::BTreeMap<String, (u32, PathBuf)> = std::collections::BTreeMap::new();
    for name in names(pod) {
        let parts = name.strip_suffix(".log").and_then(|name| name.rsplit_once('-'));
        let Some((container, number)) =
            parts.and_then(|(c, n)| Some((c.to_string(), n.parse::<u32>().ok()?)))
        else {
            continue;
        };
        let entry = found.entry(container).or_insert((number, pod.join(&name)));
        if number >= entry.0 {
            *entry = (number, pod.join(&name));
        }
    }
    found.into_iter().map(|(container, (_, path))| (container, path)).collect()
}

/// The end of a file, starting at the beginning of a line.
fn end(path: &Path, most: u64) -> std::io::Result<Vec<u8>> {
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(most);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    if start > 0 {
        let whole = bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        bytes.drain(..whole);
    }
    Ok(bytes)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

/// Bytes kept of one container's log; see docs/limits.md.
const MAX_LOG: u64 = 256 << 10;
/// Bytes kept of all logs.
const MAX_LOGS: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_each_containers_last_log_is_kept_until_the_next_mesh_ends() {
        let home = tempfile::tempdir().unwrap();
        let state = State::new(Some(home.path().join("state")));
        let pod = state.pod_logs("shop", "web-1");
        std::fs::create_dir_all(&pod).unwrap();
        std::fs::write(pod.join("app-0.log"), "before\n").unwrap();
        std::fs::write(pod.join("app-1.log"), format!("first\n{}\nlast\n", "x".repeat(MAX_LOG as usize)))
            .unwrap();
        std::fs::write(pod.join("istio-proxy-0.log"), "proxy\n").unwrap();
        keep(&state).unwrap();
        let last = Last::without_mesh(&state).unwrap().unwrap();
        assert_eq!(last.log("shop", "web-1", None).unwrap(), "last\n");
        assert_eq!(last.log("shop", "pod/web-1", Some("istio-proxy")).unwrap(), "proxy\n");
        assert!(last.log("shop", "web", None).unwrap_err().to_string().contains("shop_web-1_app"));
        std::fs::remove_dir_all(state.logs()).unwrap();
        std::fs::create_dir_all(state.logs()).unwrap();
        keep(&state).unwrap();
        assert!(Last::without_mesh(&state).unwrap().unwrap().log("shop", "web-1", None).is_err());
    }

    #[test]
    fn a_folder_that_another_user_may_write_is_not_read() {
        use std::os::unix::fs::PermissionsExt;
        let home = tempfile::tempdir().unwrap();
        let state = State::new(Some(home.path().join("state")));
        assert!(Last::without_mesh(&state).unwrap().is_none());
        std::fs::create_dir_all(state.last_logs()).unwrap();
        std::fs::set_permissions(state.last_logs(), PermissionsExt::from_mode(0o777)).unwrap();
        assert!(Last::without_mesh(&state).is_err());
    }
}
