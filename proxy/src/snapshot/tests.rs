//! Updates to snapshots: what is refused, what is kept, what is still missing.

use super::*;
