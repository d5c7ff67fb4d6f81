//! Pure. The volumes that the sidecar needs: its token, the mesh's roots, the pod's metadata, and writable
//! directories.

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, DownwardAPIVolumeFile, DownwardAPIVolumeSource, EmptyDirVolumeSource,
    ObjectFieldSelector, ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeMount,
    VolumeProjection,
};

use crate::render::context::Context;

/// The pod's additional volumes.
pub fn volumes(context: &Context) -> Vec<Volume> {
    let mut volumes = vec![
        empty("workload-socket", None),
        empty("credential-socket", None),
        empty("workload-certs", None),
        empty("istio-envoy", Some("Memory")),
        empty("istio-data", None),
        pod_information(),
        token(),
        roots(),
    ];
    volumes.extend(context.overrides.volumes.iter().cloned());
    volumes
}

/// The mounts of these volumes in the sidecar.
pub fn mounts(context: &Context) -> Vec<VolumeMount> {
    let own = [
        ("workload-socket", "/var/run/secrets/workload-spiffe-uds"),
        ("credential-socket", "/var/run/secrets/credential-uds"),
        ("workload-certs", "/var/run/secrets/workload-spiffe-credentials"),
        ("istiod-ca-cert", "/var/run/secrets/istio"),
        ("istio-data", "/var/lib/istio/data"),
        ("istio-envoy", "/etc/istio/proxy"),
        ("istio-token", "/var/run/secrets/tokens"),
        ("istio-podinfo", "/etc/istio/pod"),
    ];
    let own = own.map(|(name, path)| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    });
    own.into_iter().chain(context.overrides.mounts.iter().cloned()).collect()
}

fn empty(name: &str, medium: Option<&str>) -> Volume {
    let source = EmptyDirVolumeSource { medium: medium.map(ToOwned::to_owned), size_limit: None };
    Volume { name: name.to_owned(), empty_dir: Some(source), ..Volume::default() }
}

fn pod_information() -> Volume {
    let file = |name: &str| DownwardAPIVolumeFile {
        path: name.to_owned(),
        field_ref: Some(ObjectFieldSelector { api_version: None, field_path: format!("metadata.{name}") }),
        ..DownwardAPIVolumeFile::default()
    };
    let source = DownwardAPIVolumeSource {
        items: Some(vec![file("labels"), file("annotations")]),
        ..DownwardAPIVolumeSource::default()
    };
    Volume { name: "istio-podinfo".to_owned(), downward_api: Some(source), ..Volume::default() }
}

/// The token with which the sidecar requests its certificate. Its audience makes it useless anywhere else.
fn token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some("istio-ca".to_owned()),
        expiration_seconds: Some(43_200),
        path: "istio-token".to_owned(),
    };
    let projection = VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() };
    let source =
        ProjectedVolumeSource { sources: Some(vec![projection]), ..ProjectedVolumeSource::default() };
    Volume { name: "istio-token".to_owned(), projected: Some(source), ..Volume::default() }
}

fn roots() -> Volume {
    let source =
        ConfigMapVolumeSource { name: "istio-ca-root-cert".to_owned(), ..ConfigMapVolumeSource::default() };
    Volume { name: "istiod-ca-cert".to_owned(), config_map: Some(source), ..Volume::default() }
}
