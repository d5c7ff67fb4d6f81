//! Feeds the target `resource`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::resource::run(data));
