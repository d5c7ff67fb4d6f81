//! Feeds the target `discovery`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::discovery::run(data));
