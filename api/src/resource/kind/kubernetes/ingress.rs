//! Pure. `Ingress` and `IngressClass`.

use crate::resource::column::{AGE, Column, items, listed, or, text};
use crate::resource::descriptor::Descriptor;
use serde_json::Value;

/// `networking.k8s.io/v1` Ingress.
pub const INGRESS: Descriptor = Descriptor {
    group: GROUP,
    kind: "Ingress",
    plural: "ingresses",
    short: &["ing"],
    categories: &[],
    namespaced: true,
    versions: &["v1"],
    columns: &[
        Column::computed("CLASS", |ingress, _| class(ingress)),
        Column::computed("HOSTS", |ingress, _| hosts(ingress)),
        Column::computed("ADDRESS", |ingress, _| address(ingress)),
        Column::computed("PORTS", |ingress, _| ports(ingress)),
        AGE,
    ],
    schema: None,
};

/// `networking.k8s.io/v1` IngressClass.
pub const INGRESS_CLASS: Descriptor = Descriptor {
    group: GROUP,
    kind: "IngressClass",
    plural: "ingressclasses",
    short: &[],
    categories: &[],
    namespaced: false,
    versions: &["v1"],
    columns: &[
        Column::path("CONTROLLER", ".spec.controller", "Controller that serves the class."),
        Column::computed("PARAMETERS", |class, _| parameters(class)),
        AGE,
    ],
    schema: None,
};

const GROUP: &str = "networking.k8s.io";

/// The annotation that names the class of an Ingress; `ingressClassName` is its successor.
pub const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";

fn class(ingress: &Value) -> String {
    let annotated = ingress["metadata"]["annotations"][CLASS_ANNOTATION].as_str().unwrap_or_default();
    or(text(ingress, ".spec.ingressClassName"), &or(annotated, "<none>"))
}

fn hosts(ingress: &Value) -> String {
    let named = items(ingress, ".spec.rules").map(|rule| or(text(rule, ".host"), "*"));
    let mut all: Vec<String> = vec![];
    for host in named {
        if !all.contains(&host) {
            all.push(host);
        }
    }
    let more = all.len().saturating_sub(MOST_HOSTS);
    match (all.as_slice(), more) {
        ([], _) => "*".into(),
        (all, 0) => all.join(","),
        (all, more) => format!("{} + {more} more...", all[..MOST_HOSTS].join(",")),
    }
}

fn address(ingress: &Value) -> String {
    let given = items(ingress, ".status.loadBalancer.ingress")
        .map(|to| if text(to, ".ip").is_empty() { text(to, ".hostname") } else { text(to, ".ip") });
    let given = listed(given);
    if given == "<none>" { String::new() } else { given }
}

fn ports(ingress: &Value) -> String {
    let encrypted = items(ingress, ".spec.tls").next().is_some();
    if encrypted { "80, 443".into() } else { "80".into() }
}

fn parameters(class: &Value) -> String {
    let to = &class["spec"]["parameters"];
    let kind = text(to, ".kind");
    if kind.is_empty() {
        return "<none>".into();
    }
    let group = text(to, ".apiGroup");
    let kind = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    format!("{kind}/{}", text(to, ".name"))
}

/// How many hosts kubectl prints.
const MOST_HOSTS: usize = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_ingress_shows_its_class_hosts_address_and_ports() {
        let rule = |host: &str| json!({"host": host});
        let many = json!({
            "metadata": {"annotations": {CLASS_ANNOTATION: "old"}},
            "spec": {"rules": [rule("a"), rule("b"), rule("a"), rule("c"), rule("d"), {}], "tls": [{}]},
            "status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}, {"hostname": "lb.test"}]}},
        });
        let shown = |value: &Value| [class(value), hosts(value), address(value), ports(value)];
        assert_eq!(shown(&many), ["old", "a,b,c + 2 more...", "1.2.3.4,lb.test", "80, 443"]);
        let plain = json!({"spec": {"ingressClassName": "istio", "defaultBackend": {}}});
        assert_eq!(shown(&plain), ["istio", "*", "", "80"]);
        assert_eq!(shown(&json!({}))[0], "<none>");
        let class = json!({"spec": {"parameters": {"apiGroup": "g.test", "kind": "P", "name": "n"}}});
        assert_eq!((parameters(&class), parameters(&json!({}))), ("P.g.test/n".into(), "<none>".into()));
    }
}
