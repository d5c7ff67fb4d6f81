//! Pure. Operators about connections (addresses, names, TLS, certificates) and about the machine.

use super::argument as read;
use super::operator::{CertificateOwner, End, Fact, Moment, Operator, Part, Session, Side};
use super::row::Allowed::{Everywhere, Log};
use super::row::AllowedTraffic::Both;
use super::row::Argument::{None, Optional, Required};
use super::row::{Row, cut, nothing, plain, refused, with};

const NO_INTERNAL_LISTENERS: &str = "there are no internal listeners";
const ENDS_NOT_KEPT: &str = "how a connection ended is not kept";
const NOT_KEPT: &str = "it is not kept of a connection";
const NOT_EXPOSED: &str = "the TLS library does not expose it";
const NO_FINGERPRINTS: &str = "greetings of clients have no fingerprints here";
const OTHER_NAMES: &str = "such names are not read";

const BITS: super::row::Argument = Optional("16");
const TIME: super::row::Argument = Optional("%s");

pub(super) const ROWS: &[Row] = &[
    plain("UPSTREAM_HOST", Everywhere, Both, |_, _| Ok(address(End::Upstream, Part::Whole))),
    plain("UPSTREAM_HOST_NAME", Log, Both, |_, _| Ok(Operator::HostName { port: true })),
    plain("UPSTREAM_HOST_NAME_WITHOUT_PORT", Log, Both, |_, _| Ok(Operator::HostName { port: false })),
    plain("UPSTREAM_CLUSTER", Everywhere, Both, |_, _| Ok(Operator::Cluster)),
    plain("UPSTREAM_CLUSTER_RAW", Everywhere, Both, |_, _| Ok(Operator::Cluster)),
    plain("UPSTREAM_LOCAL_ADDRESS", Log, Both, |_, _| Ok(address(End::UpstreamLocal, Part::Whole))),
    with("UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", BITS, (Log, Both), |a, _| {
        Ok(address(End::UpstreamLocal, read::network(a)?))
    }),
    plain("UPSTREAM_LOCAL_PORT", Log, Both, |_, _| Ok(address(End::UpstreamLocal, Part::Port))),
    plain("UPSTREAM_REMOTE_ADDRESS", Everywhere, Both, |_, _| Ok(address(End::UpstreamRemote, Part::Whole))),
    with("UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", BITS, (Everywhere, Both), |a, _| {
        Ok(address(End::UpstreamRemote, read::network(a)?))
    }),
    plain("UPSTREAM_REMOTE_PORT", Everywhere, Both, |_, _| Ok(address(End::UpstreamRemote, Part::Port))),
    nothing("UPSTREAM_REMOTE_ADDRESS_ENDPOINT_ID", None, NO_INTERNAL_LISTENERS),
    plain("DOWNSTREAM_REMOTE_ADDRESS", Everywhere, Both, |_, _| Ok(address(End::Remote, Part::Whole))),
    with("DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", BITS, (Everywhere, Both), |a, _| {
        Ok(address(End::Remote, read::network(a)?))
    }),
    plain("DOWNSTREAM_REMOTE_PORT", Everywhere, Both, |_, _| Ok(address(End::Remote, Part::Port))),
    plain("DOWNSTREAM_DIRECT_REMOTE_ADDRESS", Everywhere, Both, |_, _| Ok(address(End::Direct, Part::Whole))),
    with("DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", BITS, (Everywhere, Both), |a, _| {
        Ok(address(End::Direct, read::network(a)?))
    }),
    plain("DOWNSTREAM_DIRECT_REMOTE_PORT", Everywhere, Both, |_, _| Ok(address(End::Direct, Part::Port))),
    plain("DOWNSTREAM_LOCAL_ADDRESS", Everywhere, Both, |_, _| Ok(address(End::Local, Part::Whole))),
    with("DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", BITS, (Everywhere, Both), |a, _| {
        Ok(address(End::Local, read::network(a)?))
    }),
    plain("DOWNSTREAM_LOCAL_PORT", Everywhere, Both, |_, _| Ok(address(End::Local, Part::Port))),
    nothing("DOWNSTREAM_LOCAL_ADDRESS_ENDPOINT_ID", None, NO_INTERNAL_LISTENERS),
    plain("DOWNSTREAM_DIRECT_LOCAL_ADDRESS", Everywhere, Both, |_, _| {
        Ok(address(End::DirectLocal, Part::Whole))
    }),
    with("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", BITS, (Everywhere, Both), |a, _| {
        Ok(address(End::DirectLocal, read::network(a)?))
    }),
    plain("DOWNSTREAM_DIRECT_LOCAL_PORT", Everywhere, Both, |_, _| Ok(address(End::DirectLocal, Part::Port))),
    nothing("DOWNSTREAM_DIRECT_LOCAL_ADDRESS_ENDPOINT_ID", None, NO_INTERNAL_LISTENERS),
    plain("CONNECTION_ID", Everywhere, Both, |_, _| Ok(Operator::ConnectionId)),
    plain("UPSTREAM_CONNECTION_ID", Log, Both, |_, _| Ok(Operator::UpstreamConnectionId)),
    plain("CONNECTION_TERMINATION_DETAILS", Log, Both, |_, _| Ok(Operator::TerminationDetails)),
    plain("UPSTREAM_TRANSPORT_FAILURE_REASON", Log, Both, |_, _| Ok(Operator::TransportFailure)),
    nothing("DOWNSTREAM_TRANSPORT_FAILURE_REASON", None, "a connection whose TLS fails leaves no line"),
    refused("UPSTREAM_DETECTED_CLOSE_TYPE", None, ENDS_NOT_KEPT),
    refused("UPSTREAM_LOCAL_CLOSE_REASON", None, ENDS_NOT_KEPT),
    refused("DOWNSTREAM_DETECTED_CLOSE_TYPE", None, ENDS_NOT_KEPT),
    refused("DOWNSTREAM_LOCAL_CLOSE_REASON", None, ENDS_NOT_KEPT),
    plain("FILTER_CHAIN_NAME", Everywhere, Both, |_, _| Ok(Operator::FilterChain)),
    plain("ACCESS_LOG_TYPE", Log, Both, |_, _| Ok(Operator::LogType)),
    with("REQUESTED_SERVER_NAME", Optional("SNI_FIRST:HOST"), (Everywhere, Both), |a, _| {
        read::server_name(a)
    }),
    plain("DOWNSTREAM_TLS_VERSION", Everywhere, Both, |_, _| Ok(tls(Side::Downstream, Session::Version))),
    plain("DOWNSTREAM_TLS_CIPHER", Everywhere, Both, |_, _| Ok(tls(Side::Downstream, Session::Cipher))),
    plain("DOWNSTREAM_TLS_GROUP", Everywhere, Both, |_, _| Ok(tls(Side::Downstream, Session::Group))),
    refused("DOWNSTREAM_TLS_SESSION_ID", None, NOT_EXPOSED),
    refused("TLS_JA3_FINGERPRINT", None, NO_FINGERPRINTS),
    refused("TLS_JA4_FINGERPRINT", None, NO_FINGERPRINTS),
    plain("DOWNSTREAM_PEER_URI_SAN", Everywhere, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Uris))),
    plain("DOWNSTREAM_PEER_DNS_SAN", Everywhere, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Dns))),
    plain("DOWNSTREAM_PEER_IP_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Ips))),
    plain("DOWNSTREAM_PEER_EMAIL_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Emails))),
    refused("DOWNSTREAM_PEER_OTHERNAME_SAN", None, OTHER_NAMES),
    plain("DOWNSTREAM_PEER_SUBJECT", Everywhere, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Subject))),
    plain("DOWNSTREAM_PEER_ISSUER", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Issuer))),
    plain("DOWNSTREAM_PEER_SERIAL", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Serial))),
    plain("DOWNSTREAM_PEER_FINGERPRINT_256", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Sha256))),
    plain("DOWNSTREAM_PEER_FINGERPRINT_1", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Sha1))),
    plain("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_256", Log, Both, |_, _| {
        Ok(of(CertificateOwner::Peer, Fact::ChainSha256))
    }),
    plain("DOWNSTREAM_PEER_CHAIN_FINGERPRINTS_1", Log, Both, |_, _| {
        Ok(of(CertificateOwner::Peer, Fact::ChainSha1))
    }),
    plain("DOWNSTREAM_PEER_CHAIN_SERIALS", Log, Both, |_, _| {
        Ok(of(CertificateOwner::Peer, Fact::ChainSerials))
    }),
    refused("DOWNSTREAM_PEER_ISSUER_FINGERPRINT_256", None, NOT_KEPT),
    refused("DOWNSTREAM_PEER_ISSUER_SERIAL", None, NOT_KEPT),
    plain("DOWNSTREAM_PEER_CERT", Log, Both, |_, _| Ok(of(CertificateOwner::Peer, Fact::Pem))),
    with("DOWNSTREAM_PEER_CERT_V_START", TIME, (Log, Both), |a, _| read::time(a, Moment::PeerFrom)),
    with("DOWNSTREAM_PEER_CERT_V_END", TIME, (Log, Both), |a, _| read::time(a, Moment::PeerUntil)),
    plain("DOWNSTREAM_LOCAL_URI_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Local, Fact::Uris))),
    plain("DOWNSTREAM_LOCAL_DNS_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Local, Fact::Dns))),
    plain("DOWNSTREAM_LOCAL_IP_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Local, Fact::Ips))),
    plain("DOWNSTREAM_LOCAL_EMAIL_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Local, Fact::Emails))),
    refused("DOWNSTREAM_LOCAL_OTHERNAME_SAN", None, OTHER_NAMES),
    plain("DOWNSTREAM_LOCAL_SUBJECT", Log, Both, |_, _| Ok(of(CertificateOwner::Local, Fact::Subject))),
    plain("UPSTREAM_TLS_VERSION", Log, Both, |_, _| Ok(tls(Side::Upstream, Session::Version))),
    plain("UPSTREAM_TLS_CIPHER", Log, Both, |_, _| Ok(tls(Side::Upstream, Session::Cipher))),
    plain("UPSTREAM_TLS_GROUP", Log, Both, |_, _| Ok(tls(Side::Upstream, Session::Group))),
    refused("UPSTREAM_TLS_SESSION_ID", None, NOT_EXPOSED),
    plain("UPSTREAM_SERVER_NAME", Log, Both, |_, _| Ok(tls(Side::Upstream, Session::ServerName))),
    plain("UPSTREAM_PEER_URI_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Uris))),
    plain("UPSTREAM_PEER_DNS_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Dns))),
    plain("UPSTREAM_PEER_SUBJECT", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Subject))),
    plain("UPSTREAM_PEER_IP_SAN", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Ips))),
    plain("UPSTREAM_PEER_ISSUER", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Issuer))),
    plain("UPSTREAM_PEER_CERT", Log, Both, |_, _| Ok(of(CertificateOwner::Upstream, Fact::Pem))),
    with("UPSTREAM_PEER_CERT_V_START", TIME, (Log, Both), |a, _| read::time(a, Moment::UpstreamFrom)),
    with("UPSTREAM_PEER_CERT_V_END", TIME, (Log, Both), |a, _| read::time(a, Moment::UpstreamUntil)),
    refused("UPSTREAM_LOCAL_URI_SAN", None, NOT_KEPT),
    refused("UPSTREAM_LOCAL_DNS_SAN", None, NOT_KEPT),
    refused("UPSTREAM_LOCAL_IP_SAN", None, NOT_KEPT),
    plain("HOSTNAME", Everywhere, Both, |_, _| Ok(Operator::MachineName)),
    cut("ENVIRONMENT", Required("X"), (Everywhere, Both), |a, _| Ok(Operator::Environment(a.to_owned()))),
];

fn address(end: End, part: Part) -> Operator {
    Operator::Address(end, part)
}

fn tls(side: Side, what: Session) -> Operator {
    Operator::Tls(side, what)
}

fn of(holder: CertificateOwner, fact: Fact) -> Operator {
    Operator::Certificate(holder, fact)
}
