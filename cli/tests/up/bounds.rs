//! Isolation of pods: attempts to leave a container, and the guarantees of security contexts. A real process in a real
//! pod makes each attempt.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::harness::{Mesh, SLEEP, is_root, pod, until};

/// A folder of the host with another mount below it. Both contain a file.
struct Host {
    folder: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("host").tempdir_in("/var/lib").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let below = folder.path().join("below");
        std::fs::create_dir(&below).unwrap();
        let nothing: Option<&str> = None;
        nix::mount::mount(Some("tmpfs"), &below, Some("tmpfs"), nix::mount::MsFlags::empty(), nothing)
            .unwrap();
        std::fs::set_permissions(&below, PermissionsExt::from_mode(0o777)).unwrap();
        std::fs::write(below.join("file"), "host").unwrap();
        Self { folder }
    }

    fn path(&self) -> String {
        self.folder.path().display().to_string()
    }

    fn is_untouched(&self) -> bool {
        let names = |folder: &std::path::Path| {
            let entries = std::fs::read_dir(folder).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let below = self.folder.path().join("below");
        names(self.folder.path()) == ["below"]
            && names(&below) == ["file"]
            && std::fs::read_to_string(below.join("file")).unwrap() == "host"
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = nix::mount::umount2(&self.folder.path().join("below"), nix::mount::MntFlags::MNT_DETACH);
    }
}

/// Runs each line as a shell command in the pod. Returns the output of each, or `no` for a failed one.
fn output(mesh: &Mesh, pod: &str, lines: &[&str]) -> Vec<String> {
    let guarded: Vec<_> =
        lines.iter().map(|line| format!("({line}) 2>/dev/null || echo no; echo ---\n")).collect();
    let script = guarded.concat();
    let printed = mesh.exec(pod, &script);
    printed.split("---\n").take(lines.len()).map(|text| text.trim().to_string()).collect()
}

fn all_fail(mesh: &Mesh, pod: &str, attempts: &[&str]) {
    for (attempt, result) in attempts.iter().zip(output(mesh, pod, attempts)) {
        assert_eq!(result, "no", "{attempt}");
    }
}

#[test]
fn no_pod_writes_the_host_or_changes_its_mounts() {
    if !is_root() {
        return;
    }
    let host = Host::new();
    let shown = "command: [sleep, '1000']\nvolumeMounts: [{name: host, mountPath: /fixed, readOnly: true}]";
    let volume = format!("  volumes: [{{name: host, hostPath: {{path: {}}}}}]\n---\n", host.path());
    let yaml = pod("web", shown) + &volume;
    let mesh = Mesh::new(&yaml);
    mesh.up();
    let path = host.path();
    let attempts = [
        format!("touch {path}/x"),
        format!("touch {path}/below/x"),
        format!("echo x > {path}/below/file"),
        format!("mount -o remount,rw {path}/below"),
        format!("mount -o remount,bind,rw {path}/below"),
        format!("umount {path}/below"),
        "touch /fixed/x".into(),
        "touch /fixed/below/x".into(),
        "echo x > /fixed/below/file".into(),
        "mount -t tmpfs x /mnt".into(),
        "mount --bind /tmp /usr".into(),
        "unshare -m true".into(),
        "unshare -r true".into(),
        "unshare -U -m sh -c 'mount -o remount,rw /usr'".into(),
        "nsenter -t 1 -m true".into(),
        "mknod /tmp/disk b 254 0".into(),
        "mknod /tmp/null c 1 3".into(),
        "chroot /proc/1/root touch /usr/x".into(),
        "hostname other".into(),
        "date -s 2020-01-01 > /dev/null".into(),
        "dmesg".into(),
        "test -e /dev/kmsg -o -e /dev/mem -o -e /dev/vda -o -e /dev/sda".into(),
        "echo b > /proc/sysrq-trigger".into(),
        "echo 1 > /proc/sys/net/ipv4/ip_forward".into(),
        "echo x > /proc/sys/kernel/core_pattern".into(),
        "touch /sys/kernel/x".into(),
        "head -c 1 /proc/kcore | grep -q .".into(),
        "grep -q . /proc/keys".into(),
        "ls /sys/firmware | grep -q .".into(),
        "ls /sys/class/net | grep -q ostria".into(),
        "keyctl show".into(),
    ];
    all_fail(&mesh, "web", &attempts.each_ref().map(String::as_str));
    assert!(host.is_untouched());
    let works =
        ["echo x > /dev/null && echo yes", "echo x > /tmp/a && cat /tmp/a", "head -c 4 /dev/urandom | wc -c"];
    assert_eq!(output(&mesh, "web", &works), ["yes", "x", "4"]);
}

