//! `cvt` between any two types, and `mov` with its packing and unpacking.

use super::decoder::{Decoder, Result, Words};
use super::float::{ROUNDS, Round, flush, saturate, to_f32};
use super::half::Format;
use super::lane::{Alu, Lane, lift};
use super::op::{Op, PredOp, PredSrc};
use crate::ptx::{Arg, Ty};

/// One conversion.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    to: Ty,
    from: Ty,
    /// Rounding of the result.
    round: Round,
    /// Rounding to an integral value (`.rni` and so on).
    integral: Option<Round>,
    ftz: bool,
    sat: bool,
    relu: bool,
    /// Width of the register that takes the result.
    bits: u32,
}

fn round_integral(x: f64, round: Round) -> f64 {
    match round {
        Round::Nearest => x.round_ties_even(),
        Round::Zero => x.trunc(),
        Round::Down => x.floor(),
        Round::Up => x.ceil(),
    }
}

fn range(ty: Ty) -> (i128, i128) {
    let bits = ty.bits();
    if ty.signed() { (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) }
}

impl Spec {
    /// One lane.
    pub fn apply(&self, a: u64) -> u64 {
        let r = if self.from.float() { self.of_float(a) } else { self.of_integer(a) };
        // Narrow results are extended to the register's width.
        let to = self.to.bits();
        let wide = if self.to.signed() && to < 64 { ((r << (64 - to)) as i64 >> (64 - to)) as u64 } else { r };
        if self.bits >= 64 { wide } else { wide & ((1 << self.bits) - 1) }
    }

    fn of_integer(&self, a: u64) -> u64 {
        let bits = self.from.bits();
        let low = if bits >= 64 { a } else { a & ((1 << bits) - 1) };
        let value: i128 = if self.from.signed() { ((low << (64 - bits)) as i64 >> (64 - bits)) as i128 } else { low as i128 };
        match self.to {
            Ty::F32 => {
                let r = value as f32;
                let exact = r as i128;
                let adjusted = match self.round {
                    Round::Zero if exact.abs() > value.abs() => {
                        if value > 0 {
                            r.next_down()
                        } else {
                            r.next_up()
                        }
                    }
                    Round::Down if exact > value => r.next_down(),
                    Round::Up if exact < value => r.next_up(),
                    _ => r,
                };
                (if self.sat { saturate(adjusted) } else { adjusted }).bits()
            }
            Ty::F64 => (value as f64).bits(),
            Ty::F16 => Format::F16.write(value as f64, self.round) as u64,
            Ty::Bf16 => Format::Bf16.write(value as f64, self.round) as u64,
            _ if self.sat => {
                let (low, high) = range(self.to);
                value.clamp(low, high) as u64
            }
            _ => value as u64,
        }
    }

    fn of_float(&self, a: u64) -> u64 {
        let mut x = match self.from {
            Ty::F32 => {
                let x = f32::of(a);
                (if self.ftz { flush(x) } else { x }) as f64
            }
            Ty::F64 => f64::of(a),
            Ty::F16 => Format::F16.read(a as u16),
            _ => Format::Bf16.read(a as u16),
        };
        if let Some(round) = self.integral {
            x = round_integral(x, round);
        }
        if self.relu && (x < 0.0 || x.is_nan()) {
            x = if x.is_nan() { x } else { 0.0 };
        }
        if self.sat && self.to.float() {
            x = if x.is_nan() || x <= 0.0 { 0.0 } else { x.min(1.0) };
        }
        match self.to {
            Ty::F32 => {
                let r = to_f32(x, self.round);
                (if self.ftz { flush(r) } else { r }).bits()
            }
            Ty::F64 => x.bits(),
            Ty::F16 => Format::F16.write(x, self.round) as u64,
            Ty::Bf16 => Format::Bf16.write(x, self.round) as u64,
            _ => {
                if x.is_nan() {
                    let wide = self.from == Ty::F64 || self.to.bits() == 64;
                    return if wide { 1 << (self.to.bits() - 1) } else { 0 };
                }
                let (low, high) = range(self.to);
                (x as i128).clamp(low, high) as u64
            }
        }
    }
}

