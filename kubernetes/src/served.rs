//! Asks an API server in which version it serves a kind, and names the resource of a kind in a version.

use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, Error};

/// The first of these versions of a group in which the API server serves the kind with this plural.
pub async fn version(
    client: &Client,
    (group, plural): (&str, &str),
    versions: &[&'static str],
) -> Result<Option<&'static str>, Error> {
    for version in versions {
        let served = match client.list_api_group_resources(&format!("{group}/{version}")).await {
            Ok(served) => served.resources,
            // A group that the server lacks is no Status with a reason: its body is plain text.
            Err(Error::Api(status)) if status.code == 404 => continue,
            Err(error) => return Err(error),
        };
        if served.iter().any(|resource| resource.name == plural) {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// The resource of a kind in a version of its group.
pub fn resource((group, version): (&str, &str), (kind, plural): (&str, &str)) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{Request, Response};
    use kube::client::Body;
    use serde_json::json;
    use std::convert::Infallible;

    async fn answer(request: Request<Body>) -> Result<Response<Body>, Infallible> {
        let resource =
            json!({"name": "filters", "singularName": "", "namespaced": true, "kind": "", "verbs": []});
        let (code, body) = match request.uri().path() {
            "/apis/g.io/v1" => (200, json!({"groupVersion": "g.io/v1", "resources": []})),
            "/apis/g.io/v1beta1" => (200, json!({"groupVersion": "g.io/v1beta1", "resources": [resource]})),
            "/apis/broken.io/v1" => (500, json!({"kind": "Status", "code": 500, "message": "no"})),
            _ => (404, json!("404 page not found")),
        };
        let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
        let body = Body::from(body.into_bytes());
        Ok(Response::builder().status(code).body(body).unwrap())
    }

    #[tokio::test]
    async fn the_first_version_that_is_served_is_found() {
        let client = Client::new(tower::service_fn(answer), "default");
        let find = async |group, versions| version(&client, (group, "filters"), versions).await;
        assert_eq!(find("g.io", &["v2", "v1", "v1beta1"]).await.unwrap(), Some("v1beta1"));
        assert_eq!(find("g.io", &["v1"]).await.unwrap(), None);
        assert_eq!(find("other.io", &["v1"]).await.unwrap(), None);
        assert!(find("broken.io", &["v1"]).await.is_err());
    }
}