#[test]
fn pods_see_no_state_folder_keys_or_sockets() {
    if !is_root() {
        return;
    }
    let mesh = Mesh::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    mesh.up();
    let state = mesh.path("home/state").display().to_string();
    let around = mesh.path("home").display().to_string();
    let with = |name: &str, path: &str| {
        let yaml = pod(name, "command: [sleep, '1000']\nvolumeMounts: [{name: host, mountPath: /host}]");
        yaml + &format!("  volumes: [{{name: host, hostPath: {{path: {path:?}}}}}]\n")
    };
    let yaml =
        [with("root", "/"), with("around", &around), with("logs", &format!("{state}/logs"))].join("---\n");
    assert!(mesh.apply(&yaml).status.success());
    until("two pods run", || {
        let pods = mesh.ok(&["get", "pods"]);
        ["around ", "root "]
            .iter()
            .all(|name| pods.lines().any(|line| line.starts_with(name) && line.contains("1/1     Running")))
    });
    for (pod, place) in [("root", format!("/host{state}")), ("around", "/host/state".into())] {
        let attempts = [
            format!("test -e {place}/lock.json"),
            format!("test -e {place}/ostria.sock"),
            format!("ls -A {place} | grep -q ."),
            format!("ls -A {state} | grep -q ."),
            format!("touch {place}/x"),
            "ls /host/proc/1".into(),
            "head -c 1 /host/dev/zero".into(),
            "grep -q ostria.sock /proc/net/unix".into(),
            "ls -d /proc/[0-9]*/root/private".into(),
        ];
        all_fail(&mesh, pod, &attempts.each_ref().map(String::as_str));
    }
    assert!(mesh.fails(&["exec", "logs", "--", "true"]).contains("does not run"));
}

#[test]
fn a_planted_link_cannot_lead_a_sub_path_out_of_its_volume() {
    let yaml = "\
apiVersion: v1
kind: Pod
metadata: {name: thief}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: shared, emptyDir: {}}]
  initContainers:
  - name: plant
    command: [sh, -c, 'ln -s / /shared/root; ln -s /proc/1/root /shared/magic; ln -s ../../.. /shared/up; mkdir /shared/real; ln -s real /shared/near; touch /shared/file']
    volumeMounts: [{name: shared, mountPath: /shared}]
  containers:
  - {name: good, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v, subPath: real}, {name: shared, mountPath: /w, subPath: made/below}, {name: shared, mountPath: /etc/f, subPath: file}]}
  - {name: root, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v, subPath: root/etc}]}
  - {name: magic, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v, subPath: magic}]}
  - {name: up, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v, subPath: up/new}]}
  - {name: near, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v, subPath: near}]}
  - {name: expanded, command: [sleep, '1000'], env: [{name: X, value: ../..}], volumeMounts: [{name: shared, mountPath: /v, subPathExpr: a/$(X)}]}
  - {name: nested, command: [sleep, '1000'], volumeMounts: [{name: shared, mountPath: /v}, {name: shared, mountPath: /v/root/planted, subPath: real}]}
";
    let mesh = Mesh::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    mesh.up();
    assert!(mesh.apply(yaml).status.success());
    let shows =
        |container: &str| mesh.run(&["exec", "thief", "-c", container, "--", "ls", "/v"]).status.success();
    until("the good container runs", || shows("good"));
    for bad in ["root", "magic", "up", "near", "nested"] {
        mesh.fails(&["exec", "thief", "-c", bad, "--", "ls", "/v"]);
        until("the log says why", || {
            let log = mesh.run(&["logs", "thief", "-c", bad]);
            let log = String::from_utf8_lossy(&log.stdout);
            log.contains("a part of the path is a link") || log.contains("Not a directory")
        });
    }
    let words = mesh.fails(&["exec", "thief", "-c", "expanded", "--", "ls", "/v"]);
    assert!(words.contains("must be a relative path without '..'"), "{words}");
    let found = mesh.ok(&["exec", "thief", "-c", "good", "--", "sh", "-c", "stat -c %F /v /w /etc/f"]);
    assert_eq!(found, "directory\ndirectory\nregular empty file\n");
    assert!(!std::path::Path::new("/planted").exists());
}

