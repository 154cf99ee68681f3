//! What Tidewire is measured against, each behind the same trait; and how a fair comparison is run.
#![forbid(unsafe_code)]

pub mod load;
pub mod micro;
