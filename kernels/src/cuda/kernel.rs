//! The kernels: their PTX, which ships with the program (kernels/cu, compiled by kernels/cu/compile.py), their names, and the
//! one structure that each of them takes as its argument. Fields are in the order of the .cu files; a test compares the sizes.

/// PTX texts, in the order of [`Kernel::source`]. The last needs tensor cores for bf16, [`TENSOR_CORES`].
pub(super) const SOURCES: [&str; 5] = [
    include_str!("../../cu/ptx/linear.sm_75.ptx"),
    include_str!("../../cu/ptx/attention.sm_75.ptx"),
    include_str!("../../cu/ptx/step.sm_75.ptx"),
    include_str!("../../cu/ptx/codec.sm_75.ptx"),
    include_str!("../../cu/ptx/tiles.sm_80.ptx"),
];

/// The lowest compute capability that can load a source.
pub(super) fn needs(source: usize) -> (i32, i32) {
    if source == 4 { TENSOR_CORES } else { (7, 5) }
}

/// The first compute capability with tensor cores for bf16.
pub(super) const TENSOR_CORES: (i32, i32) = (8, 0);

macro_rules! kernels {
    ($($variant:ident $name:literal $source:literal,)*) => {
        /// A kernel by name.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Kernel { $($variant),* }
        impl Kernel {
            pub(super) const ALL: [Kernel; [$($source),*].len()] = [$(Kernel::$variant),*];
            /// Its name in PTX.
            pub(super) fn name(self) -> &'static str {
                match self { $(Kernel::$variant => $name),* }
            }
            /// Which of [`SOURCES`] it is in.
            pub(super) fn source(self) -> usize {
                match self { $(Kernel::$variant => $source),* }
            }
        }
    };
}

kernels! {
    LinearF32x2 "linear_f32_2" 0,
    LinearF32x8 "linear_f32_8" 0,
    LinearF32Many "linear_f32_many" 0,
    LinearBf16x2 "linear_bf16_2" 0,
    LinearBf16x8 "linear_bf16_8" 0,
    LinearBf16Many "linear_bf16_many" 0,
    LinearQ8x2 "linear_q8_2" 0,
    LinearQ8x8 "linear_q8_8" 0,
    LinearQ8Many "linear_q8_many" 0,
    LinearQ4x2 "linear_q4_2" 0,
    LinearQ4x8 "linear_q4_8" 0,
    LinearQ4Many "linear_q4_many" 0,
    AttendF32 "attend_f32" 1,
    AttendBf16 "attend_bf16" 1,
    SetText "set_text" 1,
    Embed "embed" 2,
    Sample "sample" 2,
    Advance "advance" 2,
    CopyRows "copy_rows" 3,
    Elu "elu" 3,
    Depthwise "depthwise" 3,
    LstmGates "lstm_gates" 3,
    AddRows "add_rows" 3,
    Magnitude "magnitude" 3,
    Polar "polar" 3,
    WhiteNoise "white_noise" 3,
    FindPeaks "find_peaks" 3,
    LockPhases "lock_phases" 3,
    LockedSpectra "locked_spectra" 3,
    Overlap "overlap" 3,
    ArgmaxCode "argmax_code" 3,
    LookupCodes "lookup_codes" 3,
    SplitRows "split_rows" 4,
    TilesBf16 "tiles_bf16" 4,
    TilesQ8 "tiles_q8" 4,
    TilesQ4 "tiles_q4" 4,
}

/// The structure that a kernel takes: plain numbers and device addresses.
pub(super) trait Arguments: Copy {
    /// The kernels that take it.
    const KERNELS: &'static [Kernel];
}

macro_rules! arguments {
    ($($name:ident for $($kernel:ident)+ { $($field:ident: $type:ty,)* })*) => {
        $(
            #[derive(Clone, Copy)]
            #[repr(C)]
            pub(super) struct $name { $(pub $field: $type),* }
            impl Arguments for $name {
                const KERNELS: &'static [Kernel] = &[$(Kernel::$kernel),+];
            }
        )*
        /// Kernels and the size of their argument in bytes.
        #[cfg(test)]
        pub(super) const SIZES: &[(&[Kernel], usize)] = &[$(($name::KERNELS, size_of::<$name>())),*];
    };
}

/// A packed matrix.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct MatArgument {
    pub w: u64,
    pub scales: u64,
    pub rows: i32,
    pub cols: i32,
    pub format: i32,
    pub vectors: i32,
}

impl MatArgument {
    /// No matrix.
    pub(super) const NONE: MatArgument = MatArgument { w: 0, scales: 0, rows: 0, cols: 0, format: 0, vectors: 0 };
}

/// The most tables that [`Embed`] takes: streams and controls.
pub(super) const TABLES: usize = 24;

