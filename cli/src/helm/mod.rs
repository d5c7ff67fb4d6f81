//! Installs the chart by the program `helm`. The chart of this version is part of the command, so that no other file is
//! needed; rendering and the record of the release are Helm's, so that `helm list`, `helm upgrade` and `helm uninstall`
//! work with what `ostria install` made, and the other way round.

pub mod program;

pub mod chart;
pub mod release;
