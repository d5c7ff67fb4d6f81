//! Pure. `ostria proxy-status POD`: the configuration that pilot holds for a proxy compared with the configuration that
//! the proxy runs, resource by resource, in the words of `istioctl proxy-status`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{OffsetDateTime, UtcOffset};

use crate::view::proxy::dump::{resources, text};

/// The differences between pilot's dump and the proxy's, by type.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Comparison {
    /// Differing clusters.
    pub clusters: Vec<Difference>,
    /// Differing listeners.
    pub listeners: Vec<Difference>,
    /// Differing route tables.
    pub routes: Vec<Difference>,
    /// When the proxy received its newest route table, in RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes_last_loaded: Option<String>,
    /// Differing endpoints.
    pub endpoints: Vec<Difference>,
}

/// A resource that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// Its name.
    pub name: String,
    /// Where it exists.
    pub found: Found,
    /// The fields that differ; empty if only one side has the resource.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<FieldDifference>,
    #[serde(skip)]
    pilot: Option<Value>,
    #[serde(skip)]
    proxy: Option<Value>,
}

/// Which side has a differing resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Found {
    /// Both have it, with different content.
    Both,
    /// Pilot holds it, and the proxy does not run it.
    OnlyInPilot,
    /// The proxy runs it, and pilot does not hold it.
    OnlyInProxy,
}

/// A field that differs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FieldDifference {
    /// Path of the field in the resource, such as `virtual_hosts[0].domains[2]`.
    pub path: String,
    /// Pilot's value; absent if pilot's resource does not have the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pilot: Option<Value>,
    /// The proxy's value; absent if the proxy's resource does not have the field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Value>,
}

impl Comparison {
    /// Compares the resources that came from pilot. The proxy's own static resources are not compared.
    pub fn of(pilot: &Value, proxy: &Value) -> Self {
        let differing = |section: &Section| differences(&section.of(pilot), &section.of(proxy));
        Self {
            clusters: differing(&CLUSTERS),
            listeners: differing(&LISTENERS),
            routes: differing(&ROUTES),
            routes_last_loaded: last_loaded(proxy, ROUTES.list),
            endpoints: differing(&ENDPOINTS),
        }
    }

    /// Whether the proxy runs what pilot holds.
    pub fn matches(&self) -> bool {
        [&self.clusters, &self.listeners, &self.routes, &self.endpoints].iter().all(|list| list.is_empty())
    }

    /// One line for each type that matches, and a unified diff for each resource that differs.
    pub fn render(&self) -> String {
        let loaded = self.routes_last_loaded.as_deref().map(loaded).unwrap_or_default();
        let parts = [
            ("Clusters", &self.clusters, ""),
            ("Listeners", &self.listeners, ""),
            ("Routes", &self.routes, &loaded),
            ("Endpoints", &self.endpoints, ""),
        ];
        let mut result = String::new();
        for (kind, list, note) in parts {
            let verdict = if list.is_empty() { "Match" } else { "Don't Match" };
            let _ = writeln!(result, "{kind} {verdict}{note}");
            result.extend(list.iter().map(|difference| difference.unified(kind)));
        }
        result
    }
}

impl Difference {
    fn unified(&self, kind: &str) -> String {
        let written = |value: &Option<Value>| match value {
            Some(value) => serde_json::to_string_pretty(value).unwrap_or_default() + "\n",
            None => String::new(),
        };
        let (pilot, proxy) = (written(&self.pilot), written(&self.proxy));
        let diff = TextDiff::from_lines(&pilot, &proxy);
        let header = |side: &str| format!("{side} {kind} {}", self.name);
        diff.unified_diff().context_radius(CONTEXT).header(&header("Pilot"), &header("Proxy")).to_string()
    }
}

/// Where a type of resources is in a dump.
struct Section {
    list: &'static str,
    path: &'static [&'static str],
    name: &'static str,
}

impl Section {
    fn of<'a>(&self, dump: &'a Value) -> BTreeMap<&'a str, &'a Value> {
        let found = resources(dump, &[self.list], self.path);
        found.into_iter().map(|resource| (text(resource, self.name), resource)).collect()
    }
}

