//! Traffic capture in the kernel: a pod and a peer in their own network namespaces, joined by a veth pair, with
//! real connections and real redirection.
//!
//! As root, the application has its own user ID. Without root, the test runs in a user namespace, where all
//! processes share one user ID and the proxy is recognized only by its packet mark. Namespaces belong to threads,
//! so nothing remains when a test ends.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of a test fail the test")]

use std::{
    ffi::OsString,
    fmt::Display,
    io::{self, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpStream, UdpSocket},
    os::unix::process::CommandExt as _,
    process::{Child, Command, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{geteuid, gettid},
};
use proxy::redirect::{
    self,
    args::InitArgs,
    verify::{self, Probe},
};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const POD: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const POD_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);
const PEER_V6: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 2);
const POD_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
const PEER_LINK: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 2);
/// The pod's addresses on its second interface.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
const SECOND_V6: Ipv6Addr = Ipv6Addr::new(0xfd96, 0, 0, 0, 0, 0, 0, 1);
const OWN_MARK: u32 = 1337;
const NOBODY: u32 = 65534;
const TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout for a connection that the rules drop.
const CONNECTING: Duration = Duration::from_secs(1);

#[test]
fn outbound_connections_reach_the_proxy_with_their_original_destination() {
    in_pod("outbound_connections_reach_the_proxy_with_their_original_destination", || {
        let peer = Peer::start();
        serve_tcp(15001);
        assert_eq!(call(PEER, 8080, 0), "peer 8080");
        init("-o 8443 -x 10.98.0.0/16");
        assert_eq!(call(PEER, 8080, 0), format!("15001 {PEER}:8080"));
        assert_eq!(call(PEER, 8443, 0), "peer 8443", "an excluded port is left alone");
        assert_eq!(call(PEER, 8080, OWN_MARK), "peer 8080", "the proxy's mark is left alone");
        assert_eq!(call_as(1000, PEER, 8080), format!("15001 {PEER}:8080"));
        if has_many_users() {
            assert_eq!(call_as(1337, PEER, 8080), "peer 8080", "the proxy's user is left alone");
        }
        init("-i 10.98.0.0/16 -q 8443");
        assert_eq!(call(PEER, 8080, 0), "peer 8080", "only the listed ranges are captured");
        assert_eq!(call(PEER, 8443, 0), format!("15001 {PEER}:8443"), "a listed port is captured anywhere");
        init("-x 10.99.0.0/24");
        assert_eq!(call(PEER, 8080, 0), "peer 8080", "an excluded range is left alone");
        peer.stop();
    });
}

#[test]
fn inbound_connections_reach_the_proxy_unless_their_port_is_excluded() {
    in_pod("inbound_connections_reach_the_proxy_unless_their_port_is_excluded", || {
        let peer = Peer::start();
        for port in [8080, 9090, 15006, 15008, 15020] {
            serve_tcp(port);
        }
        assert_eq!(peer.call(8080), format!("8080 {POD}:8080"));
        init("");
        assert_eq!(peer.call(8080), format!("15006 {POD}:8080"));
        assert_eq!(peer.call(15020), format!("15020 {POD}:15020"), "health checks are left alone");
        assert_eq!(peer.call(15008), format!("15008 {POD}:15008"), "tunnels are left alone");
        init("-b 9090");
        assert_eq!(peer.call(8080), format!("8080 {POD}:8080"), "only the listed ports are captured");
        assert_eq!(peer.call(9090), format!("15006 {POD}:9090"));
        init("-c pod0");
        assert_eq!(peer.call(8080), format!("8080 {POD}:8080"), "an excluded interface is left alone");
        peer.stop();
    });
}

#[test]
fn a_pod_that_calls_itself_passes_its_inbound_side_once() {
    in_pod("a_pod_that_calls_itself_passes_its_inbound_side_once", || {
        let peer = Peer::start();
        for port in [8080, 15001, 15006, 15008] {
            serve_tcp(port);
        }
        init("--redirect-dns --resolv-conf /dev/null");
        let localhost = Ipv4Addr::LOCALHOST;
        assert_eq!(call(localhost, 8080, 0), format!("8080 {localhost}:8080"), "localhost stays local");
        assert_eq!(call(POD, 8080, 0), format!("8080 {POD}:8080"), "its own address by hand stays local");
        assert_eq!(
            call(POD, 8080, OWN_MARK),
            format!("15006 {POD}:8080"),
            "by way of the proxy it is inbound"
        );
        assert_eq!(
            call(POD, 15008, OWN_MARK),
            format!("15008 {POD}:15008"),
            "a tunnel to itself is left alone"
        );
        assert_eq!(call(localhost, 8080, OWN_MARK), format!("8080 {localhost}:8080"));
        let delivered = call_from(Ipv4Addr::new(127, 0, 0, 6), POD, 8080, OWN_MARK);
        assert_eq!(delivered, format!("8080 {POD}:8080"), "the proxy delivers to its application");
        peer.stop();
    });
}

