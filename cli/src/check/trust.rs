//! Pure. Findings about certificates: the mesh's roots, the bundles by which the API server verifies webhooks, and the
//! certificates that servers present.

use api::process::tls;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::check::finding::{Finding, some};

/// The bundle of a webhook, and what happens to a request to which the webhook does not respond.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Registered {
    /// Name of the object and of the webhook in it.
    pub name: String,
    /// `caBundle`, in PEM; empty if there is none.
    pub bundle: Vec<u8>,
    /// `failurePolicy`.
    pub failure_policy: String,
}

/// The result of a handshake with a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The server.
    pub server: String,
    /// When its certificate ends, in seconds since 1970; or why none was accepted.
    pub end: Result<i64, String>,
}

/// The finding about the mesh's roots, in PEM, at `now` in seconds since 1970; `None` if there is no trust bundle.
pub fn roots(pem: Option<&str>, namespace: &str, now: i64) -> Finding {
    let Some(pem) = pem else {
        return Finding::error(
            ROOT,
            format!("there is no ConfigMap istio-ca-root-cert in {namespace}"),
            "citadel writes it: look at `kubectl logs deployment/ostria-citadel`",
        );
    };
    let ends = match ends(pem.as_bytes()) {
        Ok(ends) => ends,
        Err(reason) => {
            return Finding::error(
                ROOT,
                format!("the ConfigMap istio-ca-root-cert in {namespace} cannot be read: {reason}"),
                "delete it: citadel writes it again",
            );
        }
    };
    let last = ends.iter().copied().max().unwrap_or_default();
    let text = format!("the mesh's root is valid until {}", date(last));
    if last <= now {
        let next = "replace the root (docs/certificates.md)";
        return Finding::error(ROOT, format!("the mesh's root ended on {}", date(last)), next);
    }
    if last - now < SOON {
        return Finding::warning(ROOT, text, "replace it before that day (docs/certificates.md)");
    }
    Finding::ok(ROOT, text)
}

/// The findings about the registrations of webhooks. `roots` is the mesh's trust bundle, in PEM.
pub fn registrations(registered: &[Registered], roots: &str) -> Vec<Finding> {
    let known = tls::certificates_from_pem(roots.as_bytes()).unwrap_or_default();
    let mut findings = vec![];
    for Registered { name, bundle, failure_policy } in registered {
        let trusted = tls::certificates_from_pem(bundle).unwrap_or_default();
        if bundle.is_empty() || trusted.is_empty() {
            findings.push(Finding::error(
                WEBHOOK,
                format!("{name} has no caBundle: the API server cannot call it"),
                "its server writes the caBundle: look at its log",
            ));
        } else if !trusted.iter().any(|one| known.contains(one)) {
            findings.push(Finding::error(
                WEBHOOK,
                format!("the caBundle of {name} holds none of the mesh's roots"),
                "its server writes the caBundle: look at its log",
            ));
        } else if failure_policy != "Fail" {
            findings.push(Finding::warning(
                WEBHOOK,
                format!("{name} is skipped when it does not respond (failurePolicy {failure_policy})"),
                "pilot requires its webhook once it has seen it work: look at its log; for injection, set the value \
                 injector.failurePolicy",
            ));
        }
    }
    if registered.is_empty() {
        findings.push(Finding::error(WEBHOOK, "no webhook is registered", "install again: ostria install"));
    } else if findings.is_empty() {
        let names = registered.iter().map(|one| one.name.as_str());
        findings.push(Finding::ok(WEBHOOK, format!("the API server trusts {}", some(names))));
    }
    findings
}

/// The finding about namespaces of the mesh whose trust bundle is missing or differs, if there are any.
pub fn bundles(differing: &[&str]) -> Option<Finding> {
    (!differing.is_empty()).then(|| {
        Finding::warning(
            "trust bundle",
            format!("the ConfigMap istio-ca-root-cert is missing or differs in: {}", some(differing)),
            "pods there cannot start or do not trust the mesh: look at `kubectl logs deployment/ostria-citadel`",
        )
    })
}

