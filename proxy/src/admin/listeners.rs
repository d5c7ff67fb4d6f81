//! Pure. Renders listeners in Envoy's format.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::SocketAddr;

type Bound = BTreeMap<String, Result<SocketAddr, String>>;

pub(super) fn text(bound: &Bound) -> String {
    let line = |(name, result): (&String, &Result<SocketAddr, String>)| match result {
        Ok(address) => format!("{name}::{address}\n"),
        Err(reason) => format!("{name}::not bound: {reason}\n"),
    };
    bound.iter().map(line).collect()
}

pub(super) fn json(bound: &Bound) -> Value {
    let statuses: Vec<Value> = bound
        .iter()
        .filter_map(|(name, result)| {
            let address = result.as_ref().ok()?;
            Some(json!({"name": name, "local_address": socket(*address)}))
        })
        .collect();
    json!({"listener_statuses": statuses})
}

/// Renders an address in Envoy's format.
pub(super) fn socket(address: SocketAddr) -> Value {
    json!({"socket_address": {"address": address.ip().to_string(), "port_value": address.port()}})
}
