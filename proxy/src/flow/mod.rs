//! Pure. The values that stages hand on and the record that every finished request leaves. They exist so that
//! stages meet through data only and never through each other.

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
