//! Pure. Compiled role-based access control rules.

use crate::matcher::{HeaderCondition, InvalidConfig, Text};
use api::model::authorization::{self as model, Action};
use ipnet::IpNet;

/// A set of policies with one action.
#[derive(Debug)]
pub struct Authorization {
    /// The action of a match.
    pub action: Action,
    /// Whether to only evaluate and count.
    pub shadow: bool,
    /// Policies by name. The first that matches decides.
    pub policies: Box<[Policy]>,
}

/// A policy. Both a permission and a principal must match.
#[derive(Debug)]
pub struct Policy {
    /// Name in logs.
    pub name: Box<str>,
    /// One of these must match.
    pub permissions: Box<[Condition]>,
    /// One of these must match.
    pub principals: Box<[Condition]>,
}

/// A condition on the request or its client.
#[derive(Debug)]
pub enum Condition {
    /// Always matches.
    Any,
    /// All must match.
    And(Box<[Condition]>),
    /// At least one must match.
    Or(Box<[Condition]>),
    /// Must not match.
    Not(Box<Condition>),
    /// A request header.
    Header(HeaderCondition),
    /// The path without its query.
    Path(Text),
    /// The destination address.
    DestinationIp(IpNet),
    /// The destination port.
    DestinationPort(u16),
    /// A range of destination ports: from the first to the second, exclusive.
    DestinationPorts(i32, i32),
    /// The SNI.
    ServerName(Text),
    /// TLS and, if given, a name of the client's certificate.
    Authenticated(Option<Text>),
    /// The connection's peer.
    DirectRemoteIp(IpNet),
    /// The client's address after trusted hops.
    RemoteIp(IpNet),
}

impl Authorization {
    /// Compiles policies.
    pub fn compile(from: &model::Authorization) -> Result<Self, InvalidConfig> {
        let policies = from
            .policies
            .iter()
            .map(|policy| {
                Ok(Policy {
                    name: policy.name.as_str().into(),
                    permissions: all(&policy.permissions, permission)?,
                    principals: all(&policy.principals, principal)?,
                })
            })
            .collect::<Result<_, InvalidConfig>>()?;
        Ok(Self { action: from.action, shadow: from.shadow, policies })
    }
}

fn all<T>(
    from: &[T],
    one: impl Fn(&T) -> Result<Condition, InvalidConfig>,
) -> Result<Box<[Condition]>, InvalidConfig> {
    from.iter().map(one).collect()
}

fn permission(from: &model::Permission) -> Result<Condition, InvalidConfig> {
    Ok(match from {
        model::Permission::Any => Condition::Any,
        model::Permission::And(parts) => Condition::And(all(parts, permission)?),
        model::Permission::Or(parts) => Condition::Or(all(parts, permission)?),
        model::Permission::Not(part) => Condition::Not(Box::new(permission(part)?)),
        model::Permission::Header(header) => Condition::Header(HeaderCondition::compile(header)?),
        model::Permission::Path(text) => Condition::Path(Text::compile(text)?),
        model::Permission::DestinationIp(net) => Condition::DestinationIp(*net),
        model::Permission::DestinationPort(port) => Condition::DestinationPort(*port),
        model::Permission::DestinationPorts(start, end) => Condition::DestinationPorts(*start, *end),
        model::Permission::ServerName(text) => Condition::ServerName(Text::compile(text)?),
    })
}

fn principal(from: &model::Principal) -> Result<Condition, InvalidConfig> {
    Ok(match from {
        model::Principal::Any => Condition::Any,
        model::Principal::And(parts) => Condition::And(all(parts, principal)?),
        model::Principal::Or(parts) => Condition::Or(all(parts, principal)?),
        model::Principal::Not(part) => Condition::Not(Box::new(principal(part)?)),
        model::Principal::Authenticated(name) => {
            Condition::Authenticated(name.as_ref().map(Text::compile).transpose()?)
        }
        model::Principal::DirectRemoteIp(net) => Condition::DirectRemoteIp(*net),
        model::Principal::RemoteIp(net) => Condition::RemoteIp(*net),
        model::Principal::Header(header) => Condition::Header(HeaderCondition::compile(header)?),
        model::Principal::Path(text) => Condition::Path(Text::compile(text)?),
    })
}
