//! Pure. TLS contexts of both sides, and the transport sockets that hold them.

use super::any::{config_type, pack, typed};
use super::matcher::{string, wire_string};
use super::refusal::{At, Refusal, each, nothing_left, refuse, required};
use super::scalar::{enumeration, truth, wire_truth};
use super::source;
use super::xds::Any;
use crate::model::tls::{
    CertificateSource, DownstreamTls, RootSource, SanKind, SanMatch, TlsParameters, TlsVersion, UpstreamTls,
    Validation,
};
use crate::name::SYSTEM_ROOTS;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::transport_socket::ConfigType;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TransportSocket};
use envoy_types::pb::envoy::extensions::transport_sockets::raw_buffer::v3::RawBuffer;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3 as wire;
use prost::Name;
use std::mem::take;
use wire::certificate_validation_context::TrustChainVerification;
use wire::common_tls_context::{CombinedCertificateValidationContext, ValidationContextType};
use wire::subject_alt_name_matcher::SanType;
use wire::tls_parameters::TlsProtocol;

/// The server's side of a transport socket; `None` for plaintext.
pub(super) fn downstream(socket: TransportSocket) -> Result<Option<DownstreamTls>, Refusal> {
    let Some(config) = tls_config(socket)? else { return Ok(None) };
    let mut context: wire::DownstreamTlsContext = typed(&config)?;
    let common = common(required(context.common_tls_context.take(), "common_tls_context")?)
        .at("common_tls_context")
        .at("typed_config")?;
    let require_client_certificate = truth(context.require_client_certificate.take(), false);
    if truth(context.require_sni.take(), false) {
        return Err(Refusal::unsupported("require_sni")).at("typed_config");
    }
    ignore_session_tickets(&mut context);
    nothing_left(&context).at("typed_config")?;
    Ok(Some(DownstreamTls { common, require_client_certificate }))
}

pub(super) fn wire_downstream(tls: &DownstreamTls) -> TransportSocket {
    socket(
        TLS,
        pack(&wire::DownstreamTlsContext {
            common_tls_context: Some(wire_common(&tls.common)),
            require_client_certificate: wire_truth(tls.require_client_certificate, false),
            ..wire::DownstreamTlsContext::default()
        }),
    )
}

/// The client's side of a transport socket; `None` for plaintext. The settings about the request's authority
/// (`auto_sni`, `auto_san`) are in the cluster's HTTP options.
pub(super) fn upstream(socket: TransportSocket) -> Result<Option<UpstreamTls>, Refusal> {
    let Some(config) = tls_config(socket)? else { return Ok(None) };
    let mut context: wire::UpstreamTlsContext = typed(&config)?;
    // Without a validation context, the server's certificate is not verified, as in Envoy.
    let common = common(context.common_tls_context.take().unwrap_or_default())
        .at("common_tls_context")
        .at("typed_config")?;
    let sni = take(&mut context.sni);
    nothing_left(&context).at("typed_config")?;
    Ok(Some(UpstreamTls { common, sni, auto_sni: false, auto_san: false }))
}

pub(super) fn wire_upstream(tls: &UpstreamTls) -> TransportSocket {
    socket(
        TLS,
        pack(&wire::UpstreamTlsContext {
            common_tls_context: Some(wire_common(&tls.common)),
            sni: tls.sni.clone(),
            ..wire::UpstreamTlsContext::default()
        }),
    )
}

/// The transport socket for plaintext.
pub(super) fn raw_buffer() -> TransportSocket {
    socket("envoy.transport_sockets.raw_buffer", pack(&RawBuffer {}))
}

fn socket(name: &str, config: Any) -> TransportSocket {
    TransportSocket { name: name.into(), config_type: Some(ConfigType::TypedConfig(config)) }
}

