//! Pure. Checks Gateways.

use super::finding::Findings;
use super::{origin, value};
use crate::catalog::gateway::{
    ClientVerification, Gateway, Server, ServerCertificate, ServerHost, ServerProtocol, ServerTls,
};
use api::model::tls::TlsVersion;
use api::resource::gateway as written;
use api::resource::name::is_label;
use api::resource::object::Object;
use written::ServerTlsMode as Mode;

pub(super) fn check(f: &mut Findings, object: &Object, spec: &written::Gateway) -> Gateway {
    if spec.servers.is_empty() {
        f.missing("spec.servers");
    }
    let mut servers: Vec<Server> = vec![];
    for (i, written) in spec.servers.iter().enumerate() {
        let path = format!("spec.servers[{i}]");
        let Some(server) = server(f, &path, written, object.namespace()) else { continue };
        for (j, other) in servers.iter().enumerate() {
            if !server.port_name.is_empty() && other.port_name == server.port_name {
                f.error(
                    format!("{path}.port.name"),
                    format!("`{}` is the name of the port of spec.servers[{j}]", server.port_name),
                    "rename one",
                );
            }
            if other.port == server.port && !agree(other, &server) {
                f.error(
                    format!("{path}.port.protocol"),
                    format!("port {} already has another protocol in spec.servers[{j}]", server.port),
                    "use another port",
                );
            }
        }
        servers.push(server);
    }
    Gateway { origin: origin(object), selector: spec.selector.clone(), servers }
}

/// Servers on one port are told apart by host or by SNI, which must then be of one kind.
fn agree(one: &Server, other: &Server) -> bool {
    let by_sni = |p| matches!(p, ServerProtocol::Https | ServerProtocol::Tls);
    one.protocol == other.protocol || (by_sni(one.protocol) && by_sni(other.protocol))
}

fn server(f: &mut Findings, path: &str, server: &written::Server, own: &str) -> Option<Server> {
    f.unserved(format!("{path}.bind"), &server.bind);
    f.unserved(format!("{path}.defaultEndpoint"), &server.default_endpoint);
    if server.hosts.is_empty() {
        f.missing(format!("{path}.hosts"));
    }
    let hosts = server.hosts.iter().enumerate();
    let hosts = hosts.filter_map(|(i, text)| host(f, &format!("{path}.hosts[{i}]"), text, own)).collect();
    let Some(port) = &server.port else {
        f.missing(format!("{path}.port"));
        return None;
    };
    if port.target_port.is_some() {
        f.not_supported(format!("{path}.port.targetPort"), "is");
    }
    if port.name.is_empty() {
        f.missing(format!("{path}.port.name"));
    }
    let number = value::port(f, &format!("{path}.port.number"), port.number.into());
    let protocol = protocol(f, &format!("{path}.port.protocol"), &port.protocol)?;
    let redirect_to_https = server.tls.as_ref().is_some_and(|t| t.https_redirect);
    let tls = tls(f, &format!("{path}.tls"), server.tls.as_ref(), protocol);
    Some(Server {
        name: server.name.clone(),
        port: number,
        port_name: port.name.clone(),
        protocol,
        hosts,
        redirect_to_https,
        tls,
    })
}

fn protocol(f: &mut Findings, path: &str, text: &str) -> Option<ServerProtocol> {
    match text.to_ascii_uppercase().as_str() {
        "HTTP" | "HTTP2" | "GRPC" | "GRPC-WEB" => Some(ServerProtocol::Http),
        "HTTPS" => Some(ServerProtocol::Https),
        "TLS" => Some(ServerProtocol::Tls),
        "TCP" => Some(ServerProtocol::Tcp),
        "" => {
            f.missing(path);
            None
        }
        "MONGO" | "REDIS" | "MYSQL" => {
            f.error(path, format!("{text} is not supported by this version"), "write TCP");
            None
        }
        _ => {
            f.error(path, format!("`{text}` is no protocol"), "write HTTP, HTTPS, GRPC, HTTP2, TLS or TCP");
            None
        }
    }
}

