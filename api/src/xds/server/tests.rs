//! Tests of a session with clients of both methods, and with misbehaving clients.

use super::*;
use crate::wire::xds::{Any, DeltaDiscoveryRequest, DiscoveryRequest, nack};
use crate::xds::offer::Resources;
use crate::xds::table::Offered;
use std::collections::HashMap;

fn body(kind: Kind, content: &str) -> Offered {
    Offered::new(&Any { type_url: kind.type_url().to_owned(), value: content.as_bytes().to_vec() })
}

fn offer(resources: &[(Kind, &str, &str)]) -> Resources {
    let mut offer = Resources::new("push-1");
    for (kind, name, content) in resources {
        offer.insert(*kind, *name, body(*kind, content));
    }
    offer
}

fn subscribe(kind: Kind, names: &[&str]) -> Request {
    Request::Delta(DeltaDiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(ToString::to_string).collect(),
        ..DeltaDiscoveryRequest::default()
    })
}

fn ack(response: &Response) -> Request {
    match response.mode {
        Mode::Delta => Request::Delta(DeltaDiscoveryRequest {
            type_url: response.type_url().to_owned(),
            response_nonce: response.nonce.clone(),
            ..DeltaDiscoveryRequest::default()
        }),
        Mode::Sotw => sotw_ask(response, &[]),
    }
}

fn sotw_ask(response: &Response, names: &[&str]) -> Request {
    Request::Sotw(DiscoveryRequest {
        type_url: response.type_url().to_owned(),
        response_nonce: response.nonce.clone(),
        version_info: response.version.clone(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    })
}

fn sotw(kind: Kind, names: &[&str]) -> Request {
    Request::Sotw(DiscoveryRequest {
        type_url: kind.type_url().to_owned(),
        resource_names: names.iter().map(ToString::to_string).collect(),
        ..DiscoveryRequest::default()
    })
}

/// A short form of responses: kind, `+name` and `-name`.
fn show(responses: &[Response]) -> Vec<String> {
    let short = |response: &Response| {
        let words: Vec<String> = match response.mode {
            Mode::Delta => {
                let added = response.resources.iter().map(|(name, _)| format!("+{name}"));
                added.chain(response.removed.iter().map(|name| format!("-{name}"))).collect()
            }
            Mode::Sotw => {
                let bodies = response.resources.iter().map(|(_, offered)| offered.body().value);
                bodies.map(|body| String::from_utf8_lossy(&body).into_owned()).collect()
            }
        };
        format!("{:?} {}", response.kind, words.join(" ")).trim().to_owned()
    };
    responses.iter().map(short).collect()
}

#[track_caller]
fn check(responses: &[Response], expected: &[&str]) {
    assert_eq!(show(responses), expected);
}

const CLUSTER: Kind = Kind::Cluster;
const ENDPOINTS: Kind = Kind::Endpoints;
const LISTENER: Kind = Kind::Listener;
const ROUTE: Kind = Kind::Route;

#[test]
fn a_wildcard_gets_everything_and_names_get_their_resources() {
    let offer =
        offer(&[(CLUSTER, "a", "1"), (CLUSTER, "b", "1"), (ENDPOINTS, "a", "1"), (ENDPOINTS, "b", "1")]);
    let mut session = Session::new(Mode::Delta);
    check(&session.request(subscribe(CLUSTER, &[]), &offer), &["Cluster +a +b"]);
    check(&session.request(subscribe(ENDPOINTS, &["b", "x"]), &offer), &["Endpoints +b -x"]);
}

#[test]
fn an_empty_first_response_is_sent_because_clients_wait_for_it() {
    let offer = offer(&[]);
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut session = Session::new(mode);
        let request = if mode == Mode::Delta { subscribe(CLUSTER, &[]) } else { sotw(CLUSTER, &[]) };
        let first = session.request(request, &offer);
        check(&first, &["Cluster"]);
        check(&session.request(ack(&first[0]), &offer), &[]);
    }
}

#[test]
fn changes_before_the_ack_are_sent_together_after_it() {
    let mut session = Session::new(Mode::Delta);
    let first = session.request(subscribe(CLUSTER, &[]), &offer(&[(CLUSTER, "a", "1")]));
    check(&session.push(&offer(&[(CLUSTER, "a", "2")])), &[]);
    let last = offer(&[(CLUSTER, "a", "3"), (CLUSTER, "b", "1")]);
    check(&session.push(&last), &[]);
    check(&session.request(ack(&first[0]), &last), &["Cluster +a +b"]);
}

