//! Pure. The secrets that a TLS context refers to.

use api::model::tls::{CertificateSource, RootSource, TlsParameters};
use std::collections::BTreeSet;

pub(super) fn collect_secrets(tls: &TlsParameters, names: &mut BTreeSet<String>) {
    let certificates = tls.certificates.iter().filter_map(|source| match source {
        CertificateSource::Sds(name) => Some(name),
        _ => None,
    });
    let roots = tls.validation.iter().filter_map(|validation| match &validation.roots {
        RootSource::Sds(name) => Some(name),
        _ => None,
    });
    let own = [api::name::WORKLOAD_CERTIFICATE, api::name::WORKLOAD_ROOTS];
    names.extend(certificates.chain(roots).filter(|name| !own.contains(&name.as_str())).cloned());
}
