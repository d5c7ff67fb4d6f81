//! Pure. Validates Gateways.

use crate::catalog::gateway::{
    ClientVerification, Gateway, Server, ServerCertificate, ServerHost, ServerProtocol, ServerTls,
};
use crate::catalog::route::GatewayRef;
use crate::catalog::visibility::Origin;
use crate::check::finding::Findings;
use crate::check::value;
use api::model::tls::TlsVersion;
use api::resource::kind::gateway as written;
use api::resource::object::Object;
use written::ServerTlsMode as Mode;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::Gateway) -> Gateway {
    // Set by the conversion of Gateway API Gateways: their names contain dots, and `~` is the namespace of a server
    // without routes.
    let converted = object.annotations.get(SEMANTICS).is_some_and(|semantics| semantics == "gateway");
    if !converted && object.name().contains('.') {
        let reason = format!("`{}` has a dot, so no VirtualService could name it", object.name());
        f.error("metadata.name", reason, "rename the object");
    }
    if spec.servers.is_empty() {
        f.missing("spec.servers");
    }
    let mut servers: Vec<Server> = vec![];
    for (i, written) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{i}]");
        let names = Names { own: object.namespace(), converted };
        let Some(server) = server(f, &path, written, names) else { continue };
        let same = |other: &Server| !server.port_name.is_empty() && other.port_name == server.port_name;
        if let Some(j) = servers.iter().position(same) {
            f.error(
                format!("{path}.port.name"),
                format!("`{}` is already the name of the port of spec.servers[{j}]", server.port_name),
                "rename one",
            );
        }
        servers.push(server);
    }
    let services = object.annotations.get(SERVICES);
    let services = services.map(|hosts| hosts.split(',').map(|h| h.trim().to_ascii_lowercase()).collect());
    let reference =
        GatewayRef::Named { namespace: object.namespace().to_owned(), name: object.name().to_owned() };
    Gateway { origin: Origin::of(object), reference, selector: spec.selector.clone(), services, servers }
}

/// The namespaces that hosts of a Gateway refer to.
#[derive(Debug, Clone, Copy)]
struct Names<'a> {
    own: &'a str,
    converted: bool,
}

fn server(f: &mut Findings, path: &str, server: &written::Server, names: Names) -> Option<Server> {
    f.unserved(format!("{path}.bind"), &server.bind);
    f.unserved(format!("{path}.defaultEndpoint"), &server.default_endpoint);
    if server.hosts.is_empty() {
        f.missing(format!("{path}.hosts"));
    }
    let hosts = server.hosts.iter().enumerate();
    let hosts = hosts.filter_map(|(i, text)| host(f, &format!("{path}.hosts[{i}]"), text, names)).collect();
    let Some(port) = &server.port else {
        f.missing(format!("{path}.port"));
        return None;
    };
    f.unserved(format!("{path}.port.targetPort"), &port.target_port);
    if port.name.is_empty() {
        f.missing(format!("{path}.port.name"));
    }
    let number = value::port(f, &format!("{path}.port.number"), port.number.into());
    let protocol = protocol(f, &format!("{path}.port.protocol"), &port.protocol)?;
    let redirect_to_https =
        protocol == ServerProtocol::Http && server.tls.as_ref().is_some_and(|t| t.https_redirect);
    let tls = tls(f, &format!("{path}.tls"), server.tls.as_ref(), protocol);
    Some(Server {
        name: server.name.clone(),
        port: number,
        port_name: port.name.clone(),
        field: path.to_owned(),
        protocol,
        grpc_web: port.protocol.eq_ignore_ascii_case("grpc-web"),
        hosts,
        redirect_to_https,
        tls,
    })
}

fn protocol(f: &mut Findings, path: &str, text: &str) -> Option<ServerProtocol> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" | "HTTP_PROXY" => Some(ServerProtocol::Http),
        "HTTPS" => Some(ServerProtocol::Https),
        "TLS" => Some(ServerProtocol::Tls),
        "TCP" => Some(ServerProtocol::Tcp),
        "" => {
            f.missing(path);
            None
        }
        "MONGO" | "REDIS" | "MYSQL" | "UDP" => {
            f.error(path, format!("{text} is not supported by this version"), "write TCP");
            None
        }
        _ => {
            f.error(
                path,
                format!("`{text}` is not a known protocol"),
                "write HTTP, HTTPS, GRPC, HTTP2, TLS or TCP",
            );
            None
        }
    }
}

