//! Where objects come from: a folder of YAML, watched. Exists so that nothing after it knows files from a cluster:
//! it speaks in facts.

pub mod folder;

mod scan;

mod diff;