#[test]
fn security_contexts_are_enforced() {
    if !is_root() {
        return;
    }
    let yaml = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 4321, supplementalGroups: [77], sysctls: [{name: net.ipv4.ip_unprivileged_port_start, value: '80'}]}
  volumes: [{name: shared, emptyDir: {}}]
  containers:
  - {name: root, command: [sleep, '1000']}
  - {name: bare, command: [sleep, '1000'], securityContext: {capabilities: {drop: [ALL]}}}
  - {name: net, command: [sleep, '1000'], securityContext: {capabilities: {drop: [ALL], add: [NET_ADMIN]}}}
  - name: user
    command: [sleep, '1000']
    securityContext: {runAsUser: 1234, runAsGroup: 2345, readOnlyRootFilesystem: true, runAsNonRoot: true}
    volumeMounts: [{name: shared, mountPath: /data}]
";
    let mesh = Mesh::new(yaml);
    mesh.up();
    let of = |container: &str, script: &str| {
        mesh.ok(&["exec", "web", "-c", container, "--", "sh", "-c", script]).trim().to_string()
    };
    let status = "grep -E '^(CapPrm|CapEff|CapBnd|CapInh|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status | cut -f2 | xargs";
    // The default capabilities without MKNOD, then none, then NET_ADMIN alone.
    assert_eq!(
        of("root", status),
        "0000000000000000 00000000a00425fb 00000000a00425fb 00000000a00425fb 0000000000000000 1 2"
            .to_string()
    );
    let none = "0000000000000000";
    assert_eq!(of("bare", status), format!("{none} {none} {none} {none} {none} 1 2"));
    let net = "0000000000001000";
    assert_eq!(of("net", status), format!("{none} {net} {net} {net} {none} 1 2"));
    assert_eq!(of("net", "ip link set lo mtu 1000 && echo yes"), "yes");
    assert_eq!(of("bare", "ip link set lo mtu 1001 2>/dev/null || echo no"), "no");
    assert_eq!(of("bare", "chown 1 /tmp 2>/dev/null || echo no"), "no");
    assert_eq!(of("user", "id -u; id -g; id -G | xargs -n1 | sort -n | xargs"), "1234\n2345\n77 2345 4321");
    for place in ["/", "/tmp", "/run", "/var/tmp", "/etc"] {
        assert_eq!(of("user", &format!("touch {place}/x 2>/dev/null || echo no")), "no", "{place}");
    }
    assert_eq!(of("user", "touch /data/x /dev/shm/x && stat -c %g /data/x"), "4321");
    assert_eq!(of("user", "cat /proc/sys/net/ipv4/ip_unprivileged_port_start"), "80");
    // Each container sees its own processes.
    assert_eq!(of("root", "ls -d /proc/[0-9]* | wc -l | xargs test 8 -gt && cat /proc/1/comm"), "sleep");
}

#[test]
fn processes_are_shared_if_the_pod_enables_it() {
    let yaml = pod("web", SLEEP).replace("  containers:", "  shareProcessNamespace: true\n  containers:");
    let mesh = Mesh::new(&yaml);
    mesh.up();
    let found =
        mesh.exec("web", "cat /proc/1/cmdline | tr '\\0' ' '; grep -l sleep /proc/[0-9]*/comm | wc -l");
    assert!(found.contains("pod-init") && found.trim().ends_with('1'), "{found}");
    assert_eq!(output(&mesh, "web", &["ls /proc/1/root/", "cat /proc/1/environ"]), ["no", "no"]);
}

