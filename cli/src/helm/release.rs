//! Pure. The command lines of `helm` for a release.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A profile of the chart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Profile {
    /// Pilot, citadel, injector and the ingress gateway, two replicas each
    #[default]
    Default,
    /// Everything once, with the egress gateway and access logs
    Demo,
    /// Pilot, citadel and injector once, no gateway
    Minimal,
}

impl Profile {
    /// The profile's file of values in the chart.
    pub fn file(self) -> &'static str {
        match self {
            Self::Default => "values-default.yaml",
            Self::Demo => "values-demo.yaml",
            Self::Minimal => "values-minimal.yaml",
        }
    }
}

/// The cluster, as the user selected it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// The kubeconfig, if named.
    pub kubeconfig: Option<PathBuf>,
    /// The context, if named.
    pub context: Option<String>,
    /// The namespace of the release.
    pub namespace: String,
}

/// The values of a release, in the order of their precedence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// The profile.
    pub profile: Profile,
    /// Files.
    pub files: Vec<PathBuf>,
    /// Single values, as in `--set`.
    pub set: Vec<String>,
    /// Single values that are text, as in `--set-string`.
    pub set_string: Vec<String>,
    /// The revision; empty for none.
    pub revision: String,
    /// Whether the values of the release that exists are kept where no other is given.
    pub reuse: bool,
}

/// What is done with the result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is installed.
    Apply,
    /// The API server renders and checks it, and it is printed.
    DryRun,
}

/// The name of the release of a revision.
pub fn name(revision: &str) -> String {
    if revision.is_empty() { "ostria".to_owned() } else { format!("ostria-{revision}") }
}

/// The arguments that install a release or upgrade it.
pub fn install(release: &str, chart: &Path, target: &Target, values: &Values, mode: Mode) -> Vec<OsString> {
    let mut line = Line::new(["upgrade", "--install", release]);
    line.0.push(chart.into());
    line.target(target);
    line.add("--create-namespace");
    if values.reuse {
        line.add("--reset-then-reuse-values");
    }
    if values.profile != Profile::Default {
        line.pair("--values", chart.join(values.profile.file()));
    }
    values.files.iter().for_each(|file| line.pair("--values", file));
    if !values.revision.is_empty() {
        line.pair("--set", format!("revision={}", values.revision));
    }
    values.set.iter().for_each(|set| line.pair("--set", set));
    values.set_string.iter().for_each(|set| line.pair("--set-string", set));
    if mode == Mode::DryRun {
        line.add("--dry-run=server");
    }
    line.0
}

/// The objects in what a dry run prints, as YAML: without the state of the release and its notes.
pub fn manifest(printed: &str) -> String {
    let lines = printed.lines().skip_while(|line| *line != "---").take_while(|line| *line != "NOTES:");
    lines
        .filter(|line| !matches!(*line, "HOOKS:" | "MANIFEST:"))
        .fold(String::new(), |text, line| text + line + "\n")
}

/// The arguments that uninstall a release, and wait until its objects are gone.
pub fn uninstall(release: &str, target: &Target, seconds: u64) -> Vec<OsString> {
    let mut line = Line::new(["uninstall", release]);
    line.target(target);
    line.add("--wait");
    line.pair("--timeout", format!("{seconds}s"));
    line.0
}

struct Line(Vec<OsString>);

impl Line {
    fn new<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        Self(words.into_iter().map(OsString::from).collect())
    }

    fn add(&mut self, word: &str) {
        self.0.push(word.into());
    }

    fn pair(&mut self, flag: &str, value: impl Into<OsString>) {
        self.0.extend([flag.into(), value.into()]);
    }

    fn target(&mut self, target: &Target) {
        self.pair("--namespace", &target.namespace);
        if let Some(file) = &target.kubeconfig {
            self.pair("--kubeconfig", file);
        }
        if let Some(context) = &target.context {
            self.pair("--kube-context", context);
        }
    }
}

#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "tables of literals read best as values")]
mod tests {
    use super::*;

    fn text(line: Vec<OsString>) -> String {
        line.iter().map(|word| word.to_str().unwrap()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn values_follow_the_profile_and_the_cluster_is_the_users() {
        let target = Target {
            kubeconfig: Some("k.yaml".into()),
            context: Some("kind".into()),
            namespace: "mesh".into(),
        };
        let values = Values {
            profile: Profile::Demo,
            files: vec!["own.yaml".into()],
            set: vec!["pilot.replicas=3".into()],
            set_string: vec!["global.tag=1".into()],
            revision: "canary".into(),
            reuse: true,
        };
        assert_eq!(
            text(install("ostria-canary", "/c".as_ref(), &target, &values, Mode::DryRun)),
            "upgrade --install ostria-canary /c --namespace mesh --kubeconfig k.yaml --kube-context kind \
             --create-namespace --reset-then-reuse-values --values /c/values-demo.yaml --values own.yaml --set \
             revision=canary --set pilot.replicas=3 --set-string global.tag=1 --dry-run=server"
        );
    }

    #[test]
    fn a_dry_run_prints_objects_alone() {
        let printed = "Release \"a\" has been upgraded.\nNAME: a\nHOOKS:\n---\nkind: A\nMANIFEST:\n---\nkind: B\n\nNOTES:\nWell.\n";
        assert_eq!(manifest(printed), "---\nkind: A\n---\nkind: B\n\n");
    }

    #[test]
    fn without_flags_only_the_namespace_is_given() {
        let target = Target { namespace: "istio-system".into(), ..Target::default() };
        assert_eq!(
            text(install(&name(""), "/c".as_ref(), &target, &Values::default(), Mode::Apply)),
            "upgrade --install ostria /c --namespace istio-system --create-namespace"
        );
        assert_eq!(
            text(uninstall(&name("canary"), &target, 90)),
            "uninstall ostria-canary --namespace istio-system --wait --timeout 90s"
        );
    }
}
