//! Pure. Role-based access control made ready to be asked.

use crate::matcher::{HeaderCondition, InvalidConfig, Text};
use api::model::authorization::{self as model, Action};
use ipnet::IpNet;

/// A set of policies with one action.
#[derive(Debug)]
pub struct Authorization {
    /// What a match means.
    pub action: Action,
    /// Evaluate and count only.
    pub shadow: bool,
    /// Policies by name; the first that matches decides.
    pub policies: Box<[Policy]>,
}

/// Both a permission and a principal must match.
#[derive(Debug)]
pub struct Policy {
    /// Name for logs.
    pub name: Box<str>,
    /// One of these must match.
    pub permissions: Box<[Condition]>,
    /// One of these must match.
    pub principals: Box<[Condition]>,
}

/// A condition on what is asked for or on who asks.
#[derive(Debug)]
pub enum Condition {
    /// Always.
    Any,
    /// All of.
    And(Box<[Condition]>),
    /// One of.
    Or(Box<[Condition]>),
    /// Not.
    Not(Box<Condition>),
    /// A request header.
    Header(HeaderCondition),
    /// The path without its query.
    Path(Text),
    /// Our address.
    DestinationIp(IpNet),
    /// Our port.
    DestinationPort(u16),
    /// Our port, from the first up to, but without, the second.
    DestinationPorts(i32, i32),
    /// SNI.
    ServerName(Text),
    /// A verified certificate, and its name.
    Authenticated(Option<Text>),
    /// The connection's peer.
    DirectRemoteIp(IpNet),
    /// The client's address after trusted hops.
    RemoteIp(IpNet),
}

impl Authorization {
    /// Makes policies ready.
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
