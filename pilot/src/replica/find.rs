//! Pure. The other replicas of pilot in a cluster, found like any client finds them: the endpoints of pilot's Services in
//! the root namespace. Those of other revisions are among them, because their proxies get the same objects.

use crate::catalog::Catalog;
use crate::catalog::service::Registry;
use crate::revision;
use api::identity::SpiffeId;
use api::model::endpoint::{EndpointAddress, Health};
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// The ready replicas other than the pod `own`: each address, with the service account that runs there.
pub(super) fn others(catalog: &Catalog, root: &str, own: &str) -> BTreeMap<SocketAddr, String> {
    let services = catalog.services().filter(|service| {
        service.registry == Registry::Kubernetes && service.namespace == root && is_pilot(&service.name)
    });
    let ports = services.flat_map(|service| {
        let ports = service.ports.iter().filter(|port| port.number == PORT);
        ports.flat_map(|port| catalog.endpoints(service, port))
    });
    ports
        .filter(|endpoint| endpoint.health == Health::Healthy)
        .filter_map(|endpoint| {
            let pod = endpoint.workload.as_ref().filter(|pod| pod.name != own)?;
            let EndpointAddress::Socket(address) = endpoint.address else { return None };
            Some((address, pod.service_account.clone()))
        })
        .collect()
}

/// Whether a client is a replica of pilot, by the identity in its certificate.
pub fn is_replica(identity: &SpiffeId, root: &str) -> bool {
    identity.namespace() == Some(root) && identity.service_account().is_some_and(is_pilot)
}

/// Whether a Service or service account is pilot's, of any revision.
fn is_pilot(name: &str) -> bool {
    revision::in_name(name, NAME).is_some()
}

/// The name of pilot's Service and service account.
pub(super) const NAME: &str = "ostria-pilot";
/// The port for xDS over mTLS, on which replicas ask each other too.
const PORT: u16 = 15012;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Fact;
    use crate::validate;
    use api::resource::parse;

    fn catalog(yaml: &str) -> Catalog {
        let catalog = Catalog::default();
        let facts = parse::parse("test.yaml", yaml).documents.into_iter().map(Fact::Upsert).collect();
        catalog.apply(validate::judge(facts, catalog.mesh()).0).0
    }

    fn pilot(name: &str, pods: &[(&str, &str, bool)]) -> String {
        let mut yaml = vec![format!(
            "
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: istio-system}}
spec:
  clusterIP: 10.0.0.1
  selector: {{app: {name}}}
  ports: [{{port: 15012, name: grpc-xds}}, {{port: 15014, name: http-monitoring}}]
"
        )];
        for (pod, address, ready) in pods {
            yaml.push(format!(
                "---
apiVersion: v1
kind: Pod
metadata: {{name: {pod}, namespace: istio-system, labels: {{app: {name}}}}}
spec: {{serviceAccountName: {name}, containers: [{{name: pilot}}]}}
status: {{podIP: {address}, phase: Running, conditions: [{{type: Ready, status: \"{ready}\"}}]}}
"
            ));
        }
        yaml.concat()
    }

    #[test]
    fn the_other_ready_replicas_of_all_revisions_are_found() {
        let yaml = [
            pilot(
                "ostria-pilot",
                &[("a", "10.1.0.1", true), ("b", "10.1.0.2", true), ("c", "10.1.0.3", false)],
            ),
            pilot("ostria-pilot-canary", &[("d", "10.1.0.4", true)]),
            pilot("ostria-pilots", &[("e", "10.1.0.5", true)]),
        ];
        let yaml = yaml
            .map(|text| text.replace("\"true\"", "\"True\"").replace("\"false\"", "\"False\""))
            .join("---");
        let found = others(&catalog(&yaml), "istio-system", "a");
        let found: Vec<String> =
            found.iter().map(|(address, account)| format!("{address} {account}")).collect();
        assert_eq!(found, ["10.1.0.2:15012 ostria-pilot", "10.1.0.4:15012 ostria-pilot-canary"]);
        assert!(others(&catalog(&yaml), "other", "a").is_empty());
    }

    #[test]
    fn a_replica_is_known_by_its_identity() {
        for (identity, expected) in [
            ("spiffe://cluster.local/ns/istio-system/sa/ostria-pilot", true),
            ("spiffe://cluster.local/ns/istio-system/sa/ostria-pilot-canary", true),
            ("spiffe://cluster.local/ns/istio-system/sa/ostria-pilots", false),
            ("spiffe://cluster.local/ns/istio-system/sa/default", false),
            ("spiffe://cluster.local/ns/shop/sa/ostria-pilot", false),
        ] {
            assert_eq!(is_replica(&identity.parse().unwrap(), "istio-system"), expected, "{identity}");
        }
    }
}
