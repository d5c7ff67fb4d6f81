//! Calls `helm` and reads what it prints.

use crate::object::Object;
use std::process::Command;

/// The path of a file of the chart, or of the chart itself.
pub(crate) fn chart(file: &str) -> &'static str {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/ostria");
    if file.is_empty() { folder } else { format!("{folder}/{file}").leak() }
}

/// The text of a file of the chart.
pub(crate) fn read(file: &str) -> String {
    std::fs::read_to_string(chart(file)).unwrap()
}

/// Runs `helm`; returns what it prints, or its error.
pub(crate) fn run(arguments: &[&str]) -> Result<String, String> {
    let helm = std::env::var("HELM").unwrap_or_else(|_| "helm".to_owned());
    let output = Command::new(&helm).args(arguments).args(["--kube-version", "1.34.0"]).output();
    let output = output.unwrap_or_else(|error| {
        panic!("{helm} does not run ({error}); install it, or run `make chart`, which builds it")
    });
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stdout) + &text(output.stderr))
    }
}

/// Renders the chart as `helm install ostria` would.
pub(crate) fn template(arguments: &[&str]) -> Result<String, String> {
    run(&[&["template", "ostria", chart(""), "--namespace", "istio-system"], arguments].concat())
}

/// The rendered objects.
pub(crate) fn render(arguments: &[&str]) -> Result<Vec<Object>, String> {
    let text = template(arguments)?;
    assert!(!text.contains("<no value>"), "{text}");
    Ok(text.split("\n---\n").filter_map(Object::parse).collect())
}
