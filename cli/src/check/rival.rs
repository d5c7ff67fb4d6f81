//! Pure. Findings about others who do in a cluster what Ostria does, an Istio or another control plane of Ostria: their
//! webhooks, and namespaces whose traffic they capture otherwise.

use k8s_openapi::api::admissionregistration::v1::{
    MutatingWebhookConfiguration, ValidatingWebhookConfiguration,
};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::check::finding::{Finding, count, some};
use crate::check::owner::{is_ours, labels_of, name, owner};
use crate::check::plane::Plane;
use crate::check::selection::{Labels, is_injector, selects};

/// The findings about other injectors that select namespaces which this control plane selects.
pub fn injectors(
    plane: &Plane,
    configurations: &[MutatingWebhookConfiguration],
    namespaces: &[Namespace],
) -> Vec<Finding> {
    let mut findings = vec![];
    let own = plane.injector();
    let others = configurations.iter().filter(|one| name(&one.metadata) != own && is_injector(one));
    let mut count_of_others = 0;
    for other in others {
        count_of_others += 1;
        let shared: Vec<String> = plane
            .selectors()
            .into_iter()
            .filter(|(key, value)| selects(other, &one_label(key, value), &Labels::new()))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        if shared.is_empty() {
            continue;
        }
        let affected = namespaces.iter().filter(|namespace| {
            let labels = labels_of(&namespace.metadata);
            selects(other, &labels, &Labels::new())
                && plane.selectors().iter().any(|(key, value)| labels.get(*key) == Some(value))
        });
        let affected: Vec<&str> = affected.map(|namespace| name(&namespace.metadata)).collect();
        findings.push(conflict(plane, &other.metadata, &shared, &affected));
    }
    if findings.is_empty() {
        let text = match count_of_others {
            0 => "no other injector is in the cluster".to_owned(),
            others => format!("{} in the cluster, for other namespaces", count(others, "other injector")),
        };
        findings.push(Finding::ok(INJECTORS, text));
    }
    findings
}

fn conflict(plane: &Plane, other: &ObjectMeta, shared: &[String], affected: &[&str]) -> Finding {
    let namespaces = match affected {
        [] => "no namespace has such a label yet".to_owned(),
        _ => format!("namespaces with such a label: {}", some(affected)),
    };
    let who = format!(
        "{} of {} selects namespaces with {}, too ({namespaces})",
        name(other),
        owner(other),
        shared.join(" and ")
    );
    if is_ours(other) {
        let next = "a pod that both see gets one sidecar, from the webhook whose name is first in the alphabet; take \
                    the tag from one of them (--set revisionTags={})";
        return Finding::warning(INJECTORS, who, next);
    }
    let next = if plane.revision.is_empty() {
        "install under a revision of its own (--revision ostria), and move namespaces by the label istio.io/rev=ostria"
    } else {
        "choose another revision"
    };
    Finding::error(INJECTORS, who, next)
}

/// The finding about other webhooks that validate the mesh's objects, if there are any.
pub fn validators(plane: &Plane, configurations: &[ValidatingWebhookConfiguration]) -> Option<Finding> {
    let own = plane.validator();
    let validates = |one: &&ValidatingWebhookConfiguration| {
        let mut rules = one.webhooks.iter().flatten().flat_map(|webhook| webhook.rules.iter().flatten());
        rules.any(|rule| rule.api_groups.iter().flatten().any(|group| group.ends_with(".istio.io")))
    };
    let others = configurations.iter().filter(|one| name(&one.metadata) != own && !is_ours(&one.metadata));
    let others: Vec<&str> = others.filter(validates).map(|one| name(&one.metadata)).collect();
    (!others.is_empty()).then(|| {
        Finding::ok(
            "validation",
            format!("{} also validates the mesh's objects: an object must please both", some(&others)),
        )
    })
}

