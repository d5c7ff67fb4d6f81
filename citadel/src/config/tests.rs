//! Valid and invalid command lines.

use super::*;

const NEEDED: [&str; 4] = ["--token-issuer", "https://issuer", "--token-jwks", "/keys.json"];

fn read(more: &[&str]) -> Result<Config, ConfigError> {
    Config::read(["ostria-citadel"].iter().chain(&NEEDED).chain(more).copied())
}

#[test]
fn unset_flags_have_the_mesh_defaults() {
    let config = read(&[]).unwrap();
    assert_eq!(config.grpc.to_string(), "0.0.0.0:8060");
    assert_eq!(config.http.to_string(), "0.0.0.0:15014");
    assert_eq!(config.policy.trust_domain.as_str(), "cluster.local");
    assert_eq!(config.policy.default_ttl, Duration::from_hours(24));
    assert_eq!(config.policy.max_ttl, Duration::from_hours(24));
    assert_eq!(config.tokens.audience, "istio-ca");
    assert_eq!(config.tokens.keys, KeySource::File("/keys.json".into()));
    assert_eq!(config.own_id.as_str(), "spiffe://cluster.local/ns/istio-system/sa/citadel");
    assert_eq!(config.own_names, OWN_NAMES);
}

#[test]
fn grants_of_dns_names_are_read_by_account() {
    let config = read(&[
        "--service-account-dns",
        "istio-system/istiod=istiod.istio-system.svc,istiod.istio-system.svc.cluster.local",
        "--service-account-dns",
        "istio-system/injector=injector.istio-system.svc;istio-system/istiod=pilot",
        "--dns-names",
        "ca.example.org,10-0-0-1.example.org",
    ])
    .unwrap();
    let names = |account: &str| &config.policy.dns_names[&("istio-system".to_owned(), account.to_owned())];
    assert_eq!(names("istiod").len(), 3);
    assert_eq!(names("injector"), &["injector.istio-system.svc"]);
    assert!(config.own_names.contains(&"10-0-0-1.example.org".to_owned()));
}

#[test]
fn keys_come_from_a_file_or_a_url() {
    let config = read(&["--token-jwks-ca", "/ca.pem"]);
    assert!(config.is_ok());
    let url =
        Config::read(["x", "--token-issuer", "i", "--token-jwks", "https://h:6443/openid/v1/jwks"]).unwrap();
    let KeySource::Url { url, roots: None, bearer: None } = url.tokens.keys else {
        panic!("{:?}", url.tokens.keys);
    };
    assert_eq!(url.path(), "/openid/v1/jwks");
}

#[test]
fn all_errors_are_reported_together_with_their_flags() {
    let wrong = [
        ("--address", "localhost"),
        ("--port", "70000"),
        ("--http-port", "x"),
        ("--trust-domain", "Cluster Local"),
        ("--token-audience", ""),
        ("--default-ttl", "1 day"),
        ("--max-ttl", "-1h"),
        ("--rate-limit", "-1"),
        ("--service-account-dns", "istiod=a.b"),
        ("--dns-names", "not a name"),
    ];
    let arguments: Vec<String> = wrong.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
    let arguments: Vec<&str> = ["x"].into_iter().chain(arguments.iter().map(String::as_str)).collect();
    let Err(ConfigError::Wrong(errors)) = Config::read(arguments) else {
        panic!("accepted");
    };
    let flags = wrong.iter().map(|(flag, _)| *flag).chain(["--token-issuer", "--token-jwks"]);
    for flag in flags {
        assert_eq!(
            errors.iter().filter(|error| error.starts_with(&format!("{flag}:"))).count(),
            1,
            "{flag}: {errors:?}"
        );
    }
}

#[test]
fn invalid_values_are_refused_with_the_expected_form() {
    let table = [
        (["--default-ttl", "1s"], "shorter than a minute"),
        (["--default-ttl", "25h"], "longer than --max-ttl"),
        (["--token-jwks", "https://user:pass@host/keys"], "--token-jwks-bearer"),
        (["--token-jwks", "https://"], "write a URL"),
        (["--service-account-dns", "a/b/c=d"], "NAMESPACE/ACCOUNT=name,name"),
        (["--service-account-dns", "a/b=not a name"], "`not a name` is not a DNS name"),
        (["--service-account", "a/b"], "--namespace and --service-account"),
    ];
    for (arguments, reason) in table {
        let given: Vec<&str> = if arguments[0] == "--token-jwks" {
            ["x", "--token-issuer", "i"].into_iter().chain(arguments).collect()
        } else {
            ["x"].into_iter().chain(NEEDED).chain(arguments).collect()
        };
        let error = Config::read(given).unwrap_err().to_string();
        assert!(error.contains(reason), "{arguments:?}: {error}");
    }
    assert!(matches!(read(&["--unknown"]), Err(ConfigError::CommandLine(_))));
}
