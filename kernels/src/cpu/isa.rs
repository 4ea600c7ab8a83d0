//! Instruction sets of the CPU, as a value that proves that the machine has them.

/// The instructions that inner loops use. A value of this type is proof that the machine has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(super) Level);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Isa {
    /// Plain loops, the specification.
    pub const SCALAR: Isa = Isa(Level::Scalar);

    /// AVX2 and FMA, where the machine has them.
    pub fn avx2() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(Isa(Level::Avx2));
        }
        None
    }

    /// AVX-512 F, where the machine has it.
    pub fn avx512() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if Isa::avx2().is_some() && is_x86_feature_detected!("avx512f") {
            return Some(Isa(Level::Avx512));
        }
        None
    }

    /// The widest that this machine has.
    pub fn best() -> Isa {
        Isa::avx512().or_else(Isa::avx2).unwrap_or(Isa::SCALAR)
    }

    /// A name for logs.
    pub fn name(self) -> &'static str {
        match self.0 {
            Level::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => "avx512",
        }
    }
}
