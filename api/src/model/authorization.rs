//! Pure. Role-based access control as a tree of conditions.
//!
//! Envoy: `config.rbac.v3.RBAC`, used by the HTTP and the network filter.

use super::matcher::{HeaderMatch, StringMatch};
use ipnet::IpNet;

/// A set of policies with one action.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Authorization {
    /// What a match means.
    pub action: Action,
    /// Named policies, sorted by name; the first that matches is reported.
    pub policies: Vec<Policy>,
    /// Evaluate and count only (`shadow_rules`).
    pub shadow: bool,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Only requests that match a policy pass.
    Allow,
    /// Requests that match a policy are refused.
    Deny,
    /// Matches are marked; everything passes.
    Log,
}

/// A policy: it matches if a permission and a principal match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Name, as reported in logs.
    pub name: String,
    /// At least one must match the request.
    pub permissions: Vec<Permission>,
    /// At least one must match the client.
    pub principals: Vec<Principal>,
}

/// Conditions on the request or the connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Always.
    Any,
    /// All of these.
    And(Vec<Permission>),
    /// At least one of these.
    Or(Vec<Permission>),
    /// The opposite of this.
    Not(Box<Permission>),
    /// A request header.
    Header(HeaderMatch),
    /// The path without its query.
    Path(StringMatch),
    /// Address the connection was made to.
    DestinationIp(IpNet),
    /// Port the connection was made to.
    DestinationPort(u16),
    /// Ports from the first up to, but excluding, the second.
    DestinationPorts(i32, i32),
    /// SNI.
    ServerName(StringMatch),
}

/// Conditions on the client.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Any client.
    Any,
    /// All of these.
    And(Vec<Principal>),
    /// At least one of these.
    Or(Vec<Principal>),
    /// The opposite of this.
    Not(Box<Principal>),
    /// A peer with a verified certificate. A string match, if given, applies to its URI SAN (or DNS SAN, or subject).
    Authenticated(Option<StringMatch>),
    /// The connection's peer address.
    DirectRemoteIp(IpNet),
    /// The client's address after trusted `x-forwarded-for` hops.
    RemoteIp(IpNet),
    /// A request header.
    Header(HeaderMatch),
    /// The path without its query.
    Path(StringMatch),
}
