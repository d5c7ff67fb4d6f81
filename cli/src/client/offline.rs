//! Asks the program `ostria-injector` for sidecars, without a cluster.

use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::Stdio;

use api::admission::AdmissionReview;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::failure::Failure;

/// The injector's program and its settings.
#[derive(Debug)]
pub struct Offline {
    program: PathBuf,
    config: PathBuf,
    mesh: Option<PathBuf>,
    /// The settings that were made here, in memory.
    _made: Option<OwnedFd>,
}

impl Offline {
    /// The injector beside this program, or in `PATH`, with the settings of a file, or those that the chart makes for a
    /// control plane in the namespace `root`.
    pub fn new(config: Option<PathBuf>, mesh: Option<PathBuf>, root: &str) -> Result<Self, Failure> {
        let beside = std::env::current_exe().ok().map(|own| own.with_file_name(PROGRAM));
        let program = beside.filter(|path| path.exists()).unwrap_or_else(|| PROGRAM.into());
        if let Some(config) = config {
            return Ok(Self { program, config, mesh, _made: None });
        }
        let made = memory(&defaults(root, env!("CARGO_PKG_VERSION"))).map_err(|error| {
            Failure::blocked(
                format!("the settings cannot be passed on: {error}"),
                "give them with --inject-config",
            )
        })?;
        // The child inherits the descriptor under the same number.
        let config = format!("/proc/self/fd/{}", made.as_raw_fd()).into();
        Ok(Self { program, config, mesh, _made: Some(made) })
    }
}

/// Sends a review and returns it with its response.
pub async fn review(offline: &Offline, review: &AdmissionReview) -> Result<AdmissionReview, Failure> {
    let failed = |reason: String| {
        let program = offline.program.display();
        Failure::blocked(
            format!("{program}: {reason}"),
            "put ostria-injector of the same version beside ostria, and correct the files of --inject-config and \
             --mesh-config",
        )
    };
    let mut command = Command::new(&offline.program);
    command.arg("--once").arg("--config").arg(&offline.config);
    if let Some(mesh) = &offline.mesh {
        command.arg("--mesh-config").arg(mesh);
    }
    command
        .args(["--log-level", "error"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
    let text = serde_json::to_vec(review).expect("a review is plain JSON");
    if let Some(mut stdin) = child.stdin.take() {
        // A program that ends at once says why on its standard error.
        let _ = stdin.write_all(&text).await;
    }
    let output = child.wait_with_output().await.map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_string()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

/// The settings that the chart makes of its default values.
fn defaults(root: &str, version: &str) -> Value {
    let host = |name: &str, port: u16| format!("{name}.{root}.svc:{port}");
    let identity = |account: &str| format!("spiffe://cluster.local/ns/{root}/sa/{account}");
    json!({
        "image": format!("ghcr.io/ostria/ostria-proxy:{version}"),
        "caAddress": host("ostria-citadel", 8060),
        "nativeSidecar": true,
        "defaultConfig": {
            "discoveryAddress": host("ostria-pilot", 15012),
            "proxyMetadata": {
                "ISTIOD_SAN": identity("ostria-pilot"),
                "OSTRIA_CA_SAN": identity("ostria-citadel"),
            },
        },
    })
}

/// A file in memory. YAML is a superset of JSON.
fn memory(content: &Value) -> std::io::Result<OwnedFd> {
    let descriptor = rustix::fs::memfd_create("config", rustix::fs::MemfdFlags::empty())?;
    let mut file = std::fs::File::from(descriptor);
    file.write_all(content.to_string().as_bytes())?;
    Ok(file.into())
}

const PROGRAM: &str = "ostria-injector";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_settings_lead_to_the_charts_control_plane_by_its_identities() {
        let settings = defaults("mesh", "1.2.3");
        assert_eq!(settings["caAddress"], "ostria-citadel.mesh.svc:8060");
        assert_eq!(settings["defaultConfig"]["discoveryAddress"], "ostria-pilot.mesh.svc:15012");
        let expected = "spiffe://cluster.local/ns/mesh/sa/ostria-pilot";
        assert_eq!(settings["defaultConfig"]["proxyMetadata"]["ISTIOD_SAN"], expected);
        let made = memory(&settings).unwrap();
        let text = std::fs::read_to_string(format!("/proc/self/fd/{}", made.as_raw_fd())).unwrap();
        assert_eq!(text, settings.to_string(), "it is read from the beginning");
    }
}
