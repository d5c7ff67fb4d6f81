//! Pure. Adjusts a pod that has its sidecar already and is reviewed again because another webhook has changed it. What
//! the other webhook added is treated as if it had been there before: its probes go through the sidecar, its metrics
//! are merged, and containers that must start after the sidecar do. All else stays, so a third review changes nothing.

use k8s_openapi::{
    api::core::v1::{Container, EnvVar, Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Map, Value};

use crate::render::{
    container::PROGRAM,
    context::{Context, INIT_NAME, PROXY_NAME},
    ending,
    environment::{self, APP_CONTAINERS, APP_PROBERS, POD_PORTS, SCRAPE},
    metadata, probe,
};

/// Returns the pod with later additions adjusted.
pub fn adjusted(pod: &Pod, context: &Context) -> Pod {
    let mut pod = pod.clone();
    let scrape = scraping(&mut pod.metadata, context);
    if let Some(spec) = &mut pod.spec {
        let probers = context.rewrites_probes().then(|| probe::rewrite(spec, context.probe_port())).flatten();
        if !context.is_gateway() && sidecar(spec).is_some_and(|sidecar| is_ours(sidecar)) {
            ending::wait(spec, context);
        }
        if let Some(sidecar) = sidecar(spec) {
            inform(sidecar, context, probers.as_deref(), scrape);
        }
        order(spec, context);
    }
    pod
}

/// Merges the application's metrics if the scrape annotations were changed to point elsewhere than at the sidecar.
fn scraping(metadata: &mut ObjectMeta, context: &Context) -> Option<String> {
    if context.overrides.scrape_targets.is_empty() {
        return metadata::take_over_scraping(metadata, context);
    }
    // Metrics pages named by the scrape-targets annotation do not change with these.
    metadata::take_over_scraping(metadata, context);
    None
}

fn sidecar(spec: &mut PodSpec) -> Option<&mut Container> {
    let inits = spec.init_containers.iter_mut().flatten();
    spec.containers.iter_mut().chain(inits).find(|container| container.name == PROXY_NAME)
}

/// Whether the sidecar serves the hooks that this injector adds. Istio's own does not.
fn is_ours(sidecar: &Container) -> bool {
    sidecar.command.iter().flatten().next().is_some_and(|program| program == PROGRAM)
}

fn inform(sidecar: &mut Container, context: &Context, probers: Option<&str>, scrape: Option<String>) {
    if let Some(late) = probers {
        let known = value(sidecar, APP_PROBERS).unwrap_or("{}");
        let merged = merged(known, late);
        set(sidecar, APP_PROBERS, merged);
    }
    if let Some(scrape) = scrape {
        set(sidecar, SCRAPE, scrape);
    }
    if context.is_gateway() {
        return;
    }
    for (name, value) in
        [(APP_CONTAINERS, environment::names(context)), (POD_PORTS, environment::ports(context))]
    {
        let means_the_same = self::value(sidecar, name).is_none_or(|known| same(known, &value));
        if !means_the_same {
            set(sidecar, name, value);
        }
    }
}

/// Merges probes by path; those of the current pod take precedence.
fn merged(known: &str, late: &str) -> String {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).unwrap_or_default();
    let mut probers = parse(known);
    probers.extend(parse(late));
    Value::Object(probers).to_string()
}

/// Whether two texts are equal, as text or as JSON: another injector may have written one of them.
fn same(one: &str, other: &str) -> bool {
    let parse = |text: &str| serde_json::from_str::<Value>(text).ok();
    one == other || parse(one).is_some_and(|one| Some(one) == parse(other))
}

fn value<'a>(container: &'a Container, name: &str) -> Option<&'a str> {
    container.env.iter().flatten().find(|variable| variable.name == name)?.value.as_deref()
}

fn set(container: &mut Container, name: &str, value: String) {
    let variables = container.env.get_or_insert_default();
    match variables.iter_mut().find(|variable| variable.name == name) {
        Some(variable) => (variable.value, variable.value_from) = (Some(value), None),
        None => {
            variables.push(EnvVar { name: name.to_owned(), value: Some(value), value_from: None });
        }
    }
}

/// Orders init containers as `place` does; within each group the order is unchanged.
pub fn order(spec: &mut PodSpec, context: &Context) {
    let Some(inits) = &mut spec.init_containers else { return };
    let native = inits.iter().any(|container| container.name == PROXY_NAME);
    let before = &context.overrides.before_proxy;
    let rank = |container: &Container| {
        let listed = before.iter().position(|name| *name == container.name);
        match (container.name.as_str(), native) {
            (INIT_NAME, true) => 0,
            (PROXY_NAME, _) => before.len() + 1,
            (INIT_NAME, false) => before.len() + 3,
            _ => listed.filter(|_| native).map_or(before.len() + 2, |at| at + 1),
        }
    };
    if !inits.is_sorted_by_key(rank) {
        inits.sort_by_key(rank);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_probes_are_added_to_the_known_ones_and_take_precedence() {
        assert_eq!(
            merged(r#"{"a":{"x":1},"b":{}}"#, r#"{"a":{"y":2},"c":{}}"#),
            r#"{"a":{"y":2},"b":{},"c":{}}"#
        );
        assert_eq!(merged("nonsense", r#"{"c":{}}"#), r#"{"c":{}}"#);
    }

    #[test]
    fn json_of_another_writer_is_the_same() {
        assert!(same("[\n {\"containerPort\":80}\n]", "[{\"containerPort\":80}]") && same("a,b", "a,b"));
        assert!(!same("a", "a,b") && !same("[]", "[1]"));
    }
}
