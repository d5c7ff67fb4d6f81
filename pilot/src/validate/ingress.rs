//! Pure. Validates Ingresses and IngressClasses, by the rules of Kubernetes' API server where it has some.

use crate::catalog::ingress::{
    Backend, BackendPort, Certificate, Class, Ingress, IngressClass, Path, Remark, Rule,
};
use crate::catalog::visibility::Origin;
use crate::check::finding::Findings;
use crate::check::value;
use api::model::route::PathMatch;
use api::resource::kind::kubernetes::ingress::CLASS_ANNOTATION;
use api::resource::object::Object;
use api::resource::verdict::REVISION;
use k8s_openapi::api::networking::v1 as written;

pub(super) fn check(f: &mut Findings, object: &Object, ingress: &written::Ingress) -> Ingress {
    let spec = ingress.spec.clone().unwrap_or_default();
    let class = class(f, object, &spec);
    let written_rules = spec.rules.as_deref().unwrap_or_default();
    let rules: Vec<Rule> =
        written_rules.iter().enumerate().map(|(i, one)| rule(f, &format!("spec.rules[{i}]"), one)).collect();
    let default = spec.default_backend.as_ref();
    let default_backend = default.and_then(|one| backend(f, "spec.defaultBackend", one));
    if written_rules.is_empty() && default.is_none() {
        f.error("spec", "has neither rules nor a defaultBackend", "add one of them");
    }
    let tls = spec.tls.as_deref().unwrap_or_default().iter().enumerate();
    let certificates = tls.filter_map(|(i, one)| certificate(f, i, one)).collect();
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let given = status.and_then(|balancer| balancer.ingress.as_deref()).unwrap_or_default();
    let mut addresses: Vec<String> =
        given.iter().filter_map(|one| one.ip.clone().or_else(|| one.hostname.clone())).collect();
    addresses.sort();
    // Most clusters have Ingresses of other controllers, whose authors are not to be warned.
    let remarks = std::mem::take(&mut f.warnings).into_iter();
    let remarks = remarks.map(|r| Remark { path: r.path, reason: r.reason, next: r.next }).collect();
    let revision = object.labels.get(REVISION).cloned().unwrap_or_default();
    Ingress {
        origin: Origin::of(object),
        revision,
        class,
        rules,
        default_backend,
        certificates,
        addresses,
        remarks,
    }
}

pub(super) fn ingress_class(object: &Object, class: &written::IngressClass) -> IngressClass {
    let controller = class.spec.as_ref().and_then(|spec| spec.controller.clone()).unwrap_or_default();
    IngressClass { name: object.name().to_owned(), controller }
}

fn class(f: &mut Findings, object: &Object, spec: &written::IngressSpec) -> Class {
    let named = spec.ingress_class_name.as_ref();
    match (object.annotations.get(CLASS_ANNOTATION), named) {
        (Some(annotated), named) => {
            if named.is_some_and(|named| named != annotated) {
                let reason = format!("is ignored: the annotation {CLASS_ANNOTATION} says `{annotated}`");
                f.warn("spec.ingressClassName", reason, "keep one of the two");
            }
            Class::Annotated(annotated.clone())
        }
        (None, Some(named)) => Class::Named(named.clone()),
        (None, None) => Class::Unnamed,
    }
}

fn rule(f: &mut Findings, path: &str, rule: &written::IngressRule) -> Rule {
    let host = rule.host.as_deref().filter(|host| !host.is_empty());
    let host = host.map_or_else(
        || "*".to_owned(),
        |text| {
            host_name(f, &format!("{path}.host"), text);
            text.to_ascii_lowercase()
        },
    );
    let Some(http) = &rule.http else {
        let next = "add http.paths, or remove the rule";
        f.warn(format!("{path}.http"), "is missing: the rule has no effect", next);
        return Rule { host, paths: vec![] };
    };
    if http.paths.is_empty() {
        f.missing(format!("{path}.http.paths"));
    }
    let paths = http.paths.iter().enumerate();
    let paths = paths.filter_map(|(i, one)| {
        let path = format!("{path}.http.paths[{i}]");
        let matched = matched(f, &path, one);
        backend(f, &format!("{path}.backend"), &one.backend).map(|backend| Path { matched, backend })
    });
    Rule { host, paths: paths.collect() }
}

/// Checks a host: a name, or `*.` and a name. Kubernetes allows neither addresses nor other wildcards.
fn host_name(f: &mut Findings, path: &str, text: &str) {
    let name = text.strip_prefix("*.").unwrap_or(text);
    if name.contains('*') || name.parse::<std::net::IpAddr>().is_ok() {
        f.error(path, format!("`{text}` is not a valid host"), "write a domain name or `*.domain`");
    } else {
        value::domain(f, path, name, false);
    }
}

