//! Faults with their location: kernel, PTX line, source line, block, thread.

use std::fmt;

/// Kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum FaultKind {
    OutOfBounds,
    Misaligned,
    SharedOutOfBounds,
    SharedUninitialised,
    SharedRace,
    GlobalRace,
    CopyNotWaited,
    DivergentBarrier,
    DivergentCollective,
    Deadlock,
    BadArgument,
    LaunchLimit,
    ReadBeforeSynchronise,
    Capture,
    Trap,
    Assertion,
    Unsupported,
}

impl FaultKind {
    /// Name of the kind in reports.
    pub fn name(self) -> &'static str {
        match self {
            FaultKind::OutOfBounds => "out of bounds",
            FaultKind::Misaligned => "misaligned access",
            FaultKind::SharedOutOfBounds => "shared memory out of bounds",
            FaultKind::SharedUninitialised => "uninitialised shared memory read",
            FaultKind::SharedRace => "shared memory race",
            FaultKind::GlobalRace => "global memory race",
            FaultKind::CopyNotWaited => "asynchronous copy not waited for",
            FaultKind::DivergentBarrier => "divergent barrier",
            FaultKind::DivergentCollective => "divergent warp instruction",
            FaultKind::Deadlock => "deadlock",
            FaultKind::BadArgument => "bad argument",
            FaultKind::LaunchLimit => "launch limit",
            FaultKind::ReadBeforeSynchronise => "read before synchronise",
            FaultKind::Capture => "not allowed while capturing",
            FaultKind::Trap => "trap",
            FaultKind::Assertion => "assertion failed",
            FaultKind::Unsupported => "unsupported",
        }
    }
}

/// A fault with its location.
#[derive(Clone, Debug)]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// Kernel; empty outside one.
    pub kernel: String,
    /// PTX line, 0 if unknown.
    pub line: u32,
    /// Source file and line, where the PTX has line information.
    pub source: Option<(String, u32)>,
    /// Block and thread, where there is one.
    pub thread: Option<([u32; 3], [u32; 3])>,
    /// Details.
    pub detail: String,
}

impl Fault {
    /// A fault outside any kernel.
    pub fn host(kind: FaultKind, detail: impl Into<String>) -> Self {
        Fault { kind, kernel: String::new(), line: 0, source: None, thread: None, detail: detail.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.kind.name(), self.detail)?;
        if !self.kernel.is_empty() {
            write!(f, "; kernel {}", self.kernel)?;
        }
        if self.line > 0 {
            write!(f, ", PTX line {}", self.line)?;
        }
        if let Some((file, line)) = &self.source {
            write!(f, " ({file}:{line})")?;
        }
        if let Some(([bx, by, bz], [tx, ty, tz])) = self.thread {
            write!(f, ", block ({bx},{by},{bz}), thread ({tx},{ty},{tz})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Fault {}

/// A fault before its location is filled in: kind, lane, details.
#[derive(Debug)]
pub struct Trouble {
    /// What kind.
    pub kind: FaultKind,
    /// Which lane of the warp, if one.
    pub lane: Option<u32>,
    /// Details.
    pub detail: String,
}

impl Trouble {
    /// A fault in one lane.
    pub fn new(kind: FaultKind, lane: u32, detail: impl Into<String>) -> Box<Self> {
        Box::new(Trouble { kind, lane: Some(lane), detail: detail.into() })
    }
}

/// Result of running something in a warp.
pub type Run<T> = Result<T, Box<Trouble>>;
