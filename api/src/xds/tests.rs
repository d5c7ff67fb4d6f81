//! A client and a server over a network that delays messages, reorders the two directions, and loses streams. In every
//! case, the client ends with the server's resources, and never has a route to a cluster that it lacks.

use super::client::Client;
use super::offer::{Offer, Resources};
use super::server::{Mode, Request, Response, Session};
use super::sotw::Sotw;
use super::table::Offered;
use crate::model::Kind;
use crate::wire::xds::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, NodeInfo};
use proptest::prelude::*;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// One event.
#[derive(Debug, Clone)]
enum Step {
    /// The configuration becomes this one: for each route its cluster, and the version of all clusters.
    Configure(Vec<u8>, u8),
    /// The server reads one request.
    ServerReads,
    /// The client reads one response.
    ClientReads,
    /// The stream is lost with all messages on it.
    Reconnect,
    /// The server stops waiting for acknowledgements.
    Release,
}

struct World {
    mode: Mode,
    offer: Resources,
    session: Session,
    client: Client,
    translation: Sotw,
    up: VecDeque<Request>,
    down: VecDeque<Response>,
    received: BTreeMap<Kind, BTreeMap<String, Vec<u8>>>,
}

impl World {
    fn new(mode: Mode) -> Self {
        let mut world = Self {
            mode,
            offer: configuration(&[], 0),
            session: Session::new(mode),
            client: Client::new(NodeInfo::default(), &[Kind::Cluster, Kind::Listener]),
            translation: Sotw::default(),
            up: VecDeque::new(),
            down: VecDeque::new(),
            received: BTreeMap::new(),
        };
        world.connect();
        world
    }

    fn connect(&mut self) {
        self.session = Session::new(self.mode);
        self.translation = Sotw::default();
        self.up.clear();
        let requests = self.client.connected();
        self.ask(requests);
    }

    fn ask(&mut self, requests: impl IntoIterator<Item = DeltaDiscoveryRequest>) {
        for request in requests {
            let request = match self.mode {
                Mode::Delta => Some(Request::Delta(request)),
                Mode::Sotw => self.translation.request(request).map(Request::Sotw),
            };
            self.up.extend(request);
        }
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Configure(routes, version) => {
                self.offer = configuration(routes, *version);
                let responses = self.session.push(&self.offer);
                self.send(responses);
            }
            Step::ServerReads => {
                if let Some(request) = self.up.pop_front() {
                    let responses = self.session.request(request, &self.offer);
                    self.send(responses);
                }
            }
            Step::ClientReads => {
                if let Some(response) = self.down.pop_front() {
                    let response = match self.mode {
                        Mode::Delta => response.into_delta(),
                        Mode::Sotw => response.into_sotw().and_then(|r| self.translation.response(r)),
                    };
                    self.apply(response.expect("only what was asked for is sent"));
                }
            }
            Step::Reconnect => {
                self.down.clear();
                self.connect();
            }
            Step::Release => {
                let responses = self.session.release(&self.offer);
                self.send(responses);
            }
        }
    }

    fn send(&mut self, responses: Vec<Response>) {
        self.down.extend(responses);
    }

    fn apply(&mut self, response: DeltaDiscoveryResponse) {
        let received = self.client.receive(response).expect("only subscribed resources are sent");
        let table = self.received.entry(received.kind).or_default();
        for (name, body) in &received.upserts {
            table.insert(name.clone(), body.value.clone());
        }
        for name in &received.removed {
            table.remove(name);
        }
        // The client subscribes to referenced resources before it acknowledges, as a client does that warms its
        // clusters.
        let wanted =
            |kind: Kind| self.received.get(&kind).map(|t| t.keys().cloned().collect()).unwrap_or_default();
        let (clusters, listeners): (BTreeSet<String>, BTreeSet<String>) =
            (wanted(Kind::Cluster), wanted(Kind::Listener));
        let endpoints = self.client.subscribe(Kind::Endpoints, &clusters);
        let routes = self.client.subscribe(Kind::Route, &listeners);
        self.ask(endpoints.into_iter().chain(routes));
        for (kind, names) in [(Kind::Endpoints, &clusters), (Kind::Route, &listeners)] {
            self.received.entry(kind).or_default().retain(|name, _| names.contains(name));
        }
        let acknowledgement = self.client.acknowledge(&received, &[]);
        self.ask([acknowledgement]);
    }

    fn settle(&mut self) {
        while !self.up.is_empty() || !self.down.is_empty() || self.session.is_holding_back() {
            self.step(&Step::ServerReads);
            self.step(&Step::ClientReads);
            if self.up.is_empty() && self.down.is_empty() {
                self.step(&Step::Release);
            }
        }
    }

    /// Whether the client has the cluster of each of its routes, with its endpoints.
    fn whole(&self) -> bool {
        let has = |kind: Kind, name: &str| self.received.get(&kind).is_some_and(|t| t.contains_key(name));
        let routes = self.received.get(&Kind::Route).into_iter().flatten();
        routes
            .map(|(_, body)| Body::decode(&body[..]).unwrap().content)
            .all(|cluster| has(Kind::Cluster, &cluster) && has(Kind::Endpoints, &cluster))
    }
}

