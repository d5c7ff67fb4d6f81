//! Feeds the target `certificate`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::certificate::run(data));
