//! What the stun crate offers: the binding request and its response, as nodes ask and relays answer.
#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

mod attribute;
mod binding;
mod fingerprint;

pub use crate::binding::{
    REQUEST_LEN, RESPONSE_LEN, RequestError, ResponseError, TxId, parse_request, parse_response, request,
    response,
};