fn tls_config(socket: TransportSocket) -> Result<Option<Any>, Refusal> {
    let Some(ConfigType::TypedConfig(config)) = socket.config_type else {
        return if socket.name == "envoy.transport_sockets.raw_buffer" {
            Ok(None)
        } else {
            required(None, "typed_config")
        };
    };
    let kind = config_type(&config)?;
    if kind == RawBuffer::full_name() {
        return Ok(None);
    }
    let tls = [wire::DownstreamTlsContext::full_name(), wire::UpstreamTlsContext::full_name()];
    if tls.contains(&kind) {
        Ok(Some(config))
    } else {
        refuse(format!("transport socket {} ({kind}) is not supported", socket.name))
    }
}

/// Ignores settings of session tickets, which are an optimisation. Configured keys are refused: they would be a secret
/// to rotate.
fn ignore_session_tickets(context: &mut wire::DownstreamTlsContext) {
    use wire::downstream_tls_context::SessionTicketKeysType::DisableStatelessSessionResumption;
    if let Some(DisableStatelessSessionResumption(_)) = context.session_ticket_keys_type {
        context.session_ticket_keys_type = None;
    }
}

fn common(mut wire: wire::CommonTlsContext) -> Result<TlsParameters, Refusal> {
    let mut parameters = wire.tls_params.take().unwrap_or_default();
    let min = version(take(&mut parameters.tls_minimum_protocol_version)).at("tls_minimum_protocol_version");
    let max = version(take(&mut parameters.tls_maximum_protocol_version)).at("tls_maximum_protocol_version");
    let (min, max) = (min.at("tls_params")?, max.at("tls_params")?);
    nothing_left(&parameters).at("tls_params")?;
    let mut certificates = each(take(&mut wire.tls_certificates), "tls_certificates", certificate)?;
    let secrets = take(&mut wire.tls_certificate_sds_secret_configs);
    certificates.extend(each(secrets, "tls_certificate_sds_secret_configs", certificate_secret)?);
    let validation = validation(wire.validation_context_type.take())?;
    let alpn = take(&mut wire.alpn_protocols);
    nothing_left(&wire)?;
    Ok(TlsParameters { min, max, alpn, certificates, validation })
}

fn wire_common(tls: &TlsParameters) -> wire::CommonTlsContext {
    let parameters = wire::TlsParameters {
        tls_minimum_protocol_version: wire_version(tls.min).into(),
        tls_maximum_protocol_version: wire_version(tls.max).into(),
        ..wire::TlsParameters::default()
    };
    let (mut certificates, mut secrets) = (vec![], vec![]);
    for source in &tls.certificates {
        match source {
            CertificateSource::Sds(name) => secrets.push(wire_secret(name)),
            CertificateSource::Files { certificate, key } => {
                certificates.push(wire_certificate(file(certificate), file(key)));
            }
            CertificateSource::Inline { certificate, key } => {
                certificates.push(wire_certificate(inline(certificate), inline(key)));
            }
        }
    }
    wire::CommonTlsContext {
        tls_params: (parameters != wire::TlsParameters::default()).then_some(parameters),
        tls_certificates: certificates,
        tls_certificate_sds_secret_configs: secrets,
        alpn_protocols: tls.alpn.clone(),
        validation_context_type: tls.validation.as_ref().map(wire_validation),
        ..wire::CommonTlsContext::default()
    }
}

fn version(wire: i32) -> Result<Option<TlsVersion>, Refusal> {
    match TlsProtocol::try_from(wire) {
        Ok(TlsProtocol::TlsAuto) => Ok(None),
        Ok(TlsProtocol::TlSv12) => Ok(Some(TlsVersion::V1_2)),
        Ok(TlsProtocol::TlSv13) => Ok(Some(TlsVersion::V1_3)),
        Ok(TlsProtocol::TlSv10 | TlsProtocol::TlSv11) => refuse("only TLS 1.2 and 1.3 are supported"),
        Err(_) => refuse(format!("{wire} is not a known value")),
    }
}

