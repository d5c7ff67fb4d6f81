//! The configuration in force in the format of Envoy's `/config_dump`: collected here, written by
//! `api::wire::json`.

use super::certs::date;
use super::state::Shared;
use crate::control::Version;
use crate::credentials::{SecretInfo, SecretKind};
use api::model::Resource;
use api::model::secret::{Secret, SecretContent};
use api::wire::json::{Bootstrap, Entry, config_dump as write};
use axum::http::StatusCode;
use regex::Regex;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::SystemTime;

type Refused = (StatusCode, String);

/// Renders the page. `resource` selects one list of it, `name_regex` the resources whose name matches, and
/// `include_eds` adds endpoints.
pub(super) fn config_dump(shared: &Shared, parameters: &HashMap<String, String>) -> Result<Value, Refused> {
    if parameters.contains_key("mask") {
        return Err((
            StatusCode::BAD_REQUEST,
            "mask is not supported; use resource= and name_regex=".to_owned(),
        ));
    }
    let names = parameters.get("name_regex").map(|text| Regex::new(text)).transpose();
    let names = names.map_err(|error| (StatusCode::BAD_REQUEST, format!("name_regex: {error}")))?;
    let wanted = |name: &str| names.as_ref().is_none_or(|names| names.is_match(name));

    let mut resources = resources(shared);
    let start = started_from(shared, &resources);
    resources.retain(|(resource, _)| wanted(resource.name()));
    let dates: Vec<String> = resources
        .iter()
        .map(|(_, version)| date(version.as_ref().map_or(SystemTime::UNIX_EPOCH, |version| version.updated)))
        .collect();
    let entries: Vec<Entry<'_>> = resources
        .iter()
        .zip(&dates)
        .map(|((resource, version), updated)| Entry {
            resource,
            version: version.as_ref().map(|version| version.text.as_str()),
            updated,
        })
        .collect();
    let requested = parameters.get("resource").map(String::as_str);
    let endpoints =
        parameters.contains_key("include_eds") || requested.is_some_and(|name| name.contains("endpoint"));
    let dump = write(&start, &entries, endpoints);
    match requested {
        Some(requested) => one_list(dump, requested),
        None => Ok(dump),
    }
}

/// The original bootstrap: puts back the listeners and clusters that were moved out of it to be served.
fn started_from(shared: &Shared, resources: &[(Resource, Option<Version>)]) -> Bootstrap {
    let mut start = shared.bootstrap.clone();
    for (resource, _) in resources.iter().filter(|(_, version)| version.is_none()) {
        match resource {
            Resource::Listener(listener) => start.listeners.push(listener.clone()),
            Resource::Cluster(cluster) => start.clusters.push((**cluster).clone()),
            Resource::Route(_)
            | Resource::Endpoints(_)
            | Resource::Secret(_)
            | Resource::Workload(_)
            | Resource::Names(_) => {}
        }
    }
    start
}

/// All resources in force; static ones have no version.
fn resources(shared: &Shared) -> Vec<(Resource, Option<Version>)> {
    let snapshot = shared.seams.snapshot.borrow().clone();
    let listeners = snapshot.listeners().into_iter().map(|listener| Resource::Listener((*listener).clone()));
    let clusters =
        snapshot.clusters().into_iter().map(|cluster| Resource::Cluster(Box::new((*cluster).clone())));
    let endpoints =
        snapshot.endpoints().into_iter().map(|endpoints| Resource::Endpoints((*endpoints).clone()));
    let routes = snapshot.routes().into_iter().map(|routes| Resource::Route((*routes).clone()));
    let status = shared.seams.status.borrow();
    let versioned = |resource: Resource| {
        let version =
            status.versions.get(&resource.kind()).and_then(|table| table.get(resource.name())).cloned();
        (resource, version)
    };
    let mut all: Vec<_> = clusters.chain(endpoints).chain(listeners).chain(routes).map(versioned).collect();
    all.extend(shared.seams.credentials.dump().into_iter().map(|info| secret(info, &shared.bootstrap)));
    all
}

/// Renders a secret. The store never reveals a key, so there is nothing to redact.
fn secret(info: SecretInfo, bootstrap: &Bootstrap) -> (Resource, Option<Version>) {
    let fixed = bootstrap.secrets.iter().any(|secret| secret.name == info.name);
    let version = (!fixed).then(|| Version { text: info.serial_number.clone(), updated: info.not_before });
    let content = match info.kind {
        SecretKind::Certificate => SecretContent::Certificate { chain: info.pem, key: String::new() },
        SecretKind::Roots => SecretContent::Roots { bundle: info.pem },
    };
    (Resource::Secret(Secret { name: info.name, content }), version)
}

/// Takes one list out of the dump, and labels each element with its own type.
fn one_list(mut dump: Value, requested: &str) -> Result<Value, Refused> {
    let unknown = || {
        let known = LISTS.map(|(name, _)| name).join(", ");
        (StatusCode::NOT_FOUND, format!("`{requested}` is not a part of the dump; its parts are {known}"))
    };
    let (_, kind) = LISTS.into_iter().find(|(name, _)| *name == requested).ok_or_else(unknown)?;
    let configs = dump["configs"].as_array_mut().map(std::mem::take).unwrap_or_default();
    let found = configs.into_iter().find_map(|mut config| match config.get_mut(requested).map(Value::take) {
        Some(Value::Array(list)) => Some(list),
        Some(Value::Null) | None => None,
        Some(single) => Some(vec![single]),
    });
    let list = found.unwrap_or_default().into_iter().map(|element| {
        let mut typed = BTreeMap::from([("@type".to_owned(), json!(format!("type.googleapis.com/{kind}")))]);
        if let Value::Object(fields) = element {
            typed.extend(fields);
        }
        json!(typed)
    });
    Ok(json!({"configs": list.collect::<Vec<_>>()}))
}

const LISTS: [(&str, &str); 12] = [
    ("bootstrap", "envoy.config.bootstrap.v3.Bootstrap"),
    ("static_clusters", "envoy.admin.v3.ClustersConfigDump.StaticCluster"),
    ("dynamic_active_clusters", "envoy.admin.v3.ClustersConfigDump.DynamicCluster"),
    ("static_listeners", "envoy.admin.v3.ListenersConfigDump.StaticListener"),
    ("dynamic_listeners", "envoy.admin.v3.ListenersConfigDump.DynamicListener"),
    ("static_route_configs", "envoy.admin.v3.RoutesConfigDump.StaticRouteConfig"),
    ("dynamic_route_configs", "envoy.admin.v3.RoutesConfigDump.DynamicRouteConfig"),
    ("static_endpoint_configs", "envoy.admin.v3.EndpointsConfigDump.StaticEndpointConfig"),
    ("dynamic_endpoint_configs", "envoy.admin.v3.EndpointsConfigDump.DynamicEndpointConfig"),
    ("static_secrets", "envoy.admin.v3.SecretsConfigDump.StaticSecret"),
    ("dynamic_active_secrets", "envoy.admin.v3.SecretsConfigDump.DynamicSecret"),
    ("dynamic_warming_secrets", "envoy.admin.v3.SecretsConfigDump.DynamicSecret"),
];
