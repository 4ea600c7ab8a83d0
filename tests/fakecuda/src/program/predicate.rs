//! Comparisons, selections and predicate logic.

use super::decoder::{Decoder, Result, Words};
use super::half::Format;
use super::lane::{Lane, V, lift};
use super::op::{Op, Pred, PredOp, PredSrc};
use crate::ptx::{Arg, Ty};

type Compare = fn(&V, &V) -> u32;

macro_rules! lanes {
    ($t:ty, |$a:ident, $b:ident| $e:expr) => {{
        fn go(x: &V, y: &V) -> u32 {
            let mut mask = 0;
            for i in 0..32 {
                let ($a, $b) = (<$t as Lane>::of(x[i]), <$t as Lane>::of(y[i]));
                mask |= u32::from($e) << i;
            }
            mask
        }
        go as Compare
    }};
}

macro_rules! ordered {
    ($t:ty, $name:expr) => {
        match $name {
            "eq" => lanes!($t, |a, b| a == b),
            "ne" => lanes!($t, |a, b| a != b),
            "lt" | "lo" => lanes!($t, |a, b| a < b),
            "le" | "ls" => lanes!($t, |a, b| a <= b),
            "gt" | "hi" => lanes!($t, |a, b| a > b),
            "ge" | "hs" => lanes!($t, |a, b| a >= b),
            _ => return None,
        }
    };
}

/// Plain names are false on NaN, names with `u` true.
macro_rules! float {
    ($t:ty, $name:expr, |$x:ident| $read:expr) => {
        match $name {
            "eq" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) == f(b)
            }),
            "ne" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) < f(b) || f(a) > f(b)
            }),
            "lt" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) < f(b)
            }),
            "le" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) <= f(b)
            }),
            "gt" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) > f(b)
            }),
            "ge" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) >= f(b)
            }),
            "equ" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !(f(a) < f(b) || f(a) > f(b))
            }),
            "neu" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a) != f(b)
            }),
            "ltu" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !(f(a) >= f(b))
            }),
            "leu" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !(f(a) > f(b))
            }),
            "gtu" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !(f(a) <= f(b))
            }),
            "geu" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !(f(a) < f(b))
            }),
            "num" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                !f(a).is_nan() && !f(b).is_nan()
            }),
            "nan" => lanes!($t, |a, b| {
                let f = |$x: $t| $read;
                f(a).is_nan() || f(b).is_nan()
            }),
            _ => return None,
        }
    };
}

#[allow(clippy::neg_cmp_op_on_partial_ord)]
fn comparison(name: &str, ty: Ty, ftz: bool) -> Option<Compare> {
    Some(match ty {
        Ty::B16 | Ty::B32 | Ty::B64 if !matches!(name, "eq" | "ne") => return None,
        Ty::U16 | Ty::B16 => ordered!(u16, name),
        Ty::U32 | Ty::B32 => ordered!(u32, name),
        Ty::U64 | Ty::B64 => ordered!(u64, name),
        Ty::S16 => ordered!(i16, name),
        Ty::S32 => ordered!(i32, name),
        Ty::S64 => ordered!(i64, name),
        Ty::F32 if ftz => float!(f32, name, |x| super::float::flush(x)),
        Ty::F32 => float!(f32, name, |x| x),
        Ty::F64 if !ftz => float!(f64, name, |x| x),
        Ty::F16 if !ftz => float!(u16, name, |x| Format::F16.read(x)),
        Ty::Bf16 if !ftz => float!(u16, name, |x| Format::Bf16.read(x)),
        _ => return None,
    })
}

const COMPARISONS: [&str; 18] =
    ["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"];

fn named(w: &mut Words) -> Result<&'static str> {
    COMPARISONS.iter().find(|c| w.take(c)).copied().ok_or_else(|| "a comparison such as .lt is missing".into())
}

