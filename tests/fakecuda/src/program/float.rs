//! f32 and f64: arithmetic with every rounding, flushing and saturation, and the approximate functions.
//! Functions that hardware approximates are rounded correctly here.

use super::decoder::{Decoder, Result, Words, alu};
use super::lane::{Alu, Lane, lift};
use super::op::Op;
use crate::ptx::Ty;

/// Rounding of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Round {
    Nearest,
    Zero,
    Down,
    Up,
}

pub(crate) const ROUNDS: [(&str, Round); 4] =
    [("rn", Round::Nearest), ("rz", Round::Zero), ("rm", Round::Down), ("rp", Round::Up)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Add,
    Sub,
    Mul,
    Fma,
    Div,
    Sqrt,
}

/// An f32 operation with its modifiers.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    kind: Kind,
    round: Round,
    ftz: bool,
    sat: bool,
}

/// Zero for a subnormal, of the same sign.
#[inline(always)]
pub fn flush(x: f32) -> f32 {
    if x.is_subnormal() { 0f32.copysign(x) } else { x }
}

/// Sum rounded to odd: rounding it again to a much narrower format equals rounding the exact sum.
pub fn add_odd(a: f64, b: f64) -> f64 {
    let s = a + b;
    if !s.is_finite() {
        return s;
    }
    let bb = s - a;
    let err = (a - (s - bb)) + (b - bb);
    odd(s, err)
}

/// `s` with its last bit set if it is not exact; `err` is exact less `s`.
fn odd(s: f64, err: f64) -> f64 {
    if err == 0.0 || s.to_bits() & 1 == 1 {
        return s;
    }
    let away = (err > 0.0) == (s > 0.0);
    f64::from_bits(if away { s.to_bits() + 1 } else { s.to_bits().wrapping_sub(1) })
}

/// Rounds to f32 in a direction.
pub fn to_f32(x: f64, round: Round) -> f32 {
    let r = x as f32;
    if r.is_nan() || r as f64 == x {
        return r;
    }
    match round {
        Round::Nearest => r,
        Round::Zero if (r as f64).abs() > x.abs() => {
            if x > 0.0 {
                r.next_down()
            } else {
                r.next_up()
            }
        }
        Round::Down if r as f64 > x => r.next_down(),
        Round::Up if (r as f64) < x => r.next_up(),
        _ => r,
    }
}

impl Spec {
    /// One lane.
    pub fn apply(&self, a: u64, b: u64, c: u64) -> u64 {
        let read = |x: u64| {
            let x = f32::from_bits(x as u32);
            (if self.ftz { flush(x) } else { x }) as f64
        };
        let (a, b, c) = (read(a), read(b), read(c));
        let exact = match self.kind {
            Kind::Add => add_odd(a, b),
            Kind::Sub => add_odd(a, -b),
            Kind::Mul => a * b,
            Kind::Fma => add_odd(a * b, c),
            Kind::Div => {
                let q = a / b;
                if q.is_finite() && b.is_finite() && q != 0.0 { odd(q, (-q).mul_add(b, a) * b.signum()) } else { q }
            }
            Kind::Sqrt => {
                let q = a.sqrt();
                if q.is_finite() && q != 0.0 { odd(q, (-q).mul_add(q, a)) } else { q }
            }
        };
        let mut r = to_f32(exact, self.round);
        let sum = matches!(self.kind, Kind::Add | Kind::Sub | Kind::Fma);
        if sum && r == 0.0 && exact == 0.0 && self.round == Round::Down {
            let (x, y) = match self.kind {
                Kind::Add => (a, b),
                Kind::Sub => (a, -b),
                _ => (a * b, c),
            };
            r = if x.is_sign_positive() && y.is_sign_positive() { 0.0 } else { -0.0 };
        }
        if self.ftz {
            r = flush(r);
        }
        if self.sat {
            r = saturate(r);
        }
        r.bits()
    }
}

/// Into [0, 1]; NaN becomes 0.
pub fn saturate(x: f32) -> f32 {
    if x.is_nan() || x <= 0.0 { 0.0 } else { x.min(1.0) }
}

macro_rules! f32op {
    ($ftz:expr, |$($x:ident),+| $e:expr) => {
        if $ftz {
            lift!(f32, |$($x),+| { $(let $x = flush($x);)+ flush($e) })
        } else {
            lift!(f32, |$($x),+| $e)
        }
    };
}

