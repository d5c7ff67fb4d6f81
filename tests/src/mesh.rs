//! A mesh of its own for a test: its state folder, gateway port and namespaces are shared with no other test. When
//! dropped, the mesh is taken down; the test fails if that takes too long or leaves anything behind.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::browser::{Browser, Page};
use crate::cleanup;
use crate::load::{Load, Name};
use crate::metrics::Metrics;
use crate::port;
use crate::program::{self, Outcome, Running, TIMEOUT};
use crate::remains::Holdings;
use crate::report::Report;
use crate::wait;
use crate::wire::{self, Capture};

/// A running mesh.
#[derive(Debug)]
pub struct Mesh {
    state: PathBuf,
    gateway: SocketAddr,
    https: Option<SocketAddr>,
    program: Vec<String>,
    /// Where files of the repository are copied for a user without access to the repository.
    copies: Option<PathBuf>,
    probe: PathBuf,
    up: Option<Running>,
    began: Instant,
    holdings: Holdings,
    is_down: bool,
    line: Vec<String>,
    // Held until the mesh has ended.
    folder: TempDir,
    _turn: Turn,
}

/// How to start a mesh.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folders or files of YAML: absolute paths, or relative to the repository.
    pub folders: Vec<PathBuf>,
    /// Whether no other mesh may run at the same time, for tests that measure.
    pub alone: bool,
    /// Whether `ostria up` stays in the foreground.
    pub foreground: bool,
    /// Whether the host can connect to the gateway's port 443 as well.
    pub https: bool,
    /// Whether the mesh runs as an unprivileged user.
    pub unprivileged: bool,
    /// Whether pods can connect to the host and beyond it; needs root.
    pub egress: bool,
}

/// A pod, as listed by `ostria get pods`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its address.
    pub address: String,
}

impl Mesh {
    /// Starts a mesh from folders of the repository as a user would.
    pub fn up(folders: &[&str], probe: &str) -> Self {
        let folders = folders.iter().map(PathBuf::from).collect();
        let mut mesh = Self::begin(&Options { folders, ..Options::default() }, probe);
        mesh.until_up();
        mesh
    }

    /// Starts a mesh without waiting until it is ready.
    pub fn begin(options: &Options, probe: &str) -> Self {
        let turn = Turn::take(options.alone);
        let folder = tempfile::tempdir().expect("a folder for temporary files can be made");
        let program = if options.unprivileged {
            unprivileged(folder.path())
        } else {
            vec![program::path("ostria").display().to_string()]
        };
        let state = folder.path().join("state");
        let gateway = port::free_address();
        let https = options.https.then(port::free_address);
        let holdings = Holdings::before(&state);
        down_when_killed(&program, &state, folder.path());
        let mut line = vec!["up".to_owned(), "--gateway".into(), gateway.to_string()];
        if let Some(address) = https {
            line.extend(["--gateway-https".into(), address.to_string()]);
        }
        if options.egress {
            line.push("--egress".into());
        }
        if !options.foreground {
            line.push("--detach".into());
        }
        let copies = options.unprivileged.then(|| folder.path().join("repository"));
        line.extend(options.folders.iter().map(|name| shown(name, copies.as_deref())));
        let mut mesh = Self {
            state,
            gateway,
            https,
            program,
            copies,
            probe: probe.into(),
            up: None,
            began: Instant::now(),
            holdings,
            is_down: false,
            line,
            folder,
            _turn: turn,
        };
        mesh.up = Some(mesh.start(&mesh.line));
        mesh
    }

    /// Starts the same mesh again after its supervisor has ended, and waits until it is ready.
    pub fn again(&mut self) -> String {
        self.up = Some(self.start(&self.line));
        self.until_up()
    }

    /// Waits until `ostria up -d` reports that the mesh is ready. Returns its output.
    pub fn until_up(&mut self) -> String {
        let up = self.up.take().expect("the mesh is on its way up");
        let outcome = up.finish(TIMEOUT);
        self.is_down = outcome.code != 0;
        let output = outcome.err.clone() + &outcome.text();
        self.observe();
        output
    }

