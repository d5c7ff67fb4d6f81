//! From YAML objects to the resources of one proxy.

mod calls;
mod gateways;
mod ingress;
mod locality;

use super::{own, shared};
use crate::catalog::Catalog;
use crate::flow::{Fact, Scope};
use crate::snapshot::Snapshot;
use crate::validate;
use api::model::Resource;
use api::model::cluster::{Cluster, ClusterTls, Discovery, UpstreamHttp};
use api::model::endpoint::LoadAssignment;
use api::model::listener::{Listener, Protocol, RouteSource};
use api::model::route::{ClusterChoice, RouteAction, RouteConfiguration, VirtualHost};
use api::model::secret::SecretContent;
use api::model::workload::NameTable;
use api::resource::parse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

/// Two versions of reviews, a TCP service, a headless one, and one whose port is not declared.
pub(super) const SHOP: &str = "
apiVersion: v1
kind: Service
metadata: {name: reviews, namespace: shop}
spec: {clusterIP: 10.96.0.1, selector: {app: reviews}, ports: [{port: 9080, name: http}]}
---
apiVersion: v1
kind: Service
metadata: {name: store, namespace: shop}
spec: {clusterIP: 10.96.0.2, selector: {app: store}, ports: [{port: 6379, name: tcp-redis}]}
---
apiVersion: v1
kind: Service
metadata: {name: peers, namespace: shop}
spec: {clusterIP: None, selector: {app: reviews}, ports: [{port: 7000, name: tcp}]}
---
apiVersion: v1
kind: Service
metadata: {name: odd, namespace: shop}
spec: {clusterIP: 10.96.0.3, selector: {app: reviews}, ports: [{port: 8000, name: odd}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v1-a, namespace: shop, labels: {app: reviews, version: v1, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews, containers: [{name: c, command: [x]}]}
status: {podIP: 10.244.0.1, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Pod
metadata: {name: reviews-v2-b, namespace: shop, labels: {app: reviews, version: v2, security.istio.io/tlsMode: istio}}
spec: {serviceAccountName: reviews, containers: [{name: c, command: [x]}]}
status: {podIP: 10.244.0.2, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews, namespace: shop}
spec:
  host: reviews
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
";

pub(super) fn snapshot(texts: &[&str]) -> Snapshot {
    let mut catalog = Catalog::default();
    for text in texts {
        let parsed = parse::parse("test.yaml", text);
        assert!(parsed.refusals.is_empty(), "{:?}", parsed.refusals);
        let facts = parsed.documents.into_iter().map(Fact::Upsert).collect();
        let (changes, verdicts) = validate::judge(facts, catalog.mesh());
        let errors: Vec<_> = verdicts.iter().flat_map(|v| &v.errors).map(ToString::to_string).collect();
        assert!(errors.is_empty(), "{errors:?}");
        catalog = catalog.apply(changes).0;
    }
    #[expect(clippy::disallowed_methods, reason = "a test's own clock")]
    Snapshot::new(Arc::new(catalog), 1, Instant::now())
}

pub(super) fn scope(pod: &str, namespace: &str, labels: &[(&str, &str)]) -> Scope {
    Scope {
        gateway: false,
        pod: pod.into(),
        namespace: namespace.into(),
        proven: true,
        addresses: vec!["10.244.0.1".parse().unwrap()],
        labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>(),
        http_10: false,
        service_account: "reviews".into(),
        istio_extensions: true,
    }
}

/// All resources of one proxy, with look-ups by name.
pub(super) struct Resources(Vec<Resource>);

impl Resources {
    pub(super) fn of(texts: &[&str], scope: &Scope) -> Self {
        let snapshot = snapshot(texts);
        let mut all = shared(&snapshot, scope);
        all.extend(own(&snapshot, scope));
        let got = Self(all);
        got.is_whole();
        got
    }

    pub(super) fn cluster(&self, name: &str) -> &Cluster {
        let found = self.0.iter().find_map(|r| match r {
            Resource::Cluster(c) if c.name == name => Some(c.as_ref()),
            _ => None,
        });
        found.unwrap_or_else(|| panic!("no cluster {name}"))
    }

    pub(super) fn endpoints(&self, name: &str) -> Vec<String> {
        let found: Vec<&LoadAssignment> = self
            .0
            .iter()
            .filter_map(|r| match r {
                Resource::Endpoints(e) if e.cluster == name => Some(e),
                _ => None,
            })
            .collect();
        let [only] = found[..] else { panic!("{} assignments {name}", found.len()) };
        only.endpoints().map(|e| format!("{:?}", e.address)).collect()
    }

    pub(super) fn listeners(&self) -> impl Iterator<Item = &Listener> {
        self.0.iter().filter_map(|r| match r {
            Resource::Listener(l) => Some(l),
            _ => None,
        })
    }

    pub(super) fn listener(&self, name: &str) -> &Listener {
        self.listeners().find(|l| l.name == name).unwrap_or_else(|| panic!("no listener {name}"))
    }

    pub(super) fn tables(&self) -> impl Iterator<Item = &RouteConfiguration> {
        self.0.iter().filter_map(|r| match r {
            Resource::Route(t) => Some(t),
            _ => None,
        })
    }

    pub(super) fn names(&self) -> &NameTable {
        let found = self.0.iter().find_map(|r| match r {
            Resource::Names(names) => Some(names),
            _ => None,
        });
        found.expect("a sidecar gets names")
    }

    pub(super) fn host(&self, table: &str, name: &str) -> &VirtualHost {
        let table = self.tables().find(|t| t.name == table).unwrap_or_else(|| panic!("no table {table}"));
        table.virtual_hosts.iter().find(|h| h.name == name).unwrap_or_else(|| panic!("no host {name}"))
    }

    /// Checks what holds for every configuration: names are unique, and every reference resolves.
    fn is_whole(&self) {
        let mut names = BTreeSet::new();
        for resource in &self.0 {
            assert!(names.insert((resource.kind(), resource.name().to_owned())), "{} twice", resource.name());
        }
        let clusters: BTreeSet<&str> = self
            .0
            .iter()
            .filter_map(|r| match r {
                Resource::Cluster(c) => Some(c.name.as_str()),
                _ => None,
            })
            .collect();
        for table in self.tables() {
            let mut domains = BTreeSet::new();
            for host in &table.virtual_hosts {
                // At a gateway, a host without routes keeps a wider host from taking its requests.
                let has_route = !host.routes.is_empty() || host.require_tls || table.name.starts_with("http");
                assert!(!host.domains.is_empty() && has_route, "{}", host.name);
                for domain in &host.domains {
                    assert!(domains.insert(domain), "{domain} twice in {}", table.name);
                }
            }
        }
        for listener in self.listeners() {
            for chain in listener.chains.iter().chain(&listener.default_chain) {
                match &chain.protocol {
                    Protocol::Http(http) => {
                        if let RouteSource::Rds(name) = &http.routes {
                            assert!(self.tables().any(|t| t.name == *name), "{} wants {name}", listener.name);
                        }
                    }
                    Protocol::Tcp(tcp) => {
                        for name in tcp.clusters.names() {
                            assert!(clusters.contains(name), "{} wants {name}", listener.name);
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn clusters_of(host: &VirtualHost) -> Vec<(String, u32)> {
    let forwards = host.routes.iter().filter_map(|r| match &r.action {
        RouteAction::Forward(forward) => Some(&forward.clusters),
        _ => None,
    });
    forwards
        .flat_map(|choice| match choice {
            ClusterChoice::Single(name) => vec![(name.clone(), 100)],
            ClusterChoice::Weighted(all) => all.iter().map(|c| (c.name.clone(), c.weight)).collect(),
            ClusterChoice::Header(_) => vec![],
        })
        .collect()
}

#[test]
fn a_service_without_rules_is_reached_by_all_its_names() {
    let got = Resources::of(&[SHOP], &scope("reviews-v1-a", "shop", &[]));
    let host = got.host("9080", "reviews.shop.svc.cluster.local:9080");
    assert_eq!(
        host.domains,
        ["reviews.shop.svc.cluster.local", "reviews", "reviews.shop.svc", "reviews.shop", "10.96.0.1"]
    );
    assert_eq!(clusters_of(host), [("outbound|9080||reviews.shop.svc.cluster.local".to_owned(), 100)]);
}

#[test]
fn a_short_name_resolves_only_in_its_own_namespace() {
    let got = Resources::of(&[SHOP], &scope("x", "other", &[]));
    let host = got.host("9080", "reviews.shop.svc.cluster.local:9080");
    assert!(!host.domains.contains(&"reviews".to_owned()));
}

#[test]
fn weights_lead_to_subsets_with_their_own_endpoints() {
    let split = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - route:
    - {destination: {host: reviews, subset: v1}, weight: 80}
    - {destination: {host: reviews, subset: v2}, weight: 20}
";
    let got = Resources::of(&[SHOP, split], &scope("reviews-v1-a", "shop", &[]));
    let (v1, v2) = (
        "outbound|9080|v1|reviews.shop.svc.cluster.local",
        "outbound|9080|v2|reviews.shop.svc.cluster.local",
    );
    let host = got.host("9080", "reviews.shop.svc.cluster.local:9080");
    assert_eq!(clusters_of(host), [(v1.to_owned(), 80), (v2.to_owned(), 20)]);
    assert_eq!(got.endpoints(v1), ["Socket(10.244.0.1:9080)"]);
    assert_eq!(got.endpoints(v2), ["Socket(10.244.0.2:9080)"]);
    assert_eq!(
        host.routes[0].origin.as_deref(),
        Some("/apis/networking.istio.io/v1/namespaces/shop/virtual-service/reviews")
    );
}

#[test]
fn a_match_on_source_labels_is_decided_for_each_proxy() {
    let by_label = "
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: reviews, namespace: shop}
spec:
  hosts: [reviews]
  http:
  - match: [{sourceLabels: {app: front}}]
    route: [{destination: {host: reviews, subset: v2}}]
  - route: [{destination: {host: reviews, subset: v1}}]
";
    let routes = |labels: &[(&str, &str)]| {
        let got = Resources::of(&[SHOP, by_label], &scope("x", "shop", labels));
        clusters_of(got.host("9080", "reviews.shop.svc.cluster.local:9080")).len()
    };
    assert_eq!(routes(&[("app", "front")]), 1, "a match of labels alone takes everything");
    assert_eq!(routes(&[]), 1);
}

#[test]
fn automatic_mtls_verifies_the_accounts_of_the_services_pods() {
    let got = Resources::of(&[SHOP], &scope("reviews-v1-a", "shop", &[]));
    let cluster = got.cluster("outbound|9080||reviews.shop.svc.cluster.local");
    let ClusterTls::WhenOffered(tls) = &cluster.tls else { panic!("{:?}", cluster.tls) };
    let names: Vec<_> =
        tls.common.validation.as_ref().unwrap().subject_alt_names.iter().map(|n| &n.value).collect();
    let account = api::model::matcher::StringMatch::exact("spiffe://cluster.local/ns/shop/sa/reviews");
    assert_eq!(names, [&account]);
    assert_eq!(tls.sni, "outbound_.9080_._.reviews.shop.svc.cluster.local");
}

#[test]
fn a_proxy_without_istios_filters_gets_the_alpn_of_each_port() {
    let stock = Scope { istio_extensions: false, ..scope("reviews-v1-a", "shop", &[]) };
    let got = Resources::of(&[SHOP], &stock);
    let alpn = |name: &str| match &got.cluster(name).tls {
        ClusterTls::WhenOffered(tls) => tls.common.alpn.join(" "),
        other => panic!("{other:?}"),
    };
    assert_eq!(alpn("outbound|9080||reviews.shop.svc.cluster.local"), "istio-http/1.1 istio http/1.1");
    assert_eq!(alpn("outbound|6379||store.shop.svc.cluster.local"), "istio");
}

#[test]
fn a_pod_that_enables_http_10_has_it_inbound_and_outbound() {
    for wanted in [false, true] {
        let got = Resources::of(&[SHOP], &Scope { http_10: wanted, ..scope("reviews-v1-a", "shop", &[]) });
        for listener in ["0.0.0.0_9080", "virtualInbound"] {
            for chain in &got.listener(listener).chains {
                let Protocol::Http(http) = &chain.protocol else { continue };
                assert_eq!(http.accept_http_10, wanted, "{listener} {}", chain.name);
                let plain = chain.criteria.application_protocols.iter().any(|alpn| alpn == "http/1.1");
                let known = chain.criteria.application_protocols.iter().any(|alpn| alpn == "http/1.0");
                assert_eq!(known, plain && wanted, "{listener} {}", chain.name);
            }
        }
    }
}

#[test]
fn a_disabled_port_is_reached_in_plaintext() {
    let policy = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: plain, namespace: shop}
spec: {mtls: {mode: DISABLE}}
";
    let snapshot = snapshot(&[SHOP, policy]);
    let all = shared(&snapshot, &scope("x", "shop", &[]));
    let offered = all.iter().any(|r| matches!(r, Resource::Endpoints(e) if e.endpoints().any(|e| e.mtls)));
    assert!(!offered);
}

#[test]
fn a_strict_policy_closes_the_plaintext_chains_of_a_workload() {
    let policy = "
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
";
    let plain = |texts: &[&str]| {
        let got = Resources::of(texts, &scope("reviews-v1-a", "shop", &[("app", "reviews")]));
        let listener = got.listener("virtualInbound").clone();
        listener.chains.iter().filter(|c| c.tls.is_none()).map(|c| c.name.clone()).collect::<Vec<_>>()
    };
    assert!(plain(&[SHOP]).len() > 1);
    assert_eq!(plain(&[SHOP, policy]), ["virtualInbound-blackhole"]);
}

#[test]
fn tcp_has_a_listener_at_its_address_and_headless_pods_have_one_each() {
    let got = Resources::of(&[SHOP], &scope("x", "shop", &[]));
    assert!(got.listener("10.96.0.2_6379").inspect.http.is_empty(), "declared TCP is not looked into");
    for pod in ["10.244.0.1_7000", "10.244.0.2_7000"] {
        assert_eq!(got.listener(pod).chains.len(), 0);
    }
    let headless = got.cluster("outbound|7000||peers.shop.svc.cluster.local");
    assert_eq!(headless.discovery, Discovery::OriginalDestination { port: None });
    assert!(matches!(headless.tls, ClusterTls::Always(_)), "all its pods have a sidecar");
}

#[test]
fn the_protocol_of_an_undeclared_port_is_detected() {
    let got = Resources::of(&[SHOP], &scope("x", "shop", &[]));
    let listener = got.listener("10.96.0.3_8000");
    assert!(
        listener.inspect.http.contains(8000)
            && listener.inspect.continue_on_timeout
            && listener.default_chain.is_some()
    );
    got.host("odd.shop.svc.cluster.local:8000", "odd.shop.svc.cluster.local:8000");
    assert_eq!(got.cluster("outbound|8000||odd.shop.svc.cluster.local").http, UpstreamHttp::SameAsClient);
}

const GATEWAY: &str = "
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: front, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: [shop.example], tls: {mode: SIMPLE, credentialName: shop-cert}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: front, namespace: shop}
spec:
  hosts: ['*']
  gateways: [front]
  http:
  - match: [{uri: {prefix: /reviews}}]
    route: [{destination: {host: reviews, port: {number: 9080}}}]
---
apiVersion: v1
kind: Service
metadata: {name: ingress, namespace: gates}
spec: {clusterIP: 10.96.0.9, selector: {istio: ingressgateway}, ports: [{port: 80, targetPort: 8080, name: http2}, {port: 443, targetPort: 8443, name: https}]}
---
apiVersion: v1
kind: Pod
metadata: {name: gate-1, namespace: gates, labels: {istio: ingressgateway}}
spec: {containers: [{name: istio-proxy, args: [proxy, router]}]}
status: {podIP: 10.244.0.9, phase: Running, conditions: [{type: Ready, status: 'True'}]}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-cert, namespace: gates}
type: kubernetes.io/tls
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
";

pub(super) fn gate() -> Scope {
    Scope { gateway: true, ..scope("gate-1", "gates", &[("istio", "ingressgateway")]) }
}

#[test]
fn a_gateway_listens_on_the_target_ports_of_its_service() {
    let got = Resources::of(&[SHOP, GATEWAY], &gate());
    let names: Vec<_> = got.listeners().map(|l| l.name.as_str()).collect();
    assert_eq!(names, ["0.0.0.0_8080", "0.0.0.0_8443"]);
    let host = got.host("http.8080", "*:80");
    assert_eq!(clusters_of(host), [("outbound|9080||reviews.shop.svc.cluster.local".to_owned(), 100)]);
    got.host("https.443.https.front.shop", "shop.example:443");
    let chain = &got.listener("0.0.0.0_8443").chains[0];
    assert_eq!(chain.criteria.server_names, ["shop.example"]);
}

/// Returns the secret that a proxy gets for a request, if any, and whether it contains a key.
fn secret(snapshot: &Snapshot, scope: &Scope, name: &str) -> Option<&'static str> {
    let uses = super::secret::uses(&scope.namespace, &shared(snapshot, scope));
    match super::secret::find(snapshot, scope, &uses, name)? {
        Resource::Secret(secret) => match secret.content {
            SecretContent::Certificate { .. } => Some("key"),
            SecretContent::Roots { .. } => Some("roots"),
        },
        other => panic!("{other:?} is no secret"),
    }
}

#[test]
fn a_gateways_secret_is_sent_only_to_a_verified_gateway_of_its_namespace() {
    let snapshot = snapshot(&[SHOP, GATEWAY]);
    let find = |scope: &Scope, name: &str| secret(&snapshot, scope, name).is_some();
    assert!(find(&gate(), "kubernetes://shop-cert") && find(&gate(), "kubernetes://gates/shop-cert"));
    let bare = GATEWAY.replace("args: [proxy, router]", "args: [x]");
    let bare = self::snapshot(&[SHOP, &bare]);
    assert_eq!(
        secret(&bare, &gate(), "kubernetes://shop-cert"),
        None,
        "nothing shows that it runs a gateway"
    );
    let others = [
        Scope { service_account: String::new(), ..gate() },
        Scope { namespace: "shop".into(), ..gate() },
        Scope { gateway: false, ..gate() },
        Scope { proven: false, ..gate() },
        Scope { labels: BTreeMap::new(), ..gate() },
        Scope { labels: [("istio".to_owned(), "egressgateway".to_owned())].into(), ..gate() },
    ];
    for other in others {
        assert!(!find(&other, "kubernetes://shop-cert"), "{other:?}");
    }
    for name in
        ["kubernetes://shop/shop-cert", "shop-cert", "file:///etc/passwd", "kubernetes://", "kubernetes:///"]
    {
        assert!(!find(&gate(), name), "{name}");
    }
}

#[test]
fn a_secret_is_served_in_the_form_that_a_gateway_or_rule_needs() {
    let more = "
apiVersion: v1
kind: Secret
metadata: {name: nobody, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----', ca.crt: '-----BEGIN CERTIFICATE-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: both, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----', ca.crt: '-----BEGIN CERTIFICATE-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-cert-cacert, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----'}
---
apiVersion: v1
kind: Secret
metadata: {name: partner, namespace: gates}
stringData: {tls.crt: '-----BEGIN CERTIFICATE-----', tls.key: '-----BEGIN PRIVATE KEY-----', ca.crt: '-----BEGIN CERTIFICATE-----'}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: mutual, namespace: shop}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: 443, name: https-b, protocol: HTTPS}, hosts: [mutual.example], tls: {mode: MUTUAL, credentialName: both}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: store, namespace: gates}
spec: {host: store.shop.svc.cluster.local, trafficPolicy: {tls: {mode: SIMPLE, sni: a, credentialName: partner}}}
";
    let snapshot = snapshot(&[SHOP, GATEWAY, more]);
    let cases = [
        ("shop-cert", Some("key")),
        // A gateway that requests no client certificate needs no roots; the Secret with that name is unrelated.
        ("shop-cert-cacert", None),
        ("both", Some("key")),
        ("both-cacert", Some("roots")),
        // The rule presents no client certificate.
        ("partner", None),
        ("partner-cacert", Some("roots")),
        ("nobody", None),
        ("nobody-cacert", None),
    ];
    for (name, expected) in cases {
        assert_eq!(secret(&snapshot, &gate(), &format!("kubernetes://{name}")), expected, "{name}");
    }
}

#[test]
fn a_proxy_that_did_not_prove_its_pod_gets_no_pod_specific_configuration() {
    let reviews = scope("reviews-v1-a", "shop", &[("app", "reviews")]);
    let ports = |scope: &Scope| {
        let got = own(&snapshot(&[SHOP]), scope);
        got.iter().filter(|r| r.name().starts_with("inbound|")).count()
    };
    assert_eq!(ports(&reviews), 3);
    assert_eq!(ports(&Scope { proven: false, ..reviews }), 0);
}

#[test]
fn endpoints_are_generated_only_for_eds_clusters() {
    let got = Resources::of(&[SHOP], &scope("reviews-v1-a", "shop", &[]));
    let offered = got.0.iter().filter_map(|r| match r {
        Resource::Endpoints(e) => Some(e.cluster.as_str()),
        _ => None,
    });
    let requested = got.0.iter().filter_map(|r| match r {
        Resource::Cluster(c) if matches!(c.discovery, Discovery::Eds(_)) => Some(c.name.as_str()),
        _ => None,
    });
    let (offered, requested): (BTreeSet<&str>, BTreeSet<&str>) = (offered.collect(), requested.collect());
    assert!(
        offered == requested && !offered.iter().any(|name| name.contains("peers")),
        "{offered:?} {requested:?}"
    );
}
