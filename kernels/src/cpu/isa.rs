//! Instruction sets of the CPU, as a value that proves that the machine has them.

/// The instructions that inner loops use: those of floats, and those of products with 8-bit activations. A value of this type is
/// proof that the machine has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(pub(super) Level, pub(super) Products);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Instructions that multiply 8-bit integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Products {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
}

impl Isa {
    /// Plain loops, the specification.
    pub const SCALAR: Isa = Isa(Level::Scalar, Products::Scalar);

    /// AVX2 and FMA, where the machine has them.
    pub fn avx2() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            return Some(Isa(Level::Avx2, Products::Avx2));
        }
        None
    }

    /// AVX2, and AVX-VNNI for 8-bit integers, where the machine has them.
    pub fn avx_vnni() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if Isa::avx2().is_some() && is_x86_feature_detected!("avxvnni") {
            return Some(Isa(Level::Avx2, Products::AvxVnni));
        }
        None
    }

    /// AVX-512 F, where the machine has it; 8-bit integers by AVX2.
    pub fn avx512() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if Isa::avx2().is_some() && is_x86_feature_detected!("avx512f") {
            return Some(Isa(Level::Avx512, Products::Avx2));
        }
        None
    }

    /// AVX-512 F with VNNI for 8-bit integers, where the machine has them.
    pub fn avx512_vnni() -> Option<Isa> {
        #[cfg(target_arch = "x86_64")]
        if Isa::avx512().is_some() && is_x86_feature_detected!("avx512vnni") {
            return Some(Isa(Level::Avx512, Products::Avx512Vnni));
        }
        None
    }

    /// The fastest that this machine has.
    pub fn best() -> Isa {
        let all = [Isa::avx512_vnni, Isa::avx512, Isa::avx_vnni, Isa::avx2];
        all.iter().find_map(|isa| isa()).unwrap_or(Isa::SCALAR)
    }

    /// A name for logs.
    pub fn name(self) -> &'static str {
        match self {
            Isa(Level::Scalar, _) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Isa(Level::Avx2, Products::AvxVnni) => "avx2, avxvnni",
            #[cfg(target_arch = "x86_64")]
            Isa(Level::Avx2, _) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Isa(Level::Avx512, Products::Avx512Vnni) => "avx512, avx512vnni",
            #[cfg(target_arch = "x86_64")]
            Isa(Level::Avx512, _) => "avx512",
        }
    }
}
