//! Pure. Reads a typed value out of parsed YAML and says of everything it does not take where it stands: a value of
//! the wrong type, and, as `kubectl --validate=strict` does, a field that the kind does not have.

use serde::de::DeserializeOwned;
use serde_ignored::Path;
use serde_json::Value;
use std::fmt::Write;

/// A field that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The field, such as `spec.http[0].route`.
    pub path: String,
    /// Why.
    pub reason: String,
    /// What to do about it.
    pub next: String,
}

/// Reads a value, or tells every field that is not known, or the first that has the wrong type.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Vec<Fault>> {
    let mut unknown = vec![];
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    let result = serde_ignored::deserialize(tracked, |path| unknown.push(shown(&path)));
    let mut faults: Vec<Fault> = unknown.into_iter().map(unknown_field).collect();
    match result {
        Ok(typed) if faults.is_empty() => Ok(typed),
        Ok(_) => Err(faults),
        Err(error) => {
            let path = track.path().to_string();
            faults.push(Fault {
                path: if path == "." { String::new() } else { path },
                reason: shortened(&error.to_string()),
                next: "correct the value".into(),
            });
            Err(faults)
        }
    }
}

fn unknown_field(path: String) -> Fault {
    let field = path.rsplit('.').next().unwrap_or(&path).to_owned();
    Fault { path, reason: format!("unknown field `{field}`"), next: "correct its name or remove it".into() }
}

fn shown(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", shown(parent)),
        Path::Map { parent, key } => {
            let mut text = shown(parent);
            if !text.is_empty() {
                text.push('.');
            }
            let _ = write!(text, "{key}");
            text
        }
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            shown(parent)
        }
    }
}

/// A message may repeat the user's value: a long one, or a secret's, does not belong in it.
fn shortened(message: &str) -> String {
    let text: String = message.chars().take(300).collect();
    if text.len() == message.len() { text } else { format!("{text}…") }
}
