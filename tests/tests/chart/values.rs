//! The values that the chart's schema names, and few combinations that contain each two of them.

use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Values by their path, such as `pilot.autoscale.enabled`.
pub(crate) type Row = BTreeMap<String, Value>;

/// Combinations that together contain each pair of named values of two different paths.
pub(crate) fn pairs(schema: &str) -> Vec<Row> {
    let named = named(schema);
    let paths: Vec<&String> = named.keys().collect();
    let mut open = BTreeSet::new();
    for (at, first) in paths.iter().enumerate() {
        for second in &paths[at + 1..] {
            for one in 0..named[*first].len() {
                open.extend((0..named[*second].len()).map(|other| (*first, one, *second, other)));
            }
        }
    }
    let mut rows = vec![];
    while let Some(&(first, one, second, other)) = open.first() {
        let mut row = BTreeMap::from([(first, one), (second, other)]);
        for path in &paths {
            if !row.contains_key(path) {
                let gain = |choice: &usize| covered(&open, &row, path, *choice);
                let best = (0..named[*path].len()).max_by_key(gain).expect("a named value");
                row.insert(path, best);
            }
        }
        open.retain(|(a, x, b, y)| row[a] != *x || row[b] != *y);
        rows.push(row.into_iter().map(|(path, at)| (path.clone(), named[path][at].clone())).collect());
    }
    rows
}

type Pair<'a> = (&'a String, usize, &'a String, usize);

/// The number of open pairs that a choice for `path` completes.
fn covered(open: &BTreeSet<Pair<'_>>, row: &BTreeMap<&String, usize>, path: &String, choice: usize) -> usize {
    let completes = |(a, x, b, y): &&Pair<'_>| {
        (*a == path && *x == choice && row.get(b) == Some(y))
            || (*b == path && *y == choice && row.get(a) == Some(x))
    };
    open.iter().filter(completes).count()
}

/// The values that the schema lists, by path: booleans, enumerations, and whether there is a revision.
fn named(schema: &str) -> BTreeMap<String, Vec<Value>> {
    let mut named = BTreeMap::from([("revision".to_owned(), vec![json!(""), json!("canary")])]);
    walk(schema, &mut |path, property| {
        if property["type"] == "boolean" {
            named.insert(path.to_owned(), vec![json!(true), json!(false)]);
        } else if let Some(list) = property["enum"].as_array() {
            named.insert(path.to_owned(), list.clone());
        }
    });
    named
}

/// The paths of all properties that are no objects themselves.
pub(crate) fn paths(schema: &str) -> Vec<String> {
    let mut paths = vec![];
    walk(schema, &mut |path, property| {
        if property["properties"].is_null() {
            paths.push(path.to_owned());
        }
    });
    // Quantities are given or not, each by itself.
    paths.retain(|path| !path.contains(".resources."));
    paths
}

fn walk(schema: &str, visit: &mut dyn FnMut(&str, &Value)) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    into(&schema, &schema, "", visit);
}

fn into(root: &Value, property: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    let property = match property["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).expect("a definition"),
        None => property,
    };
    if !path.is_empty() {
        visit(path, property);
    }
    for (name, below) in property["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        into(root, below, &path, visit);
    }
}

#[test]
fn few_rows_contain_each_pair() {
    let property = json!({"enum": ["a", "b", "c"]});
    let properties = json!({"x": property, "y": property, "z": {"type": "boolean"}});
    let rows = pairs(&json!({"properties": properties}).to_string());
    for (x, y) in ["a", "b", "c"].iter().flat_map(|x| ["a", "b", "c"].map(|y| (*x, y))) {
        assert!(rows.iter().any(|row| row["x"] == x && row["y"] == y), "{x} {y}");
    }
    assert!(rows.len() < 16, "{}", rows.len());
}
