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

/// Both a permission and a principal must match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Policy {
    /// Name, as reported in logs.
    pub name: String,
    /// At least one must match the request.
    pub permissions: Vec<Permission>,
    /// At least one must match the caller.
    pub principals: Vec<Principal>,
}

/// Conditions on what is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Always.
    Any,
    /// All of.
    And(Vec<Permission>),
    /// One of.
    Or(Vec<Permission>),
    /// Not.
    Not(Box<Permission>),
    /// A request header.
    Header(HeaderMatch),
    /// The path without its query.
    Path(StringMatch),
    /// Address the connection was made to.
    DestinationIp(IpNet),
    /// Port the connection was made to.
    DestinationPort(u16),
    /// Ports from the first up to, but without, the second.
    DestinationPorts(i32, i32),
    /// SNI.
    ServerName(StringMatch),
}

/// Conditions on who asks.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Principal {
    /// Anyone.
    Any,
    /// All of.
    And(Vec<Principal>),
    /// One of.
    Or(Vec<Principal>),
    /// Not.
    Not(Box<Principal>),
    /// A peer with a verified certificate; its URI SAN (or DNS SAN, or subject) must match if given.
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
