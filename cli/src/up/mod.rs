//! The running mesh: carries out what `kubelet` decides. The supervisor enters the node's namespaces while it has one
//! thread, and then runs everything on one thread: children with a parent-death signal get it when the thread that
//! started them ends.

pub mod supervise;

pub mod server;

pub mod describe;
pub mod settle;
pub mod stream;

pub mod watch;

pub mod look;

pub mod controller;

pub mod change;
pub mod host_ports;
pub mod plane;

pub mod roots;
pub mod gateway;
pub mod marks;
pub mod names;
pub mod publish;
pub mod refresh;

pub mod pod;

pub mod container;

pub mod prober;

pub mod attach;

pub mod launch;

pub mod files;

pub mod context;

pub mod inject;
pub mod sign;
pub mod world;

pub mod sandbox;

pub mod clock;
pub mod enter;
pub mod groups;
pub mod host;
pub mod node;
pub mod progress;
