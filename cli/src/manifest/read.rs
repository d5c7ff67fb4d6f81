//! Reads files and folders of YAML into a list of objects, each with its file and line. All problems of all files are
//! collected before the first is reported.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use api::resource::check::Given;
use api::resource::document::{Place, Problem};
use api::resource::kind;
use api::resource::object::Document;
use serde_json::Value;

use crate::manifest::object::Key;

/// The namespaces of objects that are read.
#[derive(Debug, Clone, Copy)]
pub struct Namespaces<'a> {
    /// The one that the user named; objects of other namespaces are refused.
    pub given: Option<&'a str>,
    /// The one of objects that name none, if the user named none.
    pub default: &'a str,
}

/// Which kinds are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kinds {
    /// Those that a mesh on this machine knows.
    Known,
    /// Any: the API server of a cluster checks them.
    Any,
}

impl Default for Namespaces<'_> {
    fn default() -> Self {
        Self { given: None, default: "default" }
    }
}

/// Reads files, folders (their files sorted by name) and `-` for standard input. Two definitions of one object are a
/// problem.
pub fn read(
    paths: &[PathBuf],
    recursive: bool,
    namespaces: Namespaces<'_>,
    kinds: Kinds,
) -> Result<Vec<Given>, Vec<Problem>> {
    let mut objects: Vec<Given> = Vec::new();
    let mut known: BTreeMap<Key, Vec<usize>> = BTreeMap::new();
    for given in read_copies(paths, recursive, namespaces, kinds)? {
        // A link to a file, or a copy of it, has the same definitions and is no conflict.
        let file = |given: &Given| given.file.rsplit_once(':').map(|(file, _)| file.to_string());
        let same = known.entry(Key::of(&given.object)).or_default();
        let is_copy = |at: &usize| objects[*at].object == given.object && file(&objects[*at]) != file(&given);
        if !same.iter().any(is_copy) {
            same.push(objects.len());
            objects.push(given);
        }
    }
    let mut problems = Vec::new();
    duplicates(&objects, &mut problems);
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Reads as [`read`] does, but allows several definitions of one object.
pub fn read_copies(
    paths: &[PathBuf],
    recursive: bool,
    namespaces: Namespaces<'_>,
    kinds: Kinds,
) -> Result<Vec<Given>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut objects = Vec::new();
    for (name, content) in contents(paths, recursive, &mut problems) {
        let parsed = match kinds {
            Kinds::Known => parse(&name, &content),
            Kinds::Any => parse_any(&name, &content),
        };
        match parsed {
            Ok(found) => objects.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    for given in &mut objects {
        place(given, namespaces, &mut problems);
    }
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Reads objects of any kind unchanged.
pub fn read_any(paths: &[PathBuf], recursive: bool) -> Result<Vec<Given>, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut objects = Vec::new();
    for (name, content) in contents(paths, recursive, &mut problems) {
        match parse_any(&name, &content) {
            Ok(found) => objects.extend(found),
            Err(found) => problems.extend(found),
        }
    }
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Parses the objects of one file with pilot's parser, so that objects that pilot would reject are rejected here.
pub fn parse(file: &str, content: &str) -> Result<Vec<Given>, Vec<Problem>> {
    let parsed = api::resource::parse::parse(file, content);
    if parsed.refusals.is_empty() {
        let given = |document: Document| Given { file: document.place.to_string(), object: document.raw };
        return Ok(parsed.documents.into_iter().map(given).collect());
    }
    Err(parsed.refusals.iter().map(Problem::from).collect())
}

/// Parses the objects of one file, of any kind.
fn parse_any(file: &str, content: &str) -> Result<Vec<Given>, Vec<Problem>> {
    let given = |(place, object): (Place, Value)| Given { file: place.to_string(), object };
    let parsed = api::resource::parse::parse_any(file, content);
    let parsed = parsed.map_err(|refusals| refusals.iter().map(Problem::from).collect::<Vec<_>>())?;
    let objects: Vec<Given> = parsed.into_iter().map(given).collect();
    let nameless = objects.iter().filter(|given| Key::of(&given.object).name.is_empty());
    let problems: Vec<Problem> = nameless
        .map(|given| Problem {
            file: given.file.clone(),
            object: Key::of(&given.object).kind,
            path: "metadata.name".into(),
            reason: "is missing".into(),
            next: "name the object".into(),
        })
        .collect();
    if problems.is_empty() { Ok(objects) } else { Err(problems) }
}

/// Adds the line of the field to each problem. Pilot checks objects without their files, so its problems have only the
/// line of the object. If the file does not contain the field any longer, the problem keeps that line.
pub fn located(problems: Vec<Problem>) -> Vec<Problem> {
    let mut texts: BTreeMap<String, String> = BTreeMap::new();
    let locate = |mut problem: Problem| {
        let place = problem.file.rsplit_once(':').map(|(file, line)| (file.to_string(), line.parse()));
        if let (Some((file, Ok(document))), false) = (place, problem.path.is_empty()) {
            let text = texts
                .entry(file.clone())
                .or_insert_with(|| std::fs::read_to_string(&file).unwrap_or_default());
            if let Some(line) = api::resource::parse::field_line(text, document, &problem.path) {
                problem.file = format!("{file}:{line}");
            }
        }
        problem
    };
    problems.into_iter().map(locate).collect()
}

fn contents(paths: &[PathBuf], recursive: bool, problems: &mut Vec<Problem>) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in paths {
        let before = found.len();
        let result = if path.as_os_str() == "-" {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| found.push(("standard input".into(), text)))
        } else {
            collect(path, recursive, true, &mut found)
        };
        let reason = match result {
            Err(error) => format!("cannot be read: {error}"),
            Ok(()) if found.len() == before => "holds no .yaml, .yml or .json file".into(),
            Ok(()) => continue,
        };
        problems.push(Problem {
            file: path.display().to_string(),
            reason,
            next: "name a file or a folder with YAML".into(),
            ..Problem::default()
        });
    }
    found
}

fn collect(
    path: &Path,
    recursive: bool,
    named: bool,
    found: &mut Vec<(String, String)>,
) -> std::io::Result<()> {
    if path.is_dir() {
        // A link to a folder may point to one of its parents. kubectl does not follow such links either.
        if !named && (!recursive || path.is_symlink()) {
            return Ok(());
        }
        let mut entries: Vec<_> = std::fs::read_dir(path)?.collect::<Result<_, _>>()?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        return entries.iter().try_for_each(|entry| collect(&entry.path(), recursive, false, found));
    }
    let yaml = path
        .extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known));
    if named || yaml {
        found.push((path.display().to_string(), std::fs::read_to_string(path)?));
    }
    Ok(())
}

