//! f16 and bf16, single and in pairs. Each result is rounded once, from the exact value.

use super::decoder::{Decoder, Result, Words, alu};
use super::float::{Round, add_odd, pick};
use super::lane::Alu;
use super::op::Op;
use crate::ptx::Ty;

/// f16 or bf16 as numbers: bits of mantissa and the smallest normal exponent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Format {
    F16,
    Bf16,
}

impl Format {
    fn shape(self) -> (i32, i32) {
        match self {
            Format::F16 => (10, -14),
            Format::Bf16 => (7, -126),
        }
    }

    /// The value of these bits.
    pub fn read(self, bits: u16) -> f64 {
        match self {
            Format::F16 => half::f16::from_bits(bits).to_f64(),
            Format::Bf16 => half::bf16::from_bits(bits).to_f64(),
        }
    }

    /// The nearest bits (or the next towards zero); NaN is 0x7fff.
    pub fn write(self, x: f64, round: Round) -> u16 {
        let (mantissa, low) = self.shape();
        let sign = ((x.to_bits() >> 63) as u16) << 15;
        if x.is_nan() {
            return 0x7fff;
        }
        let bias = 1 - low;
        let infinity = ((2 * bias + 1) as u16) << mantissa;
        let size = x.abs();
        if size.is_infinite() {
            return sign | infinity;
        }
        let exponent = ((size.to_bits() >> 52) as i32 - 1023).clamp(low, 1000);
        let quantum = exponent - mantissa;
        let scaled = size * f64::from_bits(((1023 - quantum) as u64) << 52);
        let up = match round {
            Round::Down => sign != 0,
            Round::Up => sign == 0,
            _ => false,
        };
        let r = match round {
            Round::Nearest => scaled.round_ties_even(),
            _ if up => scaled.ceil(),
            _ => scaled.trunc(),
        };
        let bits = (((quantum + mantissa + bias) as u64) << mantissa) + r as u64 - (1 << mantissa);
        if bits >= infinity as u64 {
            let finite = round != Round::Nearest && !up;
            return sign | if finite { infinity - 1 } else { infinity };
        }
        sign | bits as u16
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Fma,
    Min,
    Max,
    Neg,
    Abs,
    Exp2,
    Tanh,
}

/// One operation on halves.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    kind: Kind,
    format: Format,
    pair: bool,
    ftz: bool,
    sat: bool,
    relu: bool,
    nan: bool,
}

impl Spec {
    /// One lane: one or two halves.
    pub fn apply(&self, a: u64, b: u64, c: u64) -> u64 {
        let low = self.one(a as u16, b as u16, c as u16) as u64;
        if self.pair { low | (self.one((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16) as u64) << 16 } else { low }
    }

    fn one(&self, a: u16, b: u16, c: u16) -> u16 {
        match self.kind {
            Kind::Neg => return a ^ 0x8000,
            Kind::Abs => return a & 0x7fff,
            _ => {}
        }
        let small = f64::from_bits(((1023 + self.format.shape().1) as u64) << 52);
        let flush = |x: f64| if self.ftz && x.abs() < small { 0f64.copysign(x) } else { x };
        let (a, b, c) = (flush(self.format.read(a)), flush(self.format.read(b)), flush(self.format.read(c)));
        let mut r = match self.kind {
            Kind::Add => add_odd(a, b),
            Kind::Sub => add_odd(a, -b),
            Kind::Mul => a * b,
            Kind::Fma => add_odd(a * b, c),
            Kind::Min => pick(a, b, false, self.nan, f64::is_nan, f64::is_sign_negative),
            Kind::Max => pick(a, b, true, self.nan, f64::is_nan, f64::is_sign_negative),
            Kind::Exp2 => a.exp2(),
            Kind::Tanh => a.tanh(),
            Kind::Neg | Kind::Abs => a,
        };
        if self.relu && r < 0.0 {
            r = 0.0;
        }
        if self.sat {
            r = if r.is_nan() || r <= 0.0 { 0.0 } else { r.min(1.0) };
        }
        let bits = self.format.write(r, Round::Nearest);
        if self.ftz && self.format.read(bits).abs() < small { bits & 0x8000 } else { bits }
    }
}

/// Decodes an instruction on f16, bf16 or pairs of them; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    let ty = w.one_of(&[("f16x2", Ty::F16x2), ("bf16x2", Ty::Bf16x2), ("f16", Ty::F16), ("bf16", Ty::Bf16)]);
    let Some(ty) = ty else { return Ok(None) };
    let (kind, n) = match first {
        "add" => (Kind::Add, 2),
        "sub" => (Kind::Sub, 2),
        "mul" => (Kind::Mul, 2),
        "fma" => (Kind::Fma, 3),
        "min" => (Kind::Min, 2),
        "max" => (Kind::Max, 2),
        "neg" => (Kind::Neg, 1),
        "abs" => (Kind::Abs, 1),
        "ex2" if w.take("approx") => (Kind::Exp2, 1),
        "tanh" if w.take("approx") => (Kind::Tanh, 1),
        _ => return Ok(None),
    };
    let arithmetic = matches!(kind, Kind::Add | Kind::Sub | Kind::Mul | Kind::Fma);
    if arithmetic {
        w.take("rn");
    }
    let f16 = matches!(ty, Ty::F16 | Ty::F16x2);
    let spec = Spec {
        kind,
        format: if f16 { Format::F16 } else { Format::Bf16 },
        pair: matches!(ty, Ty::F16x2 | Ty::Bf16x2),
        ftz: w.take("ftz"),
        sat: arithmetic && w.take("sat"),
        relu: kind == Kind::Fma && w.take("relu"),
        nan: matches!(kind, Kind::Min | Kind::Max) && w.take("NaN"),
    };
    alu(d, Alu::Half(spec), ty, &[ty; 3][..n]).map(Some)
}