arguments! {
    Linear for LinearF32x2 LinearF32x8 LinearF32Many LinearBf16x2 LinearBf16x8 LinearBf16Many LinearQ8x2 LinearQ8x8 LinearQ8Many
        LinearQ4x2 LinearQ4x8 LinearQ4Many {
        m: MatArgument, bias: u64, norm_w: u64, norm_b: u64, x: u64, y: u64,
        x_at: i64, x_stride: i64, y_at: i64, y_stride: i64,
        count: i32, act: i32, add: i32, eps: f32,
        k: u64, v: u64, pos: u64,
        append: i32, n: i32, dim: i32, head_dim: i32, padded: i32, steps: i32, keys_bf16: i32, unused: i32,
        k_head: i64, v_head: i64,
    }
    Tiles for SplitRows TilesBf16 TilesQ8 TilesQ4 { a: Linear, parts: u64, }
    Attend for AttendF32 AttendBf16 {
        q: u64, k: u64, v: u64, pos: u64, lens: u64, out: u64, partial: u64, finished: u64,
        k_head: i64, v_head: i64,
        first_row: i32, n: i32, heads: i32, head_dim: i32, padded: i32, steps: i32, splits: i32, scale: f32,
    }
    SetText for SetText {
        keys: u64, values: u64, k: u64, v: u64, k_head: i64, v_head: i64,
        heads: i32, head_dim: i32, padded: i32, bf16: i32,
    }
    Embed for Embed {
        tables: [MatArgument; TABLES], seq: u64, ctl: u64, masked: u64, pos: u64, sinusoids: u64, x: u64,
        streams: i32, controls: i32, steps: i32, dim: i32, n: i32, branches: i32,
    }
    Sample for Sample {
        logits: u64, seq: u64, pos: u64, sampling: u64, cards: u64, delays: u64, cfg_scale: u64, finished: u64,
        songs: i32, branches: i32, streams: i32, steps: i32, width: i32, n: i32, logits_len: i32, sort_len: i32,
    }
    Advance for Advance { pos: u64, n: i32, unused: i32, }
    CopyRows for CopyRows {
        src: u64, dst: u64, from_at: i64, from_stride: i64, to_at: i64, to_stride: i64, rows: i32, width: i32,
    }
    Elu for Elu { x: u64, y: u64, len: i64, }
    Depthwise for Depthwise { w: u64, bias: u64, x: u64, y: u64, kernel: i32, dim: i32, count: i32, unused: i32, }
    LstmGates for LstmGates { gates: u64, hidden: u64, h: u64, c: u64, row: u64, size: i32, unused: i32, }
    AddRows for AddRows {
        rows: u64, x: u64, y: u64, x_at: i64, x_stride: i64, y_at: i64, y_stride: i64, count: i32, width: i32,
    }
    Magnitude for Magnitude { parts: u64, y: u64, y_at: i64, y_stride: i64, count: i32, bins: i32, scale: f32, unused: i32, }
    Polar for Polar {
        x: u64, y: u64, x_at: i64, x_stride: i64, y_at: i64, y_stride: i64, count: i32, half: i32, max_log: f32, unused: i32,
    }
    WhiteNoise for WhiteNoise { state: u64, x: u64, half: i32, hop: i32, len: i32, seed: u32, }
    FindPeaks for FindPeaks {
        x: u64, peak: u64, advance: u64, x_at: i64, x_stride: i64, count: i32, half: i32, n_fft: i32, hop: i32, scale: f32, unused: i32,
    }
    LockPhases for LockPhases { peak: u64, advance: u64, state: u64, phases: u64, count: i32, half: i32, }
    LockedSpectra for LockedSpectra {
        x: u64, noise: u64, phases: u64, y: u64, x_at: i64, x_stride: i64, y_at: i64, y_stride: i64, count: i32, half: i32,
        max_log: f32, scale: f32, from: i32, unused: i32,
    }
    Overlap for Overlap {
        windows: u64, tail: u64, envelope: u64, y: u64, next: u64, y_at: i64, count: i32, n_fft: i32, hop: i32, unused: i32,
    }
    ArgmaxCode for ArgmaxCode { vectors: MatArgument, scores: u64, norms: u64, z: u64, codes: u64, z_at: i64, z_stride: i64, }
    LookupCodes for LookupCodes { vectors: MatArgument, codes: u64, z: u64, z_at: i64, z_stride: i64, add: i32, unused: i32, }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha2::{Digest, Sha256};
    use std::fmt::Write;

    /// The parameter of a kernel in PTX is `.param .align 8 .b8 NAME_param_0[BYTES]`.
    fn bytes(kernel: Kernel) -> usize {
        let mark = format!("{}_param_0[", kernel.name());
        let text = SOURCES[kernel.source()];
        let at = text.find(&mark).unwrap_or_else(|| panic!("no kernel {} in its source", kernel.name())) + mark.len();
        text[at..].split(']').next().and_then(|n| n.parse().ok()).expect("a number of bytes")
    }

    #[test]
    fn arguments_have_the_size_that_the_kernels_declare() {
        let mut seen = Vec::new();
        for (kernels, size) in SIZES {
            for kernel in *kernels {
                assert_eq!(bytes(*kernel), *size, "{}", kernel.name());
                seen.push(*kernel);
            }
        }
        assert!(Kernel::ALL.iter().all(|k| seen.contains(k)), "a kernel has no argument structure");
    }

    #[test]
    fn shipped_ptx_was_compiled_from_these_sources() {
        let sources = [
            ("linear", include_str!("../../cu/linear.cu")),
            ("attention", include_str!("../../cu/attention.cu")),
            ("step", include_str!("../../cu/step.cu")),
            ("codec", include_str!("../../cu/codec.cu")),
            ("tiles", include_str!("../../cu/tiles.cu")),
        ];
        for ((name, source), ptx) in sources.into_iter().zip(SOURCES) {
            let mut digest = String::new();
            let headers = [include_str!("../../cu/common.cuh"), include_str!("../../cu/linear.cuh")].concat();
            for byte in Sha256::new().chain_update(headers).chain_update(source).finalize() {
                write!(digest, "{byte:02x}").expect("a String takes all");
            }
            let said = ptx.lines().next().unwrap_or_default();
            assert_eq!(said, format!("// sources {digest}"), "{name}.cu has changed: run python kernels/cu/compile.py");
        }
    }
}
