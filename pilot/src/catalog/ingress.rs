//! Pure. Ingresses and IngressClasses in checked form.

use super::visibility::Origin;
use api::model::route::PathMatch;

/// An Ingress. Which class it has, and what the ports' names stand for, depends on other objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Ingress {
    /// The object.
    pub origin: Origin,
    /// Its label `istio.io/rev`; empty if there is none.
    pub revision: String,
    /// Its class.
    pub class: Class,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
    /// Where requests go that no rule matches.
    pub default_backend: Option<Backend>,
    /// Its certificates.
    pub certificates: Vec<Certificate>,
    /// The addresses in its status, sorted.
    pub addresses: Vec<String>,
    /// The warnings about it, which its author gets if the mesh's gateways serve it.
    pub remarks: Vec<Remark>,
}

/// A warning about a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The field.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
    /// The advice.
    pub next: String,
}

/// How an Ingress names its class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// By the annotation `kubernetes.io/ingress.class`, which takes precedence.
    Annotated(String),
    /// By the name of an IngressClass.
    Named(String),
    /// Not at all.
    Unnamed,
}

/// A rule: a host with its paths.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    /// The host in lower case, `*.domain`, or `*` for every host.
    pub host: String,
    /// Its paths, in order; those of a rule without paths are absent.
    pub paths: Vec<Path>,
}

/// A path of a rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Path {
    /// Which paths match; absent: all.
    pub matched: Option<PathMatch>,
    /// Where the requests go.
    pub backend: Backend,
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Backend {
    /// To a port of a Service in the namespace of the Ingress.
    Service {
        /// Name of the Service.
        name: String,
        /// Its port.
        port: BackendPort,
    },
    /// To an object of another kind, which is not supported.
    Resource,
}

/// How a backend names its port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendPort {
    /// By its number.
    Number(u16),
    /// By its name.
    Name(String),
}

/// A certificate for hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its index in `spec.tls`.
    pub index: usize,
    /// The hosts in lower case; `*` is every host.
    pub hosts: Vec<String>,
    /// Name of the Secret, in the namespace of the gateway's pods.
    pub secret: String,
}

/// An IngressClass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IngressClass {
    /// Its name.
    pub name: String,
    /// The controller that serves it.
    pub controller: String,
}

impl Ingress {
    /// The backends with their field paths, the default one last.
    pub fn backends<'a>(&'a self) -> impl Iterator<Item = (String, &'a Backend)> {
        let of_rule = |(r, rule): (usize, &'a Rule)| {
            let paths = rule.paths.iter().enumerate();
            paths.map(move |(p, path)| (path_field(r, p) + ".backend", path)).collect::<Vec<_>>()
        };
        let routed =
            self.rules.iter().enumerate().flat_map(of_rule).map(|(field, path)| (field, &path.backend));
        routed.chain(self.default_backend.iter().map(|backend| (DEFAULT_BACKEND.to_owned(), backend)))
    }
}

/// The field path of a path.
pub(super) fn path_field(rule: usize, path: usize) -> String {
    format!("spec.rules[{rule}].http.paths[{path}]")
}

/// The field path of the default backend.
pub(super) const DEFAULT_BACKEND: &str = "spec.defaultBackend";
