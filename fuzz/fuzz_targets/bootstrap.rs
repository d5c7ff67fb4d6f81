//! Feeds the target `bootstrap`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::bootstrap::run(data));
