//! Pure. Compiled text with operators such as `%REQ(x)%` (`api::format` parses it), and changes to headers whose values
//! are such text. Below `filter`, so that filters can use both.

pub mod mutation;

pub mod template;

mod compile;

mod value;

pub mod context;
