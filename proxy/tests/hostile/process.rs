//! A real `ostria-proxy` process in front of an upstream: the resources that it holds (memory, descriptors,
//! counters), its logs, and whether it still serves. Exists because a claim such as "memory is released" is about a
//! process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The settings in which the tests' proxies differ.
pub(crate) struct Setup {
    pub(crate) upstream: SocketAddr,
    /// Whether the upstream uses HTTP/2.
    pub(crate) upstream_http2: bool,
    /// Fields of the HTTP connection manager, one per line.
    pub(crate) http: &'static str,
    /// Fields of the route action, in YAML's flow style.
    pub(crate) route: &'static str,
    /// A folder with `server.pem` and `server.key`, for the listeners that accept TLS.
    pub(crate) certificates: Option<PathBuf>,
}

impl Setup {
    /// HTTP/1 to the upstream in plaintext, without a timeout.
    pub(crate) fn to(upstream: SocketAddr) -> Self {
        Self { upstream, upstream_http2: false, http: "", route: "timeout: 0s", certificates: None }
    }

    /// HTTP/2 to the upstream.
    pub(crate) fn to_http2(upstream: SocketAddr) -> Self {
        Self { upstream_http2: true, ..Self::to(upstream) }
    }

    pub(crate) fn start(&self) -> Process {
        Process::start(self)
    }
}

/// A running proxy, which is killed when the test ends.
pub(crate) struct Process {
    child: Child,
    admin: u16,
    folder: tempfile::TempDir,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Process {
    fn start(setup: &Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let admin = tests::port::free();
        let file = folder.path().join("envoy.yaml");
        let log = folder.path().join("access.log");
        std::fs::write(&file, super::bootstrap::text(setup, admin, log.to_str().unwrap())).unwrap();
        let errors = std::fs::File::create(folder.path().join("stderr")).unwrap();
        // A low limit on descriptors, which the proxy must raise itself.
        let child = Command::new("sh")
            .args(["-c", "ulimit -Sn 1024; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_ostria-proxy")])
            .args(["run", "--concurrency", "1", "--bootstrap", file.to_str().unwrap()])
            .args(["--log-level", "info,proxy=debug"])
            .stderr(errors)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        tests::cleanup::end_when_killed(child.id());
        let mut process = Self { child, admin, folder };
        process.wait_ready();
        process
    }

    fn wait_ready(&mut self) {
        let began = Instant::now();
        while !get(self.admin, "/ready").is_some_and(|response| response.starts_with("HTTP/1.1 200")) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the proxy ended: {}", self.errors());
            assert!(began.elapsed() < Duration::from_secs(60), "not ready: {}", self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The proxy's standard error output.
    pub(crate) fn errors(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("stderr")).unwrap()
    }

    /// Waits until the proxy's standard error output contains this text.
    pub(crate) fn said(&self, part: &str) {
        wait(&format!("{part:?} on standard error"), || self.errors().contains(part));
    }

    /// The address of a listener.
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let all = get(self.admin, "/listeners").unwrap();
        let mut lines = all.lines().filter_map(|line| line.trim().split_once("::"));
        let found = lines.find(|(name, _)| *name == listener).map(|(_, address)| address.parse().unwrap());
        found.unwrap_or_else(|| panic!("no listener {listener} in {all}"))
    }

    /// Connects to a listener; reads time out after a while.
    pub(crate) fn connect(&self, listener: &str) -> TcpStream {
        connect(self.address(listener))
    }

    /// One of the proxy's counters; those of a cluster exist from its first request on.
    pub(crate) fn stat(&self, name: &str) -> u64 {
        let all = get(self.admin, "/stats").unwrap();
        let mut lines = all.lines().filter_map(|line| line.split_once(": "));
        let found = lines.find(|(known, _)| *known == name).map(|(_, value)| value.trim().parse().unwrap());
        assert!(found.is_some() || name.starts_with("cluster."), "no counter {name} in {all}");
        found.unwrap_or(0)
    }

    /// Waits until a counter has a matching value.
    pub(crate) fn wait_stat(&self, name: &str, fits: impl Fn(u64) -> bool) {
        wait(&format!("counter {name}, now {}", self.stat(name)), || fits(self.stat(name)));
    }

    /// Waits until no connection and no request is active on either side.
    pub(crate) fn wait_idle(&self) {
        for listener in super::bootstrap::LISTENERS {
            self.wait_stat(&format!("listener.{listener}.downstream_cx_active"), |active| active == 0);
        }
        self.wait_stat("cluster.app.upstream_rq_active", |active| active == 0);
    }

    /// Waits for a line of the access log that contains all of these parts.
    pub(crate) fn logged(&self, parts: &[&str]) -> String {
        let mut found = None;
        wait(&format!("an access log line with {parts:?}"), || {
            let log = self.log();
            found = log.lines().find(|line| parts.iter().all(|part| line.contains(part))).map(str::to_owned);
            found.is_some()
        });
        found.unwrap()
    }

    /// The access log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default()
    }

    /// Resident memory in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Open file descriptors.
    pub(crate) fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// Waits until memory is back to its earlier size, within a tenth.
    pub(crate) fn wait_memory(&self, before: u64) {
        let began = Instant::now();
        while self.memory() > before + before / 10 {
            let now = self.memory();
            assert!(began.elapsed() < TIMEOUT, "{before} KiB before, {now} KiB after");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until no more descriptors are open than before, except a few that the proxy opens on first use, such
    /// as its log's.
    pub(crate) fn wait_descriptors(&self, before: usize) {
        wait(&format!("{before} descriptors, now {}", self.descriptors()), || {
            self.descriptors() <= before + 4
        });
    }

    /// Checks that the proxy still runs and responds to another client quickly.
    pub(crate) fn serves(&mut self) {
        assert!(self.child.try_wait().unwrap().is_none(), "the proxy ended: {}", self.errors());
        let began = Instant::now();
        let response = get(self.address("direct").port(), "/alive").unwrap();
        assert!(response.starts_with("HTTP/1.1 200") && response.ends_with("alive"), "{response}");
        assert!(began.elapsed() < Duration::from_secs(5), "others waited for {:?}", began.elapsed());
    }
}

/// Waits until a condition holds; fails the test if that takes too long.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < TIMEOUT, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Connects; reads and writes time out after a while.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    stream.set_write_timeout(Some(TIMEOUT)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

/// Reads everything until the end, as text; a reset counts as an end.
pub(crate) fn rest(stream: &mut TcpStream) -> String {
    let mut text = vec![];
    if let Err(error) = stream.read_to_end(&mut text) {
        let kind = error.kind();
        assert!(kind != std::io::ErrorKind::WouldBlock, "the connection stays open after {text:?}");
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Sends a request on its own connection.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(TIMEOUT)).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").ok()?;
    let mut response = String::new();
    stream.read_to_string(&mut response).ok()?;
    Some(response)
}

/// How often an attack is repeated: `OSTRIA_HOSTILE_SCALE` times the short default.
pub(crate) fn scale() -> usize {
    std::env::var("OSTRIA_HOSTILE_SCALE").ok().and_then(|text| text.parse().ok()).unwrap_or(1)
}

/// Much longer than anything that a test waits for.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);
