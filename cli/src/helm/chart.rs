//! The chart of this version, which is part of the command. A test compares it with the folder of the chart.

use std::io;
use std::path::Path;

use api::resource::crd;

/// Writes the chart into a folder.
pub fn write(folder: &Path) -> io::Result<()> {
    for (name, text) in FILES {
        put(folder, name, text)?;
    }
    let documents: Vec<String> = crd::all().iter().map(yaml).collect();
    put(folder, DEFINITIONS, &format!("---\n{}", documents.join("---\n")))
}

fn put(folder: &Path, name: &str, text: &str) -> io::Result<()> {
    let path = folder.join(name);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

fn yaml(definition: &impl serde::Serialize) -> String {
    serde_saphyr::to_string(definition).expect("definitions are plain data")
}

macro_rules! files {
    ($($name:literal),+ $(,)?) => {
        &[$(($name, include_str!(concat!("../../../deploy/helm/ostria/", $name)))),+]
    };
}

/// The files by their names in the chart, without the definitions, which are made from the kinds.
const FILES: &[(&str, &str)] = files![
    "Chart.yaml",
    "values.yaml",
    "values.schema.json",
    "values-default.yaml",
    "values-demo.yaml",
    "values-gateways.yaml",
    "values-minimal.yaml",
    "templates/NOTES.txt",
    "templates/_availability.tpl",
    "templates/_helpers.tpl",
    "templates/_lease.tpl",
    "templates/citadel.yaml",
    "templates/crds.yaml",
    "templates/gateways.yaml",
    "templates/hooks.yaml",
    "templates/injector.yaml",
    "templates/mesh.yaml",
    "templates/networkpolicy.yaml",
    "templates/pilot.yaml",
    "templates/rbac-citadel.yaml",
    "templates/rbac-injector.yaml",
    "templates/rbac-pilot.yaml",
    "templates/webhooks.yaml",
];
/// The file of the definitions.
const DEFINITIONS: &str = "files/crds.yaml";

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn read(folder: &Path, prefix: &str, all: &mut BTreeMap<String, String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = format!("{prefix}{}", path.file_name().unwrap().to_str().unwrap());
            if path.is_dir() {
                read(&path, &format!("{name}/"), all);
            } else if name != ".helmignore" {
                all.insert(name, std::fs::read_to_string(path).unwrap());
            }
        }
    }

    #[test]
    fn the_written_chart_is_the_folder_of_the_chart() {
        let temporary = tempfile::tempdir().unwrap();
        write(temporary.path()).unwrap();
        let (mut written, mut chart) = (BTreeMap::new(), BTreeMap::new());
        read(temporary.path(), "", &mut written);
        read(concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/helm/ostria").as_ref(), "", &mut chart);
        let names = |files: &BTreeMap<String, String>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&written), names(&chart), "FILES lists the chart's files");
        let documents = |text: &str| text[text.find("---\n").unwrap()..].to_owned();
        for (name, text) in &written {
            let expected = &chart[name];
            let same =
                if name == DEFINITIONS { documents(text) == documents(expected) } else { text == expected };
            assert!(same, "{name} differs");
        }
    }
}