#[test]
fn files_of_volumes_belong_to_the_pods_user_alone() {
    if !is_root() {
        return;
    }
    let yaml = "\
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {key: s3cret, other: x}
---
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: keys, secret: {secretName: keys}}
  - {name: open, secret: {secretName: keys, defaultMode: 0444, items: [{key: key, path: deep/key}, {key: key, path: other, mode: 0400}]}}
  - {name: token, projected: {sources: [{serviceAccountToken: {path: token}}]}}
  containers:
  - name: user
    command: [sleep, '1000']
    securityContext: {runAsUser: 1234}
    volumeMounts: [{name: keys, mountPath: /keys}, {name: token, mountPath: /token}]
  - {name: root, command: [sleep, '1000'], volumeMounts: [{name: open, mountPath: /open}]}
";
    let mesh = Mesh::new(yaml);
    mesh.up();
    let of =
        |container: &str, script: &str| mesh.ok(&["exec", "web", "-c", container, "--", "sh", "-c", script]);
    assert_eq!(
        of("user", "stat -c '%u %a' /keys/key /token/token; cat /keys/key"),
        "1234 600\n1234 600\ns3cret"
    );
    assert_eq!(of("root", "stat -c '%u %a' /open/deep/key /open/other"), "0 444\n0 400\n");
    let changed = yaml.replace(", other: x", "").replace("s3cret", "changed");
    assert!(mesh.apply(&changed).status.success());
    until("the secret changes, and the key that it lacks goes", || {
        of("user", "cat /keys/key; ls /keys") == "changedkey\n"
    });
}

#[test]
fn paths_out_of_a_pod_are_refused_by_up_and_apply() {
    let mesh = Mesh::new("apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n");
    mesh.up();
    let map = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: m}\ndata: {\"../../../tmp/x\": y}\n";
    let path =
        pod("web", "command: [sleep, '1000']\nvolumeMounts: [{name: v, mountPath: /v, subPath: ../x}]");
    let cases = [
        (map.to_string(), "data"),
        (
            format!("{path}  volumes: [{{name: v, emptyDir: {{}}}}]\n"),
            "spec.containers[0].volumeMounts[0].subPath",
        ),
        (pod("web", SLEEP).replace("name: app", "name: ../../app"), "spec.containers[0].name"),
        (
            format!("{}  volumes: [{{name: ../v, emptyDir: {{}}}}]\n", pod("web", SLEEP)),
            "spec.volumes[0].name",
        ),
        (
            pod("web", SLEEP).replace("name: web, labels", "name: web, namespace: ../x, labels"),
            "metadata.namespace",
        ),
        (
            pod("web", &format!("{SLEEP}\nsecurityContext: {{privileged: true}}")),
            "securityContext.privileged",
        ),
        (pod("web", SLEEP).replace("  containers:", "  hostPID: true\n  containers:"), "spec.hostPID"),
    ];
    for (yaml, field) in cases {
        let result = mesh.apply(&yaml);
        let words = String::from_utf8_lossy(&result.stderr).into_owned();
        assert!(
            !result.status.success() && words.contains(field) && words.contains("all.yaml"),
            "{yaml}\n{words}"
        );
        let words = Mesh::new(&yaml);
        let words = words.fails(&["up", words.path("yaml").to_str().unwrap(), "--gateway", "127.0.0.1:0"]);
        assert!(words.contains(field) && words.contains("nothing was changed"), "{yaml}\n{words}");
    }
}