fn wire_version(version: Option<TlsVersion>) -> TlsProtocol {
    match version {
        None => TlsProtocol::TlsAuto,
        Some(TlsVersion::V1_2) => TlsProtocol::TlSv12,
        Some(TlsVersion::V1_3) => TlsProtocol::TlSv13,
    }
}

/// A certificate in the configuration itself: chain and key both in files, or both as text.
pub(super) fn certificate(mut wire: wire::TlsCertificate) -> Result<CertificateSource, Refusal> {
    let chain =
        data(required(wire.certificate_chain.take(), "certificate_chain")?).at("certificate_chain")?;
    let key = data(required(wire.private_key.take(), "private_key")?).at("private_key")?;
    nothing_left(&wire)?;
    match (chain, key) {
        (Data::File(certificate), Data::File(key)) => Ok(CertificateSource::Files { certificate, key }),
        (Data::Text(certificate), Data::Text(key)) => Ok(CertificateSource::Inline { certificate, key }),
        _ => refuse("the chain and the key must both be files or both be inline"),
    }
}

/// A certificate with its key as text.
pub(super) fn wire_inline_certificate(chain: &str, key: &str) -> wire::TlsCertificate {
    wire_certificate(inline(chain), inline(key))
}

fn wire_certificate(chain: DataSource, key: DataSource) -> wire::TlsCertificate {
    wire::TlsCertificate {
        certificate_chain: Some(chain),
        private_key: Some(key),
        ..wire::TlsCertificate::default()
    }
}

fn secret_name(wire: wire::SdsSecretConfig) -> Result<String, Refusal> {
    source::check(wire.sds_config.as_ref()).at("sds_config")?;
    if wire.name.is_empty() {
        return required(None, "name");
    }
    Ok(wire.name)
}

/// A certificate by the name of its secret. Istio's agent, which stands beside the proxy, serves files under names that
/// contain their paths; this proxy reads them itself.
fn certificate_secret(wire: wire::SdsSecretConfig) -> Result<CertificateSource, Refusal> {
    let name = secret_name(wire)?;
    match name.strip_prefix("file-cert:").map(|files| files.split('~').collect::<Vec<_>>()) {
        None => Ok(CertificateSource::Sds(name)),
        Some(files) => match files[..] {
            [certificate, key] => {
                Ok(CertificateSource::Files { certificate: certificate.to_owned(), key: key.to_owned() })
            }
            _ => refuse("must be file-cert:CERTIFICATE~KEY").at("name"),
        },
    }
}

/// Trust anchors by the name of their secret, as for certificates. `system` stands for the machine's own.
fn roots_secret(wire: wire::SdsSecretConfig) -> Result<RootSource, Refusal> {
    let name = secret_name(wire)?;
    Ok(match name.strip_prefix("file-root:") {
        None => RootSource::Sds(name),
        Some("system") => RootSource::File(SYSTEM_ROOTS.to_owned()),
        Some(path) => RootSource::File(path.to_owned()),
    })
}

fn wire_secret(name: &str) -> wire::SdsSecretConfig {
    wire::SdsSecretConfig { name: name.to_owned(), sds_config: Some(source::of_secret(name)) }
}

#[allow(deprecated)]
fn validation(wire: Option<ValidationContextType>) -> Result<Option<Validation>, Refusal> {
    let found = match wire {
        None => return Ok(None),
        Some(ValidationContextType::ValidationContext(context)) => {
            validation_context(context).at("validation_context")?
        }
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => {
            let roots = roots_secret(secret).at("validation_context_sds_secret_config")?;
            Validation { roots, subject_alt_names: vec![] }
        }
        Some(ValidationContextType::CombinedValidationContext(both)) => {
            combined(both).at("combined_validation_context")?
        }
        Some(ValidationContextType::ValidationContextCertificateProvider(_)) => {
            return Err(Refusal::unsupported("validation_context_certificate_provider"));
        }
        Some(ValidationContextType::ValidationContextCertificateProviderInstance(_)) => {
            return Err(Refusal::unsupported("validation_context_certificate_provider_instance"));
        }
    };
    Ok(Some(found))
}

