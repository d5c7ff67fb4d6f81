//! Pure. The small types: durations, wrapped numbers and booleans, addresses, shares.
//!
//! Where Envoy has a default, the wire omits it and decoding fills it in; zero means "no limit" on the wire and
//! is `None` in the model.

use super::refusal::{At, Refusal, nothing_left, refuse, required};
use crate::model::matcher::Fraction;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::r#type::v3::FractionalPercent;
use envoy_types::pb::envoy::r#type::v3::fractional_percent::DenominatorType;
use envoy_types::pb::google::protobuf as pb;
use ipnet::IpNet;
use std::mem::take;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

pub(super) fn duration(wire: pb::Duration) -> Result<Duration, Refusal> {
    match (u64::try_from(wire.seconds), u32::try_from(wire.nanos)) {
        (Ok(seconds), Ok(nanos)) if nanos < 1_000_000_000 => Ok(Duration::new(seconds, nanos)),
        _ => refuse("is not a positive duration"),
    }
}

pub(super) fn wire_duration(value: Duration) -> pb::Duration {
    pb::Duration {
        seconds: i64::try_from(value.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or_default(),
    }
}

/// A limit: absent means Envoy's default, zero means no limit.
pub(super) fn limit(
    wire: Option<pb::Duration>,
    field: &str,
    default: Option<Duration>,
) -> Result<Option<Duration>, Refusal> {
    match wire {
        None => Ok(default),
        Some(wire) => Ok(Some(duration(wire).at(field)?).filter(|d| !d.is_zero())),
    }
}

pub(super) fn wire_limit(value: Option<Duration>, default: Option<Duration>) -> Option<pb::Duration> {
    (value != default).then(|| wire_duration(value.unwrap_or_default()))
}

/// A duration for which zero does not mean "no limit".
pub(super) fn period(
    wire: Option<pb::Duration>,
    field: &str,
    default: Duration,
) -> Result<Duration, Refusal> {
    wire.map_or(Ok(default), |d| duration(d).at(field))
}

pub(super) fn number(wire: Option<pb::UInt32Value>, default: u32) -> u32 {
    wire.map_or(default, |n| n.value)
}

pub(super) fn wire_number(value: u32) -> pb::UInt32Value {
    pb::UInt32Value { value }
}

/// A number, omitted if it is the default.
pub(super) fn wire_number_unless(value: u32, default: u32) -> Option<pb::UInt32Value> {
    (value != default).then_some(pb::UInt32Value { value })
}

pub(super) fn truth(wire: Option<pb::BoolValue>, default: bool) -> bool {
    wire.map_or(default, |b| b.value)
}

pub(super) fn wire_truth(value: bool, default: bool) -> Option<pb::BoolValue> {
    (value != default).then_some(pb::BoolValue { value })
}

/// A value of an enumeration; refused if it is not a known one.
pub(super) fn enumeration<E: TryFrom<i32>>(wire: i32, field: &str) -> Result<E, Refusal> {
    E::try_from(wire).or_else(|_| refuse(format!("{wire} is not a known value"))).at(field)
}

pub(super) fn port(wire: u32) -> Result<u16, Refusal> {
    u16::try_from(wire).or_else(|_| refuse(format!("{wire} is not a port")))
}

/// A port from 1 to 65535 or a status code: small numbers that the wire carries as 32 bits.
pub(super) fn short(wire: u32, field: &str) -> Result<u16, Refusal> {
    u16::try_from(wire).or_else(|_| refuse(format!("{wire} is too large"))).at(field)
}

/// An IP address and port.
pub(super) fn socket(wire: core::Address) -> Result<SocketAddr, Refusal> {
    match wire.address {
        Some(core::address::Address::SocketAddress(socket)) => {
            let (host, port) = host_and_port(socket).at("socket_address")?;
            let ip = ip(&host).at("address").at("socket_address")?;
            Ok(SocketAddr::new(ip, port))
        }
        Some(core::address::Address::Pipe(_)) => Err(Refusal::unsupported("pipe")),
        Some(core::address::Address::EnvoyInternalAddress(_)) => {
            Err(Refusal::unsupported("envoy_internal_address"))
        }
        None => required(None, "socket_address"),
    }
}

/// Host and port of a TCP address; the host may be a name.
pub(super) fn host_and_port(mut wire: core::SocketAddress) -> Result<(String, u16), Refusal> {
    if wire.protocol != core::socket_address::Protocol::Tcp as i32 {
        return refuse("only TCP is supported").at("protocol");
    }
    let number = match wire.port_specifier.take() {
        Some(core::socket_address::PortSpecifier::PortValue(value)) => port(value).at("port_value")?,
        Some(core::socket_address::PortSpecifier::NamedPort(_)) => {
            return Err(Refusal::unsupported("named_port"));
        }
        None => 0,
    };
    let host = take(&mut wire.address);
    nothing_left(&wire)?;
    Ok((host, number))
}

pub(super) fn wire_socket(address: SocketAddr) -> core::Address {
    wire_host_and_port(address.ip().to_string(), address.port())
}

pub(super) fn wire_host_and_port(host: String, port: u16) -> core::Address {
    core::Address { address: Some(core::address::Address::SocketAddress(wire_tcp(host, port))) }
}

pub(super) fn wire_tcp(host: String, port: u16) -> core::SocketAddress {
    core::SocketAddress {
        address: host,
        port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
        ..core::SocketAddress::default()
    }
}

pub(super) fn ip(text: &str) -> Result<IpAddr, Refusal> {
    text.parse().or_else(|_| refuse(format!("{text:?} is not an IP address")))
}

pub(super) fn cidr(wire: &core::CidrRange) -> Result<IpNet, Refusal> {
    let address = ip(&wire.address_prefix).at("address_prefix")?;
    let length = number(wire.prefix_len, 0);
    let length = u8::try_from(length).unwrap_or(u8::MAX);
    IpNet::new(address, length).or_else(|_| refuse("is longer than the address").at("prefix_len"))
}

pub(super) fn wire_cidr(net: &IpNet) -> core::CidrRange {
    core::CidrRange {
        address_prefix: net.addr().to_string(),
        prefix_len: Some(wire_number(net.prefix_len().into())),
    }
}

pub(super) fn fraction(wire: FractionalPercent) -> Result<Fraction, Refusal> {
    let denominator = match enumeration(wire.denominator, "denominator")? {
        DenominatorType::Hundred => 100,
        DenominatorType::TenThousand => 10_000,
        DenominatorType::Million => 1_000_000,
    };
    Ok(Fraction { numerator: wire.numerator, denominator })
}

pub(super) fn wire_fraction(share: Fraction) -> FractionalPercent {
    let (numerator, denominator) = match share.denominator {
        100 => (share.numerator, DenominatorType::Hundred),
        10_000 => (share.numerator, DenominatorType::TenThousand),
        1_000_000 => (share.numerator, DenominatorType::Million),
        0 => (0, DenominatorType::Hundred),
        other => {
            let scaled = u64::from(share.numerator) * 1_000_000 / u64::from(other);
            (u32::try_from(scaled).unwrap_or(1_000_000), DenominatorType::Million)
        }
    };
    FractionalPercent { numerator, denominator: denominator.into() }
}

/// A share whose runtime key has no effect.
pub(super) fn runtime_fraction(mut wire: core::RuntimeFractionalPercent) -> Result<Fraction, Refusal> {
    let share = fraction(required(wire.default_value.take(), "default_value")?).at("default_value")?;
    nothing_left(&wire)?;
    Ok(share)
}

pub(super) fn wire_runtime_fraction(share: Fraction) -> core::RuntimeFractionalPercent {
    core::RuntimeFractionalPercent { default_value: Some(wire_fraction(share)), runtime_key: String::new() }
}
