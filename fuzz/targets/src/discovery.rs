//! The discovery protocol over a network that delays and loses messages, and with clients that violate the protocol. A
//! correct client ends with the server's resources; a misbehaving one cannot make the server panic or send without
//! bound.

use crate::words::Choices;
use api::model::Kind;
use api::wire::xds::{Any, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, NodeInfo, nack};
use api::xds::client::Client;
use api::xds::offer::{Offer, Resources};
use api::xds::server::{Mode, Request, Response, Session};
use api::xds::table::Offered;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let arbitrary = choices.yes();
    let mut steps = vec![];
    while choices.left() && steps.len() < 200 {
        steps.push(Step::read(&mut choices));
    }
    let steps = &steps[..];
    if arbitrary {
        dishonest(steps, Mode::Delta);
        dishonest(steps, Mode::Sotw);
    } else {
        honest(steps);
    }
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

fn honest(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.settle();
    for kind in KINDS {
        let mut expected = BTreeMap::new();
        world.offer.each(kind, &mut |name, offered| {
            expected.insert(name.to_string(), offered.body().value);
        });
        assert_eq!(world.held.get(&kind).cloned().unwrap_or_default(), expected, "{kind:?}");
    }
    assert!(!world.session.is_holding_back(), "nothing is held back at rest");
}

struct World {
    offer: Resources,
    session: Session,
    client: Client,
    up: VecDeque<DeltaDiscoveryRequest>,
    down: VecDeque<DeltaDiscoveryResponse>,
    held: BTreeMap<Kind, BTreeMap<String, Vec<u8>>>,
}

impl World {
    fn new() -> Self {
        let mut client = Client::new(NodeInfo::default(), &[Kind::Cluster, Kind::Listener]);
        let up = client.connected().into();
        Self {
            offer: configuration(&[], 0),
            session: Session::new(Mode::Delta),
            client,
            up,
            down: VecDeque::new(),
            held: BTreeMap::new(),
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
            Step::ClientReads => {
                if let Some(response) = self.down.pop_front() {
                    self.apply(response);
                }
            }
            Step::Reconnect => {
                self.down.clear();
                self.session = Session::new(Mode::Delta);
                self.up = self.client.connected().into();
            }
            Step::Release => {
                let responses = self.session.release(&self.offer);
                self.send(responses);
            }
            Step::Arbitrary(_) => {}
        }
    }

    fn server_reads(&mut self) {
        if let Some(request) = self.up.pop_front() {
            let responses = self.session.request(Request::Delta(request), &self.offer);
            self.send(responses);
        }
    }

    fn send(&mut self, responses: Vec<Response>) {
        self.down.extend(responses.into_iter().filter_map(Response::into_delta));
    }

    fn apply(&mut self, response: DeltaDiscoveryResponse) {
        let received = self.client.receive(response).expect("only what was asked for is sent");
        let table = self.held.entry(received.kind).or_default();
        for (name, body) in &received.upserts {
            table.insert(name.clone(), body.value.clone());
        }
        for name in &received.removed {
            table.remove(name);
        }
        // The client subscribes to references before it acknowledges, to warm its clusters.
        for (wildcard, referred) in [(Kind::Cluster, Kind::Endpoints), (Kind::Listener, Kind::Route)] {
            let wanted: BTreeSet<String> =
                self.held.get(&wildcard).map(|table| table.keys().cloned().collect()).unwrap_or_default();
            self.up.extend(self.client.subscribe(referred, &wanted));
            self.held.entry(referred).or_default().retain(|name, _| wanted.contains(name));
        }
        self.up.push_back(self.client.acknowledge(&received, &[]));
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
        panic!("the two never come to rest");
    }
}

/// Requests in any order: the session sends only existing resources, and a bounded number of responses.
fn dishonest(steps: &[Step], mode: Mode) {
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
    let body = |kind: Kind, content: &str| {
        Offered::new(&Any { type_url: kind.type_url().to_owned(), value: content.as_bytes().to_vec() })
    };
    for (index, cluster) in routes.iter().enumerate() {
        let cluster = format!("cluster-{}", cluster % 4);
        offer.insert(Kind::Cluster, cluster.as_str(), body(Kind::Cluster, &version.to_string()));
        offer.insert(Kind::Endpoints, cluster.as_str(), body(Kind::Endpoints, &(version / 2).to_string()));
        offer.insert(Kind::Listener, format!("route-{index}"), body(Kind::Listener, "same"));
        offer.insert(Kind::Route, format!("route-{index}"), body(Kind::Route, &cluster));
    }
    offer
}

const KINDS: [Kind; 4] = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route];
