//! What integration tests share.

pub mod fixture;
pub mod golden;
