//! `ostria crds`: the definitions that a cluster needs before it takes the mesh's kinds.

use api::resource::crd;

use crate::failure::Failure;
use crate::verb::print;

/// Prints them as YAML, a document each.
pub fn run() -> Result<(), Failure> {
    for definition in crd::all() {
        let text = serde_saphyr::to_string(&definition)
            .map_err(|error| Failure::blocked(error, "report this: a definition is plain data"))?;
        print::out(&format!("---\n{text}"));
    }
    Ok(())
}
