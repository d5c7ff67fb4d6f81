//! The program as an operator starts and stops it.
#![allow(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ostria-citadel"));
    command.env_clear();
    command
}

#[test]
fn wrong_settings_end_it_with_64_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    let output = program()
        .args(["--root-dir", root.to_str().unwrap(), "--port", "x"])
        .env("OSTRIA_MAX_TTL", "soon")
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(64), "{text}");
    for flag in ["--port", "--max-ttl", "--token-issuer", "--token-jwks"] {
        assert!(text.contains(flag), "{flag}: {text}");
    }
    assert!(!root.exists());
    assert_eq!(program().arg("--unknown").output().unwrap().status.code(), Some(64));
    assert_eq!(program().arg("--version").output().unwrap().status.code(), Some(0));
}

#[test]
fn a_port_in_use_is_named_with_its_flag() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program()
        .args(["--root-dir", folder.path().join("root").to_str().unwrap(), "--address", "127.0.0.1"])
        .args(["--port", &port])
        .args(["--token-issuer", "i", "--token-jwks", "/keys.json"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&port) && text.contains("choose another --port"), "{text}");
    assert!(!folder.path().join("root").exists());
}

#[test]
fn it_ends_well_when_asked_to() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys.json");
    std::fs::write(&keys, r#"{"keys":[]}"#).unwrap();
    let mut child = program()
        .args(["--root-dir", folder.path().join("root").to_str().unwrap(), "--address", "127.0.0.1"])
        .args([
            "--port",
            "0",
            "--http-port",
            "0",
            "--token-issuer",
            "i",
            "--token-jwks",
            keys.to_str().unwrap(),
        ])
        .args(["--log-as-json"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let line = lines.find(|line| line.as_ref().unwrap().contains("listening")).unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert!(line["grpc"].as_str().unwrap().starts_with("127.0.0.1:"), "{line}");
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(!rest.iter().any(|line| line.contains("PRIVATE KEY")));
}
