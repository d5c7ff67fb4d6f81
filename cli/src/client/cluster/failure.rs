//! Pure. Failures of requests to a cluster as the user reads them: what the API server says, and what to do about it.

use kube::Error;
use kube::core::Status;
use kubernetes::client::{chain, reason};
use kubernetes::user::UserError;

use crate::failure::Failure;

/// How messages name a cluster.
#[derive(Debug, Clone, Default)]
pub struct Named {
    /// The context; empty within a pod.
    pub context: String,
    /// Address of the API server.
    pub server: String,
}

impl Named {
    fn cluster(&self) -> String {
        if self.context.is_empty() {
            format!("the API server {}", self.server)
        } else {
            format!("the API server {} of context {}", self.server, self.context)
        }
    }

    /// The flag by which kubectl reaches the same cluster.
    pub fn flag(&self) -> String {
        if self.context.is_empty() { String::new() } else { format!(" --context {}", self.context) }
    }
}

/// The failure of a request to the API server.
pub fn of(error: &Error, named: &Named) -> Failure {
    match error {
        Error::Api(status) => refused(status, &reason(error), named),
        Error::Auth(_) => Failure::blocked(
            format!("no credentials for {}: {}", named.cluster(), chain(error)),
            "log in to the cluster as for kubectl, or choose another context with --context",
        ),
        Error::UpgradeConnection(_) => Failure::blocked(
            format!("{} opens no connection to the pod: {}", named.cluster(), chain(error)),
            "a proxy before the API server may not pass WebSockets on",
        ),
        Error::SerdeError(_) | Error::FromUtf8(_) | Error::BuildRequest(_) | Error::HttpError(_) => {
            Failure::blocked(
                format!("unexpected response of {}: {}", named.cluster(), reason(error)),
                "check the address of the cluster in the kubeconfig",
            )
        }
        _ => Failure::blocked(
            format!("cannot reach {}: {}", named.cluster(), cause(error)),
            "check that the cluster runs and can be reached from here, or choose another one with --context or \
             --kubeconfig",
        ),
    }
}

/// The deepest cause of a failed connection, without the names of the client's layers.
fn cause(error: &Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

fn refused(status: &Status, said: &str, named: &Named) -> Failure {
    match status.code {
        401 => Failure::blocked(
            format!("{} does not accept the credentials: {said}", named.cluster()),
            "log in to the cluster as for kubectl, or choose another context with --context",
        ),
        403 => Failure::Denied {
            reason: said.into(),
            next: format!(
                "ask for this permission, or see yours with `kubectl auth can-i --list{}`",
                named.flag()
            ),
        },
        404 if is_unknown_kind(status) => Failure::blocked(
            format!("the cluster does not have this kind of object: {said}"),
            "install the mesh with `ostria install`, or only its kinds with `ostria crds | kubectl apply --server-side \
             -f -`",
        ),
        404 => {
            Failure::missing(said, "see what is there with `ostria get`, or name another namespace with -n")
        }
        409 => Failure::blocked(said, "read the object again, and repeat the change"),
        _ => Failure::blocked(said, "correct the request"),
    }
}

/// Whether a response of status 404 is about the kind, not about an object of it.
pub fn is_unknown_kind(status: &Status) -> bool {
    let named = status.details.as_ref().is_some_and(|details| !details.name.is_empty());
    status.code == 404 && !named
}

/// The failure to connect.
pub fn of_access(error: &UserError) -> Failure {
    let next = match error {
        UserError::Absent(_) => {
            "name a cluster's kubeconfig with --kubeconfig or KUBECONFIG, or start a mesh on this machine with `ostria up \
             FOLDER`"
        }
        UserError::Context { .. } => "choose one of them with --context",
        UserError::Unusable(..) | UserError::Connect(_) => {
            "correct the kubeconfig, or choose another one with --kubeconfig"
        }
    };
    Failure::blocked(chain(error), next)
}

/// The failure of a verb that needs the control plane where there is none.
pub fn not_installed(namespace: &str, named: &Named) -> Failure {
    let place = if named.context.is_empty() { "this cluster" } else { &named.context };
    Failure::blocked(
        format!("no control plane runs in namespace {namespace} of {place}"),
        format!(
            "install one with `ostria install{}`, name its namespace with --istio-namespace, or choose another cluster with \
             --context",
            named.flag()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn said(status: &Value) -> String {
        let status: Status = serde_json::from_value(status.clone()).unwrap();
        let named = Named { context: "kind".into(), server: "https://a:6443".into() };
        of(&Error::Api(Box::new(status)), &named).to_string()
    }

    #[test]
    fn each_refusal_of_the_api_server_has_a_next_step() {
        let status = |code: u16, message: &str, details: Value| json!({"status": "Failure", "code": code, "message": message, "reason": "x", "details": details});
        let table = [
            (
                status(403, "pods is forbidden: User \"a\" cannot list resource \"pods\"", json!({})),
                "error: pods is forbidden: User \"a\" cannot list resource \"pods\"",
                "kubectl auth can-i --list --context kind",
            ),
            (
                status(401, "Unauthorized", json!({})),
                "error: the API server https://a:6443 of context kind does not accept the credentials: Unauthorized",
                "log in",
            ),
            (
                status(404, "the server could not find the requested resource", json!({})),
                "error: the cluster does not have this kind of object",
                "ostria install",
            ),
            (
                status(404, "pods \"a\" not found", json!({"name": "a"})),
                "Error from ostria (NotFound): pods \"a\" not found",
                "ostria get",
            ),
        ];
        for (status, beginning, next) in table {
            let text = said(&status);
            assert!(text.starts_with(beginning), "{text}");
            assert!(text.contains("\n  next: ") && text.contains(next), "{text}");
        }
    }

    #[test]
    fn an_api_server_that_cannot_be_reached_is_named_with_the_cause() {
        let cause = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let named = Named { context: "kind".into(), server: "https://a:6443".into() };
        let text = of(&Error::Service(Box::new(cause)), &named).to_string();
        let expected =
            "error: cannot reach the API server https://a:6443 of context kind: connection refused\n  next: ";
        assert!(text.starts_with(expected), "{text}");
    }
}
