//! Capture as the kernel does it: a pod and a peer in network namespaces of their own, joined by a pair of virtual
//! interfaces, real connections, real redirection.
//!
//! As root the application has a user id of its own; without root the test runs itself in a user namespace, where
//! all processes share one id and the proxy is told by its packet mark alone. Namespaces belong to threads, so
//! nothing stays behind when a test ends.
#![allow(clippy::unwrap_used, reason = "helpers of a test fail the test")]

use std::{
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::unix::process::CommandExt as _,
    process::Command,
    sync::mpsc,
    thread,
    time::Duration,
};

use clap::Parser;
use nix::{
    sched::{CloneFlags, unshare},
    unistd::{geteuid, gettid},
};
use proxy::redirect::{self, args::InitArgs};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

const POD: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 2);
const OWN_MARK: u32 = 1337;
const PATIENCE: Duration = Duration::from_secs(5);

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
        serve_udp(Ipv4Addr::LOCALHOST, 15053, "proxy");
        serve_tcp(15053);
        serve_tcp(15001);
        let resolv_conf = tempfile::NamedTempFile::new().unwrap();
        writeln!(resolv_conf.as_file(), "nameserver {PEER}").unwrap();
        let file = resolv_conf.path().display();
        init(&format!("--redirect-dns --resolv-conf {file}"));
        assert_eq!(ask(PEER, 0, 0), "proxy");
        assert_eq!(ask(PEER, 0, OWN_MARK), "peer", "the proxy asks the real server");
        assert_eq!(call(PEER, 53, 0), format!("15053 {PEER}:53"), "DNS over TCP");
        for _ in 0..2 {
            assert_eq!(ask(PEER, 40053, 0), "proxy", "from a port the proxy uses too");
            assert_eq!(ask(PEER, 40053, OWN_MARK), "peer", "from a port the application used");
        }
        init("--redirect-dns --resolv-conf /dev/null");
        assert_eq!(ask(PEER, 0, 0), "peer", "a server that is not the pod's own is left alone");
        init("--capture-all-dns");
        assert_eq!(ask(PEER, 0, 0), "proxy");
        assert_eq!(ask(PEER, 0, OWN_MARK), "peer");
        peer.stop();
    });
}

#[test]
fn rules_are_replaced_as_a_whole_checked_and_removed_without_a_trace() {
    in_pod("rules_are_replaced_as_a_whole_checked_and_removed_without_a_trace", || {
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
fn ipv6_is_captured_with_dual_stack_and_left_alone_without() {
    in_pod("ipv6_is_captured_with_dual_stack_and_left_alone_without", || {
        run("ip", &["address", "add", "fd99::1/64", "dev", "pod0", "nodad"]);
        let listener = TcpListener::bind("[::]:15001").unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let original = SockRef::from(&stream).original_dst_v6().unwrap().as_socket().unwrap();
                write!(stream, "15001 {original}").unwrap();
            }
        });
        let far: SocketAddr = "[fd99::2]:8080".parse().unwrap();
        init("");
        assert_eq!(
            read_all(&mut connect(far, None, 0)),
            "15001 [fd99::2]:8080",
            "a global address turns it on"
        );
        run("ip", &["address", "delete", "fd99::1/64", "dev", "pod0"]);
        init("");
        assert!(ruleset().contains("meta nfproto ipv6 return"));
        init("--dual-stack");
        assert!(!ruleset().contains("meta nfproto ipv6 return"));
    });
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

/// The command line that runs one test of this file in another process.
fn this_test(name: &str) -> [OsString; 4] {
    let program = std::env::current_exe().unwrap().into_os_string();
    [program, "--exact".into(), name.into(), "--nocapture".into()]
}

fn has_net_admin() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(effective.trim(), 16).unwrap() >> 12 & 1 == 1
}

/// A machine outside the pod: serves some ports and calls the pod.
struct Peer {
    orders: mpsc::Sender<u16>,
    answers: mpsc::Receiver<String>,
    thread: thread::JoinHandle<()>,
}

