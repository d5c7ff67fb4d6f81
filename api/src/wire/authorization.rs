//! Pure. Role-based access control, shared by the HTTP and the network filter.

use super::any::pack_in_order;
use super::matcher::{header, path, string, wire_header, wire_path, wire_string};
use super::path_template;
use super::refusal::{At, Refusal, each, nothing_left, optional, refuse};
use super::scalar::{cidr, enumeration, port, wire_cidr};
use super::stable::RBAC_FILTER;
use super::xds::Any;
use crate::model::authorization::{Action, Authorization, Permission, Policy, Principal};
use envoy_types::pb::envoy::config::rbac::v3 as wire;
use envoy_types::pb::envoy::config::rbac::v3::permission::Rule;
use envoy_types::pb::envoy::config::rbac::v3::principal::{Authenticated, Identifier};
use envoy_types::pb::envoy::extensions::filters::network::rbac::v3::Rbac as NetworkRbac;
use envoy_types::pb::envoy::r#type::v3::Int32Range;
use std::mem::take;

/// The rules of a network filter.
pub(super) fn network(mut filter: NetworkRbac) -> Result<Vec<Authorization>, Refusal> {
    let rules = both(filter.rules.take(), filter.shadow_rules.take())?;
    nothing_left(&filter)?;
    Ok(rules)
}

pub(super) fn wire_network(model: &Authorization) -> Any {
    let rules = Some(encode(model));
    let stat_prefix = "tcp.".to_owned();
    let filter = if model.shadow {
        NetworkRbac { shadow_rules: rules, stat_prefix, ..NetworkRbac::default() }
    } else {
        NetworkRbac { rules, stat_prefix, ..NetworkRbac::default() }
    };
    pack_in_order(&filter, &RBAC_FILTER)
}

/// Enforced rules, shadow rules, both or none.
pub(super) fn both(
    rules: Option<wire::Rbac>,
    shadow: Option<wire::Rbac>,
) -> Result<Vec<Authorization>, Refusal> {
    let rules = optional(rules, "rules", |r| decode(r, false))?;
    let shadow = optional(shadow, "shadow_rules", |r| decode(r, true))?;
    Ok(rules.into_iter().chain(shadow).collect())
}

fn decode(mut rbac: wire::Rbac, shadow: bool) -> Result<Authorization, Refusal> {
    let action = match enumeration(take(&mut rbac.action), "action")? {
        wire::rbac::Action::Allow => Action::Allow,
        wire::rbac::Action::Deny => Action::Deny,
        wire::rbac::Action::Log => Action::Log,
    };
    let mut policies = take(&mut rbac.policies)
        .into_iter()
        .map(|(name, p)| policy(name.clone(), p).at_item("policies", name))
        .collect::<Result<Vec<Policy>, Refusal>>()?;
    policies.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    nothing_left(&rbac)?;
    Ok(Authorization { action, policies, shadow })
}

pub(super) fn encode(model: &Authorization) -> wire::Rbac {
    let action = match model.action {
        Action::Allow => wire::rbac::Action::Allow,
        Action::Deny => wire::rbac::Action::Deny,
        Action::Log => wire::rbac::Action::Log,
    };
    let policies = model.policies.iter().map(|p| (p.name.clone(), wire_policy(p))).collect();
    wire::Rbac { action: action.into(), policies, ..wire::Rbac::default() }
}

fn policy(name: String, mut policy: wire::Policy) -> Result<Policy, Refusal> {
    let permissions = each(take(&mut policy.permissions), "permissions", permission)?;
    let principals = each(take(&mut policy.principals), "principals", principal)?;
    nothing_left(&policy)?;
    Ok(Policy { name, permissions, principals })
}

fn wire_policy(model: &Policy) -> wire::Policy {
    wire::Policy {
        permissions: model.permissions.iter().map(wire_permission).collect(),
        principals: model.principals.iter().map(wire_principal).collect(),
        ..wire::Policy::default()
    }
}

fn port_bound(wire: i32) -> Result<i32, Refusal> {
    if (0..=65_536).contains(&wire) { Ok(wire) } else { refuse("is not a port") }
}

