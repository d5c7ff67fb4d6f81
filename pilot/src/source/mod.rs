//! The sources of objects: a watched folder of YAML, or the API server of a cluster. Later stages see only facts and do
//! not depend on whether objects come from files or from a cluster.

pub mod folder;
pub mod kubernetes;

mod scan;

mod diff;
