//! Pure. Evaluates role-based access control: whether a client may make a request.

use super::condition::{Authorization, Condition, Policy};
use crate::flow::subject::Subject;
use api::model::authorization::Action;

/// The outcome of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision<'a> {
    /// Access is allowed.
    Allowed,
    /// Access is denied, by this policy if one matched.
    Denied(Option<&'a str>),
}

/// Checks a subject against a set of policies.
pub fn decide<'a>(rules: &'a Authorization, subject: &Subject<'_>) -> Decision<'a> {
    let found = rules.policies.iter().find(|policy| applies(policy, subject));
    match (rules.action, found) {
        _ if rules.shadow => Decision::Allowed,
        (Action::Allow, None) => Decision::Denied(None),
        (Action::Deny, Some(policy)) => Decision::Denied(Some(&policy.name)),
        _ => Decision::Allowed,
    }
}

fn applies(policy: &Policy, subject: &Subject<'_>) -> bool {
    policy.permissions.iter().any(|c| holds(c, subject))
        && policy.principals.iter().any(|c| holds(c, subject))
}

fn holds(condition: &Condition, subject: &Subject<'_>) -> bool {
    match condition {
        Condition::Any => true,
        Condition::And(parts) => parts.iter().all(|part| holds(part, subject)),
        Condition::Or(parts) => parts.iter().any(|part| holds(part, subject)),
        Condition::Not(part) => !holds(part, subject),
        Condition::Header(header) => subject.head.is_some_and(|head| header.matches(head)),
        Condition::Path(text) => subject.head.is_some_and(|head| text.matches(head.path().as_bytes())),
        Condition::DestinationIp(network) => network.contains(&subject.destination.ip()),
        Condition::DestinationPort(port) => subject.destination.port() == *port,
        Condition::DestinationPorts(start, end) => {
            (*start..*end).contains(&i32::from(subject.destination.port()))
        }
        Condition::ServerName(text) => text.matches(subject.server_name.unwrap_or("").as_bytes()),
        // Every TLS client that the listener accepts counts as authenticated; the listener's settings decide whether a
        // certificate is required.
        Condition::Authenticated(None) => subject.tls,
        // A client without a certificate has an empty name.
        Condition::Authenticated(Some(text)) => match subject.peer {
            Some(peer) => peer.names().any(|name| text.matches(name.as_bytes())),
            None => subject.tls && text.matches(b""),
        },
        Condition::DirectRemoteIp(network) => network.contains(&subject.source.ip()),
        Condition::RemoteIp(network) => network.contains(&subject.client),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::head::Head;
    use crate::flow::peer::Peer;
    use api::model::authorization as model;
    use api::model::matcher::{HeaderMatch, HeaderTest, StringMatch};
    use http::{HeaderMap, Method};
    use model::{Permission, Principal};

    fn rules(action: Action, permission: Permission, principal: Principal) -> Authorization {
        let policy =
            model::Policy { name: "p".into(), permissions: vec![permission], principals: vec![principal] };
        Authorization::compile(&model::Authorization { action, policies: vec![policy], shadow: false })
            .unwrap()
    }

    fn subject<'a>(peer: Option<&'a Peer>, head: &'a Head<'a>) -> Subject<'a> {
        Subject {
            destination: "10.0.0.1:9080".parse().unwrap(),
            source: "10.0.0.2:4000".parse().unwrap(),
            client: "192.0.2.1".parse().unwrap(),
            server_name: Some("a.b"),
            tls: peer.is_some(),
            peer,
            head: Some(head),
        }
    }

    fn matches(permission: Permission, principal: Principal, peer: Option<&Peer>) -> bool {
        let headers = HeaderMap::new();
        let head = Head {
            method: &Method::GET,
            authority: "h",
            target: "/admin?x",
            scheme: "http",
            headers: &headers,
        };
        decide(&rules(Action::Allow, permission, principal), &subject(peer, &head)) == Decision::Allowed
    }

    #[test]
    fn permissions_match_the_request() {
        let method = HeaderMatch {
            name: ":method".into(),
            test: HeaderTest::Text(StringMatch::exact("GET")),
            invert: false,
            missing_as_empty: false,
        };
        for (permission, expected) in [
            (Permission::Any, true),
            (Permission::Path(StringMatch::exact("/admin")), true),
            (Permission::Path(StringMatch::exact("/admin?x")), false),
            (Permission::Header(method), true),
            (Permission::DestinationPort(9080), true),
            (Permission::DestinationPort(80), false),
            (Permission::DestinationPorts(9080, 9081), true),
            (Permission::DestinationPorts(9000, 9080), false),
            (Permission::DestinationIp("10.0.0.0/24".parse().unwrap()), true),
            (Permission::ServerName(StringMatch::exact("a.b")), true),
            (Permission::Not(Box::new(Permission::Any)), false),
            (Permission::And(vec![Permission::Any, Permission::DestinationPort(80)]), false),
            (Permission::Or(vec![Permission::DestinationPort(80), Permission::Any]), true),
            (Permission::And(vec![]), true),
            (Permission::Or(vec![]), false),
        ] {
            assert_eq!(matches(permission.clone(), Principal::Any, None), expected, "{permission:?}");
        }
    }

    #[test]
    fn principals_match_the_client() {
        let peer = Peer {
            uris: ["spiffe://cluster.local/ns/a/sa/b".into(), "spiffe://other/c".into()].into(),
            dns: ["b.test".into()].into(),
            subject: "CN=b,O=org".into(),
            ..Peer::default()
        };
        let anonymous = Peer::default();
        let (peer, anonymous) = (Some(&peer), Some(&anonymous));
        let named = |text: &str| Principal::Authenticated(Some(StringMatch::exact(text)));
        for (principal, peer, expected) in [
            (Principal::Any, None, true),
            (Principal::Authenticated(None), None, false),
            (Principal::Authenticated(None), peer, true),
            (named("spiffe://cluster.local/ns/a/sa/b"), peer, true),
            (named("spiffe://cluster.local/ns/a/sa/b"), None, false),
            (named("spiffe://cluster.local/ns/a/sa/c"), peer, false),
            (named("spiffe://other/c"), peer, true),
            (named("b.test"), peer, true),
            (named("CN=b,O=org"), peer, true),
            (named(""), peer, false),
            (named(""), anonymous, true),
            (Principal::DirectRemoteIp("10.0.0.2/32".parse().unwrap()), None, true),
            (Principal::RemoteIp("10.0.0.2/32".parse().unwrap()), None, false),
            (Principal::RemoteIp("192.0.2.0/24".parse().unwrap()), None, true),
            (Principal::Not(Box::new(Principal::Authenticated(None))), None, true),
        ] {
            let shown = format!("{principal:?} {peer:?}");
            assert_eq!(matches(Permission::Any, principal, peer), expected, "{shown}");
        }
    }

    #[test]
    fn the_action_decides_what_a_match_means() {
        let headers = HeaderMap::new();
        let head =
            Head { method: &Method::GET, authority: "", target: "/", scheme: "http", headers: &headers };
        let subject = subject(None, &head);
        let never = || Permission::Not(Box::new(Permission::Any));
        for (action, permission, expected) in [
            (Action::Allow, Permission::Any, Decision::Allowed),
            (Action::Allow, never(), Decision::Denied(None)),
            (Action::Deny, Permission::Any, Decision::Denied(Some("p"))),
            (Action::Deny, never(), Decision::Allowed),
            (Action::Log, Permission::Any, Decision::Allowed),
        ] {
            assert_eq!(decide(&rules(action, permission, Principal::Any), &subject), expected, "{action:?}");
        }
    }

    #[test]
    fn shadow_rules_never_deny() {
        let headers = HeaderMap::new();
        let head =
            Head { method: &Method::GET, authority: "", target: "/", scheme: "http", headers: &headers };
        let mut rules = rules(Action::Deny, Permission::Any, Principal::Any);
        rules.shadow = true;
        assert_eq!(decide(&rules, &subject(None, &head)), Decision::Allowed);
    }
}
