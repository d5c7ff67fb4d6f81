//! Pure. The content of a pod's volumes: files with content and mode, or a shared folder.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{
    DownwardAPIVolumeFile, KeyToPath, Pod, PodSpec, ProjectedVolumeSource, ServiceAccountTokenProjection,
    Volume,
};

use crate::kubelet::environment::{EnvironmentError, Sources, present};
use crate::kubelet::field::{self, FieldError, Place};
use crate::kubelet::security;
use crate::kubelet::token::UnsignedToken;

/// One file of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct File {
    /// Path inside the volume.
    pub path: String,
    /// Its bytes.
    pub content: Vec<u8>,
    /// Its mode, if the user set one.
    pub mode: Option<u32>,
}

impl std::fmt::Debug for File {
    /// Omits the content, which may be a Secret's.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("mode", &self.mode).finish_non_exhaustive()
    }
}

/// The owner of a volume's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// User of the containers that mount the volume.
    pub user: u32,
    /// The pod's `fsGroup`.
    pub group: Option<u32>,
    /// Whether all containers that mount the volume run as this user.
    is_alone: bool,
}

impl Holder {
    /// The mode of a file. Without a given mode, only the user may read the file. As in Kubernetes, the `fsGroup` may
    /// read it too. If containers of several users mount the volume, all users of the pod may read it.
    pub fn mode(self, given: Option<u32>) -> u32 {
        match (given, self.group) {
            (Some(given), Some(_)) => given | 0o440,
            (Some(given), None) => given,
            (None, Some(_)) => 0o640,
            (None, None) if self.is_alone => 0o600,
            (None, None) => 0o644,
        }
    }

    /// The mode of a folder. Files that are created in it belong to the pod's group.
    pub fn folder(self, mode: u32) -> u32 {
        if self.group.is_some() { mode | 0o2000 } else { mode }
    }
}

/// The owner of a volume.
pub fn holder(spec: &PodSpec, volume: &Volume) -> Holder {
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let mounting = containers
        .filter(|container| container.volume_mounts.iter().flatten().any(|mount| mount.name == volume.name));
    let users: BTreeSet<u32> =
        mounting.map(|container| security::settings(spec, container).user.unwrap_or(0)).collect();
    let group = spec.security_context.as_ref().and_then(|context| context.fs_group);
    Holder {
        user: users.first().copied().unwrap_or(0),
        group: group.and_then(|group| u32::try_from(group).ok()),
        is_alone: users.len() < 2,
    }
}

/// The content of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// An empty folder that exists as long as the pod.
    Empty,
    /// A folder or file of the host.
    Host,
    /// Files with content from objects.
    Files(Vec<File>),
}