fn place(given: &mut Given, namespaces: Namespaces<'_>, problems: &mut Vec<Problem>) {
    let wrong = |path: &str, reason: &str, next: &str| Problem {
        file: given.file.clone(),
        object: Key::of(&given.object).to_string(),
        path: path.into(),
        reason: reason.into(),
        next: next.into(),
    };
    let text = |pointer: &str| given.object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let own = text("/metadata/namespace").to_string();
    match namespaces.given {
        Some(namespace) if !own.is_empty() && own != namespace => problems.push(wrong(
            "metadata.namespace",
            &format!("is {own}, but --namespace says {namespace}"),
            "remove one of the two",
        )),
        _ => {
            let placed =
                if own.is_empty() { namespaces.given.unwrap_or(namespaces.default).to_string() } else { own };
            // Whether objects of other kinds are in a namespace is known to the API server.
            let key = Key::of(&given.object);
            if !key.namespace.is_empty() && kind::of(&key.group, &key.kind).is_some() {
                given.object["metadata"]["namespace"] = Value::String(placed);
            }
        }
    }
}

fn duplicates(objects: &[Given], problems: &mut Vec<Problem>) {
    let mut seen: BTreeMap<Key, &str> = BTreeMap::new();
    for given in objects {
        let key = Key::of(&given.object);
        if let Some(first) = seen.get(&key) {
            problems.push(Problem {
                file: given.file.clone(),
                object: key.to_string(),
                reason: format!("is already defined in {first}"),
                next: "keep one of the two".into(),
                ..Problem::default()
            });
        } else {
            seen.insert(key, &given.file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_of_an_object_has_the_line_of_its_field() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml").display().to_string();
        std::fs::write(&file, "kind: A\n---\n# b\nkind: B\nspec:\n  hosts:\n  - x\n").unwrap();
        let lines = |file: String, path: &str| {
            let problem = Problem { file, path: path.into(), ..Problem::default() };
            located(vec![problem]).remove(0).file
        };
        assert_eq!(lines(format!("{file}:4"), "spec.hosts[0]"), format!("{file}:7"));
        assert_eq!(lines(format!("{file}:4"), "status"), format!("{file}:4"));
        assert_eq!(lines(format!("{file}:9"), "spec"), format!("{file}:9"));
        assert_eq!(lines("standard input:1".into(), "spec"), "standard input:1");
    }

    const TWO: &str = "# first\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: a\n---\n---\napiVersion: v1\nkind: Service\nmetadata:\n  name: b\n";

    #[test]
    fn documents_know_their_lines_and_empty_ones_do_not_count() {
        let objects = parse("x.yaml", TWO).unwrap();
        let files: Vec<_> = objects.iter().map(|given| given.file.as_str()).collect();
        assert_eq!(files, ["x.yaml:2", "x.yaml:8"]);
    }

    #[test]
    fn malformed_yaml_names_its_file() {
        let problems = parse("x.yaml", "kind: [").unwrap_err();
        assert!(problems[0].file.starts_with("x.yaml"), "{}", problems[0]);
    }

    #[test]
    fn unknown_fields_and_kinds_are_refused_with_their_path() {
        let text = TWO.replace("metadata:\n  name: b", "metadata:\n  name: b\nspec:\n  prots: []");
        let problems = parse("x.yaml", &text).unwrap_err();
        assert!(problems[0].path.contains("prots"), "{}", problems[0]);
        let problems = parse("x.yaml", &TWO.replace("kind: Service", "kind: Sevrice")).unwrap_err();
        assert!(problems[0].to_string().contains("Sevrice"), "{}", problems[0]);
    }

    #[test]
    fn a_cluster_may_have_kinds_that_a_mesh_on_this_machine_has_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let text = "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: a}\nspec: {unknown: 1}\n";
        let read = |text: &str, kinds| {
            std::fs::write(&file, text).unwrap();
            read(std::slice::from_ref(&file), false, Namespaces::default(), kinds)
        };
        assert!(read(text, Kinds::Known).is_err());
        let objects = read(text, Kinds::Any).unwrap();
        assert_eq!(Key::of(&objects[0].object).to_string(), "DaemonSet default/a");
        let problems = read(&text.replace("kind: DaemonSet", "x: y"), Kinds::Any).unwrap_err();
        assert_eq!(problems[0].path, "kind");
    }

    #[test]
    fn a_duplicate_names_the_first_definition() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), TWO).unwrap();
        std::fs::write(folder.path().join("b.yaml"), TWO.replace("name: b", "name: b\n  labels: {x: v1}"))
            .unwrap();
        let problems = read(&[folder.path().into()], false, Namespaces::default(), Kinds::Known).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(problems[0].reason.ends_with("a.yaml:8"), "{}", problems[0]);
    }

    #[test]
    fn links_and_copies_are_not_duplicates() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.yaml"), TWO).unwrap();
        std::fs::write(folder.path().join("b.yaml"), TWO).unwrap();
        std::os::unix::fs::symlink("a.yaml", folder.path().join("c.yaml")).unwrap();
        std::os::unix::fs::symlink(".", folder.path().join("loop")).unwrap();
        let paths = [folder.path().to_path_buf()];
        assert_eq!(read(&paths, true, Namespaces::default(), Kinds::Known).unwrap().len(), 2);
        assert_eq!(read_copies(&paths, true, Namespaces::default(), Kinds::Known).unwrap().len(), 6);
    }

    #[test]
    fn an_empty_folder_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let problems = read(&[folder.path().into()], false, Namespaces::default(), Kinds::Known).unwrap_err();
        assert!(problems[0].reason.contains("holds no"), "{}", problems[0]);
    }

    #[test]
    fn a_namespace_from_the_command_line_goes_to_objects_without_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        std::fs::write(&file, TWO).unwrap();
        for (given, default) in [(Some("shop"), "default"), (None, "shop")] {
            let objects =
                read(std::slice::from_ref(&file), false, Namespaces { given, default }, Kinds::Known)
                    .unwrap();
            assert_eq!(Key::of(&objects[1].object).to_string(), "Service shop/b");
        }
    }
}
