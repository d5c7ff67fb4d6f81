//! Code that Ostria's processes share: names, identities, the configuration model and its wire form, the kinds of
//! resources that users write, and the shell of the server binaries.
//!
//! Imports go down this list only; a blank line ends a layer (`tests/tests/tidy` reads this file).

pub mod process;

pub mod xds;

pub mod wire;

pub mod resource;
pub mod model;

pub mod format;

pub mod certificate;
pub mod removal;
pub mod admission;
pub mod jws;

pub mod bounded;

pub mod identity;

pub mod name;