/// A combined validation context: accepted names from the configuration, trust anchors from a secret.
fn combined(mut wire: CombinedCertificateValidationContext) -> Result<Validation, Refusal> {
    let given = wire.default_validation_context.take().unwrap_or_default();
    if given.trust_chain_verification != TrustChainVerification::VerifyTrustChain as i32 {
        return Err(Refusal::unsupported("trust_chain_verification")).at("default_validation_context");
    }
    let given = validation_context(given).at("default_validation_context")?;
    let secret =
        required(wire.validation_context_sds_secret_config.take(), "validation_context_sds_secret_config")?;
    let roots = roots_secret(secret).at("validation_context_sds_secret_config")?;
    if given.roots != RootSource::None {
        return Err(Refusal::unsupported("trusted_ca")).at("default_validation_context");
    }
    nothing_left(&wire)?;
    Ok(Validation { roots, subject_alt_names: given.subject_alt_names })
}

/// A validation context in the configuration itself. Without trust anchors, no chain is verified.
#[allow(deprecated)]
pub(super) fn validation_context(
    mut wire: wire::CertificateValidationContext,
) -> Result<Validation, Refusal> {
    let trusted = wire.trusted_ca.take().map(data).transpose().at("trusted_ca")?;
    let untrusted: TrustChainVerification =
        enumeration(take(&mut wire.trust_chain_verification), "trust_chain_verification")?;
    let roots = match (untrusted, trusted) {
        (TrustChainVerification::AcceptUntrusted, _) | (_, None) => RootSource::None,
        (TrustChainVerification::VerifyTrustChain, Some(Data::File(path))) => RootSource::File(path),
        (TrustChainVerification::VerifyTrustChain, Some(Data::Text(text))) => RootSource::Inline(text),
    };
    let typed = take(&mut wire.match_typed_subject_alt_names);
    let mut subject_alt_names = each(typed, "match_typed_subject_alt_names", san)?;
    let untyped = take(&mut wire.match_subject_alt_names);
    subject_alt_names.extend(each(untyped, "match_subject_alt_names", |matcher| {
        Ok(SanMatch { kind: None, value: string(matcher)? })
    })?);
    nothing_left(&wire)?;
    Ok(Validation { roots, subject_alt_names })
}

fn wire_validation(validation: &Validation) -> ValidationContextType {
    let names = wire_names(&validation.subject_alt_names);
    match &validation.roots {
        RootSource::Sds(name) if validation.subject_alt_names.is_empty() => {
            ValidationContextType::ValidationContextSdsSecretConfig(wire_secret(name))
        }
        RootSource::Sds(name) => {
            ValidationContextType::CombinedValidationContext(CombinedCertificateValidationContext {
                default_validation_context: Some(names),
                validation_context_sds_secret_config: Some(wire_secret(name)),
                ..CombinedCertificateValidationContext::default()
            })
        }
        RootSource::File(path) => {
            ValidationContextType::ValidationContext(wire::CertificateValidationContext {
                trusted_ca: Some(file(path)),
                ..names
            })
        }
        RootSource::Inline(text) => {
            ValidationContextType::ValidationContext(wire::CertificateValidationContext {
                trusted_ca: Some(inline(text)),
                ..names
            })
        }
        RootSource::None => ValidationContextType::ValidationContext(wire::CertificateValidationContext {
            trust_chain_verification: TrustChainVerification::AcceptUntrusted.into(),
            ..names
        }),
    }
}

/// Trust anchors as text.
pub(super) fn wire_inline_roots(bundle: &str) -> wire::CertificateValidationContext {
    wire::CertificateValidationContext {
        trusted_ca: Some(inline(bundle)),
        ..wire::CertificateValidationContext::default()
    }
}