fn differences(pilot: &BTreeMap<&str, &Value>, proxy: &BTreeMap<&str, &Value>) -> Vec<Difference> {
    let names: BTreeSet<&str> = pilot.keys().chain(proxy.keys()).copied().collect();
    names
        .into_iter()
        .filter_map(|name| {
            let (pilot, proxy) = (pilot.get(name).copied(), proxy.get(name).copied());
            let mut fields = Vec::new();
            let found = match (pilot, proxy) {
                (Some(pilot), Some(proxy)) => {
                    compare("", Some(pilot), Some(proxy), &mut fields);
                    Found::Both
                }
                (Some(_), None) => Found::OnlyInPilot,
                (None, _) => Found::OnlyInProxy,
            };
            let differs = found != Found::Both || !fields.is_empty();
            differs.then(|| Difference {
                name: name.into(),
                found,
                fields,
                pilot: pilot.cloned(),
                proxy: proxy.cloned(),
            })
        })
        .collect()
}

/// Collects the innermost fields that differ.
fn compare(path: &str, pilot: Option<&Value>, proxy: Option<&Value>, found: &mut Vec<FieldDifference>) {
    match (pilot, proxy) {
        (Some(Value::Object(ours)), Some(Value::Object(theirs))) => {
            let names: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
            for name in names {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, ours.get(name), theirs.get(name), found);
            }
        }
        (Some(Value::Array(ours)), Some(Value::Array(theirs))) => {
            for index in 0..ours.len().max(theirs.len()) {
                compare(&format!("{path}[{index}]"), ours.get(index), theirs.get(index), found);
            }
        }
        _ if pilot == proxy => {}
        _ => {
            let (pilot, proxy) = (pilot.cloned(), proxy.cloned());
            found.push(FieldDifference { path: path.into(), pilot, proxy });
        }
    }
}

/// When the proxy received the newest resource of a list.
fn last_loaded(dump: &Value, list: &str) -> Option<String> {
    let times = resources(dump, &[list], &["last_updated"]).into_iter().filter_map(Value::as_str);
    let times = times.filter_map(|text| Some((OffsetDateTime::parse(text, &Rfc3339).ok()?, text)));
    times.max().map(|(_, text)| text.to_string())
}

/// The time as istioctl writes it.
fn loaded(text: &str) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] UTC"
    );
    let moment = OffsetDateTime::parse(text, &Rfc3339).ok().map(|moment| moment.to_offset(UtcOffset::UTC));
    let written = moment.and_then(|moment| moment.format(format).ok());
    written.map(|written| format!(" (RDS last loaded at {written})")).unwrap_or_default()
}

const CLUSTERS: Section = Section { list: "dynamic_active_clusters", path: &["cluster"], name: "name" };
const LISTENERS: Section =
    Section { list: "dynamic_listeners", path: &["active_state", "listener"], name: "name" };
const ROUTES: Section = Section { list: "dynamic_route_configs", path: &["route_config"], name: "name" };
const ENDPOINTS: Section =
    Section { list: "dynamic_endpoint_configs", path: &["endpoint_config"], name: "cluster_name" };