    /// Waits for the first successful response at a path of the gateway. Returns the time since the mesh was started.
    pub fn until_page(&self, path: &str) -> Duration {
        let mut browser = Browser::new(self.gateway);
        wait::until(&format!("{path} is there"), TIMEOUT, || match browser.get(path, &[])? {
            page if page.status == 200 => Ok(()),
            page => Err(page.status.to_string()),
        });
        self.began.elapsed()
    }

    /// Runs a verb of `ostria` on this mesh.
    pub fn ostria(&self, line: &[&str]) -> Outcome {
        self.start(line).finish(TIMEOUT)
    }

    /// Starts a verb of `ostria` on this mesh.
    pub fn start<A: AsRef<str>>(&self, line: &[A]) -> Running {
        let state = self.state.display().to_string();
        let (program, own) = self.program.split_first().expect("there is a program");
        let line: Vec<&str> = own.iter().map(String::as_str).chain(line.iter().map(AsRef::as_ref)).collect();
        Running::start(Path::new(program), &line, &[("OSTRIA_STATE", &state)])
    }

    /// Applies a file of the repository; fails the test if it is refused.
    pub fn apply(&self, file: &str) -> String {
        let file = shown(Path::new(file), self.copies.as_deref());
        self.ostria(&["apply", "-f", &file]).text()
    }

    /// Applies YAML, and returns the outcome.
    pub fn apply_text(&self, yaml: &str) -> Outcome {
        let file = self.write("applied.yaml", yaml);
        self.ostria(&["apply", "-f", &file])
    }

    /// Deletes the objects in a YAML text.
    pub fn delete_text(&self, yaml: &str) {
        let file = self.write("deleted.yaml", yaml);
        self.ostria(&["delete", "-f", &file]).text();
    }

    /// Writes a file into this test's folder, and returns its path.
    pub fn write(&self, name: &str, text: &str) -> String {
        let file = self.folder.path().join(name);
        fs::write(&file, text).expect("the test's folder can be written");
        file.display().to_string()
    }

    /// Runs `echo client` in a pod and returns its report, even if requests failed.
    pub fn echo(&self, namespace: &str, pod: &str, arguments: &[&str]) -> Report {
        Report::of(&self.start_echo(namespace, pod, arguments).finish(TIMEOUT))
    }

    /// Starts `echo client` in a pod.
    pub fn start_echo(&self, namespace: &str, pod: &str, arguments: &[&str]) -> Running {
        let mut line = vec!["exec", pod, "-n", namespace, "--", "echo", "client", "--allow-failures"];
        line.extend(arguments);
        self.start(&line)
    }

    /// The objects of a kind as JSON.
    pub fn get(&self, kind: &str, namespace: &str) -> Vec<Value> {
        let text = self.ostria(&["get", kind, "-n", namespace, "-o", "json"]).text();
        let list: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        list["items"].as_array().cloned().unwrap_or_else(|| panic!("no list: {text}"))
    }