#[test]
fn dns_goes_to_the_proxy_and_the_proxys_own_queries_do_not() {
    in_pod("dns_goes_to_the_proxy_and_the_proxys_own_queries_do_not", || {
        let peer = Peer::start();
        serve_udp(Ipv4Addr::LOCALHOST.into(), 15053, "proxy");
        serve_tcp(15053);
        serve_tcp(15001);
        let resolv_conf = tempfile::NamedTempFile::new().unwrap();
        writeln!(resolv_conf.as_file(), "nameserver {PEER}").unwrap();
        let file = resolv_conf.path().display();
        init(&format!("--redirect-dns --resolv-conf {file}"));
        assert_eq!(ask(PEER.into(), 0, 0), "proxy");
        assert_eq!(ask(PEER.into(), 0, OWN_MARK), "peer", "the proxy asks the real server");
        assert_eq!(call(PEER, 53, 0), format!("15053 {PEER}:53"), "DNS over TCP");
        for _ in 0..2 {
            assert_eq!(ask(PEER.into(), 40053, 0), "proxy", "from a port the proxy uses too");
            assert_eq!(ask(PEER.into(), 40053, OWN_MARK), "peer", "from a port the application used");
        }
        init("--redirect-dns --resolv-conf /dev/null");
        assert_eq!(ask(PEER.into(), 0, 0), "peer", "a server that is not the pod's own is left alone");
        init("--capture-all-dns");
        assert_eq!(ask(PEER.into(), 0, 0), "proxy");
        assert_eq!(ask(PEER.into(), 0, OWN_MARK), "peer");
        peer.stop();
    });
}

#[test]
fn rules_are_replaced_atomically_verified_and_removed_completely() {
    in_pod("rules_are_replaced_atomically_verified_and_removed_completely", || {
        let peer = Peer::start();
        serve_tcp(15001);
        let empty = ruleset();
        init("--dry-run");
        assert_eq!(ruleset(), empty, "a dry run changes nothing");
        let error =
            redirect::run(&flags("--skip-rule-apply --run-validation --probe-timeout 1s")).unwrap_err();
        assert!(error.to_string().contains("do not capture"), "{error}");
        init("--run-validation -o 8080");
        let first = ruleset();
        init("--force-apply -o 8080");
        assert_eq!(ruleset(), first, "applying twice is applying once");
        assert!(redirect::run(&flags("-b nonsense")).is_err());
        assert_eq!(ruleset(), first, "a refused flag changes nothing");
        assert!(redirect::apply::apply("table inet ostria { broken").is_err());
        assert_eq!(ruleset(), first, "a refused script changes nothing");
        init("--clean");
        init("--clean");
        assert_eq!(ruleset(), empty);
        assert_eq!(call(PEER, 8080, 0), "peer 8080");
        peer.stop();
    });
}

