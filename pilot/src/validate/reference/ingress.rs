//! Pure. Checks that what an Ingress refers to exists: its class, the Services and ports of its backends, its certificates,
//! and a gateway that serves it.

use super::Finder;
use crate::catalog::ingress::{Backend, BackendPort, Class, Ingress};
use crate::catalog::kind::Item;
use crate::catalog::policy::IngressMode;
use crate::catalog::visibility::{Labels, selects};
use api::resource::document::Key;
use api::resource::kind::Kind;

impl Finder<'_> {
    pub(super) fn ingress(&mut self, ingress: &Ingress) {
        if !self.catalog.serves_ingress(ingress) {
            return self.unserved_class(&ingress.class);
        }
        for remark in &ingress.remarks {
            self.warn(&remark.path, remark.reason.clone(), &remark.next);
        }
        for (path, backend) in ingress.backends() {
            match backend {
                Backend::Service { name, port } => self.backend(&path, name, port),
                Backend::Resource => {
                    let reason = "is not supported: these requests get the response 503";
                    self.error(&format!("{path}.resource"), reason.into(), "write a Service instead");
                }
            }
        }
        let selector = self.catalog.mesh().ingress.selector.clone();
        let namespaces = self.namespaces(|pod| selects(&selector, &pod.labels));
        if namespaces.is_empty() {
            let reason = format!("no gateway serves it: no pod has the label {}", shown(&selector));
            self.warn(
                "spec",
                reason,
                "start a gateway with this label, or set ingressSelector of MeshConfig",
            );
        }
        self.ingress_secrets(&ingress.certificates, &namespaces);
    }

    /// Warns of an Ingress that is probably meant for the mesh's gateways, but has no class of theirs.
    fn unserved_class(&mut self, class: &Class) {
        let settings = &self.catalog.mesh().ingress;
        let own = settings.class.clone();
        let is_own = matches!(class, Class::Named(name) | Class::Annotated(name) if *name == own);
        if settings.mode == IngressMode::Off && is_own {
            let reason = "is not served: ingressControllerMode of MeshConfig is OFF";
            self.warn("spec.ingressClassName", reason.into(), "set ingressControllerMode to STRICT");
        } else if is_own && self.catalog.item(&Key::new(Kind::IngressClass, "", &own)).is_none() {
            let reason = format!("there is no IngressClass {own}: no gateway serves this Ingress");
            let next = "apply an IngressClass with controller `istio.io/ingress-controller`";
            self.warn("spec.ingressClassName", reason, next);
        }
    }

    fn backend(&mut self, path: &str, name: &str, port: &BackendPort) {
        let namespace = &self.key.namespace;
        let Some(Item::Service(service)) = self.catalog.item(&Key::new(Kind::Service, namespace, name))
        else {
            let reason = format!("there is no Service {namespace}/{name}");
            return self.warn(
                &format!("{path}.service.name"),
                reason,
                "apply the Service, or correct the name",
            );
        };
        let (field, wanted, found) = match port {
            BackendPort::Number(number) => ("number", number.to_string(), service.port(*number).is_some()),
            BackendPort::Name(name) => {
                ("name", format!("`{name}`"), service.ports.iter().any(|port| port.name == *name))
            }
        };
        if !found {
            let ports = service.ports.iter().map(|port| match port.name.as_str() {
                "" => port.number.to_string(),
                name => format!("{} ({name})", port.number),
            });
            let ports = ports.collect::<Vec<_>>().join(", ");
            let reason = format!("Service {namespace}/{name} has no port {wanted}");
            self.warn(&format!("{path}.service.port.{field}"), reason, &format!("its ports are {ports}"));
        }
    }
}

fn shown(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
}
