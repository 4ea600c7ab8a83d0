//! What integration tests share.

pub mod fixture;