#[test]
fn ipv6_is_captured_inbound_as_ipv4_is() {
    in_pod("ipv6_is_captured_inbound_as_ipv4_is", || {
        let peer = Peer::start();
        for port in [8080, 9090, 15006, 15008, 15020] {
            serve_tcp(port);
        }
        init("-d 15020,9090");
        for to in [POD_V6, POD_LINK] {
            let at = |port| peer.call_v6(to, port);
            // The destination contains the name of the pod's interface if it is link-local.
            let shown = |text: String| text.replace(&format!("%{}", index("pod0")), "");
            assert_eq!(shown(once_reached(|| at(8080))), format!("15006 [{to}]:8080"));
            assert_eq!(shown(peer.call_as(NOBODY, to, 8080)), format!("15006 [{to}]:8080"), "whoever calls");
            assert_eq!(shown(at(9090)), format!("9090 [{to}]:9090"), "an excluded port is left alone");
            assert_eq!(shown(at(15020)), format!("15020 [{to}]:15020"), "health checks are left alone");
            assert_eq!(shown(at(15008)), format!("15008 [{to}]:15008"), "tunnels are left alone");
        }
        init("-b 9090");
        assert_eq!(peer.call_v6(POD_V6, 8080), format!("8080 [{POD_V6}]:8080"), "only the listed ports");
        assert_eq!(peer.call_v6(POD_V6, 9090), format!("15006 [{POD_V6}]:9090"));
        init("-c pod0");
        assert_eq!(peer.call_v6(POD_V6, 8080), format!("8080 [{POD_V6}]:8080"), "an excluded interface");
        init("");
        run("ip", &["-6", "neigh", "flush", "dev", "pod0"]);
        assert_eq!(
            peer.call_v6(POD_V6, 8080),
            format!("15006 [{POD_V6}]:8080"),
            "neighbours are still found"
        );
        run("ip", &["address", "add", "fd97::1/64", "dev", "pod0", "nodad"]);
        let late = "fd97::1".parse().unwrap();
        let late = once_reached(|| peer.call_v6(late, 8080));
        assert_eq!(late, "15006 [fd97::1]:8080", "an address that came later");
        peer.stop();
    });
}

#[test]
fn ipv6_is_captured_outbound_as_ipv4_is() {
    in_pod("ipv6_is_captured_outbound_as_ipv4_is", || {
        let peer = Peer::start();
        serve_tcp(15001);
        let far = SocketAddr::from((PEER_V6, 8080));
        let linked = SocketAddr::from(SocketAddrV6::new(PEER_LINK, 8080, 0, index("pod0")));
        // The link needs a moment before it carries both kinds of addresses.
        for target in [far, linked] {
            let reached = once_reached(|| dial(target, None, 0));
            assert_eq!(reached, "peer 8080", "{target} is out of reach before anything is captured");
        }
        init("-o 8443 -x 10.98.0.0/16,fd98::/16");
        assert_eq!(dial(far, None, 0), format!("15001 {far}"));
        assert!(!dial(linked, None, 0).starts_with("peer"), "no way around by the link-local address");
        assert_eq!(call_as(NOBODY, PEER_V6, 8080), format!("15001 {far}"));
        assert_eq!(dial(far, None, OWN_MARK), "peer 8080", "the proxy's mark is left alone");
        assert_eq!(dial(linked, None, OWN_MARK), "peer 8080");
        assert_eq!(dial((PEER_V6, 8443).into(), None, 0), "peer 8443", "an excluded port is left alone");
        let mapped = SocketAddr::from((PEER.to_ipv6_mapped(), 8080));
        assert_eq!(dial(mapped, None, 0), format!("15001 {PEER}:8080"), "a mapped address is one of IPv4");
        init("-x fd99::/64");
        assert_eq!(dial(far, None, 0), "peer 8080", "an excluded range is left alone");
        assert_eq!(call(PEER, 8080, 0), format!("15001 {PEER}:8080"));
        init("-i 10.0.0.0/8,fd99::2");
        assert_eq!(dial(far, None, 0), format!("15001 {far}"), "a listed range is captured");
        init("-i 10.0.0.0/8");
        assert_eq!(dial(far, None, 0), "peer 8080", "only the listed ranges are captured");
        peer.stop();
    });
}

#[test]
fn a_pod_that_calls_itself_over_ipv6_passes_its_inbound_side_once() {
    in_pod("a_pod_that_calls_itself_over_ipv6_passes_its_inbound_side_once", || {
        let peer = Peer::start();
        for port in [8080, 15001, 15006, 15008] {
            serve_tcp(port);
        }
        init("");
        let localhost = Ipv6Addr::LOCALHOST;
        let linked = |port| SocketAddr::from(SocketAddrV6::new(POD_LINK, port, 0, index("pod0")));
        for to in [(POD_V6, 8080).into(), (localhost, 8080).into()] {
            assert_eq!(dial(to, None, 0), format!("8080 {to}"), "by hand it stays local");
        }
        let captured = SocketAddr::from((POD_V6, 8080));
        assert_eq!(dial(captured, None, OWN_MARK), format!("15006 {captured}"), "by way of the proxy");
        let tunnel = SocketAddr::from((POD_V6, 15008));
        assert_eq!(dial(tunnel, None, OWN_MARK), format!("15008 {tunnel}"));
        let local = SocketAddr::from((localhost, 8080));
        assert_eq!(dial(local, None, OWN_MARK), format!("8080 {local}"));
        let own = Some(IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 0, 0, 0, 6)));
        assert_eq!(dial(captured, own, OWN_MARK), format!("8080 {captured}"), "the proxy delivers");
        assert!(dial(linked(8080), None, OWN_MARK).starts_with("8080 "), "to a link-local address too");
        peer.stop();
    });
}

