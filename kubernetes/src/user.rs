//! Connects a command of a user to an API server, by the kubeconfig that kubectl would read; within a pod without a
//! kubeconfig, as the pod's service account.

use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::Client;
use kube::config::{Config, InClusterError, Kubeconfig, KubeconfigError};

use crate::client::{Access, ConnectError, build, options};

/// A client, with its context and address for messages.
#[derive(Clone)]
pub struct User {
    /// The client.
    pub client: Client,
    /// The context; empty within a pod.
    pub context: String,
    /// Address of the API server.
    pub server: String,
}

/// Why a command cannot connect.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// There is no kubeconfig, and the process does not run in a pod.
    #[error("there is no kubeconfig")]
    Absent(#[source] Option<Box<InClusterError>>),
    /// The kubeconfig cannot be used.
    #[error("the kubeconfig {0} cannot be used")]
    Unusable(String, #[source] Box<KubeconfigError>),
    /// The kubeconfig has no context of this name; or no current context, if the name is empty.
    #[error("{}", no_context(.name, .place, .known))]
    Context {
        /// The name.
        name: String,
        /// The kubeconfig.
        place: String,
        /// The contexts that it has.
        known: Vec<String>,
    },
    /// No client can be made.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

/// Connects to the cluster of a context. No request is sent yet.
pub async fn connect(access: &Access, component: &str) -> Result<User, UserError> {
    let variable = std::env::var_os("KUBECONFIG");
    let home = std::env::home_dir();
    let paths = paths(access.kubeconfig.as_deref(), variable.as_deref(), home.as_deref());
    let (mut config, context) = if paths.is_empty() {
        if access.context.is_some() {
            return Err(UserError::Absent(None));
        }
        (Config::incluster().map_err(|error| UserError::Absent(Some(Box::new(error))))?, String::new())
    } else {
        chosen(&paths, access).await?
    };
    config.connect_timeout = Some(PATIENCE);
    let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
    Ok(User { client: build(config, component)?, context, server })
}

/// Whether [`connect`] finds a cluster without any flag: there is a kubeconfig, or the process runs in a pod.
pub fn is_configured() -> bool {
    let variable = std::env::var_os("KUBECONFIG");
    let home = std::env::home_dir();
    !paths(None, variable.as_deref(), home.as_deref()).is_empty() || Config::incluster().is_ok()
}

/// The kubeconfig files that are read, the first with precedence: the given one, else those of KUBECONFIG that exist, else
/// the one in the home folder if it exists.
fn paths(given: Option<&Path>, variable: Option<&std::ffi::OsStr>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = given {
        return vec![path.to_owned()];
    }
    let named: Vec<PathBuf> = variable
        .map(|value| std::env::split_paths(value).filter(|path| !path.as_os_str().is_empty()).collect())
        .unwrap_or_default();
    let all = if named.is_empty() {
        home.map(|home| home.join(".kube/config")).into_iter().collect()
    } else {
        named
    };
    all.into_iter().filter(|path| path.exists()).collect()
}

async fn chosen(paths: &[PathBuf], access: &Access) -> Result<(Config, String), UserError> {
    let place = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(":");
    let unusable = |error| UserError::Unusable(place.clone(), Box::new(error));
    let merge =
        |merged: Kubeconfig, path: &PathBuf| Kubeconfig::read_from(path).and_then(|one| merged.merge(one));
    let file = paths.iter().try_fold(Kubeconfig::default(), merge).map_err(unusable)?;
    let name = access.context.clone().or(file.current_context.clone()).unwrap_or_default();
    let known: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
    if !known.contains(&name) {
        return Err(UserError::Context { name, place, known });
    }
    let config = Config::from_custom_kubeconfig(file, &options(access)).await.map_err(unusable)?;
    Ok((config, name))
}

fn no_context(name: &str, place: &str, known: &[String]) -> String {
    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    if name.is_empty() {
        return format!("the kubeconfig {place} has no current context; its contexts: {known}");
    }
    format!("the kubeconfig {place} has no context {name:?}; its contexts: {known}")
}

/// How long a connection to the API server may take to be established.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::KUBECONFIG as ONE;

    fn written(texts: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let paths = texts.iter().enumerate().map(|(number, text)| {
            let path = folder.path().join(number.to_string());
            std::fs::write(&path, text).unwrap();
            path
        });
        let paths = paths.collect();
        (folder, paths)
    }

    #[tokio::test]
    async fn a_context_of_a_file_gives_server_and_namespace() {
        let (_folder, paths) = written(&[ONE]);
        let access = Access { kubeconfig: Some(paths[0].clone()), context: None };
        let user = connect(&access, "cli").await.unwrap();
        assert_eq!(user.client.default_namespace(), "shop");
        assert_eq!((user.context.as_str(), user.server.as_str()), ("one", "https://127.0.0.1:6443"));
    }

    #[tokio::test]
    async fn a_missing_context_is_named_with_those_that_exist() {
        let (_folder, paths) =
            written(&[ONE, &ONE.replace("name: one", "name: two"), &ONE.replace("current-context: one", "")]);
        let said = async |paths: &[PathBuf], context: Option<&str>| {
            let access = Access { kubeconfig: None, context: context.map(str::to_owned) };
            chosen(paths, &access).await.err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(said(&paths[..2], Some("x")).await.ends_with("no context \"x\"; its contexts: one, two"));
        assert!(said(&paths[2..], None).await.ends_with("has no current context; its contexts: one"));
        assert_eq!(said(&paths[..2], Some("two")).await, "");
    }

    #[test]
    fn files_are_found_as_kubectl_finds_them() {
        let (folder, files) = written(&["", ""]);
        let home = folder.path().join("home");
        std::fs::create_dir_all(home.join(".kube")).unwrap();
        let own = home.join(".kube/config");
        let list = std::env::join_paths([&files[0], &folder.path().join("none"), &files[1]]).unwrap();
        let find =
            |given: Option<&Path>, variable: &std::ffi::OsStr| paths(given, Some(variable), Some(&home));
        assert_eq!(find(None, "".as_ref()), Vec::<PathBuf>::new(), "there is no file at home");
        std::fs::write(&own, "").unwrap();
        assert_eq!(find(None, "".as_ref()), [own]);
        assert_eq!(find(None, &list), files);
        assert_eq!(
            find(None, "/none".as_ref()),
            Vec::<PathBuf>::new(),
            "a variable replaces the file at home"
        );
        assert_eq!(find(Some("/given".as_ref()), &list), [PathBuf::from("/given")]);
    }
}
