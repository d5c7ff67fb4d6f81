//! Pure. The values that stages pass on, and the record of each finished request. Stages depend on these values, and
//! not on each other.

pub mod record;
pub mod refusal;
pub mod subject;

pub mod extra;

pub mod certificate;
pub mod flags;
pub mod grpc;
pub mod head;
pub mod node;
pub mod peer;
pub mod tls;
pub mod unique;