#[test]
fn an_ack_of_an_older_response_is_ignored_but_its_subscriptions_count() {
    let offer = offer(&[(ENDPOINTS, "a", "1"), (ENDPOINTS, "b", "1")]);
    let mut session = Session::new(Mode::Delta);
    let first = session.request(subscribe(ENDPOINTS, &["a"]), &offer);
    let Request::Delta(mut stale) = subscribe(ENDPOINTS, &["b"]) else { unreachable!() };
    stale.response_nonce = "99".into();
    check(&session.request(Request::Delta(stale), &offer), &[]);
    assert_eq!(session.status()[&ENDPOINTS].nonce_acked, "");
    check(&session.request(ack(&first[0]), &offer), &["Endpoints +b"]);

    let mut session = Session::new(Mode::Sotw);
    let first = session.request(sotw(ENDPOINTS, &["a"]), &offer);
    let old = Response { nonce: "99".into(), ..first[0].clone() };
    check(&session.request(sotw_ask(&old, &["b"]), &offer), &[]);
    assert_eq!(session.subscriptions(ENDPOINTS), [Arc::from("a")]);
}

#[test]
fn a_nack_is_kept_with_its_names_and_the_resource_is_not_sent_again() {
    let bad = offer(&[(CLUSTER, "bad", "1"), (CLUSTER, "good", "1")]);
    let mut session = Session::new(Mode::Delta);
    let first = session.request(subscribe(CLUSTER, &[]), &offer(&[(CLUSTER, "good", "0")]));
    session.request(ack(&first[0]), &bad);
    let Request::Delta(mut refusal) = ack(&first[0]) else { unreachable!() };
    refusal.response_nonce = session.status()[&CLUSTER].nonce_sent.clone();
    refusal.error_detail = Some(nack("bad: lb_policy: not supported"));
    check(&session.request(Request::Delta(refusal), &bad), &[]);
    let status = session.status()[&CLUSTER].clone();
    let nack = status.nack.unwrap();
    assert_eq!((nack.names, nack.nonce), (vec!["bad".to_owned()], status.nonce_sent));
    assert_eq!(status.nonce_acked, "1");
    check(&session.push(&bad), &[]);

    let repaired = offer(&[(CLUSTER, "bad", "2"), (CLUSTER, "good", "1")]);
    let next = session.push(&repaired);
    check(&next, &["Cluster +bad"]);
    session.request(ack(&next[0]), &repaired);
    assert_eq!(session.status()[&CLUSTER].nack, None);
}

/// A client that is in sync with listeners, routes, clusters and endpoints of one service.
fn in_step(mode: Mode) -> (Session, Resources) {
    let offer = offer(&[
        (CLUSTER, "a", "cluster-a"),
        (ENDPOINTS, "a", "endpoints-a"),
        (LISTENER, "l", "listener"),
        (ROUTE, "r", "to-a"),
    ]);
    let mut session = Session::new(mode);
    for (kind, names) in [(CLUSTER, &[][..]), (ENDPOINTS, &["a"]), (LISTENER, &[]), (ROUTE, &["r"])] {
        let request = if mode == Mode::Delta { subscribe(kind, names) } else { sotw(kind, names) };
        let responses = session.request(request, &offer);
        assert_eq!(responses.len(), 1);
        acknowledge(&mut session, &responses[0], names, &offer);
    }
    (session, offer)
}

fn acknowledge(
    session: &mut Session,
    response: &Response,
    names: &[&str],
    offer: &Resources,
) -> Vec<Response> {
    let request = match response.mode {
        Mode::Delta => ack(response),
        Mode::Sotw => sotw_ask(response, names),
    };
    session.request(request, offer)
}

#[test]
fn a_route_to_another_cluster_waits_for_its_endpoints_and_the_old_cluster_is_removed_last() {
    let (mut session, _) = in_step(Mode::Delta);
    let next = offer(&[
        (CLUSTER, "b", "cluster-b"),
        (ENDPOINTS, "b", "endpoints-b"),
        (LISTENER, "l", "listener"),
        (ROUTE, "r", "to-b"),
    ]);
    let clusters = session.push(&next);
    check(&clusters, &["Cluster +b"]);
    check(&session.request(ack(&clusters[0]), &next), &[]);
    assert!(session.is_holding_back());
    let endpoints = session.request(subscribe(ENDPOINTS, &["b"]), &next);
    check(&endpoints, &["Endpoints +b"]);
    let routes = session.request(ack(&endpoints[0]), &next);
    check(&routes, &["Route +r"]);
    let removals = session.request(ack(&routes[0]), &next);
    check(&removals, &["Cluster -a", "Endpoints -a"]);
    for response in &removals {
        check(&session.request(ack(response), &next), &[]);
    }
    assert!(!session.is_holding_back());
}