/// The paths that match: for `Exact` the same path, for `Prefix` those that begin with the same elements. A path of type
/// `ImplementationSpecific` is exact unless it ends in `/*` or `.*`, as in Istio.
fn matched(f: &mut Findings, at: &str, path: &written::HTTPIngressPath) -> Option<PathMatch> {
    let text = path.path.as_deref().unwrap_or_default();
    let field = format!("{at}.path");
    if !text.is_empty() && !text.starts_with('/') {
        f.error(&field, format!("`{text}` is not an absolute path"), "begin it with `/`");
    }
    match path.path_type.as_str() {
        "Exact" | "Prefix" if text.is_empty() => {
            f.missing(field);
            None
        }
        "Exact" => {
            check_path(f, &field, text);
            Some(PathMatch::Exact(text.to_owned()))
        }
        "Prefix" => {
            check_path(f, &field, text);
            elements(text)
        }
        "" => {
            let next = "write Exact, Prefix or ImplementationSpecific: Kubernetes requires it";
            f.warn(format!("{at}.pathType"), "is missing: ImplementationSpecific is used", next);
            specific(f, &field, text)
        }
        "ImplementationSpecific" => specific(f, &field, text),
        other => {
            let reason = format!("`{other}` is not a path type");
            f.error(format!("{at}.pathType"), reason, "write Exact, Prefix or ImplementationSpecific");
            None
        }
    }
}

/// Matches paths that begin with the same elements. `None`: every path does.
fn elements(prefix: &str) -> Option<PathMatch> {
    let trimmed = prefix.trim_end_matches('/');
    (!trimmed.is_empty()).then(|| PathMatch::Segments(trimmed.to_owned()))
}

fn specific(f: &mut Findings, field: &str, text: &str) -> Option<PathMatch> {
    if text.is_empty() || text == "/*" {
        return None;
    }
    if let Some(prefix) = text.strip_suffix(".*").or_else(|| text.strip_suffix("/*")) {
        return elements(prefix);
    }
    if text.contains('*') {
        let next = "end the path in `/*`, or use pathType Prefix";
        f.warn(field, format!("`{text}` is compared literally: `*` is no wildcard here"), next);
    }
    Some(PathMatch::Exact(text.to_owned()))
}

/// Refuses what the API server refuses: such paths could be read in two ways.
fn check_path(f: &mut Findings, field: &str, text: &str) {
    let lower = text.to_ascii_lowercase();
    let inside = ["//", "/./", "/../", "%2f"].into_iter().find(|part| lower.contains(part));
    let found = inside.or_else(|| ["/..", "/."].into_iter().find(|end| lower.ends_with(end)));
    if let Some(part) = found {
        f.error(field, format!("`{text}` contains `{part}`"), "write the path without it");
    }
}

fn backend(f: &mut Findings, path: &str, backend: &written::IngressBackend) -> Option<Backend> {
    if backend.resource.is_some() {
        if backend.service.is_some() {
            f.error(path, "has both service and resource", "keep one of the two");
        }
        return Some(Backend::Resource);
    }
    let Some(service) = &backend.service else {
        f.missing(format!("{path}.service"));
        return None;
    };
    let name = &service.name;
    if name.is_empty() {
        f.missing(format!("{path}.service.name"));
    } else if !value::is_label(name) {
        let reason = format!("`{name}` is not a valid name of a Service");
        f.error(format!("{path}.service.name"), reason, "correct it");
    }
    let port = service.port.clone().unwrap_or_default();
    let named = port.name.filter(|name| !name.is_empty());
    let at = format!("{path}.service.port");
    let port = match (port.number.filter(|number| *number != 0), named) {
        (Some(_), Some(_)) => {
            f.error(at, "has both name and number", "keep one of the two");
            return None;
        }
        (Some(number), None) => BackendPort::Number(value::port(f, &format!("{at}.number"), number.into())),
        (None, Some(name)) => BackendPort::Name(name),
        (None, None) => {
            f.error(at, "has neither name nor number", "add one of the two");
            return None;
        }
    };
    Some(Backend::Service { name: name.clone(), port })
}

fn certificate(f: &mut Findings, index: usize, tls: &written::IngressTLS) -> Option<Certificate> {
    let path = format!("spec.tls[{index}]");
    let mut hosts: Vec<String> = vec![];
    for (i, host) in tls.hosts.iter().flatten().enumerate() {
        let at = format!("{path}.hosts[{i}]");
        host_name(f, &at, host);
        let host = host.to_ascii_lowercase();
        if hosts.contains(&host) {
            f.warn(at, format!("`{host}` is a duplicate"), "keep one of the two");
        } else {
            hosts.push(host);
        }
    }
    let Some(secret) = tls.secret_name.as_deref().filter(|name| !name.is_empty()) else {
        let reason = "is missing: there is no certificate, so these hosts are not served over TLS";
        f.warn(format!("{path}.secretName"), reason, "name a Secret with tls.crt and tls.key");
        return None;
    };
    let secret = value::secret(f, &format!("{path}.secretName"), secret).to_owned();
    let hosts = if hosts.is_empty() { vec!["*".to_owned()] } else { hosts };
    Some(Certificate { index, hosts, secret })
}