fn host(f: &mut Findings, path: &str, text: &str, names: Names) -> Option<ServerHost> {
    let (namespace, host) = match text.split_once('/') {
        None => (None, text),
        Some(("*", host)) => (None, host),
        Some((".", host)) => (Some(names.own.to_owned()), host),
        // No namespace has this name, so the server has no routes.
        Some(("~", host)) if names.converted => (Some("~".to_owned()), host),
        Some((namespace, host)) if value::namespace(f, path, namespace) => (Some(namespace.to_owned()), host),
        Some((namespace, _)) => {
            f.error(
                path,
                format!("`{namespace}` is not a valid namespace"),
                "write namespace/host, ./host or host",
            );
            return None;
        }
    };
    value::full_host(f, path, host, true).then(|| ServerHost { namespace, host: host.to_ascii_lowercase() })
}

fn tls(
    f: &mut Findings,
    path: &str,
    tls: Option<&written::ServerTls>,
    protocol: ServerProtocol,
) -> Option<ServerTls> {
    let encrypted = matches!(protocol, ServerProtocol::Https | ServerProtocol::Tls);
    let Some(tls) = tls else {
        if encrypted {
            f.error(path, "is missing: the server uses TLS", "add tls with a mode and a credentialName");
        }
        return None;
    };
    refuse_unserved(f, path, tls);
    let mode = tls.mode.unwrap_or(Mode::Passthrough);
    if !encrypted {
        plaintext(f, path, tls, protocol);
        return None;
    }
    let files = !tls.server_certificate.is_empty() && !tls.private_key.is_empty();
    if files && !tls.credential_name.is_empty() && mode != Mode::IstioMutual {
        // Two complete certificates: it would be ambiguous which one clients see.
        f.error(
            format!("{path}.credentialName"),
            "cannot be combined with files",
            "keep only the Secret or only the files",
        );
    }
    if tls.https_redirect {
        let next = "move it to the plain HTTP server";
        f.warn(format!("{path}.httpsRedirect"), "is not used: clients use TLS already", next);
    }
    let certificate = match mode {
        Mode::Passthrough => {
            unused_certificates(f, path, tls, "mode PASSTHROUGH decrypts nothing");
            return Some(ServerTls::Passthrough);
        }
        Mode::IstioMutual => {
            refuse_certificates(f, path, tls);
            ServerCertificate::Mesh
        }
        Mode::Simple | Mode::Mutual => certificate(f, path, tls),
        Mode::AutoPassthrough | Mode::OptionalMutual => {
            f.error(
                format!("{path}.mode"),
                "is not supported by this version",
                "write SIMPLE, MUTUAL or PASSTHROUGH",
            );
            return None;
        }
    };
    let min = version(f, &format!("{path}.minProtocolVersion"), tls.min_protocol_version);
    let max = version(f, &format!("{path}.maxProtocolVersion"), tls.max_protocol_version);
    if (min, max) == (Some(TlsVersion::V1_3), Some(TlsVersion::V1_2)) {
        f.error(format!("{path}.minProtocolVersion"), "is above maxProtocolVersion", "swap them");
    }
    Some(ServerTls::Terminate { certificate, client: client(f, path, tls, mode), min, max })
}

/// Validates `tls` of a plaintext server, where only the HTTPS redirect is meaningful. An author who sets a mode or
/// files expects encryption.
fn plaintext(f: &mut Findings, path: &str, tls: &written::ServerTls, protocol: ServerProtocol) {
    let files = [&tls.server_certificate, &tls.private_key, &tls.ca_certificates];
    let passes = matches!(tls.mode, None | Some(Mode::Passthrough | Mode::AutoPassthrough));
    if protocol == ServerProtocol::Tcp || !passes || files.iter().any(|file| !file.is_empty()) {
        f.error(path, "has no effect: the server uses plaintext", "remove it, or write HTTPS or TLS");
        return;
    }
    unused_certificates(f, path, tls, "the server uses plaintext");
    if !tls.https_redirect {
        f.warn(path, "has no effect: the server uses plaintext", "remove it, or write HTTPS or TLS");
    }
}

fn refuse_unserved(f: &mut Findings, path: &str, tls: &written::ServerTls) {
    if tls.credential_names.written().is_some_and(|names| names.as_array().is_some_and(Vec::is_empty)) {
        f.error(format!("{path}.credentialNames"), "is empty", "remove it");
    }
    f.unserved(format!("{path}.credentialNames"), &tls.credential_names);
    f.unserved(format!("{path}.caCertCredentialName"), &tls.ca_cert_credential_name);
    f.unserved(format!("{path}.tlsCertificates"), &tls.tls_certificates);
    f.unserved(format!("{path}.verifyCertificateSpki"), &tls.verify_certificate_spki);
    f.unserved(format!("{path}.verifyCertificateHash"), &tls.verify_certificate_hash);
    f.unserved(format!("{path}.cipherSuites"), &tls.cipher_suites);
    f.unserved(format!("{path}.ecdhCurves"), &tls.ecdh_curves);
    f.unserved(format!("{path}.caCrl"), &tls.ca_crl);
    f.unserved(format!("{path}.insecureSkipVerify"), &tls.insecure_skip_verify);
}