#[test]
fn dns_over_ipv6_goes_to_the_proxy() {
    in_pod("dns_over_ipv6_goes_to_the_proxy", || {
        let peer = Peer::start();
        serve_udp(Ipv6Addr::LOCALHOST.into(), 15053, "proxy");
        let resolv_conf = tempfile::NamedTempFile::new().unwrap();
        writeln!(resolv_conf.as_file(), "nameserver {PEER_V6}").unwrap();
        init(&format!("--redirect-dns --resolv-conf {}", resolv_conf.path().display()));
        assert_eq!(ask(PEER_V6.into(), 0, 0), "proxy");
        assert_eq!(ask(PEER_V6.into(), 0, OWN_MARK), "peer", "the proxy asks the real server");
        init("--redirect-dns --resolv-conf /dev/null");
        assert_eq!(ask(PEER_V6.into(), 0, 0), "peer", "a server that is not the pod's own is left alone");
        peer.stop();
    });
}

#[test]
fn a_pod_whose_loopback_has_no_ipv6_neither_takes_nor_sends_it() {
    in_pod("a_pod_whose_loopback_has_no_ipv6_neither_takes_nor_sends_it", || {
        let peer = Peer::start();
        for port in [8080, 15001, 15006, 15020] {
            serve_tcp(port);
        }
        run("ip", &["address", "delete", "::1/128", "dev", "lo"]);
        init("-d 15020");
        for (to, port) in [(POD_V6, 8080), (POD_LINK, 8080), (POD_V6, 15020)] {
            assert_eq!(peer.call_v6(to, port), "nothing", "{to} {port}");
        }
        for mark in [0, OWN_MARK] {
            let to = SocketAddr::from(SocketAddrV6::new(PEER_LINK, 8080, 0, index("pod0")));
            assert_eq!(dial(to, None, mark), "nothing");
        }
        let own = SocketAddr::from((POD_V6, 8080));
        assert_eq!(dial(own, None, 0), format!("8080 {own}"), "traffic on loopback is not redirected");
        assert_eq!(peer.call(8080), format!("15006 {POD}:8080"), "IPv4 is captured as ever");
        assert_eq!(call(PEER, 8080, 0), format!("15001 {PEER}:8080"));
        init("-c pod0");
        assert_eq!(peer.call_v6(POD_V6, 8080), format!("8080 {own}"), "an excluded interface is left alone");
        init("--clean");
        assert_eq!(peer.call_v6(POD_V6, 8080), format!("8080 {own}"));
        peer.stop();
    });
}

#[test]
fn a_second_interface_is_captured_in_both_families() {
    in_pod("a_second_interface_is_captured_in_both_families", || {
        let peer = Peer::start();
        for port in [8080, 15001, 15006] {
            serve_tcp(port);
        }
        init("");
        peer.join_second();
        let (v4, v6) = (SocketAddr::from((SECOND, 8080)), SocketAddr::from((SECOND_V6, 8080)));
        assert_eq!(once_reached(|| peer.dial(v4)), format!("15006 {v4}"));
        assert_eq!(once_reached(|| peer.dial(v6)), format!("15006 {v6}"));
        peer.stop();
    });
}

#[test]
fn the_test_of_capture_names_the_family_whose_rules_are_missing() {
    in_pod("the_test_of_capture_names_the_family_whose_rules_are_missing", || {
        let probe = Probe { inbound_port: 15006, port: 15002, mark: Some(OWN_MARK), timeout: TIMEOUT };
        let missing = |what: &str| {
            let message = verify::capture_works(&probe).unwrap_err().to_string();
            assert!(message.contains(&format!("the rules for {what} do not capture")), "{message}");
        };
        missing("IPv4");
        init("");
        verify::capture_works(&probe).unwrap();
        verify::capture_works(&probe).expect("the test leaves nothing behind that fails the next one");
        run("nft", &["insert", "rule", "inet", "ostria", "output", "meta", "nfproto", "ipv6", "return"]);
        missing("IPv6");
        init("");
        verify::capture_works(&probe).unwrap();
        run("ip", &["address", "delete", "::6/128", "dev", "lo"]);
        missing("IPv6");
        init("");
        run("nft", &["insert", "rule", "inet", "ostria", "output", "meta", "nfproto", "ipv4", "return"]);
        missing("IPv4");
        run("nft", &["delete", "table", "inet", "ostria"]);
        missing("IPv4");
        run("ip", &["address", "delete", "::1/128", "dev", "lo"]);
        init("");
        verify::capture_works(&probe).expect("without IPv6 only IPv4 is checked");
    });
}

