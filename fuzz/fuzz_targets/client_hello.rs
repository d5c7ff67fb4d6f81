//! Feeds the target `client_hello`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz_targets::client_hello::run(data));
