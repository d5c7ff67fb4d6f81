//! Runs every file of the corpus and every earlier finding through its target, without a fuzzer, so that findings stay
//! tested. Then runs generated inputs for a while: `FUZZ_SECONDS` for each target (0.3 by default), only the targets
//! in
//! `FUZZ_TARGETS` if it is set, from the seed `FUZZ_SEED` on.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by itself, and is set by variables"
)]

use fuzz_targets::TARGETS;
use fuzz_targets::mutate::{self, Chance, Material};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

#[test]
fn every_file_of_the_corpus_holds_its_properties() {
    replay("corpus", true);
}

#[test]
fn no_past_finding_comes_back() {
    replay("findings", false);
}

#[test]
fn changed_files_of_the_corpus_hold_their_properties_too() {
    let set = |name: &str| std::env::var(name).ok();
    let seconds = set("FUZZ_SECONDS").and_then(|text| text.parse().ok()).unwrap_or(0.3);
    let seed: u64 = set("FUZZ_SEED").and_then(|text| text.parse().ok()).unwrap_or(1);
    let only = set("FUZZ_TARGETS").unwrap_or_default();
    let wanted = |name: &str| only.is_empty() || only.split(',').any(|wanted| wanted == name);
    let queue = Mutex::new(TARGETS.iter().filter(|(name, _)| wanted(name)));
    let failed = Mutex::new(vec![]);
    let worker = || {
        loop {
            let Some((name, run)) = queue.lock().unwrap().next() else { return };
            let found = changed(name, *run, Duration::from_secs_f64(seconds), seed);
            failed.lock().unwrap().extend(found);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "these inputs fail, for the reasons above: {failed:?}");
}

/// Runs a target until it fails or the time is over. Returns the file with the failing input.
fn changed(name: &str, run: fn(&[u8]), time: Duration, seed: u64) -> Option<PathBuf> {
    let inputs =
        [files(&root().join("corpus").join(name)), files(&root().join("findings").join(name))].concat();
    let dictionary = std::fs::read_to_string(root().join(format!("dictionaries/{name}.dict")));
    let material = Material {
        corpus: inputs.iter().map(|file| std::fs::read(file).unwrap()).collect(),
        words: mutate::words(&dictionary.unwrap_or_default()),
    };
    let mut chance = Chance::new(seed);
    let (start, mut runs) = (Instant::now(), 0u64);
    while start.elapsed() < time {
        let input = material.input(&mut chance);
        runs += 1;
        if std::panic::catch_unwind(|| run(&input)).is_err() {
            let folder = root().join("artifacts").join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join(format!("seed-{seed}-run-{runs}"));
            std::fs::write(&file, input).unwrap();
            return Some(file);
        }
    }
    println!("{name}: {runs} inputs in {:.1} s", start.elapsed().as_secs_f64());
    None
}

#[test]
fn no_input_at_all_is_an_input_too() {
    for (_, run) in TARGETS {
        run(&[]);
        run(&[0]);
        run(&[255; 64]);
    }
}

#[test]
fn every_folder_belongs_to_a_target_and_every_target_has_a_binary() {
    for folder in ["corpus", "findings"] {
        for entry in std::fs::read_dir(root().join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(TARGETS.iter().any(|(target, _)| *target == name), "{folder}/{name} has no target");
        }
    }
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    for (name, _) in TARGETS {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name} has no [[bin]] in fuzz/Cargo.toml");
        let source = std::fs::read_to_string(root().join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(source.contains(&format!("fuzz_targets::{name}::run")), "{name}.rs runs another target");
    }
}

fn replay(folder: &str, needed: bool) {
    for (name, run) in TARGETS {
        let files = files(&root().join(folder).join(name));
        assert!(!needed || !files.is_empty(), "{folder}/{name} is empty");
        for file in files {
            let bytes = std::fs::read(&file).unwrap();
            let survived = std::panic::catch_unwind(|| run(&bytes));
            assert!(survived.is_ok(), "{} fails: the reason stands above", file.display());
        }
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return vec![] };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