#[test]
fn capture_is_found_to_work_whatever_is_excluded_from_it() {
    in_pod("capture_is_found_to_work_whatever_is_excluded_from_it", || {
        let probe = Probe { inbound_port: 15006, port: 15002, mark: Some(OWN_MARK), timeout: CONNECTING };
        let list =
            |ports: std::ops::Range<u16>| ports.map(|port| port.to_string()).collect::<Vec<_>>().join(",");
        let ports = [
            "-o 15002".to_owned(),
            format!("-o {}", list(15000..15100)),
            format!("-o {}", list(1..40_000)),
            format!("-o {}", list(2000..65_535)),
            "-e 15002".to_owned(),
        ];
        let others = [
            "-x 0.0.0.0/0,::/0",
            "-x 127.0.0.0/8,::1/128",
            "-i 10.0.0.0/8",
            "-b 8080",
            "-b 15002 -d 15002",
            "-c eth0,pod+",
            "-k pod0",
            "--outbound-owner-groups 1000",
            "--outbound-owner-groups-exclude 0,1000",
            "--redirect-dns --resolv-conf /dev/null -o 53,15002",
        ];
        for flags in ports.iter().map(String::as_str).chain(others) {
            init(flags);
            if let Err(error) = verify::capture_works(&probe) {
                panic!("{}: {error}", &flags[..flags.len().min(60)]);
            }
        }
        // The test still checks the rules, and leaves an application on the port alone.
        serve_tcp(15002);
        init("-o 15002");
        verify::capture_works(&probe).unwrap();
        run("nft", &["delete", "table", "inet", "ostria"]);
        assert!(verify::capture_works(&probe).is_err());
    });
}

#[test]
fn a_sidecar_whose_pod_excludes_the_loopback_interface_does_not_wait_for_the_capture_check() {
    in_pod("a_sidecar_whose_pod_excludes_the_loopback_interface_does_not_wait_for_the_capture_check", || {
        let podinfo = tempfile::tempdir().unwrap();
        let annotation = "traffic.sidecar.istio.io/excludeInterfaces=\"lo\"\n";
        std::fs::write(podinfo.path().join("annotations"), annotation).unwrap();
        init("-u 0,1337 -c lo --run-validation");
        let podinfo = podinfo.path().to_str().unwrap();
        let mut proxy = Sidecar::with(&["--podinfo", podinfo], &[]);
        proxy.until_ready_says("waiting for: the workload's certificate, clusters");
        drop(proxy);
        let mut proxy = Sidecar::start(&[]);
        proxy.until_ready_says("IPv4");
    });
}

#[test]
fn a_sidecar_is_not_ready_until_both_families_are_captured_and_names_the_missing_one() {
    in_pod("a_sidecar_is_not_ready_until_both_families_are_captured_and_names_the_missing_one", || {
        let mut proxy = Sidecar::start(&[]);
        let message = proxy.until_ready_says("IPv4");
        assert!(message.contains("istio-init") && message.contains("OSTRIA_CAPTURE_CHECK"), "{message}");
        init("-u 0,1337");
        run("nft", &["insert", "rule", "inet", "ostria", "output", "meta", "nfproto", "ipv6", "return"]);
        proxy.until_ready_says("IPv6");
        init("-u 0,1337");
        // Only the control plane is missing, which does not run here.
        proxy.until_ready_says("waiting for: the workload's certificate, clusters");
        drop(proxy);
        run("nft", &["delete", "table", "inet", "ostria"]);
        let mut proxy = Sidecar::start(&[("OSTRIA_CAPTURE_CHECK", "false")]);
        proxy.until_ready_says("waiting for: the workload's certificate, clusters");
        drop(proxy);
        let mut proxy = Sidecar::start(&[("ISTIO_META_INTERCEPTION_MODE", "NONE")]);
        proxy.until_ready_says("waiting for: the workload's certificate, clusters");
    });
}

