//! Pure. `ostria status`: the pods with their identities, and whether each proxy has acknowledged what pilot sent.

use serde_json::Value;

use api::resource::document::Problem;

use crate::view::table;
use crate::wire::{ControlLine, PodLine, Status};

/// The table of pods.
pub fn render(status: &Status, wide: bool) -> String {
    let mut head = vec!["NAME", "NAMESPACE", "ADDRESS", "READY", "STATUS", "RESTARTS", "SYNC"];
    if wide {
        head.extend(["CLUSTERS", "LISTENERS", "ROUTES", "ENDPOINTS", "IDENTITY"]);
    }
    let rows: Vec<Vec<String>> = status.pods.iter().map(|pod| row(pod, &status.proxies, wide)).collect();
    let warnings = findings("Refused", &status.refused) + &findings("Warning", &status.warnings);
    if rows.is_empty() {
        let none = if status.control.is_empty() { "No pods run." } else { "No pod has a proxy." };
        return format!("{none}\n{}{warnings}", control(&status.control));
    }
    let pods = table::render(&head, &rows);
    let gateway = match &status.gateway {
        none if none.is_empty() => String::new(),
        gateway => format!("gateway http://{gateway}   "),
    };
    if status.control.is_empty() {
        return format!("{pods}\n{gateway}process {}\n{warnings}", status.pid);
    }
    format!("{pods}\n{}{warnings}", control(&status.control))
}

/// One line for each finding about an object, up to a limit.
fn findings(word: &str, all: &[Problem]) -> String {
    let line = |problem: &Problem| format!("{word}: {}: {}\n", problem.object, problem.finding());
    let more = all.len().saturating_sub(MOST);
    let rest = (more > 0).then(|| format!("{word}: {more} more objects, which `-o json` lists\n"));
    all.iter().take(MOST).map(line).chain(rest).collect()
}

/// One line for each component of a cluster's control plane, with its pods.
fn control(lines: &[ControlLine]) -> String {
    let mut components: Vec<(&str, Vec<String>)> = Vec::new();
    for line in lines {
        let pod = if line.version.is_empty() {
            format!("{} (does not respond)", line.pod)
        } else {
            line.pod.clone()
        };
        match components.iter_mut().find(|(name, _)| *name == line.component) {
            Some((_, pods)) => pods.push(pod),
            None => components.push((&line.component, vec![pod])),
        }
    }
    components.iter().fold(String::new(), |text, (name, pods)| text + name + ": " + &pods.join(", ") + "\n")
}

fn row(pod: &PodLine, proxies: &Value, wide: bool) -> Vec<String> {
    let proxy = proxy(pod, proxies);
    let states = proxy.map(states);
    let in_step = proxy.is_none_or(|proxy| proxy["in_step"] != false);
    let mut row = vec![
        pod.name.clone(),
        pod.namespace.clone(),
        pod.address.clone(),
        pod.ready.clone(),
        pod.status.clone(),
        pod.restarts.to_string(),
        summary(pod, states.as_ref(), in_step),
    ];
    if wide {
        row.extend(states.unwrap_or_else(|| std::array::from_fn(|_| "-".into())));
        row.push(pod.identity.clone());
    }
    row
}

fn summary(pod: &PodLine, states: Option<&[String; 4]>, in_step: bool) -> String {
    match states {
        None if pod.identity == "-" => "-".into(),
        None => "NOT CONNECTED".into(),
        Some(states) if states.iter().all(|state| matches!(state.as_str(), "SYNCED" | "NOT SENT" | "-")) => {
            // Pilot may have changes that it has not sent yet, although everything sent is acknowledged.
            if in_step { "SYNCED" } else { "STALE" }.into()
        }
        Some(states) => states.iter().find(|state| *state != "SYNCED").cloned().unwrap_or_default(),
    }
}

/// Finds the proxy of a pod. Pilot names it `POD.NAMESPACE`, or by the node id, whose third part is that name.
fn proxy<'a>(pod: &PodLine, proxies: &'a Value) -> Option<&'a Value> {
    let name = format!("{}.{}", pod.name, pod.namespace);
    proxies.as_array()?.iter().find(|proxy| {
        let known =
            ["proxy", "proxy_id", "node"].iter().find_map(|field| proxy[*field].as_str()).unwrap_or_default();
        known == name || known.split('~').nth(2) == Some(&name)
    })
}