#[allow(deprecated)]
fn permission(wire: wire::Permission) -> Result<Permission, Refusal> {
    Ok(match wire.rule {
        Some(Rule::Any(true)) => Permission::Any,
        Some(Rule::Any(false)) => return refuse("only true is allowed").at("any"),
        Some(Rule::AndRules(set)) => Permission::And(each(set.rules, "rules", permission).at("and_rules")?),
        Some(Rule::OrRules(set)) => Permission::Or(each(set.rules, "rules", permission).at("or_rules")?),
        Some(Rule::NotRule(rule)) => Permission::Not(Box::new(permission(*rule).at("not_rule")?)),
        Some(Rule::Header(matcher)) => Permission::Header(header(matcher).at("header")?),
        Some(Rule::UrlPath(matcher)) => Permission::Path(path(matcher).at("url_path")?),
        Some(Rule::DestinationIp(range)) => Permission::DestinationIp(cidr(&range).at("destination_ip")?),
        Some(Rule::DestinationPort(number)) => {
            Permission::DestinationPort(port(number).at("destination_port")?)
        }
        Some(Rule::RequestedServerName(matcher)) => {
            Permission::ServerName(string(matcher).at("requested_server_name")?)
        }
        Some(Rule::DestinationPortRange(range)) => {
            let bound = |wire, field| port_bound(wire).at(field).at("destination_port_range");
            Permission::DestinationPorts(bound(range.start, "start")?, bound(range.end, "end")?)
        }
        Some(Rule::Metadata(_)) => return Err(Refusal::unsupported("metadata")),
        Some(Rule::Matcher(_)) => return Err(Refusal::unsupported("matcher")),
        Some(Rule::UriTemplate(template)) => {
            Permission::Path(path_template::decode(template.typed_config).at("uri_template")?)
        }
        Some(Rule::SourcedMetadata(_)) => return Err(Refusal::unsupported("sourced_metadata")),
        None => return refuse("has no rule"),
    })
}

fn wire_permission(model: &Permission) -> wire::Permission {
    let set =
        |list: &[Permission]| wire::permission::Set { rules: list.iter().map(wire_permission).collect() };
    let rule = match model {
        Permission::Any => Rule::Any(true),
        Permission::And(list) => Rule::AndRules(set(list)),
        Permission::Or(list) => Rule::OrRules(set(list)),
        Permission::Not(inner) => Rule::NotRule(Box::new(wire_permission(inner))),
        Permission::Header(matcher) => Rule::Header(wire_header(matcher)),
        Permission::Path(matcher) => Rule::UrlPath(wire_path(matcher)),
        Permission::DestinationIp(net) => Rule::DestinationIp(wire_cidr(net)),
        Permission::DestinationPort(port) => Rule::DestinationPort((*port).into()),
        Permission::DestinationPorts(start, end) => {
            Rule::DestinationPortRange(Int32Range { start: *start, end: *end })
        }
        Permission::ServerName(matcher) => Rule::RequestedServerName(wire_string(matcher)),
    };
    wire::Permission { rule: Some(rule) }
}

#[allow(deprecated)]
fn principal(wire: wire::Principal) -> Result<Principal, Refusal> {
    Ok(match wire.identifier {
        Some(Identifier::Any(true)) => Principal::Any,
        Some(Identifier::Any(false)) => return refuse("only true is allowed").at("any"),
        Some(Identifier::AndIds(set)) => Principal::And(each(set.ids, "ids", principal).at("and_ids")?),
        Some(Identifier::OrIds(set)) => Principal::Or(each(set.ids, "ids", principal).at("or_ids")?),
        Some(Identifier::NotId(inner)) => Principal::Not(Box::new(principal(*inner).at("not_id")?)),
        Some(Identifier::Authenticated(caller)) => {
            let name = optional(caller.principal_name, "principal_name", string).at("authenticated")?;
            Principal::Authenticated(name)
        }
        Some(Identifier::DirectRemoteIp(range)) => {
            Principal::DirectRemoteIp(cidr(&range).at("direct_remote_ip")?)
        }
        Some(Identifier::SourceIp(range)) => Principal::DirectRemoteIp(cidr(&range).at("source_ip")?),
        Some(Identifier::RemoteIp(range)) => Principal::RemoteIp(cidr(&range).at("remote_ip")?),
        Some(Identifier::Header(matcher)) => Principal::Header(header(matcher).at("header")?),
        Some(Identifier::UrlPath(matcher)) => Principal::Path(path(matcher).at("url_path")?),
        Some(Identifier::Metadata(_)) => return Err(Refusal::unsupported("metadata")),
        Some(Identifier::FilterState(_)) => return Err(Refusal::unsupported("filter_state")),
        Some(Identifier::SourcedMetadata(_)) => return Err(Refusal::unsupported("sourced_metadata")),
        Some(Identifier::Custom(_)) => return Err(Refusal::unsupported("custom")),
        None => return refuse("has no identifier"),
    })
}

fn wire_principal(model: &Principal) -> wire::Principal {
    let set = |list: &[Principal]| wire::principal::Set { ids: list.iter().map(wire_principal).collect() };
    let identifier = match model {
        Principal::Any => Identifier::Any(true),
        Principal::And(list) => Identifier::AndIds(set(list)),
        Principal::Or(list) => Identifier::OrIds(set(list)),
        Principal::Not(inner) => Identifier::NotId(Box::new(wire_principal(inner))),
        Principal::Authenticated(name) => {
            Identifier::Authenticated(Authenticated { principal_name: name.as_ref().map(wire_string) })
        }
        Principal::DirectRemoteIp(net) => Identifier::DirectRemoteIp(wire_cidr(net)),
        Principal::RemoteIp(net) => Identifier::RemoteIp(wire_cidr(net)),
        Principal::Header(matcher) => Identifier::Header(wire_header(matcher)),
        Principal::Path(matcher) => Identifier::UrlPath(wire_path(matcher)),
    };
    wire::Principal { identifier: Some(identifier) }
}