fn certificates(tls: &written::ServerTls) -> impl Iterator<Item = &'static str> {
    let fields = [
        ("credentialName", &tls.credential_name),
        ("serverCertificate", &tls.server_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
    ];
    fields.into_iter().filter(|(_, value)| !value.is_empty()).map(|(name, _)| name)
}

fn refuse_certificates(f: &mut Findings, path: &str, tls: &written::ServerTls) {
    for name in certificates(tls) {
        let reason = "is not used with mode ISTIO_MUTUAL";
        f.error(format!("{path}.{name}"), reason, "remove it or change the mode");
    }
}

fn unused_certificates(f: &mut Findings, path: &str, tls: &written::ServerTls, why: &str) {
    for name in certificates(tls) {
        f.warn(format!("{path}.{name}"), format!("is ignored: {why}"), "remove it or change the mode");
    }
}

fn certificate(f: &mut Findings, path: &str, tls: &written::ServerTls) -> ServerCertificate {
    let files = (!tls.server_certificate.is_empty(), !tls.private_key.is_empty());
    match (tls.credential_name.as_str(), files) {
        ("", (true, true)) => {
            ServerCertificate::Files { chain: tls.server_certificate.clone(), key: tls.private_key.clone() }
        }
        ("", (true, false)) => {
            f.missing(format!("{path}.privateKey"));
            ServerCertificate::Mesh
        }
        ("", (false, true)) => {
            f.missing(format!("{path}.serverCertificate"));
            ServerCertificate::Mesh
        }
        // The certificates are in a form that is refused already.
        ("", (false, false))
            if tls.credential_names.written().is_some() || tls.tls_certificates.written().is_some() =>
        {
            ServerCertificate::Mesh
        }
        ("", (false, false)) => {
            f.error(format!("{path}.credentialName"), "is missing", "name a Secret with tls.crt and tls.key");
            ServerCertificate::Mesh
        }
        (name, _) => {
            let name = value::secret(f, &format!("{path}.credentialName"), name);
            for unused in certificates(tls).filter(|field| *field != "credentialName") {
                let reason = "is ignored: the Secret of credentialName is used";
                f.warn(format!("{path}.{unused}"), reason, "remove it, or remove credentialName");
            }
            ServerCertificate::Secret(name.to_owned())
        }
    }
}

fn client(f: &mut Findings, path: &str, tls: &written::ServerTls, mode: Mode) -> ClientVerification {
    let names = tls.subject_alt_names.clone();
    match mode {
        Mode::Mutual => {
            let file = Some(tls.ca_certificates.clone()).filter(|file| !file.is_empty());
            // Roots come from the same source as the certificate.
            let roots_file = file.filter(|_| tls.credential_name.is_empty());
            let elsewhere = tls.credential_names.written().is_some() || !tls.credential_name.is_empty();
            if roots_file.is_none() && !elsewhere {
                f.error(
                    format!("{path}.caCertificates"),
                    "is missing: clients cannot be verified",
                    "name a file",
                );
            }
            ClientVerification::Required { roots_file, subject_alt_names: names }
        }
        Mode::IstioMutual => {
            if !names.is_empty() {
                f.not_supported(format!("{path}.subjectAltNames"), "with ISTIO_MUTUAL it is");
            }
            ClientVerification::Mesh
        }
        _ => {
            if !names.is_empty() {
                let reason = "is not used with mode SIMPLE: clients present no certificate";
                f.warn(format!("{path}.subjectAltNames"), reason, "write mode MUTUAL, or remove it");
            }
            if !tls.ca_certificates.is_empty() && tls.credential_name.is_empty() {
                let reason = "is not used with mode SIMPLE: clients present no certificate";
                f.warn(format!("{path}.caCertificates"), reason, "write mode MUTUAL, or remove it");
            }
            ClientVerification::None
        }
    }
}

fn version(f: &mut Findings, path: &str, version: Option<written::TlsVersion>) -> Option<TlsVersion> {
    match version? {
        written::TlsVersion::TLS_AUTO => None,
        written::TlsVersion::TLSV1_2 => Some(TlsVersion::V1_2),
        written::TlsVersion::TLSV1_3 => Some(TlsVersion::V1_3),
        written::TlsVersion::TLSV1_0 | written::TlsVersion::TLSV1_1 => {
            f.error(path, "TLS 1.0 and 1.1 are not supported: they are insecure", "write TLSV1_2 or TLSV1_3");
            None
        }
    }
}

const SEMANTICS: &str = "internal.istio.io/gateway-semantics";
/// Istio's annotation that lists the Services of a Gateway's proxies.
const SERVICES: &str = "internal.istio.io/gateway-service";