fn host(f: &mut Findings, path: &str, text: &str, own: &str) -> Option<ServerHost> {
    let (namespace, host) = match text.split_once('/') {
        None => (None, text),
        Some(("*", host)) => (None, host),
        Some((".", host)) => (Some(own.to_owned()), host),
        Some((namespace, host)) if is_label(namespace) => (Some(namespace.to_owned()), host),
        Some((namespace, _)) => {
            f.error(path, format!("`{namespace}` is no namespace"), "write namespace/host, ./host or host");
            return None;
        }
    };
    value::host(f, path, host, true).then(|| ServerHost { namespace, host: host.to_ascii_lowercase() })
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
            f.error(path, "is missing: the server speaks TLS", "add tls with a mode and a credentialName");
        }
        return None;
    };
    refuse_unserved(f, path, tls);
    if !encrypted {
        if protocol == ServerProtocol::Tcp || !tls.https_redirect {
            f.error(path, "is of no use: the server speaks plaintext", "remove it, or write HTTPS or TLS");
        }
        return None;
    }
    if tls.https_redirect {
        f.error(format!("{path}.httpsRedirect"), "belongs on the plain HTTP server", "move it there");
    }
    let mode = tls.mode.unwrap_or(Mode::Passthrough);
    let certificate = match mode {
        Mode::Passthrough => {
            refuse_certificates(f, path, tls, "PASSTHROUGH");
            return Some(ServerTls::Passthrough);
        }
        Mode::IstioMutual => {
            refuse_certificates(f, path, tls, "ISTIO_MUTUAL");
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
    Some(ServerTls::Terminate {
        certificate,
        client: client(f, path, tls, mode),
        min: version(f, &format!("{path}.minProtocolVersion"), tls.min_protocol_version),
        max: version(f, &format!("{path}.maxProtocolVersion"), tls.max_protocol_version),
    })
}

fn refuse_unserved(f: &mut Findings, path: &str, tls: &written::ServerTls) {
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

fn refuse_certificates(f: &mut Findings, path: &str, tls: &written::ServerTls, mode: &str) {
    let fields = [
        ("credentialName", &tls.credential_name),
        ("serverCertificate", &tls.server_certificate),
        ("privateKey", &tls.private_key),
        ("caCertificates", &tls.ca_certificates),
    ];
    for (name, value) in fields {
        if !value.is_empty() {
            f.error(
                format!("{path}.{name}"),
                format!("is not used with mode {mode}"),
                "remove it or change the mode",
            );
        }
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
        ("", (false, false)) => {
            f.error(format!("{path}.credentialName"), "is missing", "name a Secret with tls.crt and tls.key");
            ServerCertificate::Mesh
        }
        (name, (false, false)) => ServerCertificate::Secret(name.to_owned()),
        (name, _) => {
            f.error(format!("{path}.credentialName"), "excludes files", "keep the Secret or the files");
            ServerCertificate::Secret(name.to_owned())
        }
    }
}

fn client(f: &mut Findings, path: &str, tls: &written::ServerTls, mode: Mode) -> ClientVerification {
    let names = tls.subject_alt_names.clone();
    match mode {
        Mode::Mutual => {
            let roots_file = Some(tls.ca_certificates.clone()).filter(|file| !file.is_empty());
            if roots_file.is_none() && tls.credential_name.is_empty() {
                f.error(
                    format!("{path}.caCertificates"),
                    "is missing: callers cannot be verified",
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
                f.error(
                    format!("{path}.subjectAltNames"),
                    "needs mode MUTUAL",
                    "change the mode or remove it",
                );
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
            f.error(path, "TLS 1.0 and 1.1 are not supported: they are broken", "write TLSV1_2 or TLSV1_3");
            None
        }
    }
}
