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
    let issuer = Issuer { name: "https://issuer".to_owned(), keys: KeySource::File("/keys.json".into()) };
    assert_eq!(config.tokens.issuer, Some(issuer));
    assert_eq!((config.cluster, config.policy.control_plane), (None, None));
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
    let KeySource::Url { url, roots: None, bearer: None } = url.tokens.issuer.unwrap().keys else {
        panic!("not a URL");
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

#[test]
fn in_a_cluster_the_api_server_verifies_tokens_and_names_are_those_of_the_chart() {
    let config = Config::read(["x", "--kubernetes", "--dns-names=ostria-citadel.istio-system.svc"]).unwrap();
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.access, Access::default());
    assert_eq!((cluster.namespace.as_str(), cluster.accepts_unbound), ("istio-system", false));
    assert_eq!(config.tokens.issuer, None);
    assert_eq!(config.own_id.as_str(), "spiffe://cluster.local/ns/istio-system/sa/ostria-citadel");
    assert_eq!(
        config.own_names,
        [
            "ostria-citadel.istio-system",
            "ostria-citadel.istio-system.svc",
            "ostria-citadel.istio-system.svc.cluster.local",
        ]
    );
    assert_eq!(config.policy.control_plane.unwrap().namespace, "istio-system");
    let canary = Config::read(["x", "--kubernetes", "--service-account=ostria-citadel-canary"]).unwrap();
    let name = "ostria-citadel-canary.istio-system.svc".to_owned();
    assert!(canary.own_names.contains(&name), "{:?}", canary.own_names);

    let outside = ["--kubeconfig", "/k", "--context", "c", "--namespace", "mesh", "--service-account", "ca"];
    let config = read(&outside).unwrap();
    let cluster = config.cluster.unwrap();
    assert_eq!(cluster.access, Access { kubeconfig: Some("/k".into()), context: Some("c".into()) });
    assert_eq!(cluster.namespace, "mesh");
    assert_eq!(config.own_id.as_str(), "spiffe://cluster.local/ns/mesh/sa/ca");
    assert!(config.tokens.issuer.is_some(), "workloads outside of the cluster have tokens of another issuer");
}

#[test]
fn in_a_cluster_an_issuer_is_complete_or_absent() {
    let error = Config::read(["x", "--kubernetes", "--token-issuer", "i"]).unwrap_err().to_string();
    assert!(error.contains("--token-jwks: it is required"), "{error}");
    let error = Config::read(["x", "--kubernetes", "--cluster-domain", "a b"]).unwrap_err().to_string();
    assert!(error.contains("--cluster-domain: `a b` is not a DNS name"), "{error}");
    assert!(Config::read(["x", "--kubernetes", "--context", "c"]).is_err(), "a context needs a file");
}
