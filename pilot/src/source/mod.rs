//! The source of objects: a watched folder of YAML. Later stages see only facts and do not depend on whether objects
//! come from files or from a cluster.

pub mod folder;

mod scan;

mod diff;
