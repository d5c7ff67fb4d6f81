//! Clients of meshes: of one on this machine and of one in a cluster, behind one type.

pub mod mesh;

pub mod cluster;
pub mod local;
pub mod offline;

pub mod stream;
