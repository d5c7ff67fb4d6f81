//! Pure. Sets the labels and annotations of a pod with a sidecar, by which other pods, Prometheus, kubectl and the
//! next injection recognize it.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Volume, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use serde_json::json;

use crate::render::{
    context::{Context, INIT_NAME, NETWORK_LABEL, PROXY_NAME},
    error::RenderError,
    overrides::{PROXY_PORTS, boolean},
};

/// What injection added, so that it can be removed again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    init_containers: Vec<&'static str>,
    containers: Vec<&'static str>,
    volumes: Vec<String>,
    pull_secrets: Vec<String>,
    revision: String,
}

impl Status {
    /// Returns what is added to the pod of `context`.
    pub fn new(context: &Context, volumes: &[Volume]) -> Self {
        let init = context.captures().then_some(INIT_NAME);
        let native = context.is_native().then_some(PROXY_NAME);
        let beside = (!context.is_native()).then_some(PROXY_NAME);
        Self {
            init_containers: init.into_iter().chain(native).collect(),
            containers: beside.into_iter().collect(),
            volumes: volumes.iter().map(|volume| volume.name.clone()).collect(),
            pull_secrets: context.template.image_pull_secrets.clone(),
            revision: context.template.revision.clone(),
        }
    }

    fn to_json(&self) -> String {
        let or_null = |list: &[&str]| if list.is_empty() { json!(null) } else { json!(list) };
        let secrets: Vec<&str> = self.pull_secrets.iter().map(String::as_str).collect();
        json!({
            "initContainers": or_null(&self.init_containers),
            "containers": or_null(&self.containers),
            "volumes": self.volumes,
            "imagePullSecrets": or_null(&secrets),
            "revision": self.revision,
        })
        .to_string()
    }
}

/// Adds the labels and annotations of a pod with a sidecar. Existing labels stay.
pub fn mark(metadata: &mut ObjectMeta, context: &Context, status: &Status) {
    let labels = metadata.labels.get_or_insert_default();
    if !context.is_gateway() {
        set_if_missing(labels, "security.istio.io/tlsMode", "istio");
    }
    set_if_missing(labels, "service.istio.io/canonical-name", &canonical_name(context));
    set_if_missing(labels, "service.istio.io/canonical-revision", canonical_revision(context));
    if let Some(network) = context.network() {
        set_if_missing(labels, NETWORK_LABEL, network);
    }
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert("istio.io/rev".to_owned(), status.revision.clone());
    if let Some(first) = context.application().next() {
        set_if_missing(annotations, "kubectl.kubernetes.io/default-container", &first.name);
        set_if_missing(annotations, "kubectl.kubernetes.io/default-logs-container", &first.name);
    }
    annotations.insert("sidecar.istio.io/status".to_owned(), status.to_json());
}

fn set_if_missing(map: &mut BTreeMap<String, String>, name: &str, value: &str) {
    map.entry(name.to_owned()).or_insert_with(|| value.to_owned());
}

fn canonical_name(context: &Context) -> String {
    let named = context.label("app.kubernetes.io/name").or(context.label("app"));
    let name = named.unwrap_or(&context.workload.name);
    // The maximum length of a label value; names of objects may be longer.
    name.chars().take(63).collect::<String>().trim_matches(['-', '_', '.']).to_owned()
}

fn canonical_revision<'a>(context: &'a Context) -> &'a str {
    context.label("app.kubernetes.io/version").or(context.label("version")).unwrap_or("latest")
}

/// Points Prometheus at the sidecar, whose metrics include the application's. Returns the application's own scrape
/// settings as JSON, for the sidecar. Pods that opted out of scraping stay unchanged.
pub fn take_over_scraping(metadata: &mut ObjectMeta, context: &Context) -> Option<String> {
    if !merges_metrics(context) {
        return None;
    }
    let annotations = metadata.annotations.get_or_insert_default();
    let [scrape, path, port] = ["scrape", "path", "port"].map(|end| asked(annotations, end));
    if opts_out(scrape.as_deref()) {
        return None;
    }
    let target = context.status_port().to_string();
    if port.as_ref() == Some(&target) {
        // An injector, or the user, has set it already.
        return None;
    }
    let any = [&scrape, &path, &port].into_iter().flatten().any(|value| !value.is_empty());
    let text = |value: Option<String>| value.unwrap_or_default();
    let original = match context.overrides.scrape_targets.as_slice() {
        [] => {
            any.then(|| json!({"scrape": text(scrape), "path": text(path), "port": text(port)}).to_string())
        }
        targets @ [first, ..] => {
            let mut all = json!({"scrape": "true", "path": first.path, "port": first.port});
            if targets.len() > 1 {
                all["targets"] = json!(targets);
            }
            Some(all.to_string())
        }
    };
    annotations.retain(|name, _| !["scrape", "path", "port"].iter().any(|end| names_scraping(name, end)));
    for (end, value) in [("scrape", "true"), ("path", "/stats/prometheus"), ("port", target.as_str())] {
        annotations.insert(format!("prometheus.io/{end}"), value.to_owned());
    }
    original
}

fn merges_metrics(context: &Context) -> bool {
    context.status_port() != 0 && context.overrides.merge_metrics.unwrap_or(context.template.merge_metrics)
}

/// Whether scraping is disabled. A word that is neither true nor false does not count.
fn opts_out(scrape: Option<&str>) -> bool {
    scrape.is_some_and(|word| boolean(word) == Ok(false))
}

/// Refuses a metrics page that belongs to the proxy itself, which would be scraped recursively.
pub fn check_scraping(context: &Context) -> Result<(), RenderError> {
    let empty = BTreeMap::new();
    let annotations = context.pod.metadata.annotations.as_ref().unwrap_or(&empty);
    let [scrape, port] = ["scrape", "port"].map(|end| asked(annotations, end));
    let port = port.filter(|port| !port.is_empty() && *port != context.status_port().to_string());
    let Some(port) = port.filter(|_| merges_metrics(context) && context.overrides.scrape_targets.is_empty())
    else {
        return Ok(());
    };
    let reason = match port.parse::<u16>() {
        _ if opts_out(scrape.as_deref()) => return Ok(()),
        Ok(0) | Err(_) => "is not a port: use a number from 1 to 65535",
        Ok(number) if PROXY_PORTS.contains(&number) => {
            "is a port of the proxy: use a port of the application"
        }
        Ok(_) => return Ok(()),
    };
    Err(RenderError::Annotation {
        name: "prometheus.io/port".to_owned(),
        value: port,
        reason: reason.to_owned(),
    })
}

fn asked(annotations: &BTreeMap<String, String>, end: &str) -> Option<String> {
    annotations.iter().find(|(name, _)| names_scraping(name, end)).map(|(_, value)| value.clone())
}

/// Whether an annotation has this name. Prometheus treats `prometheus.io/port` and `prometheus_io_port` as the same.
fn names_scraping(name: &str, end: &str) -> bool {
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    plain.strip_prefix("prometheus_io_") == Some(end)
}