#[test]
fn state_of_the_world_keeps_the_old_cluster_until_the_routes_are_acknowledged() {
    let (mut session, _) = in_step(Mode::Sotw);
    let next = offer(&[
        (CLUSTER, "b", "cluster-b"),
        (ENDPOINTS, "b", "endpoints-b"),
        (LISTENER, "l", "listener"),
        (ROUTE, "r", "to-b"),
    ]);
    let clusters = session.push(&next);
    check(&clusters, &["Cluster cluster-a cluster-b"]);
    check(&acknowledge(&mut session, &clusters[0], &[], &next), &[]);
    let nonce = session.status()[&ENDPOINTS].nonce_sent.clone();
    let again = Response { kind: ENDPOINTS, nonce, ..clusters[0].clone() };
    let endpoints = session.request(sotw_ask(&again, &["a", "b"]), &next);
    check(&endpoints, &["Endpoints endpoints-b"]);
    let routes = acknowledge(&mut session, &endpoints[0], &["a", "b"], &next);
    check(&routes, &["Route to-b"]);
    check(&acknowledge(&mut session, &routes[0], &["r"], &next), &["Cluster cluster-b"]);
}

#[test]
fn a_changed_cluster_gets_its_unchanged_endpoints_again() {
    for mode in [Mode::Delta, Mode::Sotw] {
        let (mut session, mut offer) = in_step(mode);
        offer.insert(CLUSTER, "a", body(CLUSTER, "cluster-a-2"));
        assert_eq!(session.push(&offer).len(), 2, "{mode:?}: cluster, then endpoints");
    }
}

#[test]
fn a_held_back_route_is_sent_when_released() {
    let (mut session, mut offer) = in_step(Mode::Delta);
    offer.insert(CLUSTER, "b", body(CLUSTER, "cluster-b"));
    offer.insert(ENDPOINTS, "b", body(ENDPOINTS, "endpoints-b"));
    offer.insert(ROUTE, "r", body(ROUTE, "to-b"));
    let clusters = session.push(&offer);
    check(&session.request(ack(&clusters[0]), &offer), &[]);
    assert!(session.is_holding_back());
    check(&session.release(&offer), &["Route +r"]);
}

#[test]
fn a_reconnecting_client_gets_only_differences() {
    let (_, offer) = in_step(Mode::Delta);
    let version = |kind: Kind, name: &str| parsed::version_text(offer.find(kind, name).unwrap().version);
    let mut session = Session::new(Mode::Delta);
    let back = |kind: Kind, names: &[&str], versions: &[(&str, String)]| {
        let Request::Delta(request) = subscribe(kind, names) else { unreachable!() };
        let versions: HashMap<String, String> =
            versions.iter().map(|(name, version)| ((*name).to_owned(), version.clone())).collect();
        Request::Delta(DeltaDiscoveryRequest { initial_resource_versions: versions, ..request })
    };
    let clusters = [("a", version(CLUSTER, "a")), ("gone", "00".to_owned())];
    check(&session.request(back(CLUSTER, &[], &clusters), &offer), &[]);
    check(
        &session.request(back(ENDPOINTS, &["a"], &[("a", "not a hash".to_owned())]), &offer),
        &["Endpoints +a"],
    );
    check(&session.request(back(LISTENER, &[], &[("l", version(LISTENER, "l"))]), &offer), &[]);
    check(&session.request(back(ROUTE, &["r"], &[("r", version(ROUTE, "r"))]), &offer), &["Cluster -gone"]);
}

#[test]
fn after_unsubscribing_a_client_gets_no_updates_until_it_subscribes_again() {
    let (mut session, mut offer) = in_step(Mode::Delta);
    let Request::Delta(mut request) = subscribe(ENDPOINTS, &[]) else { unreachable!() };
    request.resource_names_unsubscribe = vec!["a".into()];
    check(&session.request(Request::Delta(request), &offer), &[]);
    offer.insert(ENDPOINTS, "a", body(ENDPOINTS, "endpoints-a-2"));
    check(&session.push(&offer), &[]);
    check(&session.request(subscribe(ENDPOINTS, &["a"]), &offer), &["Endpoints +a"]);
}

