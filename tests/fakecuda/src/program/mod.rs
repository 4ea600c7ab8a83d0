//! Syntax to a program that the machine runs: opcodes become functions, names become numbers.
//! An unknown opcode, modifier or operand is an error here, before anything runs.

pub mod bits;
pub mod convert;
pub mod decode;
pub mod decoder;
pub mod float;
pub mod half;
pub mod integer;
pub mod lane;
pub mod matrix;
pub mod memory;
pub mod op;
pub mod predicate;
pub mod sync;

use std::collections::HashMap;

use op::Inst;

/// Generic addresses of shared memory, local memory and parameters start here; device memory is below.
pub const SHARED_WINDOW: u64 = 0xE000_0000_0000;
#[allow(missing_docs)]
pub const LOCAL_WINDOW: u64 = 0xF000_0000_0000;
#[allow(missing_docs)]
pub const PARAM_WINDOW: u64 = 0xC000_0000_0000;
/// Size of each window.
pub const WINDOW: u64 = 0x0100_0000_0000;

/// A kernel parameter.
#[derive(Clone, Debug)]
pub struct Param {
    /// Name in the PTX.
    pub name: String,
    /// Where it starts in the parameter block, in bytes.
    pub offset: usize,
    /// Its size in bytes.
    pub bytes: usize,
    /// Whether the kernel uses it as an address of global memory.
    pub pointer: bool,
}

/// A kernel, decoded.
pub struct Code {
    /// Its name.
    pub name: String,
    /// Instructions; the last is an exit.
    pub insts: Vec<Inst>,
    /// Number of data and of predicate registers.
    pub registers: u32,
    #[allow(missing_docs)]
    pub predicates: u32,
    /// Constants, by number less `CONSTANT`.
    pub constants: Vec<u64>,
    /// Special registers that the kernel reads: name, and the register they are put in before a warp starts.
    pub specials: Vec<(Special, u32)>,
    /// Parameters and the size of their block.
    pub params: Vec<Param>,
    #[allow(missing_docs)]
    pub param_bytes: usize,
    /// Static shared memory, and where the dynamic part starts.
    pub shared_bytes: u32,
    /// Names of shared variables: offset, bytes, name.
    pub shared_names: Vec<(u32, u32, String)>,
    /// Local memory a thread.
    pub local_bytes: u32,
    /// `.maxntid` or `.reqntid`.
    pub max_threads: Option<u64>,
    #[allow(missing_docs)]
    pub required: bool,
    /// Number of memory instructions (each has a slot for its cached region).
    pub slots: u32,
    /// `.file` names by number, for reports.
    pub files: HashMap<u32, String>,
    /// PTX version and target, e.g. 80 and 80.
    pub version: u32,
    #[allow(missing_docs)]
    pub target: u32,
}

/// A special register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Special {
    Tid(usize),
    Ntid(usize),
    Ctaid(usize),
    Nctaid(usize),
    Lane,
    Warp,
    Warps,
    Sm,
    Sms,
    Grid,
    MaskEq,
    MaskLt,
    MaskLe,
    MaskGt,
    MaskGe,
    DynamicShared,
    TotalShared,
}

impl Special {
    /// The special register of this name that is constant while a warp runs.
    pub fn named(name: &str) -> Option<Special> {
        let axis = |s: &str| match s {
            "x" => Some(0),
            "y" => Some(1),
            "z" => Some(2),
            _ => None,
        };
        if let Some((stem, a)) = name.split_once('.') {
            let a = axis(a)?;
            return Some(match stem {
                "%tid" => Special::Tid(a),
                "%ntid" => Special::Ntid(a),
                "%ctaid" => Special::Ctaid(a),
                "%nctaid" => Special::Nctaid(a),
                _ => return None,
            });
        }
        Some(match name {
            "%laneid" => Special::Lane,
            "%warpid" => Special::Warp,
            "%nwarpid" => Special::Warps,
            "%smid" => Special::Sm,
            "%nsmid" => Special::Sms,
            "%gridid" => Special::Grid,
            "%lanemask_eq" => Special::MaskEq,
            "%lanemask_lt" => Special::MaskLt,
            "%lanemask_le" => Special::MaskLe,
            "%lanemask_gt" => Special::MaskGt,
            "%lanemask_ge" => Special::MaskGe,
            "%dynamic_smem_size" => Special::DynamicShared,
            "%total_smem_size" => Special::TotalShared,
            _ => return None,
        })
    }
}