/// Decodes `cvt` and `mov`; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    match first {
        "cvt" => convert(d, w).map(Some),
        "mov" => copy(d, w).map(Some),
        _ => Ok(None),
    }
}

fn convert(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let (ftz, sat, relu) = (w.take("ftz"), w.take("sat"), w.take("relu"));
    let round = w.one_of(&ROUNDS);
    let integral = w.one_of(&[("rni", Round::Nearest), ("rzi", Round::Zero), ("rmi", Round::Down), ("rpi", Round::Up)]);
    let (to, from) = (w.next_ty()?, w.next_ty()?);
    if matches!(to, Ty::F16x2 | Ty::Bf16x2) {
        if from != Ty::F32 || sat || ftz || integral.is_some() {
            return Err("only two f32 convert to a pair of halves".into());
        }
        return pair(d, to, round, relu);
    }
    let sized = |t: Ty| t.float() || range_known(t);
    if !sized(to) || !sized(from) || relu && !matches!(to, Ty::F16 | Ty::Bf16) {
        return Err("this conversion is not known".into());
    }
    if from.float() && !to.float() && integral.is_none() {
        return Err("a rounding such as .rzi is missing".into());
    }
    let narrower = to.float() && (from.float() && to.bits() < from.bits() || !from.float());
    if narrower && round.is_none() {
        return Err("a rounding such as .rn is missing".into());
    }
    if !from.float() && to == Ty::F64 && round.is_some_and(|r| r != Round::Nearest) {
        return Err("only round-to-nearest f64 is known".into());
    }
    if to.float() && !from.float() && integral.is_some() || ftz && to != Ty::F32 && from != Ty::F32 {
        return Err("a modifier that this conversion does not take".into());
    }
    let args = d.args(2)?;
    let (r, bits) = d.to_wide(&args[0], to.bits())?;
    let a = match args[1] {
        Arg::Reg(_) => d.to_wide(&args[1], from.bits())?.0,
        _ => d.from(&args[1], from)?,
    };
    let zero = d.constant(0);
    let plain = !sat && !ftz && !relu;
    let f = match (to, from) {
        (Ty::U64 | Ty::S64, Ty::U32) if plain => lift!(u32 => u64, |a| a as u64),
        (Ty::U64 | Ty::S64, Ty::S32) if plain => lift!(i32 => i64, |a| a as i64),
        (Ty::U32 | Ty::S32, Ty::U64 | Ty::S64) if plain && bits == 32 => lift!(u64 => u32, |a| a as u32),
        (Ty::U32 | Ty::S32, Ty::U8) if plain && bits == 32 => lift!(u8 => u32, |a| a as u32),
        (Ty::U32 | Ty::S32, Ty::U16) if plain && bits == 32 => lift!(u16 => u32, |a| a as u32),
        (Ty::S32, Ty::S8) if plain && bits == 32 => lift!(i8 => i32, |a| a as i32),
        (Ty::S32, Ty::S16) if plain && bits == 32 => lift!(i16 => i32, |a| a as i32),
        (Ty::F32, Ty::S32) if plain && round == Some(Round::Nearest) => lift!(i32 => f32, |a| a as f32),
        (Ty::F32, Ty::U32) if plain && round == Some(Round::Nearest) => lift!(u32 => f32, |a| a as f32),
        (Ty::F32, Ty::F16) if plain && integral.is_none() => lift!(u16 => f32, |a| half::f16::from_bits(a).to_f32()),
        (Ty::F32, Ty::Bf16) if plain && integral.is_none() => lift!(u16 => f32, |a| f32::from_bits((a as u32) << 16)),
        _ => Alu::Convert(Spec { to, from, round: round.unwrap_or(Round::Nearest), integral, ftz, sat, relu, bits }),
    };
    Ok(Op::Alu { f, to: r, a, b: zero, c: zero })
}

