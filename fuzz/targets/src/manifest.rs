//! Kubernetes YAML for `ostria up`. An accepted manifest reaches nothing outside of its pod: names that become file
//! names are not paths, and all paths of a volume are inside it. The checks here are simple and share no code with the
//! product.

use crate::words;
use api::resource::check::Given;
use cli::kubelet::check;
use cli::kubelet::environment::Sources;
use cli::kubelet::field::Place;
use cli::kubelet::mount::{Host, Kind, plan};
use cli::kubelet::volume::{self, Content};
use cli::manifest::object::Key;
use cli::manifest::read;
use cli::wire::Mount;
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// See the module.
pub fn run(data: &[u8]) {
    let Some(text) = words::text(data) else { return };
    let Ok(objects) = read::parse("user.yaml", text) else { return };
    for given in &objects {
        for warning in check::warnings(given) {
            assert!(!warning.reason.is_empty(), "{warning:?} says too little");
        }
        let problems = check::check(given, &|_| true);
        for problem in &problems {
            assert!(!problem.reason.is_empty(), "{problem:?} says too little");
        }
        if problems.is_empty() {
            accepted(given);
        }
    }
}

fn accepted(given: &Given) {
    let key = Key::of(&given.object);
    for name in [&key.file_name(), &key.name, &key.namespace] {
        assert!(name.is_empty() || is_name(name), "{name:?} becomes a file's name");
    }
    if key.kind == "ConfigMap" || key.kind == "Secret" {
        for entries in ["data", "binaryData", "stringData"] {
            let entries = given.object[entries].as_object().into_iter().flatten();
            entries.for_each(|(key, _)| assert!(is_name(key), "{key:?} becomes a file's name"));
        }
    }
    for place in ["/spec", "/spec/template/spec"] {
        let spec = given.object.pointer(place).filter(|spec| spec["containers"].is_array());
        if let Some(spec) = spec.and_then(|spec| serde_json::from_value::<PodSpec>(spec.clone()).ok()) {
            confined(&Pod { spec: Some(spec), ..Pod::default() });
        }
    }
}

fn confined(pod: &Pod) {
    let spec = pod.spec.as_ref().expect("it was given");
    for volume in spec.volumes.iter().flatten() {
        assert!(is_name(&volume.name), "{:?} becomes a folder's name", volume.name);
        let entries =
            || BTreeMap::from([("key".to_owned(), "a".to_owned()), ("b.c".to_owned(), String::new())]);
        let secret =
            |_: &str| Some(entries().into_iter().map(|(key, text)| (key, text.into_bytes())).collect());
        let sources = Sources { config_map: &|_| Some(entries()), secret: &secret };
        let place = Place { address: "10.0.0.1".into(), node: "10.0.0.2".into(), processors: 1, memory: 1 };
        let content = volume::content(pod, volume, &place, &sources, &|_| Ok("token".into()));
        if let Ok(Content::Files(files)) = content {
            for file in files {
                assert!(stays(&file.path), "{:?} leaves the volume {}", file.path, volume.name);
                assert!(file.mode.is_none_or(|mode| mode <= 0o777), "{file:?} is more than a file");
            }
        }
    }
    for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
        assert!(is_name(&container.name), "{:?} becomes a folder's name", container.name);
        let mounts = container.volume_mounts.iter().flatten();
        let targets = mounts.map(|mount| {
            for path in [&mount.sub_path, &mount.sub_path_expr].into_iter().flatten() {
                assert!(path.is_empty() || stays(path), "{path:?} leaves its volume");
            }
            Mount { target: PathBuf::from(&mount.mount_path), ..Mount::of("/v") }
        });
        laid(&targets.collect::<Vec<_>>());
    }
}

/// Mount targets are inside the container, whatever links exist on the host.
fn laid(mounts: &[Mount]) {
    let list = |folder: &Path| {
        let names: &[&str] = if folder == Path::new("/") { &["a", "etc", "proc", "var"] } else { &["run"] };
        names.iter().map(|name| (*name).to_owned()).collect()
    };
    let kind = |path: &Path| match path.to_str()? {
        "/var/run" => Some(Kind::Link("/run".into())),
        "/a" => Some(Kind::Link("../../etc".into())),
        "/etc/run" => Some(Kind::Link("run".into())),
        "/" | "/etc" | "/proc" | "/var" => Some(Kind::Folder),
        _ => None,
    };
    for mount in plan(&Host { list: &list, kind: &kind }, mounts).mounts {
        let inside = mount.target.strip_prefix("/").ok().filter(|path| stays_below(path));
        assert!(inside.is_some_and(|path| path != Path::new("")), "{} is no place", mount.target.display());
    }
}

/// Whether a text is a file name without a path.
fn is_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..") && !text.contains(['/', '\0']) && text.len() <= 255
}

fn stays(path: &str) -> bool {
    !path.contains('\0') && stays_below(Path::new(path))
}

fn stays_below(path: &Path) -> bool {
    path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir))
}