/// The states of a proxy's clusters, listeners, routes and endpoints.
pub fn states(proxy: &Value) -> [String; 4] {
    [["cluster", "cds"], ["listener", "lds"], ["route", "rds"], ["endpoint", "eds"]]
        .map(|[long, short]| state(proxy, long, short))
}

fn state(proxy: &Value, long: &str, short: &str) -> String {
    let refused =
        |refusal: &Value| refusal["type"].as_str().is_some_and(|kind| kind.to_lowercase().contains(long));
    if proxy["refusals"].as_array().is_some_and(|refusals| refusals.iter().any(refused)) {
        return "REFUSED".into();
    }
    let text = |suffix: &str| {
        proxy[format!("{long}_{suffix}")].as_str().or_else(|| proxy[format!("{short}_{suffix}")].as_str())
    };
    match (text("sent"), text("acked")) {
        (None | Some(""), _) => "NOT SENT".into(),
        (sent, acked) if sent == acked => "SYNCED".into(),
        _ => "STALE".into(),
    }
}

/// Findings of one word that are shown.
const MOST: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refused_objects_and_those_without_effect_are_listed_below_the_pods() {
        let refused = Problem {
            object: "AuthorizationPolicy shop/a".into(),
            reason: "no".into(),
            ..Problem::default()
        };
        let many = Status { refused: vec![refused; MOST + 2], ..Status::default() };
        let text = render(&many, false);
        assert!(text.contains("\nRefused: AuthorizationPolicy shop/a: no\n"), "{text}");
        assert!(text.ends_with("Refused: 2 more objects, which `-o json` lists\n"), "{text}");
        let warning = Problem {
            object: "Sidecar shop/b".into(),
            path: "spec.workloadSelector".into(),
            reason: "this object has no effect".into(),
            ..Default::default()
        };
        let text = render(&Status { warnings: vec![warning], ..Status::default() }, false);
        let last = "Warning: Sidecar shop/b: spec.workloadSelector: this object has no effect\n";
        assert!(text.ends_with(last), "{text}");
    }

    #[test]
    fn the_control_plane_of_a_cluster_is_listed_by_component() {
        let line = |component: &str, pod: &str, version: &str| ControlLine {
            component: component.into(),
            pod: pod.into(),
            version: version.into(),
        };
        let control = vec![
            line("ostria-pilot", "p-1", "1"),
            line("ostria-pilot", "p-2", ""),
            line("ostria-citadel", "c", "1"),
        ];
        let text = render(&Status { control, ..Status::default() }, false);
        assert_eq!(
            text,
            "No pod has a proxy.\nostria-pilot: p-1, p-2 (does not respond)\nostria-citadel: c\n"
        );
    }

    #[test]
    fn the_table_fits_a_terminal_and_shows_identities_on_request() {
        let pod = PodLine {
            name: "istio-ingressgateway-5d4f8c9b7b-x2x7q".into(),
            namespace: "istio-system".into(),
            identity: "spiffe://cluster.local/ns/istio-system/sa/istio-ingressgateway".into(),
            address: "10.244.103.112".into(),
            ready: "2/2".into(),
            status: "Terminating".into(),
            ..PodLine::default()
        };
        let status = Status { pods: vec![pod], ..Status::default() };
        let widest = |text: &str| text.lines().map(|line| line.chars().count()).max();
        let text = render(&status, false);
        assert!(widest(&text) <= Some(120) && !text.contains("spiffe://"), "{text}");
        let text = render(&status, true);
        assert!(text.contains("IDENTITY\n") && text.contains("/sa/istio-ingressgateway\n"), "{text}");
    }

    #[test]
    fn a_proxy_is_synced_when_everything_sent_is_acknowledged() {
        let pod = PodLine {
            name: "web".into(),
            namespace: "default".into(),
            identity: "spiffe://x".into(),
            ..PodLine::default()
        };
        let proxies = |acked: &str, in_step: bool| json!([{"proxy": "web.default", "cluster_sent": "a", "cluster_acked": acked, "in_step": in_step}]);
        let sync = |proxies: &Value| row(&pod, proxies, false).pop().unwrap_or_default();
        assert_eq!(sync(&proxies("a", true)), "SYNCED");
        assert_eq!(sync(&proxies("b", true)), "STALE");
        assert_eq!(sync(&proxies("a", false)), "STALE", "something waits to be sent");
        assert_eq!(sync(&json!([])), "NOT CONNECTED");
    }
}
