//! From flags to the printed rule set: golden files for the flag sets that matter, a syntax check of each by `nft`
//! itself, and the errors for invalid flags. `tests/redirect.rs` tests the effect of the rules in network namespaces.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use clap::Parser;

use crate::redirect::{
    args::InitArgs,
    rules::{
        Ipv6::{self, Captured, Dropped},
        PodFacts, script,
    },
    settings::Settings,
};

#[derive(Parser)]
struct Init {
    #[command(flatten)]
    args: InitArgs,
}

fn settings(flags: &str) -> Result<Settings, String> {
    let words = std::iter::once("init").chain(flags.split_whitespace().map(|word| word.trim_matches('"')));
    let init = Init::try_parse_from(words).map_err(|error| error.to_string())?;
    Settings::parse(&init.args).map_err(|error| error.to_string())
}

fn pod(ipv6: Ipv6) -> PodFacts {
    let nameservers = ["10.96.0.10", "8.8.8.8", "fd00::a"].map(|ip| ip.parse().unwrap()).to_vec();
    PodFacts { nameservers, ipv6 }
}

fn rules(flags: &str, ipv6: Ipv6) -> String {
    script(&settings(flags).expect(flags), &pod(ipv6))
}

/// Flag sets by name; each has a golden file and passes `nft -c`.
const FLAG_SETS: [(&str, &str, Ipv6); 9] = [
    ("no_flags", "", Captured),
    (
        "injected",
        "-p 15001 -z 15006 -u 1337 -m REDIRECT -i * -x \"\" -b * -d 15090,15021,15020 --redirect-dns",
        Captured,
    ),
    ("without_ipv6", "-d 15090,15021,15020 --redirect-dns -c eth1 -x 10.1.0.0/16,fd01::/16", Dropped),
    ("dual_stack", "--dual-stack --redirect-dns -i 10.0.0.0/8,fd00::/8 -x 10.1.0.0/16,fd01::/16", Captured),
    ("all_dns", "--capture-all-dns --drop-invalid", Captured),
    ("inbound_list", "-b 8080,9090,8080 -d 15020", Captured),
    (
        "outbound_lists",
        "-i 10.0.0.0/8,10.1.0.0/16,192.168.7.9 -x 10.2.0.0/16 -q 3306,27017 -o 6379,11211 -c eth1,dummy+ -k net1",
        Captured,
    ),
    ("nothing_captured", "-b \"\" -i \"\"", Dropped),
    (
        "owner_groups",
        "--outbound-owner-groups 202,daemon -u 1337,2000 -t 4660 -i 127.0.0.1/8,10.0.0.0/8",
        Captured,
    ),
];

#[test]
fn flag_sets_give_their_golden_rule_sets() {
    for (name, flags, ipv6) in FLAG_SETS {
        insta::assert_snapshot!(name, rules(flags, ipv6), flags);
    }
}

#[test]
fn nft_accepts_every_golden_rule_set() {
    for (name, flags, ipv6) in FLAG_SETS {
        let script = rules(flags, ipv6);
        let (accepted, message) = nft_check(&script);
        assert!(accepted, "{name}: {message}\n{script}");
    }
}

/// Runs `nft -c`. It queries the kernel, so it needs a network namespace, which any user gets through a user
/// namespace.
fn nft_check(script: &str) -> (bool, String) {
    let mut child = Command::new("unshare")
        .args(["-Urn", "nft", "-c", "-f", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("needs unshare (apt-get install util-linux)");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!message.contains("failed to execute"), "needs nft (apt-get install nftables): {message}");
    (output.status.success(), message)
}

#[test]
fn the_proxys_own_packets_return_before_any_redirection() {
    let script = rules("--redirect-dns", Captured);
    let chain =
        script.split("chain istio_output {").nth(1).and_then(|rest| rest.split("\n\t}").next()).unwrap();
    let redirected = chain.find("goto istio_redirect").expect("the chain redirects");
    let dns = chain.find("jump istio_output_dns").expect("the chain redirects DNS");
    for own in ["skuid", "skgid", "mark"] {
        let at = chain.find(&format!("meta {own}")).expect(own);
        assert!(at < redirected && at < dns, "{own}\n{script}");
    }
}

#[test]
fn a_flag_without_meaning_is_named_with_its_wrong_part_and_the_next_step() {
    let table = [
        ("-m TPROXY", "--istio-inbound-interception-mode \"TPROXY\"", "use REDIRECT"),
        ("-m NONE", "--istio-inbound-interception-mode \"NONE\"", "use REDIRECT"),
        ("-b 80,http", "--istio-inbound-ports \"http\"", "1 to 65535"),
        ("-d 0", "--istio-local-exclude-ports \"0\"", "1 to 65535"),
        ("-o 70000", "--istio-local-outbound-ports-exclude \"70000\"", "1 to 65535"),
        ("-q 1-5", "--istio-outbound-ports \"1-5\"", "1 to 65535"),
        ("-i 10.0.0.0/33", "--istio-service-cidr \"10.0.0.0/33\"", "CIDR"),
        ("-x *", "--istio-service-exclude-cidr \"*\"", "CIDR"),
        ("-u root", "--proxy-uid \"root\"", "numeric id"),
        ("-z 0", "--inbound-capture-port \"0\"", "1 to 65535"),
        ("-t 0", "--istio-inbound-tproxy-mark \"0\"", "1337"),
        ("-c eth0;flush", "--istio-exclude-interfaces \"eth0;flush\"", "eth0"),
        ("-k averyverylonginterface", "\"averyverylonginterface\"", "eth0"),
        ("--outbound-owner-groups a}b", "ISTIO_OUTBOUND_OWNER_GROUPS \"a}b\"", "group names"),
        (
            "--outbound-owner-groups 1 --outbound-owner-groups-exclude 2",
            "cannot be combined",
            "one of the two",
        ),
        ("-p 99999", "--envoy-port", "99999"),
        ("--probe-timeout 0s", "--probe-timeout", "seconds"),
    ];
    for (flags, what, next) in table {
        let message = settings(flags).expect_err(flags);
        assert!(message.contains(what) && message.contains(next), "{flags}: {message}");
    }
}

#[test]
fn compatibility_flags_and_aliases_are_taken() {
    let flags = "--clean --force-apply --reconcile --native-nftables -r 133 --kube-virt-interfaces net1 \
                 --log_output_level=default:info --probe-timeout 3";
    let init = Init::try_parse_from(std::iter::once("init").chain(flags.split_whitespace())).unwrap();
    assert!(init.args.cleanup_only);
    assert_eq!(init.args.probe_timeout().as_secs(), 3);
}

proptest::proptest! {
    #[test]
    fn no_text_in_a_flag_reaches_the_script_unparsed(text in "(?s).{0,24}") {
        for flag in ["-b", "-d", "-i", "-x", "-q", "-o", "-k", "-c", "-u", "-g", "--outbound-owner-groups"] {
            let Ok(init) = Init::try_parse_from(["init", &format!("{flag}={text}")]) else { continue };
            if let Ok(settings) = Settings::parse(&init.args) {
                let script = script(&settings, &pod(Captured));
                let count = |part: &str| script.matches(part).count();
                proptest::prop_assert_eq!(count("{"), count("}"));
                proptest::prop_assert_eq!(count(";"), 2 * count("policy accept"));
                proptest::prop_assert_eq!(count("\n\tchain "), count("\n\t}"));
                proptest::prop_assert!(script.is_ascii() && !script.contains(['#', '\\', '$', '`']));
            }
        }
    }
}