/// A running `ostria-proxy proxy sidecar` in the namespace of the calling thread.
struct Sidecar(Child);

impl Sidecar {
    fn start(environment: &[(&str, &str)]) -> Self {
        Self::with(&[], environment)
    }

    fn with(arguments: &[&str], environment: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ostria-proxy"));
        command.args(["proxy", "sidecar"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::null());
        let standard = [
            ("POD_NAME", "a"),
            ("POD_NAMESPACE", "b"),
            ("INSTANCE_IP", "10.99.0.1"),
            ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT"),
            ("PROXY_CONFIG", r#"{"discoveryAddress":"127.0.0.1:9","concurrency":1}"#),
            ("CA_ADDR", "127.0.0.1:9"),
        ];
        command.envs(standard).envs(environment.iter().copied());
        let child = command.spawn().unwrap();
        tests::cleanup::end_when_killed(child.id());
        Self(child)
    }

    /// Waits until the readiness page contains `part`, and returns the page.
    fn until_ready_says(&mut self, part: &str) -> String {
        let end = Instant::now() + 4 * TIMEOUT;
        let mut last = String::new();
        while Instant::now() < end {
            if let Ok(mut stream) = TcpStream::connect("127.0.0.1:15021") {
                let request = "GET /healthz/ready HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
                stream.write_all(request.as_bytes()).unwrap();
                last = read_all(&mut stream);
                assert!(!last.starts_with("HTTP/1.1 200"), "{last}");
                if last.contains(part) {
                    return last;
                }
            }
            assert!(self.0.try_wait().unwrap().is_none(), "the proxy has ended");
            thread::sleep(Duration::from_millis(20));
        }
        panic!("{part} is not said: {last}");
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn without_the_privilege_the_message_names_it() {
    if has_net_admin() {
        let me = this_test("without_the_privilege_the_message_names_it");
        let mut command = Command::new("setpriv");
        let status = command.arg("--bounding-set=-net_admin").args(me).status();
        assert!(status.expect("needs setpriv (apt-get install util-linux)").success());
        return;
    }
    let message = redirect::run(&flags("")).unwrap_err().to_string();
    assert!(message.contains("NET_ADMIN"), "{message}");
}

#[test]
fn without_nft_the_message_names_its_package() {
    if std::env::var_os("PATH").is_some_and(|path| path != "/nonexistent") {
        let me = this_test("without_nft_the_message_names_its_package");
        let status = Command::new(&me[0]).args(&me[1..]).env("PATH", "/nonexistent").status();
        assert!(status.unwrap().success());
        return;
    }
    let message = redirect::run(&flags("")).unwrap_err().to_string();
    assert!(message.contains("apt-get install nftables"), "{message}");
}

/// The arguments that run one test of this file in another process.
fn this_test(name: &str) -> [OsString; 4] {
    let program = std::env::current_exe().unwrap().into_os_string();
    [program, "--exact".into(), name.into(), "--nocapture".into()]
}

fn has_net_admin() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> 12 & 1 == 1
}

/// A machine outside the pod: serves some ports, and connects to the pod.
struct Peer {
    orders: mpsc::Sender<Order>,
    responses: mpsc::Receiver<String>,
    thread: thread::JoinHandle<()>,
    id: String,
}

#[derive(Clone, Copy)]
enum Order {
    Join,
    JoinSecond,
    Dial(SocketAddr),
    DialFromLink(Ipv6Addr, u16),
    DialAs(u32, Ipv6Addr, u16),
}

impl Peer {
    /// Starts the peer's namespace and connects it to the pod's, which is that of the calling thread.
    fn start() -> Self {
        let (orders, waiting) = mpsc::channel();
        let (answering, responses) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for the peer");
            answering.send(gettid().to_string()).unwrap();
            for order in waiting {
                let response = Self::follow(order);
                answering.send(response).unwrap();
            }
        });
        let id = responses.recv().unwrap();
        let peer = Self { orders, responses, thread, id };
        run("ip", &["link", "set", "peer0", "netns", &peer.id]);
        peer.ask(Order::Join);
        peer
    }

    fn follow(order: Order) -> String {
        match order {
            Order::Join => {
                join("peer0", &[format!("{PEER}/24"), format!("{PEER_V6}/64"), format!("{PEER_LINK}/64")]);
                // The pod may get addresses in this network later.
                run("ip", &["route", "add", "fd97::/64", "dev", "peer0"]);
                let carries = (0..200).any(|_| match connect((POD, 1).into(), None, 0) {
                    Ok(_) => true,
                    Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => true,
                    Err(_) => {
                        thread::sleep(Duration::from_millis(10));
                        false
                    }
                });
                assert!(carries, "the pod is out of reach before anything is captured");
                for port in [53, 8080, 8443] {
                    serve(port, move |_| format!("peer {port}"));
                }
                serve_udp(Ipv4Addr::UNSPECIFIED.into(), 53, "peer");
                serve_udp(PEER_V6.into(), 53, "peer");
                String::new()
            }
            Order::JoinSecond => {
                join("peer1", &["10.97.0.2/24".to_owned(), "fd96::2/64".to_owned()]);
                String::new()
            }
            Order::Dial(to) => dial(to, None, 0),
            Order::DialFromLink(to, port) => dial(on_link(to, port), None, 0),
            Order::DialAs(user, to, port) => call_as(user, scoped(to), port),
        }
    }

    fn ask(&self, order: Order) -> String {
        self.orders.send(order).unwrap();
        self.responses.recv().unwrap()
    }

    fn call(&self, port: u16) -> String {
        self.dial((POD, port).into())
    }

    fn call_v6(&self, to: Ipv6Addr, port: u16) -> String {
        self.ask(Order::DialFromLink(to, port))
    }

    fn call_as(&self, user: u32, to: Ipv6Addr, port: u16) -> String {
        self.ask(Order::DialAs(user, to, port))
    }

    fn dial(&self, to: SocketAddr) -> String {
        self.ask(Order::Dial(to))
    }

    /// Adds a second pair of interfaces between pod and peer.
    fn join_second(&self) {
        run("ip", &["link", "add", "pod1", "type", "veth", "peer", "name", "peer1"]);
        join("pod1", &[format!("{SECOND}/24"), format!("{SECOND_V6}/64")]);
        run("ip", &["link", "set", "peer1", "netns", &self.id]);
        self.ask(Order::JoinSecond);
    }

    fn stop(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
}

/// Brings an interface up with only these addresses, which are usable at once.
fn join(interface: &str, addresses: &[String]) {
    run("ip", &["link", "set", interface, "addrgenmode", "none"]);
    run("ip", &["link", "set", interface, "up"]);
    for address in addresses {
        let nodad: &[&str] = if address.contains(':') { &["nodad"] } else { &[] };
        run("ip", &[&["address", "add", address, "dev", interface], nodad].concat());
    }
}

fn index(interface: &str) -> u32 {
    let text = std::fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap();
    let line = text.lines().find(|line| line.ends_with(&format!(" {interface}"))).expect(interface);
    u32::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap()
}

/// A port of the pod, as addressed by the peer.
fn on_link(to: Ipv6Addr, port: u16) -> SocketAddr {
    let scope = if to.is_unicast_link_local() { index("peer0") } else { 0 };
    SocketAddrV6::new(to, port, 0, scope).into()
}

/// The same address for bash, which needs the name of the interface.
fn scoped(to: Ipv6Addr) -> String {
    if to.is_unicast_link_local() { format!("{to}%peer0") } else { to.to_string() }
}

/// Runs `body` on a thread in a fresh network namespace, in a user namespace first if this is not root.
fn in_pod(name: &str, body: impl FnOnce() + Send + 'static) {
    if !geteuid().is_root() {
        let status = Command::new("unshare")
            .args(["-Ur", "--"])
            .args(this_test(name))
            .status()
            .expect("needs unshare (apt-get install util-linux)");
        assert!(status.success(), "failed in a user namespace");
        return;
    }
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace: run as root or allow user namespaces");
        run("ip", &["link", "set", "lo", "up"]);
        run("ip", &["link", "add", "pod0", "type", "veth", "peer", "name", "peer0"]);
        join("pod0", &[format!("{POD}/24"), format!("{POD_V6}/64"), format!("{POD_LINK}/64")]);
        body();
    });
    thread.join().expect("the test body failed");
}