/// The finding about namespaces whose traffic Istio captures without sidecars, if there are any.
pub fn ambient(namespaces: &[Namespace]) -> Option<Finding> {
    let captured = namespaces.iter().filter(|namespace| {
        labels_of(&namespace.metadata).get("istio.io/dataplane-mode").is_some_and(|mode| mode == "ambient")
    });
    let names: Vec<&str> = captured.map(|namespace| name(&namespace.metadata)).collect();
    (!names.is_empty()).then(|| {
        Finding::warning(
            "ambient",
            format!("Istio captures the traffic of these namespaces without sidecars: {}", some(&names)),
            "remove their label istio.io/dataplane-mode before they get sidecars",
        )
    })
}

fn one_label(key: &str, value: &str) -> Labels {
    Labels::from([(key.to_owned(), value.to_owned())])
}

const INJECTORS: &str = "injection";

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read best as values")]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use crate::check::selection::tests::injector;
    use serde_json::{Value, json};

    fn istio() -> MutatingWebhookConfiguration {
        injector(
            "istio-sidecar-injector",
            &[
                (json!({"matchLabels": {"istio-injection": "enabled"}}), json!({})),
                (json!({"matchLabels": {"istio.io/rev": "default"}}), json!({})),
            ],
        )
    }

    fn namespace(name: &str, labels: Value) -> Namespace {
        serde_json::from_value(json!({"metadata": {"name": name, "labels": labels}})).unwrap()
    }

    fn plane(revision: &str) -> Plane {
        Plane { namespace: "istio-system".into(), revision: revision.into(), tags: vec![] }
    }

    #[test]
    fn an_istio_that_selects_the_same_namespaces_is_an_error_and_a_revision_avoids_it() {
        let shop = [namespace("shop", json!({"istio-injection": "enabled"})), namespace("other", json!({}))];
        let findings = injectors(&plane(""), &[istio()], &shop);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].level, Level::Error);
        assert_eq!(
            findings[0].message,
            "istio-sidecar-injector of an unknown owner selects namespaces with istio-injection=enabled and \
             istio.io/rev=default, too (namespaces with such a label: shop)"
        );
        let beside = injectors(&plane("ostria"), &[istio()], &shop);
        assert_eq!(
            (beside[0].level, beside[0].message.as_str()),
            (Level::Ok, "1 other injector in the cluster, for other namespaces")
        );
        let alone = injectors(&plane(""), &[], &shop);
        assert_eq!(alone[0].message, "no other injector is in the cluster");
    }

    #[test]
    fn the_own_configuration_is_no_rival_and_another_ostria_is_a_warning() {
        let own = MutatingWebhookConfiguration {
            metadata: ObjectMeta { name: Some(plane("").injector()), ..ObjectMeta::default() },
            ..istio()
        };
        assert_eq!(injectors(&plane(""), std::slice::from_ref(&own), &[])[0].level, Level::Ok);
        let mut other = own;
        other.metadata.labels = Some([("app.kubernetes.io/part-of".to_owned(), "ostria".to_owned())].into());
        let tagged = Plane { tags: vec!["default".into()], ..plane("canary") };
        assert_eq!(injectors(&tagged, &[other], &[])[0].level, Level::Warning);
    }

    #[test]
    fn validators_of_istio_and_ambient_namespaces_are_named() {
        let rules =
            json!([{"apiGroups": ["networking.istio.io", "security.istio.io"], "operations": ["CREATE"]}]);
        let one = |name: &str, rules: &Value| -> ValidatingWebhookConfiguration {
            let webhook = json!({"name": "v", "clientConfig": {}, "rules": rules, "sideEffects": "None",
                                 "admissionReviewVersions": ["v1"]});
            serde_json::from_value(json!({"metadata": {"name": name}, "webhooks": [webhook]})).unwrap()
        };
        let all = [one("istio-validator", &rules), one("other", &json!([{"apiGroups": ["apps"]}]))];
        let finding = validators(&plane(""), &all).unwrap();
        assert!(finding.message.starts_with("istio-validator also"), "{}", finding.message);
        assert_eq!(validators(&plane(""), &all[1..]), None);
        let ambient_one = namespace("a", json!({"istio.io/dataplane-mode": "ambient"}));
        assert_eq!(ambient(&[ambient_one]).unwrap().level, Level::Warning);
        assert_eq!(ambient(&[namespace("b", json!({}))]), None);
    }
}