    /// The pods with a label, except those that are terminating.
    pub fn pods(&self, namespace: &str, label: &str, value: &str) -> Vec<Pod> {
        let wanted = |pod: &&Value| {
            pod["metadata"]["labels"][label] == value && pod["metadata"]["deletionTimestamp"].is_null()
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let pods = self.get("pods", namespace);
        let pods = pods.iter().filter(wanted).map(|pod| Pod {
            namespace: namespace.into(),
            name: text(&pod["metadata"]["name"]),
            address: text(&pod["status"]["podIP"]),
        });
        pods.collect()
    }

    /// The only pod of an app.
    pub fn pod(&self, namespace: &str, app: &str) -> Pod {
        let mut pods = self.pods(namespace, "app", app);
        assert_eq!(pods.len(), 1, "{pods:?}");
        pods.remove(0)
    }

    /// The name of the pod that runs this version of the echo server.
    pub fn pod_of_version(&self, namespace: &str, version: &str) -> String {
        let pods = self.pods(namespace, "app", "echo-server");
        let own = self.pods(namespace, "version", version);
        let both = own.into_iter().find(|pod| pods.contains(pod));
        both.unwrap_or_else(|| panic!("no pod of {version} in {pods:?}")).name
    }

    /// The metrics of a pod's sidecar, scraped as Prometheus would.
    pub fn metrics(&self, pod: &Pod) -> Metrics {
        Metrics::parse(&self.fetch(&format!("http://{}:15020/stats/prometheus", pod.address)))
    }

    /// Pilot's own metrics.
    pub fn pilot(&self) -> Metrics {
        Metrics::parse(&self.fetch("http://10.244.0.1:15014/metrics"))
    }

    /// Fetches a page from inside the mesh's network, next to the pods.
    pub fn fetch(&self, url: &str) -> String {
        wire::fetch(self.supervisor(), &self.probe, url)
    }

    /// Captures all traffic between pods.
    pub fn capture(&self) -> Capture {
        Capture::start(self.supervisor(), &self.probe, self.folder.path())
    }

    /// A browser for the gateway.
    pub fn browser(&self) -> Browser {
        Browser::new(self.gateway)
    }

    /// Sends one request through the gateway on its own connection.
    pub fn page(&self, path: &str, headers: &[(&str, &str)]) -> Page {
        self.browser().get(path, headers).unwrap_or_else(|reason| panic!("{path}: {reason}"))
    }

    /// Sends requests through the gateway in the background.
    pub fn load(&self, path: &str, browsers: usize, count: Option<u64>, name: Name) -> Load {
        Load::start(self.gateway, path, browsers, count, name)
    }

    /// The address of the gateway.
    pub fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    /// The address of the gateway's port 443, if `https` was requested.
    pub fn https(&self) -> SocketAddr {
        self.https.expect("the mesh was started with https")
    }

    /// The state folder.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The folder of citadel's root, which is visible only in the node's mount namespace.
    pub fn root_folder(&self) -> PathBuf {
        self.private(self.supervisor()).join("keys/citadel")
    }

    /// The folder that pilot reads, which is visible only in the node's mount namespace.
    pub fn config(&self) -> PathBuf {
        self.private(self.supervisor()).join("config")
    }

    fn private(&self, supervisor: u32) -> PathBuf {
        let state = self.state.strip_prefix("/").expect("temporary folders have absolute paths");
        Path::new("/proc").join(supervisor.to_string()).join("root").join(state).join("private")
    }

    /// The process ID of the mesh's supervisor, which runs in the node's namespaces.
    pub fn supervisor(&self) -> u32 {
        self.find_supervisor().expect("the mesh runs")
    }

    /// The mesh's processes with this name: process ID and resident memory in MiB.
    pub fn processes(&self, name: &str) -> Vec<(u32, f64)> {
        self.holdings.running(name)
    }

    /// The process of a pod with this name and, if given, this first argument.
    pub fn process_of(&mut self, pod: &str, name: &str, argument: Option<&str>) -> u32 {
        self.observe();
        let has = |process: u32, file: &str, word: &str| {
            let text = fs::read(format!("/proc/{process}/{file}")).unwrap_or_default();
            text.split(|byte| *byte == 0).any(|part| part == word.as_bytes())
        };
        let own = format!("POD_NAME={pod}");
        let is_it = |process: &u32| {
            has(*process, "environ", &own) && argument.is_none_or(|word| has(*process, "cmdline", word))
        };
        let found = self.processes(name).into_iter().map(|(process, _)| process).find(is_it);
        found.unwrap_or_else(|| panic!("{pod} runs no {name}"))
    }

    /// Why a pod is not ready, from its conditions; empty if they give no reason.
    pub fn unready(&self, namespace: &str, pod: &str) -> String {
        let pods = self.get("pods", namespace);
        let own = pods.iter().find(|one| one["metadata"]["name"] == pod);
        let conditions =
            own.and_then(|one| one["status"]["conditions"].as_array().cloned()).unwrap_or_default();
        let ready = conditions.iter().find(|one| one["type"] == "Ready");
        ready.and_then(|one| one["message"].as_str()).unwrap_or_default().to_owned()
    }

    /// Whether a pod is ready, and how often its containers were restarted.
    pub fn health(&self, namespace: &str, pod: &str) -> (bool, u64) {
        let pods = self.get("pods", namespace);
        let Some(own) = pods.iter().find(|one| one["metadata"]["name"] == pod) else { return (false, 0) };
        let conditions = own["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let ready = conditions.iter().any(|one| one["type"] == "Ready" && one["status"] == "True");
        let containers = ["initContainerStatuses", "containerStatuses"]
            .into_iter()
            .filter_map(|list| own["status"][list].as_array())
            .flatten();
        (ready, containers.filter_map(|one| one["restartCount"].as_u64()).sum())
    }

    /// Records the mesh's current processes and namespaces, to check later that they are gone.
    pub fn observe(&mut self) {
        if let Some(supervisor) = self.find_supervisor() {
            self.holdings.observe(supervisor);
        }
    }

    /// Waits until nothing of the mesh remains, after something other than this object has ended it.
    pub fn until_gone(&mut self, timeout: Duration) {
        self.is_down = true;
        wait::until("nothing of the mesh is left", timeout, || match self.holdings.left() {
            left if left.is_empty() => Ok(()),
            left => Err(left.join("\n")),
        });
        assert!(self.holdings.namespaces() > 0, "no namespace of the mesh was ever seen");
    }

    /// Runs `ostria down`, and checks that nothing remains.
    pub fn down(&mut self) {
        self.observe();
        let outcome = self.ostria(&["down"]);
        let elapsed = outcome.elapsed;
        self.is_down = true;
        outcome.text();
        assert!(elapsed < DOWN, "`ostria down` took {elapsed:?}");
        self.until_gone(Duration::from_secs(1));
    }

    /// Waits until a mesh in the foreground is ready for verbs. Returns the running `ostria up`.
    pub fn until_in_front(&mut self) -> Running {
        wait::until("the mesh in the foreground is up", TIMEOUT, || {
            // `up` writes the lock last before it reports that it is ready.
            let lock = self.lock().ok_or("no lock")?;
            if lock["children"] == Value::Array(vec![]) { Err(lock.to_string()) } else { Ok(()) }
        });
        self.observe();
        self.up.take().expect("the mesh is in the foreground")
    }

    /// Sends SIGKILL to the supervisor, and waits until it has ended.
    pub fn kill_supervisor(&mut self) {
        self.observe();
        let supervisor = self.supervisor();
        signal(supervisor, Signal::SIGKILL);
        wait::until("the supervisor is gone", Duration::from_secs(5), || {
            if self.holdings.is_running(supervisor) { Err("it still runs".into()) } else { Ok(()) }
        });
    }

    fn find_supervisor(&self) -> Option<u32> {
        self.lock()?["supervisor"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }

    fn lock(&self) -> Option<Value> {
        serde_json::from_slice(&fs::read(self.state.join("lock.json")).ok()?).ok()
    }

    /// Keeps the logs of a failed test where a developer can find them.
    fn keep_logs(&self) {
        let name = std::thread::current().name().unwrap_or("test").replace("::", "-");
        let kept = std::env::temp_dir().join("ostria-failed-tests").join(name);
        let _ = fs::remove_dir_all(&kept);
        if fs::create_dir_all(&kept).is_ok() {
            let status = self.ostria(&["status", "-o", "wide"]);
            let _ = fs::write(kept.join("status.txt"), status.to_string());
            let config = self.find_supervisor().map(|supervisor| self.private(supervisor).join("config"));
            let kinds = [self.state.join("logs"), self.state.join("up.log")].into_iter().chain(config);
            let line: Vec<_> = kinds.map(|path| path.display().to_string()).collect();
            let mut arguments = vec!["-r"];
            arguments.extend(line.iter().map(String::as_str));
            let kept = kept.display().to_string();
            arguments.push(&kept);
            program::run(Path::new("cp"), &arguments);
            eprintln!("logs of the mesh are in {kept}");
        }
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if self.is_down {
            return;
        }
        if std::thread::panicking() {
            self.keep_logs();
            eprintln!("{}", self.ostria(&["down"]));
        } else {
            self.down();
        }
    }
}

/// Permission to run: meshes run at the same time, unless one of them measures.
#[derive(Debug)]
#[expect(dead_code, reason = "it is enough that they are held")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

impl Turn {
    fn take(alone: bool) -> Self {
        static MACHINE: RwLock<()> = RwLock::new(());
        if alone {
            Self::Alone(MACHINE.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Self::Shared(MACHINE.read().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

/// Takes the mesh down if the test process is killed: a mesh in the background outlives the process that started it.
fn down_when_killed(program: &[String], state: &Path, folder: &Path) {
    let [program, state, folder] = [
        program.iter().map(cleanup::quoted).collect::<Vec<_>>().join(" "),
        cleanup::quoted(state),
        cleanup::quoted(folder),
    ];
    cleanup::when_killed(&format!("test -e {state} && {program} --state {state} down; rm -rf {folder}"));
}

/// The command that runs `ostria` as the user nobody. The programs are linked into a folder that this user can read.
fn unprivileged(folder: &Path) -> Vec<String> {
    let open = |path: &Path, mode| fs::set_permissions(path, PermissionsExt::from_mode(mode));
    let programs = folder.join("programs");
    fs::create_dir(&programs).expect("the test's folder can be written");
    for name in
        ["ostria", "ostria-proxy", "ostria-pilot", "ostria-citadel", "ostria-injector", "bookinfo", "echo"]
    {
        let (from, to) = (program::path(name), programs.join(name));
        fs::hard_link(&from, &to)
            .or_else(|_| fs::copy(&from, &to).map(drop))
            .expect("programs can be copied");
    }
    open(folder, 0o755).and_then(|()| open(&programs, 0o755)).expect("the folder is the test's own");
    let own = programs.join("ostria").display().to_string();
    if !nix::unistd::geteuid().is_root() {
        return vec![own];
    }
    // The state folder's parent must belong to the user of the mesh, or `ostria` refuses it.
    nix::unistd::chown(folder, Some(65534.into()), Some(65534.into())).expect("root gives folders away");
    ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", &own]
        .map(str::to_owned)
        .to_vec()
}

/// The path under which the mesh's user can read a file or folder of the repository.
fn shown(name: &Path, copies: Option<&Path>) -> String {
    copies.map_or_else(|| program::repository("").join(name).display().to_string(), |to| readable(name, to))
}

/// Copies a file or folder of the repository to where every user can read it, and returns the path of the copy. The
/// repository may be below a folder that other users cannot enter, such as root's home.
fn readable(name: &Path, copies: &Path) -> String {
    if name.is_absolute() {
        return name.display().to_string();
    }
    let (from, to) = (program::repository("").join(name), copies.join(name));
    if from.is_dir() {
        for entry in fs::read_dir(&from).expect("the repository can be read") {
            readable(&name.join(entry.expect("the repository can be read").file_name()), copies);
        }
    } else {
        fs::create_dir_all(to.parent().unwrap_or(copies)).expect("the test's folder can be written");
        fs::copy(&from, &to).unwrap_or_else(|error| panic!("{} is not copied: {error}", from.display()));
    }
    to.display().to_string()
}

/// Sends a signal to a process of the mesh.
pub fn signal(process: u32, signal: Signal) {
    let id = i32::try_from(process).expect("process ids are small");
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).expect("the process is there");
}

/// The longest time that `ostria down` may take.
const DOWN: Duration = Duration::from_secs(10);
