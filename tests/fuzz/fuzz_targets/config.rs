#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| sessionctl_fuzz::config(bytes));