#[test]
fn nothing_secret_is_left_on_the_disk_by_a_killed_mesh() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: keys}\nstringData: {key: find-me-on-the-disk}\n---\n";
    let mesh = Mesh::new(&format!("{secret}{}", pod("web", SLEEP)));
    mesh.up();
    let state = mesh.path("home/state");
    let finds = || {
        let found =
            std::process::Command::new("grep").args(["-rl", "find-me-on"]).arg(&state).output().unwrap();
        String::from_utf8(found.stdout).unwrap()
    };
    assert_eq!(finds(), "", "outside of the node's own mounts");
    let children = mesh.children();
    let supervisor = nix::unistd::Pid::from_raw(mesh.supervisor());
    nix::sys::signal::kill(supervisor, nix::sys::signal::Signal::SIGKILL).unwrap();
    until("the end of all processes", || !children.iter().any(|pid| crate::harness::runs(*pid)));
    assert_eq!(finds(), "");
    let left: Vec<_> = std::fs::read_dir(state.join("private")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_pod_that_takes_another_pods_addresses_does_not_receive_its_traffic() {
    if !is_root() {
        return;
    }
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\n";
    let liar = "command: [sleep, '1000']\nsecurityContext: {capabilities: {add: [NET_ADMIN]}}";
    let mesh = Mesh::new(&format!("{service}{}---\n{}", pod("victim", SLEEP), pod("liar", liar)));
    mesh.up();
    let lookup = "timeout 3 getent hosts web.default.svc.cluster.local > /dev/null && echo yes || echo no";
    assert_eq!(output(&mesh, "liar", &[lookup]), ["yes"]);
    let show = "ip -oneline -4 addr show eth0 | awk '{print $4}'; cat /sys/class/net/eth0/address";
    let victim = mesh.exec("victim", show);
    let (address, hardware) = victim.trim().split_once('\n').unwrap();
    let take = format!(
        "set -e; ip link set eth0 down; ip link set eth0 address {hardware}; ip addr flush dev eth0; ip link set eth0 up
         ip addr add {address} dev eth0; ip route add 10.244.0.1 dev eth0; ip route add default via 10.244.0.1
         ip neigh replace 10.244.0.1 lladdr 0a:58:0a:f4:00:01 nud permanent dev eth0"
    );
    mesh.exec("liar", &take);
    assert_eq!(output(&mesh, "liar", &[lookup]), ["no"], "it gets responses as {victim}");
    // Packets for the victim reach the victim, although the liar uses its addresses.
    assert_eq!(output(&mesh, "victim", &[lookup; 3]), ["yes"; 3]);
    let counters = std::fs::read_to_string(format!("/proc/{}/net/netstat", mesh.supervisor())).unwrap();
    let mut lines = counters.lines().filter(|line| line.starts_with("TcpExt:")).map(str::split_whitespace);
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let (_, dropped) = names.zip(values).find(|(name, _)| *name == "IPReversePathFilter").unwrap();
    assert_ne!(dropped, "0", "the node has dropped nothing");
}

/// A process can open the file of any program in its container, change its mode, and write to it when no process runs
/// it. If the launcher's file were reachable through the host's mount, a pod could change `ostria` on the host
/// (CVE-2019-5736).
#[test]
fn a_pod_that_makes_the_launcher_start_itself_cannot_write_to_it() {
    if !is_root() {
        return;
    }
    let mesh = Mesh::new(&pod("web", SLEEP));
    mesh.up();
    let program = mesh.path("bin/ostria");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode();
    let before = mode(&program);
    let mut launcher = mesh.command(&["exec", "-i", "web", "--", "/proc/self/exe", "apply", "-f", "-"]);
    let mut launcher = launcher.stdin(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let attack = "for p in /proc/[0-9]*; do
         case \"$(readlink $p/exe)\" in */ostria) ( : < $p/exe ) 2>/dev/null && exec 3< $p/exe && echo $p > /tmp/found;; esac
         done
         test -e /tmp/found && echo found";
    let wait = "while test -e $(cat /tmp/found); do sleep 0.05; done
         sh -c 'chmod 4755 /proc/self/fd/3' 2>&1 && echo changed";
    let mut attacker = mesh.command(&["exec", "-i", "web", "--", "sh"]);
    let mut attacker = attacker.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(attacker.stdout.take().unwrap()).lines();
    let mut input = attacker.stdin.take().unwrap();
    let found = (0..100).any(|_| {
        writeln!(input, "{attack} || echo not yet").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        lines.next().unwrap().unwrap() == "found"
    });
    assert!(found, "the launcher does not run in the pod, or cannot be opened: nothing was tried");
    drop(launcher.stdin.take());
    launcher.wait().unwrap();
    writeln!(input, "{wait}").unwrap();
    // The expected error is not "Text file busy": that one would protect the file only while another process runs it.
    let text = lines.next().unwrap().unwrap();
    assert!(text.contains("Read-only file system"), "{text}");
    drop(input);
    attacker.wait().unwrap();
    assert_eq!(mode(&program), before, "the program on the host has changed");
}