impl Peer {
    /// Starts the peer's namespace and joins it to the pod's, which is that of the calling thread.
    fn start() -> Self {
        let (orders, waiting) = mpsc::channel();
        let (answering, answers) = mpsc::channel();
        let thread = thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace for the peer");
            answering.send(gettid().to_string()).unwrap();
            let Ok(_joined) = waiting.recv() else { return };
            run("ip", &["address", "add", &format!("{PEER}/24"), "dev", "peer0"]);
            run("ip", &["link", "set", "peer0", "up"]);
            for port in [53, 8080, 8443] {
                serve(port, move |_| format!("peer {port}"));
            }
            serve_udp(Ipv4Addr::UNSPECIFIED, 53, "peer");
            answering.send(String::new()).unwrap();
            for port in waiting {
                answering.send(call(POD, port, 0)).unwrap();
            }
        });
        let peer_thread = answers.recv().unwrap();
        run("ip", &["link", "set", "peer0", "netns", &peer_thread]);
        orders.send(0).unwrap();
        answers.recv().unwrap();
        Self { orders, answers, thread }
    }

    fn call(&self, port: u16) -> String {
        self.orders.send(port).unwrap();
        self.answers.recv().unwrap()
    }

    fn stop(self) {
        drop(self.orders);
        self.thread.join().unwrap();
    }
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
        run("ip", &["address", "add", &format!("{POD}/24"), "dev", "pod0"]);
        run("ip", &["link", "set", "pod0", "up"]);
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

/// Serves `port` in this namespace; each caller reads the port and the destination it had asked for.
fn serve_tcp(port: u16) {
    serve(port, move |stream| {
        let original = SockRef::from(stream).original_dst_v4().ok().and_then(|address| address.as_socket());
        format!("{port} {}", original.unwrap_or_else(|| stream.local_addr().unwrap()))
    });
}

fn serve(port: u16, answer: impl Fn(&TcpStream) -> String + Send + 'static) {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let text = answer(&stream);
            let _ = stream.write_all(text.as_bytes());
        }
    });
}

/// The proxy listens for DNS on loopback only: the answer must come from the address that redirection chose.
fn serve_udp(address: Ipv4Addr, port: u16, answer: &'static str) {
    let socket = UdpSocket::bind((address, port)).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, from)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(answer.as_bytes(), from);
        }
    });
}

fn call(to: Ipv4Addr, port: u16, mark: u32) -> String {
    read_all(&mut connect((to, port).into(), None, mark))
}

fn call_from(from: Ipv4Addr, to: Ipv4Addr, port: u16, mark: u32) -> String {
    read_all(&mut connect((to, port).into(), Some(from), mark))
}

fn connect(to: SocketAddr, from: Option<Ipv4Addr>, mark: u32) -> TcpStream {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
    socket.set_mark(mark).unwrap();
    if let Some(from) = from {
        socket.bind(&SocketAddr::from((from, 0)).into()).unwrap();
    }
    socket
        .connect_timeout(&to.into(), PATIENCE)
        .unwrap_or_else(|error| panic!("connecting to {to}: {error}"));
    socket.into()
}

fn read_all(stream: &mut TcpStream) -> String {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}

/// A connection made by a process of another user.
fn call_as(user: u32, to: Ipv4Addr, port: u16) -> String {
    let user = if has_many_users() { user } else { 0 };
    let script = format!("exec 3<>/dev/tcp/{to}/{port} && cat <&3");
    let output = Command::new("bash").args(["-c", &script]).uid(user).gid(user).output().expect("needs bash");
    String::from_utf8(output.stdout).unwrap()
}

/// A UDP exchange with port 53 of `server`, from local port `from` (0: any).
fn ask(server: Ipv4Addr, from: u16, mark: u32) -> String {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    socket.set_mark(mark).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, from)).into()).unwrap();
    let socket = UdpSocket::from(socket);
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect((IpAddr::V4(server), 53)).unwrap();
    socket.send(b"question").unwrap();
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no answer from {server}: {error}"));
    String::from_utf8_lossy(&buffer[..length]).into_owned()
}