/// The smaller or larger; a NaN loses unless `nan`, and -0 lies below +0.
pub(crate) fn pick<T: PartialOrd + Copy>(a: T, b: T, larger: bool, nan: bool, is_nan: fn(T) -> bool, sign: fn(T) -> bool) -> T {
    if is_nan(a) || is_nan(b) {
        return if is_nan(a) == nan { a } else { b };
    }
    let a_wins = if a == b { sign(a) != larger } else { (a > b) == larger };
    if a_wins { a } else { b }
}

fn min_max32(a: f32, b: f32, larger: bool, nan: bool) -> f32 {
    pick(a, b, larger, nan, f32::is_nan, f32::is_sign_negative)
}

fn min_max64(a: f64, b: f64, larger: bool) -> f64 {
    pick(a, b, larger, false, f64::is_nan, f64::is_sign_negative)
}

/// Decodes an instruction on f32 or f64; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    let ty = w.one_of(&[("f32", Ty::F32), ("f64", Ty::F64), ("f32x2", Ty::F32x2)]);
    let Some(ty) = ty else { return Ok(None) };
    let (ftz, sat, approx, full) = (w.take("ftz"), w.take("sat"), w.take("approx"), w.take("full"));
    let round = w.one_of(&ROUNDS);
    let plain = !sat && !approx && !full && round.is_none();
    let arithmetic = |kind| match (ftz, sat, round.unwrap_or(Round::Nearest)) {
        (false, false, Round::Nearest) => None,
        (ftz, sat, round) => Some(Alu::Float(Spec { kind, round, ftz, sat })),
    };
    let pure = |f: Alu| if plain && !ftz { Ok(f) } else { Err("a modifier that this instruction does not take".to_string()) };
    let wide = |f: Alu| {
        if ftz || sat || round.is_some_and(|r| r != Round::Nearest) || approx || full {
            Err("only round-to-nearest f64 is known".to_string())
        } else {
            Ok(f)
        }
    };
    if approx && !matches!(first, "div" | "rcp" | "sqrt" | "rsqrt" | "sin" | "cos" | "lg2" | "ex2" | "tanh") {
        return Err(".approx does not go with this".into());
    }
    if ty == Ty::F32x2 {
        return pairs(d, first, pure_pair(ftz, sat, round)?).map(Some);
    }
    let double = ty == Ty::F64;
    let args = d.all_args().len().saturating_sub(1);
    let f = match (first, double) {
        ("add", false) => arithmetic(Kind::Add).unwrap_or(lift!(f32, |a, b| a + b)),
        ("sub", false) => arithmetic(Kind::Sub).unwrap_or(lift!(f32, |a, b| a - b)),
        ("mul", false) => arithmetic(Kind::Mul).unwrap_or(lift!(f32, |a, b| a * b)),
        ("fma" | "mad", false) => arithmetic(Kind::Fma).unwrap_or(lift!(f32, |a, b, c| a.mul_add(b, c))),
        ("div", false) if approx || full => f32op!(ftz, |a, b| a / b),
        ("div", false) => arithmetic(Kind::Div).unwrap_or(lift!(f32, |a, b| a / b)),
        ("sqrt", false) if approx => f32op!(ftz, |a| a.sqrt()),
        ("sqrt", false) => arithmetic(Kind::Sqrt).unwrap_or(lift!(f32, |a| a.sqrt())),
        ("rcp", false) => match (approx, round) {
            (true, None) | (false, Some(Round::Nearest)) => f32op!(ftz, |a| 1.0 / a),
            _ => return Err("only rcp.approx and rcp.rn are known".into()),
        },
        ("rsqrt", false) if approx => f32op!(ftz, |a| (1.0 / (a as f64).sqrt()) as f32),
        ("sin", false) if approx => f32op!(ftz, |a| (a as f64).sin() as f32),
        ("cos", false) if approx => f32op!(ftz, |a| (a as f64).cos() as f32),
        ("lg2", false) if approx => f32op!(ftz, |a| (a as f64).log2() as f32),
        ("ex2", false) if approx => f32op!(ftz, |a| (a as f64).exp2() as f32),
        ("tanh", false) if approx => f32op!(ftz, |a| (a as f64).tanh() as f32),
        ("min" | "max", false) if plain => {
            let nan = w.take("NaN");
            match (first, nan, args) {
                ("min", false, 2) => f32op!(ftz, |a, b| min_max32(a, b, false, false)),
                ("max", false, 2) => f32op!(ftz, |a, b| min_max32(a, b, true, false)),
                ("min", true, 2) => f32op!(ftz, |a, b| min_max32(a, b, false, true)),
                ("max", true, 2) => f32op!(ftz, |a, b| min_max32(a, b, true, true)),
                ("min", false, 3) => f32op!(ftz, |a, b, c| min_max32(min_max32(a, b, false, false), c, false, false)),
                ("max", false, 3) => f32op!(ftz, |a, b, c| min_max32(min_max32(a, b, true, false), c, true, false)),
                _ => return Err("this form is not known".into()),
            }
        }
        ("abs", false) if plain && ftz => lift!(f32, |a| flush(a).abs()),
        ("neg", false) if plain && ftz => lift!(f32, |a| -flush(a)),
        ("abs", false) => pure(lift!(u32, |a| a & 0x7fff_ffff))?,
        ("neg", false) => pure(lift!(u32, |a| a ^ 0x8000_0000))?,
        ("copysign", false) => pure(lift!(u32, |a, b| a & 0x8000_0000 | b & 0x7fff_ffff))?,
        ("add", true) => wide(lift!(f64, |a, b| a + b))?,
        ("sub", true) => wide(lift!(f64, |a, b| a - b))?,
        ("mul", true) => wide(lift!(f64, |a, b| a * b))?,
        ("fma" | "mad", true) => wide(lift!(f64, |a, b, c| a.mul_add(b, c)))?,
        ("div", true) => wide(lift!(f64, |a, b| a / b))?,
        ("rcp", true) => wide(lift!(f64, |a| 1.0 / a))?,
        ("sqrt", true) => wide(lift!(f64, |a| a.sqrt()))?,
        ("min", true) => wide(lift!(f64, |a, b| min_max64(a, b, false)))?,
        ("max", true) => wide(lift!(f64, |a, b| min_max64(a, b, true)))?,
        ("abs", true) => wide(lift!(u64, |a| a & !(1 << 63)))?,
        ("neg", true) => wide(lift!(u64, |a| a ^ 1 << 63))?,
        ("copysign", true) => wide(lift!(u64, |a, b| a & 1 << 63 | b & !(1 << 63)))?,
        _ => return Ok(None),
    };
    let n = match &f {
        Alu::F1(_) => 1,
        Alu::F2(_) => 2,
        Alu::Float(s) => match s.kind {
            Kind::Fma => 3,
            Kind::Sqrt => 1,
            _ => 2,
        },
        _ => 3,
    };
    alu(d, f, ty, &[ty; 3][..n]).map(Some)
}

