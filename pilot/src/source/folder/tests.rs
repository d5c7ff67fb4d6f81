//! Changes a real folder in the ways that people, editors and Kubernetes do.

use super::*;
use std::fs::File;
use std::io::Write;
use tokio::sync::mpsc;

fn namespace(name: &str) -> String {
    format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n")
}

fn shown(facts: &[Fact]) -> Vec<String> {
    facts
        .iter()
        .filter(|fact| **fact != Fact::Synced)
        .map(|fact| match fact {
            Fact::Upsert(d) => format!("+{}", d.object.name()),
            Fact::Delete(key) => format!("-{}", key.name),
            Fact::Readable(_) => "readable".into(),
            Fact::Synced => "synced".into(),
            Fact::Unparsable(..) | Fact::Unsupported(..) => panic!("{fact:?} is of a cluster"),
            Fact::Refused(r) => format!("!{}", r.reason.split(':').next().unwrap_or_default()),
        })
        .collect()
}

struct Watched {
    folder: tempfile::TempDir,
    facts: mpsc::Receiver<Vec<Fact>>,
}

impl Watched {
    /// Watches a folder with these files and checks the first facts.
    fn new(files: &[(&str, &str)], first: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let (send, facts) = mpsc::channel(16);
        watch(folder.path(), send).unwrap();
        let mut watched = Self { folder, facts };
        assert_eq!(watched.next(), first);
        watched
    }

    fn next(&mut self) -> Vec<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let wait = Duration::from_secs(10);
        let facts = runtime.block_on(async { tokio::time::timeout(wait, self.facts.recv()).await });
        shown(&facts.expect("a change is reported").expect("the watch goes on"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

#[test]
fn all_objects_come_first_then_changes() {
    let mut watched = Watched::new(&[("a.yaml", &namespace("a")), ("b.txt", &namespace("b"))], &["+a"]);
    fs::write(watched.path("c.yml"), namespace("c")).unwrap();
    assert_eq!(watched.next(), ["+c"]);
    fs::remove_file(watched.path("a.yaml")).unwrap();
    assert_eq!(watched.next(), ["-a"]);
}

#[test]
fn an_empty_folder_is_reported() {
    Watched::new(&[], &[]);
}

#[test]
fn a_missing_folder_is_an_error() {
    let (send, _facts) = mpsc::channel(1);
    let error = watch(Path::new("/nowhere/at/all"), send).unwrap_err();
    assert_eq!(error.to_string(), "/nowhere/at/all is not a readable folder");
}

#[test]
fn a_file_is_read_when_its_writer_closes_it() {
    let mut watched = Watched::new(&[("a.yaml", &namespace("a"))], &["+a"]);
    let mut half = File::create(watched.path("a.yaml")).unwrap();
    half.write_all(namespace("b").as_bytes()).unwrap();
    // Another change triggers a scan while the first file is still open.
    fs::write(watched.path("z.yaml"), namespace("z")).unwrap();
    assert_eq!(watched.next(), ["+z"]);
    half.write_all(format!("---\n{}", namespace("a")).as_bytes()).unwrap();
    drop(half);
    assert_eq!(watched.next(), ["+b"], "a was never gone");
}

#[test]
fn an_atomic_rename_is_one_change() {
    let mut watched = Watched::new(&[("a.yaml", &namespace("a"))], &["+a"]);
    fs::write(watched.path(".a.yaml.tmp"), namespace("b")).unwrap();
    fs::rename(watched.path(".a.yaml.tmp"), watched.path("a.yaml")).unwrap();
    assert_eq!(watched.next(), ["-a", "+b"]);
}

#[test]
fn editors_copies_are_passed_over() {
    let mut watched = Watched::new(&[], &[]);
    for name in [".a.yaml.swp", ".#a.yaml", "a.yaml~", "4913", ".hidden.yaml"] {
        fs::write(watched.path(name), namespace("x")).unwrap();
    }
    fs::write(watched.path("a.yaml"), namespace("a")).unwrap();
    assert_eq!(watched.next(), ["+a"]);
}

#[test]
fn a_mounted_config_map_changes_by_its_data_link() {
    let folder = tempfile::tempdir().unwrap();
    let version = |name: &str, content: &str| {
        fs::create_dir(folder.path().join(name)).unwrap();
        fs::write(folder.path().join(name).join("a.yaml"), content).unwrap();
    };
    let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, folder.path().join(from)).unwrap();
    version("..1", &namespace("one"));
    link("..1", "..data");
    link("..data/a.yaml", "a.yaml");
    let (send, facts) = mpsc::channel(16);
    watch(folder.path(), send).unwrap();
    let mut watched = Watched { folder: tempfile::tempdir().unwrap(), facts };
    assert_eq!(watched.next(), ["+one"]);
    version("..2", &namespace("two"));
    link("..2", "..data_tmp");
    fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).unwrap();
    fs::remove_dir_all(folder.path().join("..1")).unwrap();
    assert_eq!(watched.next(), ["-one", "+two"]);
}

#[test]
fn a_folder_made_later_is_watched_too() {
    let mut watched = Watched::new(&[], &[]);
    fs::create_dir(watched.path("team")).unwrap();
    fs::write(watched.path("team/a.yaml"), namespace("a")).unwrap();
    assert_eq!(watched.next(), ["+a"]);
    fs::remove_dir_all(watched.path("team")).unwrap();
    assert_eq!(watched.next(), ["-a"]);
}

#[test]
fn a_malformed_file_is_reported_and_changes_nothing() {
    let mut watched = Watched::new(&[("a.yaml", &namespace("a"))], &["+a"]);
    fs::write(watched.path("a.yaml"), "kind: [").unwrap();
    assert_eq!(watched.next(), ["!malformed YAML"]);
    fs::write(watched.path("a.yaml"), namespace("a")).unwrap();
    assert_eq!(watched.next(), ["readable"]);
    fs::write(watched.path("a.yaml"), [0xff, 0xfe]).unwrap();
    assert_eq!(watched.next(), ["!the file is not UTF-8 text"]);
}