/// Decodes comparisons, selections and predicate logic; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    match first {
        "setp" => setp(d, w).map(Some),
        "set" => set(d, w).map(Some),
        "selp" => {
            let ty = w.next_ty()?;
            let args = d.args(4)?;
            let (to, p) = (d.to(&args[0], ty.bits())?, d.pred(&args[3])?);
            Ok(Some(Op::Select { to, a: d.from(&args[1], ty)?, b: d.from(&args[2], ty)?, p }))
        }
        "slct" => {
            let (ty, by) = (w.next_ty()?, w.next_ty()?);
            let f = match by {
                Ty::S32 => lift!(u64, |a, b, c| if c as i32 >= 0 { a } else { b }),
                Ty::F32 => lift!(u64, |a, b, c| if f32::of(c) >= 0.0 { a } else { b }),
                _ => return Err("not for this type".into()),
            };
            super::decoder::alu(d, f, ty, &[ty, ty, by]).map(Some)
        }
        "testp" => testp(d, w).map(Some),
        "and" | "or" | "xor" | "not" if w.take("pred") => {
            let f = match first {
                "and" => PredOp::And,
                "or" => PredOp::Or,
                "xor" => PredOp::Xor,
                _ => PredOp::Not,
            };
            let args = d.args(if first == "not" { 2 } else { 3 })?;
            let source = |d: &Decoder, a: &Arg| match a {
                Arg::Int(v) => Ok(PredSrc::Const(*v != 0)),
                other => d.pred(other).map(PredSrc::Reg),
            };
            let (to, a) = (d.to_pred(&args[0])?, source(d, &args[1])?);
            Ok(Some(Op::PredLogic { f, to, a, b: source(d, &args[args.len() - 1])? }))
        }
        _ => Ok(None),
    }
}

/// The third operand and the boolean that combines the comparison with it.
fn combined(d: &Decoder, with: Option<PredOp>, rest: &[Arg]) -> Result<Option<(PredOp, Pred)>> {
    match (with, rest) {
        (None, []) => Ok(None),
        (Some(op), [p]) => Ok(Some((op, d.pred(p)?))),
        _ => Err("wrong number of operands".into()),
    }
}

const BOOLEANS: [(&str, PredOp); 3] = [("and", PredOp::And), ("or", PredOp::Or), ("xor", PredOp::Xor)];

fn setp(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let (name, with, ftz) = (named(w)?, w.one_of(&BOOLEANS), w.take("ftz"));
    let ty = w.next_ty()?;
    let f = comparison(name, ty, ftz).ok_or("this comparison is not known for this type")?;
    let args = d.all_args();
    let [to, a, b, rest @ ..] = args else { return Err("wrong number of operands".into()) };
    let (p, q) = match to {
        Arg::Pair(p, q) => (d.to_pred_or_sink(p)?, d.to_pred_or_sink(q)?),
        p => (Some(d.to_pred(p)?), None),
    };
    Ok(Op::Compare { f, p, q, a: d.from(a, ty)?, b: d.from(b, ty)?, with: combined(d, with, rest)? })
}

fn set(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let (name, with, ftz) = (named(w)?, w.one_of(&BOOLEANS), w.take("ftz"));
    let (to_ty, ty) = (w.next_ty()?, w.next_ty()?);
    let f = comparison(name, ty, ftz).ok_or("this comparison is not known for this type")?;
    let yes = match to_ty {
        Ty::U32 | Ty::S32 => 0xffff_ffff,
        Ty::F32 => 1f32.to_bits() as u64,
        _ => return Err("not for this type".into()),
    };
    let args = d.all_args();
    let [to, a, b, rest @ ..] = args else { return Err("wrong number of operands".into()) };
    let to = d.to(to, 32)?;
    Ok(Op::Set { f, to, a: d.from(a, ty)?, b: d.from(b, ty)?, yes, with: combined(d, with, rest)? })
}

fn testp(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let f = match w.front() {
        Some("finite") => lanes!(f32, |a, _b| a.is_finite()),
        Some("infinite") => lanes!(f32, |a, _b| a.is_infinite()),
        Some("number") => lanes!(f32, |a, _b| !a.is_nan()),
        Some("notanumber") => lanes!(f32, |a, _b| a.is_nan()),
        Some("normal") => lanes!(f32, |a, _b| a.is_normal()),
        Some("subnormal") => lanes!(f32, |a, _b| a.is_subnormal()),
        _ => return Err("a property such as .finite expected".into()),
    };
    if w.next_ty()? != Ty::F32 {
        return Err("testp is known for f32 only".into());
    }
    let args = d.args(2)?;
    let a = d.from(&args[1], Ty::F32)?;
    Ok(Op::Compare { f, p: Some(d.to_pred(&args[0])?), q: None, a, b: a, with: None })
}
