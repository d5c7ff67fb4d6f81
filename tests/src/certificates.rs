//! Certificates for tests, in files.

use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};

/// Creates a root, certificates of servers and of a client, and a certificate of an unknown root.
pub fn write(folder: &Path) {
    let key = || KeyPair::generate().expect("a key can be made");
    let write = |name: &str, end: &str, text: String| {
        std::fs::write(folder.join(format!("{name}.{end}")), text).expect("the folder can be written");
    };
    let mut root = CertificateParams::default();
    root.distinguished_name.push(DnType::CommonName, "root");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = CertifiedIssuer::self_signed(root, key()).expect("a certificate can be signed");
    write("ca", "pem", root.pem());
    let uri =
        |path: &str| SanType::URI(format!("spiffe://cluster.local/{path}").try_into().expect("it is ASCII"));
    for (name, names, more) in [
        ("server", &["server.test"][..], vec![]),
        ("one", &["one.test"], vec![]),
        ("two", &["two.test", "*.two.test"], vec![]),
        ("client", &["client.test"], vec![uri("ns/a/sa/b")]),
        ("page", &[], vec![uri("ns/default/sa/bookinfo-productpage")]),
        ("reviews", &[], vec![uri("ns/default/sa/bookinfo-reviews")]),
        ("gateway", &[], vec![uri("ns/istio-system/sa/gateway")]),
        ("several", &["several.test", "more.test"], vec![uri("ns/x/sa/x"), uri("ns/y/sa/y")]),
    ] {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut parameters = CertificateParams::new(names).expect("the names are names");
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters.distinguished_name.push(DnType::OrganizationName, "Org, \"Inc\"");
        parameters.distinguished_name.push(DnType::CommonName, name);
        // A workload is identified by an SVID, whose key usage must be declared.
        parameters.key_usages.extend(more.first().map(|_| KeyUsagePurpose::DigitalSignature));
        parameters.subject_alt_names.extend(more);
        let own = key();
        let certificate = parameters.signed_by(&own, &root).expect("a certificate can be signed");
        write(name, "pem", certificate.pem());
        write(name, "key", own.serialize_pem());
    }
    let own = key();
    let untrusted = CertificateParams::new(vec!["stranger.test".to_owned()]).expect("the name is one");
    write("stranger", "pem", untrusted.self_signed(&own).expect("a certificate can be signed").pem());
    write("stranger", "key", own.serialize_pem());
}
