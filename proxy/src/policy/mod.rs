//! Pure. How long a request may take and how often it is sent: deadlines and repetitions. Every decision is a function of
//! values; chance and time are arguments.

pub mod deadline;
pub mod retry;