fn range_known(t: Ty) -> bool {
    matches!(t, Ty::U8 | Ty::U16 | Ty::U32 | Ty::U64 | Ty::S8 | Ty::S16 | Ty::S32 | Ty::S64)
}

/// The first operand goes to the upper half.
fn pair(d: &mut Decoder, to: Ty, round: Option<Round>, relu: bool) -> Result<Op> {
    fn both(a: u64, b: u64, format: Format, round: Round, relu: bool) -> u64 {
        let one = |x: u64| {
            let x = f32::of(x) as f64;
            format.write(if relu && x < 0.0 { 0.0 } else { x }, round) as u64
        };
        one(a) << 16 | one(b)
    }
    use Format::{Bf16, F16};
    let f = match (to, round, relu) {
        (Ty::F16x2, Some(Round::Nearest), false) => lift!(u64, |a, b| both(a, b, F16, Round::Nearest, false)),
        (Ty::F16x2, Some(Round::Nearest), true) => lift!(u64, |a, b| both(a, b, F16, Round::Nearest, true)),
        (Ty::F16x2, Some(Round::Zero), false) => lift!(u64, |a, b| both(a, b, F16, Round::Zero, false)),
        (Ty::Bf16x2, Some(Round::Nearest), false) => lift!(u64, |a, b| both(a, b, Bf16, Round::Nearest, false)),
        (Ty::Bf16x2, Some(Round::Nearest), true) => lift!(u64, |a, b| both(a, b, Bf16, Round::Nearest, true)),
        (Ty::Bf16x2, Some(Round::Zero), false) => lift!(u64, |a, b| both(a, b, Bf16, Round::Zero, false)),
        _ => return Err("this conversion is not known".into()),
    };
    super::decoder::alu(d, f, to, &[Ty::F32, Ty::F32])
}

fn copy(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let ty = w.next_ty()?;
    let args = d.args(2)?;
    if ty == Ty::Pred {
        let to = d.to_pred(&args[0])?;
        let a = match &args[1] {
            Arg::Int(v) => PredSrc::Const(*v != 0),
            other => PredSrc::Reg(d.pred(other)?),
        };
        return Ok(Op::PredLogic { f: PredOp::Copy, to, a, b: a });
    }
    let part = |n: usize| {
        if (ty.bits() as usize).is_multiple_of(n) && matches!(n, 2 | 4) {
            Ok(ty.bits() / n as u32)
        } else {
            Err("this packing is not known")
        }
    };
    match (&args[0], &args[1]) {
        (Arg::Group(list), from) => {
            let bits = part(list.len())?;
            let to = list.iter().map(|a| d.to_or_sink(a, bits.max(16))).collect::<Result<_>>()?;
            Ok(Op::Unpack { to, a: d.from(from, ty)?, bits })
        }
        (to, Arg::Group(list)) => {
            let bits = part(list.len())?;
            let ty = match bits {
                8 => Ty::B8,
                16 => Ty::B16,
                _ => Ty::B32,
            };
            let parts = list.iter().map(|a| d.from(a, ty)).collect::<Result<_>>()?;
            Ok(Op::Pack { to: d.to(to, bits * list.len() as u32)?, parts, bits })
        }
        (to, Arg::Special(name))
            if matches!(name.as_str(), "%clock" | "%clock64" | "%clock_hi" | "%globaltimer" | "%globaltimer_lo") =>
        {
            Ok(Op::Clock { to: d.to(to, ty.bits())?, bits: ty.bits() })
        }
        (to, from) => {
            let to = d.to(to, ty.bits().max(16))?;
            let a = d.from(from, ty)?;
            d.note_copy(to, a);
            let zero = d.constant(0);
            Ok(Op::Alu { f: lift!(u64, |a| a), to, a, b: zero, c: zero })
        }
    }
}
