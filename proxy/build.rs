//! How the proxy is linked: code that an ordinary sidecar runs is kept together (hot.ld), and relocations are packed where
//! the system's loader reads that form. Both only save memory: a program linked without them does the same.

#![allow(clippy::disallowed_methods, reason = "cargo configures build scripts by environment variables")]

use std::env;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=hot.ld");
    let target = |name: &str| env::var(format!("CARGO_CFG_TARGET_{name}")).unwrap_or_default();
    if target("OS") != "linux" || target("ENV") != "gnu" {
        return;
    }
    // Checkouts that share a target folder share this script's output: a path into one of them would outlive it.
    let copy = env::var("OUT_DIR").expect("cargo names the script's folder") + "/hot.ld";
    std::fs::copy("hot.ld", &copy)
        .expect("the script runs in the package's folder, and may write to its own");
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{copy}");
    let native = env::var("HOST") == env::var("TARGET");
    if native && glibc().is_some_and(|version| version >= PACKED_RELOCATIONS) {
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The version of this machine's C library, whose loader will start the program.
fn glibc() -> Option<(u32, u32)> {
    let output = Command::new("getconf").arg("GNU_LIBC_VERSION").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, minor) = text.trim().strip_prefix("glibc ")?.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The first glibc that loads packed relocations.
const PACKED_RELOCATIONS: (u32, u32) = (2, 36);
