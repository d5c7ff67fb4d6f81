//! The facts that sequences of readings give.

use super::*;
use api::resource::parse::parse;
use proptest::prelude::*;

fn object(name: &str, label: &str) -> String {
    format!("---\napiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}, labels: {{l: '{label}'}}}}\n")
}

fn content(file: &str, text: &str) -> (Arc<str>, Reading) {
    (file.into(), Reading::Content(parse(file, text)))
}

fn gone(file: &str) -> (Arc<str>, Reading) {
    (file.into(), Reading::Gone)
}

fn facts(files: &mut Files, readings: Vec<(Arc<str>, Reading)>) -> Vec<String> {
    files
        .take(readings)
        .iter()
        .map(|fact| match fact {
            Fact::Upsert(d) => format!("+{}@{} {}", d.object.name(), d.place.source(), d.object.labels["l"]),
            Fact::Delete(key) => format!("-{}", key.name),
            Fact::Readable(place) => format!("ok {place}"),
            Fact::Synced => "synced".into(),
            Fact::Refused(r) => format!("!{} {}", r.place, r.path),
            Fact::Unparsable(..) | Fact::Unsupported(..) => panic!("{fact:?} is of a cluster"),
        })
        .collect()
}

#[test]
fn only_differences_are_reported() {
    let mut files = Files::default();
    let two = [object("a", "1"), object("b", "1")].concat();
    assert_eq!(facts(&mut files, vec![content("x", &two)]), ["+a@x 1", "+b@x 1"]);
    assert_eq!(facts(&mut files, vec![content("x", &two)]), [""; 0]);
    let changed = [object("b", "2"), object("c", "1")].concat();
    assert_eq!(facts(&mut files, vec![content("x", &changed)]), ["-a", "+b@x 2", "+c@x 1"]);
    assert_eq!(facts(&mut files, vec![gone("x")]), ["-b", "-c"]);
}

#[test]
fn the_last_valid_objects_of_a_malformed_file_stay() {
    let mut files = Files::default();
    facts(&mut files, vec![content("x", &object("a", "1"))]);
    assert_eq!(facts(&mut files, vec![content("x", "kind: [")]), ["!x:1 "]);
    assert_eq!(facts(&mut files, vec![content("x", "kind: [")]), [""; 0]);
    assert_eq!(facts(&mut files, vec![content("x", &object("a", "1"))]), ["ok x"]);
    facts(&mut files, vec![content("x", "kind: [")]);
    assert_eq!(facts(&mut files, vec![gone("x")]), ["-a", "ok x"]);
}

#[test]
fn an_object_that_becomes_invalid_keeps_its_last_valid_version() {
    let mut files = Files::default();
    facts(&mut files, vec![content("x", &[object("a", "1"), object("b", "1")].concat())]);
    let wrong = [object("a", "2").replace("labels", "lables"), object("b", "2")].concat();
    assert_eq!(facts(&mut files, vec![content("x", &wrong)]), ["+b@x 2", "!x:4 metadata.lables"]);
    let right = [object("a", "1"), object("b", "2")].concat();
    assert_eq!(facts(&mut files, vec![content("x", &right)]), ["+a@x 1"], "its verdict is taken back");
    facts(&mut files, vec![content("x", &wrong)]);
    assert_eq!(facts(&mut files, vec![content("x", &object("b", "2"))]), ["-a"]);
}

#[test]
fn an_object_that_was_never_valid_is_forgotten_with_its_file() {
    let mut files = Files::default();
    let wrong = object("a", "1").replace("labels", "lables");
    assert_eq!(facts(&mut files, vec![content("x", &wrong)]), ["!x:4 metadata.lables"]);
    assert_eq!(facts(&mut files, vec![gone("x")]), ["-a"]);
}

#[test]
fn an_unreadable_file_keeps_its_objects() {
    let mut files = Files::default();
    facts(&mut files, vec![content("x", &object("a", "1"))]);
    let refusal = Refusal { place: Place::new("x", 0), ..Refusal::default() };
    assert_eq!(facts(&mut files, vec![("x".into(), Reading::Unreadable(refusal))]), ["!x "]);
    assert_eq!(facts(&mut files, vec![content("x", &object("a", "1"))]), ["ok x"]);
}

#[test]
fn an_object_in_two_files_belongs_to_the_first_until_that_is_removed() {
    let mut files = Files::default();
    facts(&mut files, vec![content("y", &object("a", "y"))]);
    assert_eq!(facts(&mut files, vec![content("x", &object("a", "x"))]), ["!x:2 "]);
    assert_eq!(facts(&mut files, vec![gone("y")]), ["+a@x x", "ok x"]);
    let twice = [object("a", "1"), object("a", "2")].concat();
    assert_eq!(facts(&mut files, vec![content("x", &twice)]), ["+a@x 1", "!x:6 "]);
}

#[test]
fn a_renamed_file_deletes_nothing() {
    let mut files = Files::default();
    facts(&mut files, vec![content("x", &object("a", "1"))]);
    assert_eq!(facts(&mut files, vec![gone("x"), content("y", &object("a", "1"))]), ["+a@y 1"]);
}

/// Possible contents of a file: texts that parse, texts that are refused with and without a name, and none.
const TEXTS: &[&str] = &[
    "",
    "kind: [",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {l: '1'}}",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {l: '2'}}",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, oops: 1}",
    "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {l: '1'}}",
];

proptest! {
    #[test]
    fn facts_add_up_to_the_files_and_rejected_texts_change_no_object(
        steps in prop::collection::vec((0..3usize, 0..=TEXTS.len()), 1..30)
    ) {
        let mut files = Files::default();
        let mut objects: BTreeMap<Key, Document> = BTreeMap::new();
        for (file, text) in steps {
            let file = ["x", "y", "z"][file];
            let before = objects.clone();
            let malformed = TEXTS.get(text) == Some(&"kind: [");
            let reading = TEXTS.get(text).map_or_else(|| gone(file), |t| content(file, t));
            for fact in files.take(vec![reading]) {
                match fact {
                    Fact::Upsert(d) => { objects.insert(d.object.key.clone(), d); }
                    Fact::Delete(key) => { objects.remove(&key); }
                    Fact::Readable(_)
                    | Fact::Synced
                    | Fact::Refused(_)
                    | Fact::Unparsable(..)
                    | Fact::Unsupported(..) => {}
                }
            }
            if malformed {
                let values = |all: &BTreeMap<Key, Document>| all.values().map(|d| d.raw.clone()).collect::<Vec<_>>();
                prop_assert_eq!(values(&before), values(&objects));
            }
        }
        let known: BTreeMap<Key, Document> =
            files.in_force.iter().filter_map(|(key, kept)| Some((key.clone(), kept.document()?))).collect();
        prop_assert_eq!(&objects, &known);
    }
}
