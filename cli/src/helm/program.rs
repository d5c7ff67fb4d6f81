//! Runs the program `helm`.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::process::{Command, Output, Stdio};

use crate::failure::Failure;

/// Runs `helm` and returns what it prints. Its warnings go to standard error.
pub fn run(arguments: &[OsString]) -> Result<String, Failure> {
    let output = output(arguments)?;
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    if output.status.success() {
        eprint!("{err}");
        return Ok(out);
    }
    let reason =
        err.lines().chain(out.lines()).map(|line| line.trim_start_matches("Error: ")).collect::<Vec<_>>();
    Err(Failure::blocked(format!("helm: {}", reason.join("\n  ")), next(&err)))
}

/// Fails if there is no `helm` of a supported version, and says how to install it.
pub fn require() -> Result<(), Failure> {
    let output = output(&["version".into(), "--template={{.Version}}".into()])?;
    let version = text(&output.stdout);
    match parse(&version) {
        Some(found) if found < OLDEST => Err(Failure::blocked(
            format!("helm is {version}, and v3.14 or later is needed"),
            "upgrade it: https://helm.sh/docs/intro/install",
        )),
        _ => Ok(()),
    }
}

fn output(arguments: &[OsString]) -> Result<Output, Failure> {
    let program = std::env::var_os("HELM").unwrap_or_else(|| "helm".into());
    let output = Command::new(&program).args(arguments).stdin(Stdio::null()).output();
    output.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::blocked(
            format!("the program {} is missing; it installs the chart and keeps its record", program.display()),
            "install Helm 3.14 or later (https://helm.sh/docs/intro/install), or name it by the variable HELM",
        ),
        _ => Failure::blocked(
            format!("{} cannot be run: {error}", program.display()),
            "name the program by the variable HELM",
        ),
    })
}

/// What to do about a failure of helm.
fn next(error: &str) -> &'static str {
    let known = [
        ("another operation", "wait for the other Helm command; if none runs: helm rollback RELEASE"),
        (
            "invalid ownership metadata",
            "the object belongs to another release: see `ostria check --pre`, or choose another --revision",
        ),
        (
            "values don't meet the specifications",
            "correct the values: deploy/helm/ostria/values.yaml lists them",
        ),
        ("not found", "see the releases with `helm list -A`"),
        ("cannot re-use a name", "see the releases with `helm list -A`"),
    ];
    let found = known.iter().find(|(text, _)| error.contains(text));
    found.map_or("see what there is with `helm list -A` and `ostria check`", |(_, next)| next)
}

/// Major and minor version, as in `v3.14.2`.
fn parse(version: &str) -> Option<(u32, u32)> {
    let mut numbers = version.trim().trim_start_matches('v').split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first version that can render with access to the cluster, and keep values over an upgrade.
const OLDEST: (u32, u32) = (3, 14);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert_eq!(parse("v3.9.4"), Some((3, 9)));
        assert!(parse("v3.9.4") < Some(OLDEST) && parse("v3.14.0+g1\n") >= Some(OLDEST));
        assert!(parse("v4.0.0") > Some(OLDEST));
        assert_eq!(parse("dev"), None);
    }

    #[test]
    fn known_failures_have_their_own_next_step() {
        let text = "Error: UPGRADE FAILED: another operation (install/upgrade/rollback) is in progress";
        assert!(next(text).starts_with("wait"));
        assert!(next("Error: x").contains("ostria check"));
    }
}
