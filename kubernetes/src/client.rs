//! Connects servers of the mesh to an API server, by a kubeconfig file or, within a pod, by its service account, and
//! describes why requests to it fail.

use kube::Client;
use kube::config::{Config, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::runtime::watcher;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the API server and the credentials for it are found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// A kubeconfig file. Without it, `$KUBECONFIG` or `~/.kube/config` are read by commands, and the pod's service
    /// account is used by servers.
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current context if not given.
    pub context: Option<String>,
}

/// Why no client can be made.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("the kubeconfig {} cannot be used", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// The process does not run in a pod, or the pod has no service account token.
    #[error(
        "no kubeconfig is given, and this process does not run in a pod with a service account; set --kubeconfig"
    )]
    Pod(#[source] InClusterError),
    /// The settings name a certificate, key or address that cannot be used.
    #[error("the client of the API server cannot be made")]
    Client(#[source] Box<kube::Error>),
}

/// Connects as a server of the mesh does: by the file if one is given, else as the pod that the process runs in.
/// `component` names the process in the API server's audit log.
pub async fn server(access: &Access, component: &str) -> Result<Client, ConnectError> {
    let mut config = match &access.kubeconfig {
        Some(path) => from_file(path, access).await?,
        None => Config::incluster().map_err(ConnectError::Pod)?,
    };
    config.read_timeout = Some(SILENCE);
    build(config, component)
}

async fn from_file(path: &Path, access: &Access) -> Result<Config, ConnectError> {
    let unusable = |source| ConnectError::File { path: path.to_owned(), source: Box::new(source) };
    let file = Kubeconfig::read_from(path).map_err(unusable)?;
    Config::from_custom_kubeconfig(file, &options(access)).await.map_err(unusable)
}

/// The part of a kubeconfig that is used.
pub fn options(access: &Access) -> KubeConfigOptions {
    KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() }
}

/// Makes the client. `component` is part of the user agent.
pub fn build(mut config: Config, component: &str) -> Result<Client, ConnectError> {
    let agent = format!("ostria-{component}/{}", env!("CARGO_PKG_VERSION"));
    if let Ok(agent) = agent.parse() {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    Client::try_from(config).map_err(|error| ConnectError::Client(Box::new(error)))
}

/// Says why a request to the API server failed, in one line: the server's own message, or the causes of a failed
/// connection.
pub fn reason(error: &kube::Error) -> String {
    if let kube::Error::Api(status) = error {
        return if status.message.is_empty() {
            format!("the API server responds with status {} {}", status.code, status.reason)
        } else {
            status.message.clone()
        };
    }
    chain(error)
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some of kube's messages contain their cause already.
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Says why a watch failed, in one line.
pub fn watch_reason(error: &watcher::Error) -> String {
    use watcher::Error::{InitialListFailed, NoResourceVersion, WatchError, WatchFailed, WatchStartFailed};
    match error {
        InitialListFailed(error) | WatchStartFailed(error) | WatchFailed(error) => reason(error),
        WatchError(status) => status.message.clone(),
        NoResourceVersion => error.to_string(),
    }
}

/// How long the API server may be silent on a connection in use. It sends a bookmark on every watch each minute.
const SILENCE: Duration = Duration::from_secs(90);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A kubeconfig with one context, `one`.
    pub(crate) const KUBECONFIG: &str = "
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443'}}]
contexts: [{name: one, context: {cluster: c, user: u, namespace: shop}}]
users: [{name: u, user: {token: t}}]
current-context: one
";

    #[tokio::test]
    async fn a_context_of_a_file_gives_server_and_namespace() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, KUBECONFIG).unwrap();
        let access = Access { kubeconfig: Some(path.clone()), context: Some("one".into()) };
        assert_eq!(server(&access, "pilot").await.unwrap().default_namespace(), "shop");
        let missing = Access { context: Some("other".into()), ..access };
        let error = server(&missing, "pilot").await.err().unwrap().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
    }
}
