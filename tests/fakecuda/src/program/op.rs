//! Decoded instructions, which the machine runs.

use super::lane::{Alu, V};
use super::matrix::Shape;
use crate::ptx::{Space, Ty};

/// A register of a warp.
pub type Reg = u32;
/// A register, or (from `CONSTANT` up) a constant of the kernel.
pub type Src = u32;
/// First number of a constant.
pub const CONSTANT: u32 = 1 << 31;

/// A predicate operand: its number and whether it is negated.
pub type Pred = (u32, bool);

/// Memory order of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Plain.
    Weak,
    /// Volatile, or relaxed: no race with another such access, orders nothing.
    Relaxed,
    /// Acquires, releases, or both.
    Acquire,
    #[allow(missing_docs)]
    Release,
    #[allow(missing_docs)]
    AcquireRelease,
}

/// An address: register plus offset.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Place {
    pub space: Space,
    pub base: Src,
    pub offset: i64,
}

/// Operation of an atomic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Atomic {
    Add,
    Min,
    Max,
    And,
    Or,
    Xor,
    Exchange,
    CompareSwap,
    Inc,
    Dec,
}

/// Where a shuffle takes its value from.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Shuffle {
    Up,
    Down,
    Butterfly,
    Index,
}

/// Kind of a vote.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Vote {
    All,
    Any,
    Uniform,
}

/// What a barrier does to the warp that reaches it.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum Barrier {
    /// Waits.
    Sync,
    /// Arrives without waiting.
    Arrive,
    /// Waits, and gives each thread the number of threads whose predicate is true.
    Count { into: Reg, pred: Pred },
    /// Waits, and gives each thread whether all (or any) predicates are true.
    Reduce { into: u32, pred: Pred, any: bool },
}

/// A decoded operation.
#[allow(missing_docs)]
pub enum Op {
    /// `to = f(a, b, c)`.
    Alu {
        f: Alu,
        to: Reg,
        a: Src,
        b: Src,
        c: Src,
    },
    /// Integer add, subtract or multiply-add through the carry flag.
    Carry {
        f: fn(u64, u64, u64, bool) -> (u64, bool),
        to: Reg,
        a: Src,
        b: Src,
        c: Src,
        keep: bool,
    },
    /// Bits of `a` put into `b`.
    Insert {
        to: Reg,
        a: Src,
        b: Src,
        at: Src,
        length: Src,
        width: u32,
    },
    /// `p = f(a, b)`, `q = !f(a, b)`, both combined with `with`.
    Compare {
        f: fn(&V, &V) -> u32,
        p: Option<u32>,
        q: Option<u32>,
        a: Src,
        b: Src,
        with: Option<(PredOp, Pred)>,
    },
    /// All ones (or 1.0) where the comparison holds.
    Set {
        f: fn(&V, &V) -> u32,
        to: Reg,
        a: Src,
        b: Src,
        yes: u64,
        with: Option<(PredOp, Pred)>,
    },
    /// `to = p ? a : b`.
    Select {
        to: Reg,
        a: Src,
        b: Src,
        p: Pred,
    },
    /// Predicate arithmetic.
    PredLogic {
        f: PredOp,
        to: u32,
        a: PredSrc,
        b: PredSrc,
    },
    /// Joins narrow registers to one wide.
    Pack {
        to: Reg,
        parts: Vec<Src>,
        bits: u32,
    },
    /// Splits one wide register.
    Unpack {
        to: Vec<Option<Reg>>,
        a: Src,
        bits: u32,
    },
    Load {
        at: Place,
        ty: Ty,
        to: Vec<Option<Reg>>,
        order: Order,
        read_only: bool,
        extend: u32,
        slot: u32,
    },
    Store {
        at: Place,
        ty: Ty,
        from: Vec<Src>,
        order: Order,
        slot: u32,
    },
    Atomic {
        at: Place,
        op: Atomic,
        ty: Ty,
        to: Option<Reg>,
        a: Src,
        b: Src,
        order: Order,
        slot: u32,
    },
    /// `cp.async`: `bytes` are in shared memory after the wait; `from` gives how many are read, the rest is zero.
    CopyAsync {
        to: Src,
        to_offset: i64,
        from: Place,
        bytes: u32,
        read: Option<Src>,
        slot: u32,
    },
    CopyCommit,
    /// Waits until at most this many groups are in progress.
    CopyWait {
        left: u32,
    },
    CopyWaitAll,
    Shuffle {
        kind: Shuffle,
        to: Option<Reg>,
        ok: Option<u32>,
        a: Src,
        b: Src,
        clamp: Src,
        mask: Src,
    },
    Vote {
        kind: Vote,
        to: u32,
        pred: Pred,
        mask: Src,
    },
    Ballot {
        to: Reg,
        pred: Pred,
        mask: Src,
    },
    Match {
        to: Option<Reg>,
        all: Option<Option<u32>>,
        a: Src,
        mask: Src,
    },
    Reduce {
        op: Atomic,
        signed: bool,
        to: Reg,
        a: Src,
        mask: Src,
    },
    ActiveMask {
        to: Reg,
    },
    Elect {
        to: Option<Reg>,
        leader: u32,
        mask: Src,
    },
    Barrier {
        kind: Barrier,
        id: Src,
        count: Option<Src>,
        aligned: bool,
    },
    WarpSync {
        mask: Src,
    },
    /// A fence; those of block scope order nothing across blocks.
    Fence {
        grid: bool,
    },
    LoadMatrix {
        at: Place,
        to: Vec<Reg>,
        transposed: bool,
        slot: u32,
    },
    StoreMatrix {
        at: Place,
        from: Vec<Src>,
        transposed: bool,
        slot: u32,
    },
    MoveMatrix {
        to: Reg,
        a: Src,
    },
    Mma {
        shape: Shape,
        d: Vec<Reg>,
        a: Vec<Src>,
        b: Vec<Src>,
        c: Vec<Src>,
    },
    Branch {
        to: u32,
    },
    BranchTable {
        targets: Vec<u32>,
        index: Src,
    },
    /// Address in one space to or from a generic one: adds the window's base.
    Window {
        to: Reg,
        a: Src,
        add: u64,
    },
    /// Whether a generic address lies in a window.
    InWindow {
        to: u32,
        a: Src,
        space: Space,
    },
    Clock {
        to: Reg,
        bits: u32,
    },
    Exit,
    Trap,
    /// `__assertfail`: message, file, line and function as the program passed them.
    Assert {
        args: Vec<Src>,
    },
    Nothing,
}

/// Boolean operations on predicates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum PredOp {
    And,
    Or,
    Xor,
    Copy,
    Not,
}

impl PredOp {
    /// On 32 lanes at once.
    pub fn apply(self, a: u32, b: u32) -> u32 {
        match self {
            PredOp::And => a & b,
            PredOp::Or => a | b,
            PredOp::Xor => a ^ b,
            PredOp::Copy => a,
            PredOp::Not => !a,
        }
    }
}

/// A predicate operand that may be a constant.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum PredSrc {
    Reg(Pred),
    Const(bool),
}

/// One instruction with its line in the text.
pub struct Inst {
    /// The operation.
    pub op: Op,
    /// Lanes whose guard does not hold skip it.
    pub guard: Option<Pred>,
    /// Line in the PTX text.
    pub line: u32,
    /// File number and line of the source; (0, 0) if unknown.
    pub loc: (u32, u32),
}
