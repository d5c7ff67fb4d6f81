//! The page that Prometheus scrapes: the proxy's metrics, then the application's own. If the application cannot be
//! read, its part is missing and a counter increases; the scrape never fails.

use super::fetch;
use crate::config::Scrape;
use bytes::Bytes;
use http::{HeaderMap, Request, header};
use http_body_util::Empty;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Fetches the application's page, or returns why it cannot. Headers with which Prometheus negotiates a format are
/// forwarded.
pub(super) async fn application(scrape: &Scrape, pod: IpAddr, asked: &HeaderMap) -> Result<Bytes, String> {
    let address = SocketAddr::new(pod, scrape.port);
    let mut request = Request::get(&scrape.path).header(header::HOST, address.to_string());
    for name in [header::USER_AGENT, header::HeaderName::from_static("x-prometheus-scrape-timeout-seconds")] {
        if let Some(value) = asked.get(&name) {
            request = request.header(name, value);
        }
    }
    // Both parts of the page must have the same format; the proxy's part is plain text.
    let request = request
        .header(header::ACCEPT, "text/plain;version=0.0.4")
        .header(header::CONNECTION, "close")
        .body(Empty::new())
        .map_err(|error| error.to_string())?;
    let work = fetch::send(address, false, request, MAX_PAGE);
    let response =
        tokio::time::timeout(LIMIT, work).await.map_err(|_| "no response in time".to_owned())??;
    if !response.status.is_success() {
        return Err(format!("{address}{}: status {}", scrape.path, response.status));
    }
    let kind =
        response.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if kind.starts_with("application/openmetrics-text") || kind.starts_with("application/vnd.google.protobuf")
    {
        return Err(format!("{address}{}: `{kind}` was not requested", scrape.path));
    }
    Ok(response.body)
}

const MAX_PAGE: usize = 10 * 1024 * 1024;
const LIMIT: Duration = Duration::from_secs(10);