/// Why a volume has no content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VolumeError {
    /// `ostria up` does not support volumes of this kind.
    #[error(
        "is of a kind that `ostria up` does not support; use emptyDir, hostPath, configMap, secret, downwardAPI or projected"
    )]
    Unsupported,
    /// A `resourceFieldRef` names a container that the pod does not have.
    #[error("containerName is not the name of a container")]
    UnknownContainer,
    /// An object or a key does not exist.
    #[error(transparent)]
    Configuration(#[from] EnvironmentError),
    /// The downward API has no value for the field.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A service account token cannot be created.
    #[error(transparent)]
    Token(#[from] UnsignedToken),
}

/// Creates a service account token.
pub type Issue<'a> = &'a dyn Fn(&ServiceAccountTokenProjection) -> Result<String, UnsignedToken>;

/// The content of a volume; fails with what is missing.
pub fn content(
    pod: &Pod,
    volume: &Volume,
    place: &Place,
    sources: &Sources<'_>,
    issue: Issue<'_>,
) -> Result<Content, VolumeError> {
    let files = if let Some(map) = &volume.config_map {
        let found = (sources.config_map)(&map.name).map(bytes);
        let found = present(found, map.optional, "ConfigMap", &map.name)?;
        entries(&found, map.items.as_deref(), map.default_mode, ("ConfigMap", &map.name))?
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let found = present((sources.secret)(name), secret.optional, "Secret", name)?;
        entries(&found, secret.items.as_deref(), secret.default_mode, ("Secret", name))?
    } else if let Some(downward) = &volume.downward_api {
        described(pod, place, downward.items.as_deref().unwrap_or_default(), downward.default_mode)?
    } else if let Some(projected) = &volume.projected {
        project(pod, place, sources, projected, issue)?
    } else if volume.empty_dir.is_some() {
        return Ok(Content::Empty);
    } else if volume.host_path.is_some() {
        return Ok(Content::Host);
    } else {
        return Err(VolumeError::Unsupported);
    };
    Ok(Content::Files(files))
}

/// Whether a volume's files are updated while the pod runs.
pub fn is_live(volume: &Volume) -> bool {
    volume.projected.is_some()
        || volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.downward_api.is_some()
}

fn project(
    pod: &Pod,
    place: &Place,
    sources: &Sources<'_>,
    projected: &ProjectedVolumeSource,
    issue: Issue<'_>,
) -> Result<Vec<File>, VolumeError> {
    let mode = projected.default_mode;
    let mut files = Vec::new();
    for source in projected.sources.iter().flatten() {
        if let Some(token) = &source.service_account_token {
            files.push(file(&token.path, issue(token)?.into_bytes(), mode));
        }
        if let Some(map) = &source.config_map {
            let found =
                present((sources.config_map)(&map.name).map(bytes), map.optional, "ConfigMap", &map.name)?;
            files.extend(entries(&found, map.items.as_deref(), mode, ("ConfigMap", &map.name))?);
        }
        if let Some(secret) = &source.secret {
            let found = present((sources.secret)(&secret.name), secret.optional, "Secret", &secret.name)?;
            files.extend(entries(&found, secret.items.as_deref(), mode, ("Secret", &secret.name))?);
        }
        if let Some(downward) = &source.downward_api {
            files.extend(described(pod, place, downward.items.as_deref().unwrap_or_default(), mode)?);
        }
    }
    Ok(files)
}

fn entries(
    found: &BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    mode: Option<i32>,
    (kind, name): (&'static str, &str),
) -> Result<Vec<File>, VolumeError> {
    let Some(items) = items else {
        return Ok(found.iter().map(|(key, content)| file(key, content.clone(), mode)).collect());
    };
    items
        .iter()
        .map(|item| match found.get(&item.key) {
            Some(content) => Ok(file(&item.path, content.clone(), item.mode.or(mode))),
            None => {
                let missing = EnvironmentError::MissingKey { key: item.key.clone(), kind, name: name.into() };
                Err(missing.into())
            }
        })
        .collect()
}

fn described(
    pod: &Pod,
    place: &Place,
    items: &[DownwardAPIVolumeFile],
    mode: Option<i32>,
) -> Result<Vec<File>, VolumeError> {
    let containers = || pod.spec.iter().flat_map(|spec| &spec.containers);
    items
        .iter()
        .map(|item| {
            let value = if let Some(selector) = &item.field_ref {
                field::field(pod, place, &selector.field_path)?
            } else if let Some(selector) = &item.resource_field_ref {
                let name = selector.container_name.as_deref().unwrap_or_default();
                let container = containers().find(|container| container.name == name);
                field::resource(container.ok_or(VolumeError::UnknownContainer)?, place, selector)?
            } else {
                String::new()
            };
            Ok(file(&item.path, value.into_bytes(), item.mode.or(mode)))
        })
        .collect()
}

fn file(path: &str, content: Vec<u8>, mode: Option<i32>) -> File {
    File { path: path.into(), content, mode: mode.map(|mode| mode.cast_unsigned() & 0o777) }
}

fn bytes(map: BTreeMap<String, String>) -> BTreeMap<String, Vec<u8>> {
    map.into_iter().map(|(key, value)| (key, value.into_bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(volume: serde_json::Value) -> Result<Content, VolumeError> {
        let pod: Pod = serde_json::from_value(
            json!({"metadata": {"name": "p", "labels": {"app": "x"}}, "spec": {"containers": []}}),
        )
        .unwrap();
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let map = BTreeMap::from([("a".to_string(), "1".to_string()), ("b".to_string(), "2".to_string())]);
        let config_map = |name: &str| (name == "m").then(|| map.clone());
        let secret = |_: &str| None;
        let issue = |token: &ServiceAccountTokenProjection| {
            Ok(format!("token for {}", token.audience.clone().unwrap()))
        };
        content(
            &pod,
            &volume,
            &Place::default(),
            &Sources { config_map: &config_map, secret: &secret },
            &issue,
        )
    }

    #[test]
    fn the_debug_form_of_a_volume_omits_what_its_files_contain() {
        let content = "s3cret-word".as_bytes().to_vec();
        let bytes = format!("{content:?}");
        let text = format!("{:?}", Content::Files(vec![File { path: "key".into(), content, mode: None }]));
        assert!(text.contains("key") && !text.contains("s3cret-word") && !text.contains(&bytes), "{text}");
    }

    fn files(volume: serde_json::Value) -> Vec<(String, String, Option<u32>)> {
        match of(volume).unwrap() {
            Content::Files(files) => files
                .into_iter()
                .map(|file| (file.path, String::from_utf8(file.content).unwrap(), file.mode))
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_or_selected_keys_become_files() {
        let all = files(json!({"name": "v", "configMap": {"name": "m"}}));
        assert_eq!(all, [("a".into(), "1".into(), None), ("b".into(), "2".into(), None)]);
        let one = files(
            json!({"name": "v", "configMap": {"name": "m", "defaultMode": 256, "items": [{"key": "a", "path": "x/y"}]}}),
        );
        assert_eq!(one, [("x/y".into(), "1".into(), Some(0o400))]);
    }

    #[test]
    fn projected_sources_are_merged_in_one_folder() {
        let found = files(json!({"name": "v", "projected": {"sources": [
            {"serviceAccountToken": {"path": "istio-token", "audience": "istio-ca"}},
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}}
        ]}}));
        assert_eq!(found[0].1, "token for istio-ca");
        assert_eq!(found[1].1, "app=\"x\"");
    }

    #[test]
    fn a_volume_file_is_readable_only_by_its_containers_user_unless_others_are_configured() {
        let of = |pod: serde_json::Value, users: &[u32]| {
            let containers: Vec<_> = users
                .iter()
                .map(|user| {
                    json!({"name": "c", "securityContext": {"runAsUser": user},
                        "volumeMounts": [{"name": "v", "mountPath": "/v"}]})
                })
                .chain([json!({"name": "other", "securityContext": {"runAsUser": 9}})])
                .collect();
            let spec =
                serde_json::from_value(json!({"containers": containers, "securityContext": pod})).unwrap();
            let volume = serde_json::from_value(json!({"name": "v", "emptyDir": {}})).unwrap();
            holder(&spec, &volume)
        };
        let alone = of(json!({}), &[1337, 1337]);
        assert_eq!((alone.user, alone.group, alone.folder(0o755)), (1337, None, 0o755));
        assert_eq!((alone.mode(None), alone.mode(Some(0o444))), (0o600, 0o444));
        let several = of(json!({}), &[0, 1337]);
        assert_eq!((several.mode(None), several.mode(Some(0o400))), (0o644, 0o400));
        let grouped = of(json!({"fsGroup": 7}), &[0, 1337]);
        assert_eq!((grouped.group, grouped.folder(0o755)), (Some(7), 0o2755));
        assert_eq!((grouped.mode(None), grouped.mode(Some(0o400))), (0o640, 0o440));
    }

    #[test]
    fn missing_and_unknown_arguments_are_named() {
        assert_eq!(
            of(json!({"name": "v", "secret": {"secretName": "s"}})).unwrap_err().to_string(),
            "Secret s not found"
        );
        assert_eq!(of(json!({"name": "v", "emptyDir": {}})), Ok(Content::Empty));
        assert!(
            of(json!({"name": "v", "nfs": {"path": "/", "server": "x"}}))
                .unwrap_err()
                .to_string()
                .contains("does not support")
        );
    }
}
