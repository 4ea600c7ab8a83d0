//! PTX text to syntax: tokens, then statements with their registers resolved. Opcodes stay text.

mod kernel;
mod operand;
pub mod parse;
pub mod syntax;
pub mod token;

pub use parse::parse;
pub use syntax::*;