fn has_many_users() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    map.split_whitespace().last().is_some_and(|count| count.parse::<u64>().unwrap() > 1337)
}

fn flags(text: &str) -> InitArgs {
    #[derive(Parser)]
    struct Init {
        #[command(flatten)]
        args: InitArgs,
    }
    Init::parse_from(std::iter::once("init").chain(text.split_whitespace())).args
}

fn init(text: &str) {
    redirect::run(&flags(text)).unwrap_or_else(|error| panic!("init {text}: {error}"));
}

fn ruleset() -> String {
    run("nft", &["list", "ruleset"])
}

fn run(program: &str, args: &[&str]) -> String {
    let package = if program == "nft" { "nftables" } else { "iproute2" };
    let output = Command::new(program)
        .args(args)
        .output()
        .unwrap_or_else(|error| panic!("needs {program} (apt-get install {package}): {error}"));
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Serves `port` in this namespace; each client reads the port and its original destination.
fn serve_tcp(port: u16) {
    serve(port, move |stream| {
        let local = stream.local_addr().unwrap();
        let socket = SockRef::from(stream);
        let original = if local.is_ipv4() { socket.original_dst_v4() } else { socket.original_dst_v6() };
        format!("{port} {}", original.ok().and_then(|address| address.as_socket()).unwrap_or(local))
    });
}

/// Responds to connections to `port` over IPv4 and IPv6.
fn serve(port: u16, response: impl Fn(&TcpStream) -> String + Clone + Send + 'static) {
    for any in [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()] {
        let address = SocketAddr::from((any, port));
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).unwrap();
        if address.is_ipv6() {
            socket.set_only_v6(true).unwrap();
        }
        socket.bind(&address.into()).unwrap();
        socket.listen(16).unwrap();
        let response = response.clone();
        thread::spawn(move || {
            while let Ok((stream, _)) = socket.accept() {
                let mut stream = TcpStream::from(stream);
                let text = response(&stream);
                let _ = stream.write_all(text.as_bytes());
            }
        });
    }
}