/// The findings about the certificates that servers of a namespace present, at `now` in seconds since 1970.
pub fn serving(served: &[Served], namespace: &str, now: i64) -> Vec<Finding> {
    served
        .iter()
        .map(|Served { server, end }| {
            let next =
                format!("restart it: kubectl -n {namespace} rollout restart deployment/{}", app(server));
            match end {
                Ok(end) if *end > now => Finding::ok(
                    SERVING,
                    format!("{server} presents a certificate of the mesh's root, valid until {}", date(*end)),
                ),
                Ok(end) => Finding::error(
                    SERVING,
                    format!("the certificate of {server} ended on {}", date(*end)),
                    next,
                ),
                Err(reason) => Finding::error(SERVING, format!("{server}: {reason}"), next),
            }
        })
        .collect()
}

/// The name of a server without its port.
fn app(server: &str) -> &str {
    server.split(':').next().unwrap_or(server)
}

/// When the certificates of a bundle end, in seconds since 1970.
fn ends(pem: &[u8]) -> Result<Vec<i64>, String> {
    let certificates = tls::certificates_from_pem(pem).map_err(|error| error.to_string())?;
    let end = |der: &[u8]| {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        Ok::<i64, String>(certificate.validity().not_after.timestamp())
    };
    let ends: Vec<i64> = certificates.iter().map(|der| end(der)).collect::<Result<_, _>>()?;
    if ends.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(ends) }
}

/// Seconds since 1970 as a date.
fn date(seconds: i64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds).map_or_else(
        |_| format!("second {seconds}"),
        |time| {
            format!(
                "{}-{:02}-{:02} {:02}:{:02} UTC",
                time.year(),
                u8::from(time.month()),
                time.day(),
                time.hour(),
                time.minute()
            )
        },
    )
}

const ROOT: &str = "root";
const WEBHOOK: &str = "webhooks";
const SERVING: &str = "certificates";
/// A root that ends sooner is reported: time to replace it without hurry.
const SOON: i64 = 30 * 24 * 3600;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;

    const PEM: &str = include_str!("../view/proxy/testdata/root.pem");

    fn end() -> i64 {
        ends(PEM.as_bytes()).unwrap()[0]
    }

    #[test]
    fn a_root_is_reported_by_the_time_that_it_has_left() {
        let day = 24 * 3600;
        let table = [
            (Some(PEM), end() - 31 * day, Level::Ok),
            (Some(PEM), end() - 29 * day, Level::Warning),
            (Some(PEM), end(), Level::Error),
            (Some("no certificate"), 0, Level::Error),
            (None, 0, Level::Error),
        ];
        for (pem, now, expected) in table {
            assert_eq!(roots(pem, "istio-system", now).level, expected, "{now}");
        }
        assert_eq!(date(1_800_000_000), "2027-01-15 08:00 UTC");
    }

    #[test]
    fn a_webhook_needs_a_bundle_of_the_meshs_roots_and_to_be_required() {
        let one = |bundle: &str, policy: &str| Registered {
            name: "a".into(),
            bundle: bundle.into(),
            failure_policy: policy.into(),
        };
        let table = [
            (vec![one(PEM, "Fail")], PEM, Level::Ok),
            (vec![one(PEM, "Ignore")], PEM, Level::Warning),
            (vec![one("", "Fail")], PEM, Level::Error),
            (vec![one(PEM, "Fail")], "", Level::Error),
            (vec![], PEM, Level::Error),
        ];
        for (registered, roots, expected) in table {
            assert_eq!(registrations(&registered, roots)[0].level, expected, "{registered:?}");
        }
    }

    #[test]
    fn a_serving_certificate_is_valid_until_its_end() {
        let served = |end| [Served { server: "ostria-pilot:15012".into(), end }];
        assert_eq!(serving(&served(Ok(10)), "mesh", 9)[0].level, Level::Ok);
        let ended = serving(&served(Ok(10)), "mesh", 10).remove(0);
        assert_eq!(ended.level, Level::Error);
        assert!(ended.next.unwrap().ends_with("deployment/ostria-pilot"));
        assert_eq!(
            serving(&served(Err("refused".into())), "mesh", 0)[0].message,
            "ostria-pilot:15012: refused"
        );
    }

    #[test]
    fn namespaces_without_the_bundle_are_named() {
        assert_eq!(bundles(&[]), None);
        assert!(bundles(&["shop"]).unwrap().message.ends_with(": shop"));
    }
}
