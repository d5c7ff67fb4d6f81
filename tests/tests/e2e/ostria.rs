//! Asks `ostria`, as an operator does, what proxies have: their roots and certificates, and whether they run what pilot has
//! sent.

use std::collections::BTreeMap;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;
use tests::program;

use crate::cluster::{containers, items, name, setting};

/// Runs `ostria` and reads the JSON that it prints.
///
/// # Errors
/// What it says instead.
fn ostria(arguments: &[&str]) -> Result<Value, String> {
    let kubeconfig = setting("KUBECONFIG");
    let line = [arguments, &["--kubeconfig", &kubeconfig, "-o", "json"]].concat();
    let outcome = program::run(&program::path("ostria"), &line);
    match serde_json::from_slice(&outcome.out) {
        Ok(value) if outcome.code == 0 => Ok(value),
        _ => Err(outcome.to_string()),
    }
}

/// The proxies of a namespace, each with the pilot that it is connected to. Fails while a pod has none, and while one does
/// not run all that pilot has sent to it.
///
/// # Errors
/// The first such proxy.
pub(crate) fn in_step(namespace: &str) -> Result<BTreeMap<String, String>, String> {
    let rows = ostria(&["proxy-status", "-n", namespace])?;
    let mut connected = BTreeMap::new();
    for row in rows.as_array().into_iter().flatten() {
        let has_all = ["cluster", "listener", "route", "endpoint"]
            .iter()
            .all(|kind| row[format!("{kind}_sent")] == row[format!("{kind}_acked")]);
        if !has_all || row["refusals"].as_array().is_some_and(|all| !all.is_empty()) {
            return Err(row.to_string());
        }
        let word = |field: &str| row[field].as_str().unwrap_or_default().to_owned();
        connected.insert(word("proxy"), word("pilot"));
    }
    for pod in with_sidecars(namespace)? {
        if !connected.contains_key(&format!("{pod}.{namespace}")) {
            return Err(format!("{pod} is not connected: {connected:?}"));
        }
    }
    Ok(connected)
}

/// The names of the pods of a namespace that run a proxy.
///
/// # Errors
/// What `kubectl` says.
pub(crate) fn with_sidecars(namespace: &str) -> Result<Vec<String>, String> {
    let pods = items(namespace, "pods", &["--field-selector", "status.phase=Running"])?.into_iter();
    let pods = pods.filter(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    Ok(pods.filter(|pod| containers(pod).contains(&"istio-proxy".to_owned())).map(|pod| name(&pod)).collect())
}

/// The PEM text of a proxy's secret: `default` is its certificate with its chain, `ROOTCA` the roots that it trusts.
///
/// # Errors
/// What `ostria` says.
pub(crate) fn certificates(namespace: &str, pod: &str, secret: &str) -> Result<String, String> {
    let dump = ostria(&["proxy-config", "secrets", pod, "-n", namespace])?;
    let sections = dump.as_array().into_iter().flatten();
    let lists =
        sections.flat_map(|section| section["dynamic_active_secrets"].as_array().into_iter().flatten());
    let found = lists.filter(|entry| entry["name"] == secret).map(|entry| &entry["secret"]).next();
    let found = found.ok_or_else(|| format!("{pod} has no secret {secret}: {dump}"))?;
    let sources =
        [&found["tls_certificate"]["certificate_chain"], &found["validation_context"]["trusted_ca"]];
    let encoded = sources.iter().find_map(|source| source["inline_bytes"].as_str());
    let bytes = encoded.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| format!("the secret {secret} of {pod} is no PEM text: {found}"))
}
