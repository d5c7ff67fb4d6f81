//! Pure. Deadlines and retries of a request. Every decision is a function of its arguments, which include random
//! numbers and time.

pub mod deadline;
pub mod retry;