#[test]
fn subscribing_again_sends_the_resource_again() {
    let (mut session, offer) = in_step(Mode::Delta);
    check(&session.request(subscribe(ROUTE, &["r"]), &offer), &["Route +r"]);
}

#[test]
fn a_request_for_an_unknown_type_gets_no_response() {
    let mut session = Session::new(Mode::Delta);
    let request = DeltaDiscoveryRequest { type_url: "type.googleapis.com/x.Y".into(), ..Default::default() };
    check(&session.request(Request::Delta(request), &offer(&[])), &[]);
    assert!(session.status().is_empty());
}

#[test]
fn the_weight_of_a_session_is_that_of_its_clients_names() {
    let nothing = offer(&[]);
    let mut session = Session::new(Mode::Delta);
    let long = "x".repeat(1000);
    let ask = subscribe(Kind::Endpoints, &["a", &long]);
    let asked = ask.weight();
    let responses = session.request(ask, &nothing);
    assert_eq!(session.weight(), asked);
    assert!((1001..2000).contains(&asked), "{asked}");
    session.request(ack(&responses[0]), &nothing);
    assert_eq!(session.weight(), asked, "a response adds nothing");
    let mut leave = subscribe(Kind::Endpoints, &[]);
    if let Request::Delta(request) = &mut leave {
        request.resource_names_unsubscribe = vec![long.clone(), "a".to_owned()];
    }
    session.request(leave, &nothing);
    assert_eq!(session.weight(), 0);
    // The resource that a client announces is reported as removed, and kept in the state until the client
    // acknowledges.
    let mut come = subscribe(Kind::Route, &[]);
    if let Request::Delta(request) = &mut come {
        request.initial_resource_versions = [(long, String::new())].into();
    }
    let weight = come.weight();
    let responses = session.request(come, &nothing);
    assert_eq!(session.weight(), weight);
    session.request(ack(&responses[0]), &nothing);
    assert_eq!(session.weight(), 0);
}

#[test]
fn the_state_that_clients_have_in_common_is_stored_once() {
    let names: Vec<String> = (0..100).map(|number| format!("cluster-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = offer(&[]);
    for name in &names {
        all.insert(CLUSTER, *name, body(CLUSTER, name));
        all.insert(ENDPOINTS, *name, body(ENDPOINTS, name));
    }
    for mode in [Mode::Delta, Mode::Sotw] {
        let mut session = Session::new(mode);
        for (kind, names) in [(CLUSTER, &[][..]), (ENDPOINTS, &names)] {
            let request = if mode == Mode::Delta { subscribe(kind, names) } else { sotw(kind, names) };
            let responses = session.request(request, &all);
            acknowledge(&mut session, &responses[0], names, &all);
        }
        assert_eq!((session.weight(), session.status()[&ENDPOINTS].subscribed), (0, 100), "{mode:?}");
        // One more name, and a name without a resource.
        let more = ["cluster-7", "other"];
        let mut request =
            if mode == Mode::Delta { subscribe(ENDPOINTS, &more[1..]) } else { sotw(ENDPOINTS, &more) };
        if let Request::Sotw(request) = &mut request {
            request.response_nonce = session.status()[&ENDPOINTS].nonce_sent.clone();
        }
        session.request(request, &all);
        let left = if mode == Mode::Delta { 101 } else { 2 };
        assert_eq!(session.status()[&ENDPOINTS].subscribed, left, "{mode:?}");
        let mut next = all.clone();
        next.insert(ENDPOINTS, "cluster-7", body(ENDPOINTS, "changed"));
        next.insert(ENDPOINTS, "cluster-8", body(ENDPOINTS, "changed"));
        next.remove(ENDPOINTS, "cluster-9");
        let responses = match mode {
            Mode::Delta => "Endpoints +cluster-7 +cluster-8",
            Mode::Sotw => "Endpoints changed",
        };
        let nonce = session.status()[&ENDPOINTS].nonce_sent.clone();
        let last = Response {
            nonce,
            mode,
            kind: ENDPOINTS,
            version: String::new(),
            resources: vec![],
            removed: vec![],
        };
        let next_responses = acknowledge(&mut session, &last, &more, &next);
        assert!(show(&next_responses)[0].starts_with(responses), "{mode:?}: {:?}", show(&next_responses));
    }
}
