//! Pure. What may happen to a request and how often: authorization, faults, deadlines and repetitions. Every decision
//! is a function of values; chance and time are arguments.

pub mod authorize;
pub mod deadline;
pub mod fault;
pub mod retry;
