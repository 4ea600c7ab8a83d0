//! Thirty-two lanes of one value, and the macros that lift a plain expression over them.

/// One register of a warp: the bits of each lane, zero-extended.
pub type V = [u64; 32];

/// A function over whole warps. It is pure, so it may run on inactive lanes.
#[derive(Clone, Copy)]
pub enum Alu {
    /// One operand.
    F1(fn(&V, &mut V)),
    /// Two operands.
    F2(fn(&V, &V, &mut V)),
    /// Three operands.
    F3(fn(&V, &V, &V, &mut V)),
    /// A float operation with rounding, flushing or saturation that has no fast form.
    Float(super::float::Spec),
    /// An operation on f16 or bf16, single or in pairs.
    Half(super::half::Spec),
    /// A conversion.
    Convert(super::convert::Spec),
    /// Any three bits to one, by table.
    Lop3(u8),
}

/// Conversion of a value to and from a lane's bits.
pub trait Lane: Copy {
    /// From the lane's bits.
    fn of(bits: u64) -> Self;
    /// To the lane's bits.
    fn bits(self) -> u64;
}

macro_rules! integer_lane {
    ($($t:ty => $u:ty),*) => {$(impl Lane for $t {
        #[inline(always)]
        fn of(bits: u64) -> Self { bits as $t }
        #[inline(always)]
        fn bits(self) -> u64 { self as $u as u64 }
    })*};
}
integer_lane!(u8 => u8, i8 => u8, u16 => u16, i16 => u16, u32 => u32, i32 => u32, u64 => u64, i64 => u64);

impl Lane for f32 {
    #[inline(always)]
    fn of(bits: u64) -> Self {
        f32::from_bits(bits as u32)
    }
    /// Hardware makes only one NaN, 0x7fffffff.
    #[inline(always)]
    fn bits(self) -> u64 {
        if self.is_nan() { 0x7fff_ffff } else { self.to_bits() as u64 }
    }
}

impl Lane for f64 {
    #[inline(always)]
    fn of(bits: u64) -> Self {
        f64::from_bits(bits)
    }
    #[inline(always)]
    fn bits(self) -> u64 {
        if self.is_nan() { 0x7fff_ffff_ffff_ffff } else { self.to_bits() }
    }
}

/// Whether the CPU has AVX2, with which lanes run several times faster.
pub fn wide() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// Lifts `|a, b| expression` over lanes: `lift!(i32, |a, b| a.wrapping_add(b))`, `lift!(i32 => i64, |a| a as i64)`.
macro_rules! lift {
    ($t:ty, |$($x:ident),+| $e:expr) => { lift!($t => $t, |$($x),+| $e) };
    ($t:ty => $r:ty, |$a:ident| $e:expr) => { lift!(F1, $t => $r, |$a| $e) };
    ($t:ty => $r:ty, |$a:ident, $b:ident| $e:expr) => { lift!(F2, $t => $r, |$a, $b| $e) };
    ($t:ty => $r:ty, |$a:ident, $b:ident, $c:ident| $e:expr) => { lift!(F3, $t => $r, |$a, $b, $c| $e) };
    ($kind:ident, $t:ty => $r:ty, |$($x:ident),+| $e:expr) => {{
        use $crate::program::lane::{Alu, Lane, V, wide};
        #[inline(always)]
        fn each($($x: &V,)+ o: &mut V) {
            for i in 0..32 {
                $(let $x = <$t as Lane>::of($x[i]);)+
                let r: $r = $e;
                o[i] = Lane::bits(r);
            }
        }
        fn plain($($x: &V,)+ o: &mut V) {
            each($($x,)+ o)
        }
        #[cfg(target_arch = "x86_64")]
        fn fast($($x: &V,)+ o: &mut V) {
            #[target_feature(enable = "avx2,fma")]
            fn go($($x: &V,)+ o: &mut V) {
                each($($x,)+ o)
            }
            // SAFETY: `fast` is taken only where the CPU has AVX2 and FMA.
            unsafe { go($($x,)+ o) }
        }
        #[cfg(not(target_arch = "x86_64"))]
        fn fast($($x: &V,)+ o: &mut V) {
            each($($x,)+ o)
        }
        Alu::$kind(if wide() { fast } else { plain })
    }};
}
pub(crate) use lift;

impl Alu {
    /// Applies the function; operands it lacks are not read.
    #[inline(always)]
    pub fn apply(&self, a: &V, b: &V, c: &V, out: &mut V) {
        match self {
            Alu::F1(f) => f(a, out),
            Alu::F2(f) => f(a, b, out),
            Alu::F3(f) => f(a, b, c, out),
            Alu::Float(s) => {
                for i in 0..32 {
                    out[i] = s.apply(a[i], b[i], c[i]);
                }
            }
            Alu::Half(s) => {
                for i in 0..32 {
                    out[i] = s.apply(a[i], b[i], c[i]);
                }
            }
            Alu::Convert(s) => {
                for i in 0..32 {
                    out[i] = s.apply(a[i]);
                }
            }
            Alu::Lop3(table) => lop3(*table, a, b, c, out),
        }
    }
}

fn lop3(table: u8, a: &V, b: &V, c: &V, out: &mut V) {
    for i in 0..32 {
        let mut r = 0u64;
        for k in 0..8u32 {
            if table >> k & 1 == 1 {
                let x = if k & 4 != 0 { a[i] } else { !a[i] };
                let y = if k & 2 != 0 { b[i] } else { !b[i] };
                let z = if k & 1 != 0 { c[i] } else { !c[i] };
                r |= x & y & z;
            }
        }
        out[i] = r & 0xffff_ffff;
    }
}
