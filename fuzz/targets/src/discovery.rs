//! Both ends of the discovery protocol over a network that delays messages, reorders the two directions and loses
//! streams, in both of its forms, and the server with clients that violate the protocol. A correct client ends with the
//! server's resources, and with the delta protocol it never has a route to a cluster that it lacks. A misbehaving client
//! cannot make the server panic or send without bound.

use crate::words::Choices;
use api::model::Kind;
use api::wire::xds::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, NodeInfo, nack};
use api::xds::client::Client;
use api::xds::offer::{Offer, Resources};
use api::xds::server::{Mode, Request, Response, Session};
use api::xds::sotw::Sotw;
use api::xds::table::Offered;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let (arbitrary, mode) = (choices.yes(), if choices.yes() { Mode::Sotw } else { Mode::Delta });
    let mut steps = vec![];
    while choices.left() && steps.len() < 200 {
        steps.push(Step::read(&mut choices));
    }
    let steps = &steps[..];
    if arbitrary { with_arbitrary_client(steps, mode) } else { with_correct_client(steps, mode) }
}

/// An event.
#[derive(Debug)]
enum Step {
    /// The cluster of each route, the version of all clusters, and the number of routes.
    Configure([u8; 4], u8, u8),
    ServerReads,
    ClientReads,
    Reconnect,
    Release,
    /// A request that no correct client would send.
    Arbitrary(Odd),
}

#[derive(Debug)]
struct Odd {
    kind: u8,
    nonce: u8,
    names: [u8; 2],
    unsubscribe: Option<u8>,
    refuses: bool,
    version: Option<u8>,
}

impl Step {
    fn read(choices: &mut Choices<'_>) -> Self {
        match choices.byte() % 12 {
            0 | 1 => {
                let routes = [choices.byte(), choices.byte(), choices.byte(), choices.byte()];
                Self::Configure(routes, choices.byte(), choices.byte())
            }
            2..=4 => Self::ServerReads,
            5..=7 => Self::ClientReads,
            8 => Self::Reconnect,
            9 => Self::Release,
            _ => Self::Arbitrary(Odd {
                kind: choices.byte(),
                nonce: choices.byte(),
                names: [choices.byte(), choices.byte()],
                unsubscribe: choices.maybe(Choices::byte),
                refuses: choices.yes(),
                version: choices.maybe(Choices::byte),
            }),
        }
    }
}

fn with_correct_client(steps: &[Step], mode: Mode) {
    let mut world = World::new(mode);
    // The state-of-the-world protocol has no order among types, and a released server no longer keeps one.
    let mut is_ordered = mode == Mode::Delta;
    for step in steps {
        is_ordered &= !matches!(step, Step::Release);
        world.step(step);
        assert!(!is_ordered || world.is_whole(), "after {step:?}: {:?}", world.received);
    }
    world.settle();
    for kind in KINDS {
        let mut expected = BTreeMap::new();
        world.offer.each(kind, &mut |name, offered| {
            expected.insert(name.to_string(), offered.body().value);
        });
        assert_eq!(world.received.get(&kind).cloned().unwrap_or_default(), expected, "{kind:?}");
    }
    assert!(!world.session.is_holding_back(), "nothing is held back at rest");
}

struct World {
    mode: Mode,
    offer: Resources,
    session: Session,
    client: Client,
    /// Lets the client, which uses the delta protocol, use the state-of-the-world protocol.
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
        self.down.clear();
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
            Step::Configure(routes, version, count) => {
                self.offer = configuration(&routes[..usize::from(count % 5)], *version);
                let responses = self.session.push(&self.offer);
                self.send(responses);
            }
            Step::ServerReads => self.server_reads(),
            Step::ClientReads => self.client_reads(),
            Step::Reconnect => self.connect(),
            Step::Release => {
                let responses = self.session.release(&self.offer);
                self.send(responses);
            }
            Step::Arbitrary(_) => {}
        }
    }

    fn server_reads(&mut self) {
        if let Some(request) = self.up.pop_front() {
            let responses = self.session.request(request, &self.offer);
            self.send(responses);
        }
    }

    fn client_reads(&mut self) {
        if let Some(response) = self.down.pop_front() {
            let response = match self.mode {
                Mode::Delta => response.into_delta(),
                Mode::Sotw => response.into_sotw().and_then(|response| self.translation.response(response)),
            };
            self.apply(response.expect("only what was asked for is sent"));
        }
    }

    fn send(&mut self, responses: Vec<Response>) {
        self.down.extend(responses);
    }

    fn apply(&mut self, response: DeltaDiscoveryResponse) {
        let received = self.client.receive(response).expect("only what was asked for is sent");
        let table = self.received.entry(received.kind).or_default();
        for (name, body) in &received.upserts {
            table.insert(name.clone(), body.value.clone());
        }
        for name in &received.removed {
            table.remove(name);
        }
        // The client subscribes to references before it acknowledges, to warm its clusters.
        for (wildcard, referred) in [(Kind::Cluster, Kind::Endpoints), (Kind::Listener, Kind::Route)] {
            let wanted: BTreeSet<String> =
                self.received.get(&wildcard).map(|table| table.keys().cloned().collect()).unwrap_or_default();
            let request = self.client.subscribe(referred, &wanted);
            self.ask(request);
            self.received.entry(referred).or_default().retain(|name, _| wanted.contains(name));
        }
        let acknowledgement = self.client.acknowledge(&received, &[]);
        self.ask([acknowledgement]);
    }

    fn settle(&mut self) {
        for _ in 0..10_000 {
            if self.up.is_empty() && self.down.is_empty() {
                if !self.session.is_holding_back() {
                    return;
                }
                self.step(&Step::Release);
            }
            self.step(&Step::ServerReads);
            self.step(&Step::ClientReads);
        }
        panic!("client and server never stop sending");
    }

    /// Whether the client has the cluster of each of its routes, with its endpoints.
    fn is_whole(&self) -> bool {
        let has = |kind: Kind, name: &str| self.received.get(&kind).is_some_and(|t| t.contains_key(name));
        let routes = self.received.get(&Kind::Route).into_iter().flatten();
        let clusters = routes.map(|(_, body)| Body::decode(&body[..]).expect("it was encoded here").content);
        clusters.into_iter().all(|cluster| has(Kind::Cluster, &cluster) && has(Kind::Endpoints, &cluster))
    }
}