/// A resource as far as the protocol knows it: a message whose first field is its name.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    content: String,
}

fn configuration(routes: &[u8], version: u8) -> Resources {
    let mut offer = Resources::new(version.to_string());
    let body = |kind: Kind, name: &str, content: &str| {
        let value = Body { name: name.to_owned(), content: content.to_owned() }.encode_to_vec();
        Offered::new(&Any { type_url: kind.type_url().to_owned(), value })
    };
    for (index, cluster) in routes.iter().enumerate() {
        let cluster = format!("cluster-{cluster}");
        let route = format!("route-{index}");
        let mut put = |kind, name: &str, content: &str| offer.insert(kind, name, body(kind, name, content));
        put(Kind::Cluster, &cluster, &format!("{version}"));
        put(Kind::Endpoints, &cluster, &format!("{}", version / 2));
        put(Kind::Listener, &route, "same");
        put(Kind::Route, &route, &cluster);
    }
    offer
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (prop::collection::vec(0u8..4, 0..4), 0u8..4).prop_map(|(routes, version)| Step::Configure(routes, version)),
        5 => Just(Step::ServerReads),
        5 => Just(Step::ClientReads),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    #[test]
    fn the_client_ends_with_the_servers_resources_over_any_network(
        steps in prop::collection::vec(prop_oneof![20 => step(), 1 => Just(Step::Release)], 0..80),
        mode in prop_oneof![Just(Mode::Delta), Just(Mode::Sotw)],
    ) {
        let mut world = World::new(mode);
        for step in &steps {
            world.step(step);
        }
        world.settle();
        for kind in [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route] {
            let mut expected = BTreeMap::new();
            world.offer.each(kind, &mut |name, offered| {
                expected.insert(name.to_string(), offered.body().value);
            });
            let received = world.received.get(&kind).cloned().unwrap_or_default();
            prop_assert_eq!(received, expected, "{:?}", kind);
        }
        prop_assert!(!world.session.is_holding_back());
    }

    #[test]
    fn no_route_ever_leads_to_a_missing_cluster(steps in prop::collection::vec(step(), 0..80)) {
        let mut world = World::new(Mode::Delta);
        for step in &steps {
            world.step(step);
            prop_assert!(world.whole(), "after {:?}: {:?}", step, world.received);
        }
    }
}

#[test]
fn a_rejected_resource_keeps_its_last_good_version_and_is_named_in_the_nack() {
    let mut client = Client::new(NodeInfo::default(), &[Kind::Cluster]);
    assert!(client.connected()[0].node.is_some());
    let response = |version: &str| {
        let resource = |name: &str| crate::wire::xds::Resource {
            name: name.to_owned(),
            version: version.to_owned(),
            resource: Some(Any::default()),
            ..Default::default()
        };
        DeltaDiscoveryResponse {
            resources: vec![resource("a"), resource("b")],
            type_url: Kind::Cluster.type_url().to_owned(),
            nonce: version.to_owned(),
            ..Default::default()
        }
    };
    let first = client.receive(response("1")).unwrap();
    assert_eq!(client.acknowledge(&first, &[]).error_detail, None);
    let second = client.receive(response("2")).unwrap();
    let nack = client.acknowledge(&second, &[("b".into(), "lb_policy: not supported".into())]);
    assert!(nack.node.is_none(), "the node is announced once for each stream");
    assert_eq!(nack.response_nonce, "2");
    assert_eq!(nack.error_detail.unwrap().message, "b: lb_policy: not supported");
    let versions = &client.connected()[0].initial_resource_versions;
    assert_eq!((versions["a"].as_str(), versions["b"].as_str()), ("2", "1"));
}

#[test]
fn subscriptions_are_sent_as_differences() {
    let mut client = Client::new(NodeInfo::default(), &[]);
    let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let first = client.subscribe(Kind::Endpoints, &names(&["a", "b"])).unwrap();
    assert_eq!(first.resource_names_subscribe, ["a", "b"]);
    let second = client.subscribe(Kind::Endpoints, &names(&["b", "c"])).unwrap();
    assert_eq!(
        (second.resource_names_subscribe, second.resource_names_unsubscribe),
        (vec!["c".into()], vec!["a".into()])
    );
    assert_eq!(client.subscribe(Kind::Endpoints, &names(&["b", "c"])), None);
    let reopened = client.connected();
    assert_eq!(reopened[0].resource_names_subscribe, ["b", "c"]);
}
