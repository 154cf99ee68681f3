//! `wg_message` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidewire_fuzz::wg_message(data));
