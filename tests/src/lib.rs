//! What integration tests share.

pub mod codecs;
pub mod fixture;
pub mod golden;
