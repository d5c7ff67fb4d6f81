//! Pure. Processes a review: parse, decide, render, compare, respond. A body that is not a review is the sender's
//! error; every error inside a review gets a response in the form of a review.

use api::admission::{AdmissionReview, Malformed, Request, Response};
use k8s_openapi::api::core::v1::Pod;

use crate::{
    config::Settings,
    decide,
    flow::{Outcome, Skip},
    patch, render,
};

/// A processed review.
#[derive(Debug, Clone)]
pub struct Reviewed {
    /// The response to send.
    pub response: Response,
    /// The pod of the review, as `namespace/name`.
    pub pod: String,
    /// The outcome.
    pub outcome: Outcome,
}

/// Processes a review.
pub fn process(body: &[u8], settings: &Settings) -> Result<Reviewed, Malformed> {
    let request = AdmissionReview::request(body)?;
    let (outcome, unclear) = match parsed(&request) {
        Ok(pod) => (decide_and_render(&request, &pod, settings), decide::unclear_value(&pod)),
        Err(outcome) => (outcome, None),
    };
    let mut response = response(&request, &outcome);
    response.warnings.extend(unclear);
    Ok(Reviewed { response, pod: describe(&request), outcome })
}

/// Returns the pod of the review, or the outcome if the review is about something else.
fn parsed(request: &Request) -> Result<Pod, Outcome> {
    let part = request.sub_resource.as_deref().unwrap_or_default();
    let of_a_pod = request.kind.kind == "Pod" && request.kind.group.is_empty() && part.is_empty();
    if !of_a_pod || !matches!(request.operation.as_str(), "CREATE" | "") {
        return Err(Outcome::Skipped(Skip::NotAPod));
    }
    serde_json::from_value(request.object.clone())
        .map_err(|error| Outcome::Denied(format!("the pod cannot be read: {error}")))
}

fn decide_and_render(request: &Request, pod: &Pod, settings: &Settings) -> Outcome {
    let namespace = namespace(request);
    if let Some(skip) = decide::skip(pod, namespace, &settings.selection) {
        return Outcome::Skipped(skip);
    }
    let rendered = if decide::is_injected(pod) {
        render::again(pod, namespace, &settings.template)
    } else {
        render::render(pod, namespace, &settings.template)
    };
    let fitted = rendered.and_then(|mut rendered| {
        if let Some(standard) = settings.standards.get(namespace) {
            render::standard::fit(&mut rendered.pod, *standard)?;
        }
        Ok(rendered)
    });
    let rendered = match fitted {
        Ok(rendered) if rendered.pod == *pod => return Outcome::Skipped(Skip::AlreadyInjected),
        Ok(rendered) => rendered,
        Err(error) => return Outcome::Denied(error.to_string()),
    };
    let json = |pod: &Pod| serde_json::to_value(pod).expect("a parsed pod is plain JSON");
    let patch = patch::between(&request.object, &json(pod), &json(&rendered.pod));
    Outcome::Injected { patch, warnings: rendered.warnings }
}

fn response(request: &Request, outcome: &Outcome) -> Response {
    match outcome {
        Outcome::Skipped(_) => Response::allowed(&request.uid),
        Outcome::Injected { patch, warnings } => {
            let patch = serde_json::to_vec(patch).expect("a patch is plain JSON");
            let response = Response::allowed(&request.uid).patched(&patch);
            Response { warnings: warnings.clone(), ..response }
        }
        Outcome::Denied(reason) => {
            let message = format!("cannot add the sidecar to pod {}: {reason}", describe(request));
            Response::denied(&request.uid, message)
        }
    }
}

fn namespace(request: &Request) -> &str {
    let own = || request.object.pointer("/metadata/namespace")?.as_str();
    request.namespace.as_deref().filter(|name| !name.is_empty()).or_else(own).unwrap_or("default")
}

/// Describes the pod. Controllers leave the name to the API server and set only its prefix.
fn describe(request: &Request) -> String {
    let field = |path: &str| request.object.pointer(path)?.as_str().filter(|name| !name.is_empty());
    let generated = || field("/metadata/generateName").map(|name| format!("{name}*"));
    let name = field("/metadata/name").map(ToOwned::to_owned).or_else(generated);
    format!("{}/{}", namespace(request), name.unwrap_or_default())
}

#[cfg(test)]
mod tests;
