//! `derp_client` under libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| tidewire_fuzz::derp_client(data));