fn pure_pair(ftz: bool, sat: bool, round: Option<Round>) -> Result<()> {
    if ftz || sat || round.is_some_and(|r| r != Round::Nearest) {
        return Err("only round-to-nearest f32x2 is known".into());
    }
    Ok(())
}

/// Two f32 in 64 bits.
fn pairs(d: &mut Decoder, first: &str, _plain: ()) -> Result<Op> {
    fn both(a: u64, b: u64, c: u64, f: fn(f32, f32, f32) -> f32) -> u64 {
        let half = |s: u32| f(f32::of(a >> s), f32::of(b >> s), f32::of(c >> s)).bits() << s;
        half(0) | half(32)
    }
    let (f, n) = match first {
        "add" => (lift!(u64, |a, b| both(a, b, 0, |a, b, _| a + b)), 2),
        "sub" => (lift!(u64, |a, b| both(a, b, 0, |a, b, _| a - b)), 2),
        "mul" => (lift!(u64, |a, b| both(a, b, 0, |a, b, _| a * b)), 2),
        "fma" => (lift!(u64, |a, b, c| both(a, b, c, |a, b, c| a.mul_add(b, c))), 3),
        _ => return Err("not for this type".into()),
    };
    alu(d, f, Ty::F32x2, &[Ty::F32x2; 3][..n])
}