/// The proxy listens for DNS only on the loopback address: the response must come from the address that redirection
/// chose.
fn serve_udp(address: IpAddr, port: u16, response: &'static str) {
    let socket = UdpSocket::bind((address, port)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(response.as_bytes(), from);
        }
    });
}

fn call(to: Ipv4Addr, port: u16, mark: u32) -> String {
    read_all(&mut connect((to, port).into(), None, mark).unwrap())
}

fn call_from(from: Ipv4Addr, to: Ipv4Addr, port: u16, mark: u32) -> String {
    read_all(&mut connect((to, port).into(), Some(from.into()), mark).unwrap())
}

/// What a connection reads; `nothing` if there is no connection.
fn dial(to: SocketAddr, from: Option<IpAddr>, mark: u32) -> String {
    connect(to, from, mark).map_or_else(|_| "nothing".to_owned(), |mut stream| read_all(&mut stream))
}

fn connect(to: SocketAddr, from: Option<IpAddr>, mark: u32) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    socket.set_mark(mark)?;
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into())?;
    }
    socket.connect_timeout(&to.into(), CONNECTING)?;
    Ok(socket.into())
}

/// Retries a connection to an address or link that was just created, which needs a moment before it carries
/// traffic.
fn once_reached(call: impl Fn() -> String) -> String {
    let mut response = String::new();
    for _ in 0..200 {
        response = call();
        if response != "nothing" {
            break;
        }
        thread::sleep(Duration::from_millis(10));
    }
    response
}

fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A connection from a process of another user.
fn call_as(user: u32, to: impl Display, port: u16) -> String {
    let user = if has_many_users() { user } else { 0 };
    let script = format!("exec 3<>/dev/tcp/{to}/{port} && cat <&3");
    let output = Command::new("bash").args(["-c", &script]).uid(user).gid(user).output().expect("needs bash");
    String::from_utf8(output.stdout).unwrap()
}

/// A UDP exchange with port 53 of `server` from the local port `from` (0: any).
fn ask(server: IpAddr, from: u16, mark: u32) -> String {
    let any =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { IpAddr::from(Ipv6Addr::UNSPECIFIED) };
    let socket = Socket::new(Domain::for_address((any, 0).into()), Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_mark(mark).unwrap();
    socket.bind(&SocketAddr::from((any, from)).into()).unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(TIMEOUT)).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.send(b"question").unwrap();
    let mut buffer = [0; 64];
    let length =
        socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no response from {server}: {error}"));
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