/// A resource as the protocol sees it: a message whose first field is its name.
#[derive(Clone, PartialEq, Message)]
struct Body {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    content: String,
}

/// Requests in any order: the session sends only resources of known types, and a bounded number of responses.
fn with_arbitrary_client(steps: &[Step], mode: Mode) {
    let mut session = Session::new(mode);
    let mut offer = configuration(&[0, 1], 0);
    for step in steps {
        let responses = match step {
            Step::Configure(routes, version, count) => {
                offer = configuration(&routes[..usize::from(count % 5)], *version);
                session.push(&offer)
            }
            Step::Arbitrary(odd) => session.request(odd.request(mode), &offer),
            Step::Release => session.release(&offer),
            Step::Reconnect => {
                session = Session::new(mode);
                vec![]
            }
            Step::ServerReads | Step::ClientReads => vec![],
        };
        assert!(responses.len() <= 2 * Kind::ALL.len(), "{} responses to one step", responses.len());
        for response in &responses {
            assert!(Kind::from_type_url(response.type_url()).is_some());
            assert_eq!(response.mode, mode);
        }
        let _ = (session.is_holding_back(), session.status(), session.subscriptions(Kind::Route));
    }
}

impl Odd {
    fn request(&self, mode: Mode) -> Request {
        let kind =
            Kind::ALL.get(usize::from(self.kind % 8)).map_or("type.example/none", |kind| kind.type_url());
        let name = |n: u8| match n % 6 {
            0 => "*".to_owned(),
            1 => String::new(),
            n if kind == Kind::Listener.type_url() || kind == Kind::Route.type_url() => {
                format!("route-{}", n - 2)
            }
            n => format!("cluster-{}", n - 2),
        };
        let names: Vec<String> = self.names.iter().map(|n| name(*n)).collect();
        let nonce = if self.nonce.is_multiple_of(3) { String::new() } else { (self.nonce / 3).to_string() };
        let error_detail = self.refuses.then(|| nack(format!("{}: refused", names[0])));
        if mode == Mode::Delta {
            Request::Delta(DeltaDiscoveryRequest {
                type_url: kind.to_owned(),
                resource_names_unsubscribe: self.unsubscribe.map(name).into_iter().collect(),
                initial_resource_versions: self
                    .version
                    .map(|v| (names[0].clone(), v.to_string()))
                    .into_iter()
                    .collect(),
                resource_names_subscribe: names,
                response_nonce: nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            })
        } else {
            Request::Sotw(DiscoveryRequest {
                type_url: kind.to_owned(),
                resource_names: names,
                response_nonce: nonce,
                error_detail,
                ..DiscoveryRequest::default()
            })
        }
    }
}

fn configuration(routes: &[u8], version: u8) -> Resources {
    let mut offer = Resources::new(version.to_string());
    let mut put = |kind: Kind, name: &str, content: &str| {
        let value = Body { name: name.to_owned(), content: content.to_owned() }.encode_to_vec();
        offer.insert(kind, name, Offered::new(&Any { type_url: kind.type_url().to_owned(), value }));
    };
    for (index, cluster) in routes.iter().enumerate() {
        let (cluster, route) = (format!("cluster-{}", cluster % 4), format!("route-{index}"));
        put(Kind::Cluster, &cluster, &version.to_string());
        put(Kind::Endpoints, &cluster, &(version / 2).to_string());
        put(Kind::Listener, &route, "same");
        put(Kind::Route, &route, &cluster);
    }
    offer
}

const KINDS: [Kind; 4] = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route];