/// Unchanged lines around each change, as many as istioctl shows. They show where in the resource a change is.
const CONTEXT: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A dump with one cluster, listener, route table and load assignment.
    fn dump() -> Value {
        json!({"configs": [
            {"dynamic_active_clusters": [{"cluster": {"name": "c", "type": "EDS", "lb_policy": "ROUND_ROBIN"},
                "version_info": "7", "last_updated": "2026-01-02T03:04:05.100Z"}],
             "static_clusters": [{"cluster": {"name": "agent"}}]},
            {"dynamic_listeners": [{"name": "80", "active_state": {"listener": {"name": "80"}, "version_info": "7"}}]},
            {"dynamic_route_configs": [
                {"route_config": {"name": "80", "virtual_hosts": [{"name": "a", "domains": ["a", "b"]}]},
                 "last_updated": "2026-01-02T03:04:05.100Z"},
                {"route_config": {"name": "90"}, "last_updated": "2026-01-02T03:04:04Z"}]},
            {"dynamic_endpoint_configs": [{"endpoint_config": {"cluster_name": "c"}}]},
        ]})
    }

    fn changed(pointer: &str, value: Value) -> Value {
        let mut dump = dump();
        *dump.pointer_mut(pointer).unwrap() = value;
        dump
    }

    #[test]
    fn equal_resources_match_whatever_their_versions_order_and_static_neighbours() {
        let mut proxy = changed("/configs/0/static_clusters", json!([]));
        proxy["configs"][0]["dynamic_active_clusters"][0]["version_info"] = json!("8");
        proxy["configs"][2]["dynamic_route_configs"].as_array_mut().unwrap().reverse();
        let comparison = Comparison::of(&dump(), &proxy);
        assert!(comparison.matches(), "{comparison:?}");
        assert_eq!(
            comparison.render(),
            "Clusters Match\nListeners Match\nRoutes Match (RDS last loaded at Fri, 02 Jan 2026 03:04:05 UTC)\n\
             Endpoints Match\n"
        );
    }

    #[test]
    fn a_changed_resource_is_shown_as_a_diff_from_pilot_to_the_proxy() {
        let proxy = changed("/configs/0/dynamic_active_clusters/0/cluster/lb_policy", json!("RANDOM"));
        let comparison = Comparison::of(&dump(), &proxy);
        assert!(!comparison.matches());
        let text = comparison.render();
        let expected = "Clusters Don't Match\n--- Pilot Clusters c\n+++ Proxy Clusters c\n@@ -1,5 +1,5 @@\n";
        assert!(text.starts_with(expected), "{text}");
        assert!(
            text.contains("\n-  \"lb_policy\": \"ROUND_ROBIN\"")
                && text.contains("\n+  \"lb_policy\": \"RANDOM\""),
            "{text}"
        );
        assert!(text.contains("\nListeners Match\n"), "{text}");
    }

    #[test]
    fn every_type_of_resource_is_compared() {
        let changes = [
            ("/configs/0/dynamic_active_clusters/0/cluster/type", "clusters"),
            ("/configs/1/dynamic_listeners/0/active_state/listener/name", "listeners"),
            ("/configs/2/dynamic_route_configs/0/route_config/virtual_hosts/0/name", "routes"),
            ("/configs/3/dynamic_endpoint_configs/0/endpoint_config/cluster_name", "endpoints"),
        ];
        for (pointer, kind) in changes {
            let value = serde_json::to_value(Comparison::of(&dump(), &changed(pointer, json!("x")))).unwrap();
            for list in ["clusters", "listeners", "routes", "endpoints"] {
                let empty = value[list].as_array().unwrap().is_empty();
                assert_eq!(empty, list != kind, "{pointer}: {list}");
            }
        }
    }

    #[test]
    fn scripts_get_the_paths_of_the_fields_that_differ_with_both_values() {
        let pilot = json!({"a": {"b": [1, {"c": true}]}, "d": null, "same": [1]});
        let proxy = json!({"a": {"b": [2, {"c": true}, 3]}, "e": 4, "same": [1]});
        let mut found = Vec::new();
        compare("", Some(&pilot), Some(&proxy), &mut found);
        let found = serde_json::to_value(found).unwrap();
        let expected = json!([
            {"path": "a.b[0]", "pilot": 1, "proxy": 2},
            {"path": "a.b[2]", "proxy": 3},
            {"path": "d", "pilot": null},
            {"path": "e", "proxy": 4},
        ]);
        assert_eq!(found, expected);
    }

    #[test]
    fn a_resource_of_one_side_only_is_shown_whole() {
        let none = changed("/configs/1/dynamic_listeners", json!([]));
        let missing = Comparison::of(&dump(), &none);
        assert_eq!(missing.listeners[0].found, Found::OnlyInPilot);
        let whole =
            "--- Pilot Listeners 80\n+++ Proxy Listeners 80\n@@ -1,3 +0,0 @@\n-{\n-  \"name\": \"80\"\n-}\n";
        assert!(missing.render().contains(whole), "{}", missing.render());
        let extra = Comparison::of(&none, &dump());
        assert_eq!(extra.listeners[0].found, Found::OnlyInProxy);
        let value = serde_json::to_value(&extra).unwrap();
        assert_eq!(value["listeners"], json!([{"name": "80", "found": "onlyInProxy"}]));
    }
}