fn san(mut wire: wire::SubjectAltNameMatcher) -> Result<SanMatch, Refusal> {
    let kind = match enumeration(take(&mut wire.san_type), "san_type")? {
        SanType::Unspecified => None,
        SanType::Dns => Some(SanKind::Dns),
        SanType::Uri => Some(SanKind::Uri),
        SanType::IpAddress => Some(SanKind::Ip),
        SanType::Email => Some(SanKind::Email),
        SanType::OtherName => return refuse("OTHER_NAME is not supported").at("san_type"),
    };
    let value = string(required(wire.matcher.take(), "matcher")?).at("matcher")?;
    nothing_left(&wire)?;
    Ok(SanMatch { kind, value })
}

/// Envoy has two lists: names of one type, and (deprecated, but without a replacement) names of any type.
#[allow(deprecated)]
fn wire_names(names: &[SanMatch]) -> wire::CertificateValidationContext {
    let mut context = wire::CertificateValidationContext::default();
    for name in names {
        let matcher = wire_string(&name.value);
        let kind = match name.kind {
            None => {
                context.match_subject_alt_names.push(matcher);
                continue;
            }
            Some(SanKind::Dns) => SanType::Dns,
            Some(SanKind::Uri) => SanType::Uri,
            Some(SanKind::Ip) => SanType::IpAddress,
            Some(SanKind::Email) => SanType::Email,
        };
        context.match_typed_subject_alt_names.push(wire::SubjectAltNameMatcher {
            san_type: kind.into(),
            matcher: Some(matcher),
            ..wire::SubjectAltNameMatcher::default()
        });
    }
    context
}

enum Data {
    File(String),
    Text(String),
}

fn data(source: DataSource) -> Result<Data, Refusal> {
    match source.specifier {
        Some(Specifier::Filename(path)) => Ok(Data::File(path)),
        Some(Specifier::InlineString(text)) => Ok(Data::Text(text)),
        Some(Specifier::InlineBytes(bytes)) => {
            String::from_utf8(bytes).map(Data::Text).or_else(|_| refuse("is not PEM text").at("inline_bytes"))
        }
        Some(Specifier::EnvironmentVariable(_)) => Err(Refusal::unsupported("environment_variable")),
        None => refuse("has no source"),
    }
}

fn file(path: &str) -> DataSource {
    DataSource { specifier: Some(Specifier::Filename(path.to_owned())), ..DataSource::default() }
}

/// Inline text. It is sent as bytes, as control planes usually send PEM.
fn inline(text: &str) -> DataSource {
    let bytes = text.as_bytes().to_vec();
    DataSource { specifier: Some(Specifier::InlineBytes(bytes)), ..DataSource::default() }
}

const TLS: &str = "envoy.transport_sockets.tls";

#[cfg(test)]
mod tests {
    use super::*;

    fn config(name: &str) -> wire::SdsSecretConfig {
        wire::SdsSecretConfig { name: name.into(), sds_config: Some(source::of_secret("default")) }
    }

    #[test]
    fn names_of_files_are_read_as_files() {
        let certificate = |name| certificate_secret(config(name)).map_err(|refusal| refusal.path());
        let files = CertificateSource::Files { certificate: "/a/tls.crt".into(), key: "/a/tls.key".into() };
        assert_eq!(certificate("file-cert:/a/tls.crt~/a/tls.key"), Ok(files));
        assert_eq!(certificate("default"), Ok(CertificateSource::Sds("default".into())));
        assert_eq!(certificate("file-cert:/a/tls.crt"), Err("name".into()));
        let roots = |name| roots_secret(config(name)).map_err(|refusal| refusal.path());
        assert_eq!(roots("ROOTCA"), Ok(RootSource::Sds("ROOTCA".into())));
        assert_eq!(roots("file-root:/a/ca.pem"), Ok(RootSource::File("/a/ca.pem".into())));
        assert_eq!(roots("file-root:system"), Ok(RootSource::File(SYSTEM_ROOTS.into())));
    }
}
