//! A copy of the files that pages refer to, with the images under test in place of the released ones.

use std::path::Path;

use tempfile::TempDir;

use crate::program;

/// The images under test.
#[derive(Debug, Clone)]
pub struct Images {
    /// Their registry and path.
    pub hub: String,
    /// Their tag.
    pub tag: String,
    /// When nodes pull them.
    pub pull: String,
}

impl Images {
    /// Replaces the released images of the samples in a text.
    pub fn replace(&self, text: &str) -> String {
        let mut text =
            text.replace("imagePullPolicy: IfNotPresent", &format!("imagePullPolicy: {}", self.pull));
        for name in ["ostria-bookinfo", "ostria-echo"] {
            text = text
                .replace(&format!("{RELEASED}/{name}:latest"), &format!("{}/{name}:{}", self.hub, self.tag));
        }
        text
    }

    /// Replaces the defaults of the chart's values. Fails the test if a default is not there.
    fn replace_defaults(&self, values: &str) -> String {
        let mut values = values.to_owned();
        for (default, own) in [
            (format!("hub: {RELEASED}\n"), format!("hub: {}\n", self.hub)),
            ("  tag: \"\"\n".to_owned(), format!("  tag: {}\n", self.tag)),
            ("  imagePullPolicy: \"\"\n".to_owned(), format!("  imagePullPolicy: {}\n", self.pull)),
        ] {
            assert_eq!(values.matches(&default).count(), 1, "values.yaml does not contain {default:?} once");
            values = values.replace(&default, &own);
        }
        values
    }
}

/// Copies the chart and the samples into a folder.
pub fn checkout(images: &Images) -> TempDir {
    let target = tempfile::tempdir().expect("a folder can be created");
    for folder in ["deploy/helm", "samples"] {
        copy(&program::repository(folder), &target.path().join(folder), images);
    }
    target
}

/// Copies the text files of a folder and of the folders in it. Follows links.
fn copy(from: &Path, to: &Path, images: &Images) {
    std::fs::create_dir_all(to).expect("the folder is writable");
    for entry in std::fs::read_dir(from).expect("the folder can be read") {
        let path = entry.expect("the folder can be read").path();
        let target = to.join(path.file_name().expect("an entry has a name"));
        if path.is_dir() {
            copy(&path, &target, images);
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let text = if path.ends_with("ostria/values.yaml") {
                images.replace_defaults(&text)
            } else {
                images.replace(&text)
            };
            std::fs::write(target, text).expect("the folder is writable");
        }
    }
}

const RELEASED: &str = "ghcr.io/ostria";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_released_image_remains() {
        let images = Images { hub: "local".into(), tag: "e2e".into(), pull: "Never".into() };
        let folder = checkout(&images);
        let read = |file: &str| std::fs::read_to_string(folder.path().join(file)).unwrap();
        let values = read("deploy/helm/ostria/values.yaml");
        for line in ["  hub: local\n", "  tag: e2e\n", "  imagePullPolicy: Never\n"] {
            assert!(values.contains(line), "{line}");
        }
        for file in ["samples/bookinfo/bookinfo.yaml", "samples/echo/echo.yaml"] {
            let text = read(file);
            assert!(!text.contains(RELEASED) && text.contains("image: local/ostria-"), "{file}");
        }
        assert!(
            read("samples/bookinfo/bookinfo-gateway.yaml").contains("kind: Gateway"),
            "links are followed"
        );
    }
}
