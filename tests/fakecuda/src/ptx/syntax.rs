//! The parsed module: kernels, variables, statements. Registers are numbers already; opcodes are still text.

use std::fmt;

/// Why a PTX text was refused: which line, which text, what is wrong with it.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadError {
    /// Kernel the line belongs to, empty outside one.
    pub kernel: String,
    /// 1-based line of the PTX text.
    pub line: u32,
    /// The faulty statement or word.
    pub text: String,
    /// What is wrong.
    pub why: String,
}

impl LoadError {
    /// An error outside any kernel.
    pub fn at(line: u32, text: &str, why: &str) -> Self {
        LoadError { kernel: String::new(), line, text: text.into(), why: why.into() }
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.kernel.is_empty() { String::new() } else { format!("kernel {}, ", self.kernel) };
        write!(f, "PTX {place}line {}: {}: `{}`", self.line, self.why, self.text)
    }
}

impl std::error::Error for LoadError {}

/// A fundamental type of PTX, or a packed pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Ty {
    B8,
    B16,
    B32,
    B64,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    F32,
    F32x2,
    F64,
    Pred,
}

impl Ty {
    /// The type of a suffix such as `s32`; none if it is unknown.
    pub fn named(s: &str) -> Option<Ty> {
        use Ty::*;
        Some(match s {
            "b8" => B8,
            "b16" => B16,
            "b32" => B32,
            "b64" => B64,
            "u8" => U8,
            "u16" => U16,
            "u32" => U32,
            "u64" => U64,
            "s8" => S8,
            "s16" => S16,
            "s32" => S32,
            "s64" => S64,
            "f16" => F16,
            "f16x2" => F16x2,
            "bf16" => Bf16,
            "bf16x2" => Bf16x2,
            "f32" => F32,
            "f32x2" => F32x2,
            "f64" => F64,
            "pred" => Pred,
            _ => return None,
        })
    }

    /// Size in bits (a predicate has 1).
    pub fn bits(self) -> u32 {
        use Ty::*;
        match self {
            Pred => 1,
            B8 | U8 | S8 => 8,
            B16 | U16 | S16 | F16 | Bf16 => 16,
            B32 | U32 | S32 | F32 | F16x2 | Bf16x2 => 32,
            B64 | U64 | S64 | F64 | F32x2 => 64,
        }
    }

    /// Size in bytes in memory.
    pub fn bytes(self) -> u32 {
        self.bits().div_ceil(8)
    }

    /// Whether it is a signed integer.
    pub fn signed(self) -> bool {
        matches!(self, Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
    }

    /// Whether it is a scalar float.
    pub fn float(self) -> bool {
        matches!(self, Ty::F16 | Ty::Bf16 | Ty::F32 | Ty::F64)
    }
}

/// The state space of a variable or an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Space {
    Generic,
    Global,
    Const,
    Shared,
    Local,
    Param,
}

/// A declared variable: a kernel parameter, shared array, module global and so on.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Variable {
    pub name: String,
    pub space: Space,
    pub align: u32,
    pub ty: Ty,
    /// Size in bytes; 0 for `extern .shared x[]`.
    pub bytes: u64,
    /// First bytes; the rest is zero.
    pub init: Vec<u8>,
    pub line: u32,
}

/// A declared register.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Register {
    pub name: String,
    pub ty: Ty,
}

/// One operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Arg {
    /// A register, by its number in the kernel's list.
    Reg(u32),
    /// A special register such as `%tid.x`.
    Special(String),
    /// A label, variable or function, with the scope it is named in.
    Name(String, u32),
    /// An integer, sign applied.
    Int(u64),
    /// The bits of an `0f` literal.
    F32(u32),
    /// The bits of an `0d` literal.
    F64(u64),
    /// `{a, b}` or `(a, b)`.
    Group(Vec<Arg>),
    /// `[base + offset]`.
    Memory(Box<Arg>, i64),
    /// `a|b`.
    Pair(Box<Arg>, Box<Arg>),
    /// `!a`.
    Not(Box<Arg>),
    /// `_`.
    Sink,
}

/// One instruction as written.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Statement {
    pub line: u32,
    /// File number and line of the `.loc` in force; (0, 0) without line information.
    pub loc: (u32, u32),
    /// Guard register and whether it is negated.
    pub guard: Option<(u32, bool)>,
    pub opcode: String,
    pub args: Vec<Arg>,
}

/// A label and the statement after it.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Label {
    pub name: String,
    pub scope: u32,
    pub at: usize,
}

/// A kernel (or a device function, which is refused by name when it is called).
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Kernel {
    pub name: String,
    pub line: u32,
    pub params: Vec<Variable>,
    pub registers: Vec<Register>,
    pub variables: Vec<Variable>,
    pub body: Vec<Statement>,
    pub labels: Vec<Label>,
    /// Branch tables: name, labels.
    pub tables: Vec<(String, Vec<String>)>,
    /// Parent of each scope; scope 0 is the kernel's body.
    pub scopes: Vec<u32>,
    /// `.maxntid` or `.reqntid` as a product; `.reqntid` also sets `required`.
    pub max_threads: Option<u64>,
    pub required: bool,
}

/// A whole PTX text.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct Module {
    /// PTX ISA version, e.g. (8, 0).
    pub version: (u32, u32),
    /// 80 for `.target sm_80`.
    pub target: u32,
    pub variables: Vec<Variable>,
    pub kernels: Vec<Kernel>,
    /// Names of declared device functions.
    pub functions: Vec<String>,
    /// `.file` numbers and names.
    pub files: Vec<(u32, String)>,
}
