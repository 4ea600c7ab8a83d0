//! Integers: arithmetic, wide products, carries, packed dot products.

use super::decoder::{Decoder, Result, Words, alu};
use super::lane::lift;
use super::op::Op;
use crate::ptx::Ty;

/// A function for each integer type: `each!(ty, |a, b| a.wrapping_add(b))`; `bits!` for the untyped ones.
macro_rules! each {
    ($ty:expr, |$($x:ident),+| $e:expr) => {
        match $ty {
            Ty::U16 => lift!(u16, |$($x),+| $e),
            Ty::S16 => lift!(i16, |$($x),+| $e),
            Ty::U32 => lift!(u32, |$($x),+| $e),
            Ty::S32 => lift!(i32, |$($x),+| $e),
            Ty::U64 => lift!(u64, |$($x),+| $e),
            Ty::S64 => lift!(i64, |$($x),+| $e),
            _ => return Err("not for this type".into()),
        }
    };
}
macro_rules! signed {
    ($ty:expr, |$($x:ident),+| $e:expr) => {
        match $ty {
            Ty::S16 => lift!(i16, |$($x),+| $e),
            Ty::S32 => lift!(i32, |$($x),+| $e),
            Ty::S64 => lift!(i64, |$($x),+| $e),
            _ => return Err("not for this type".into()),
        }
    };
}
/// Decodes an integer instruction; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    let op = match first {
        "add" | "sub" | "addc" | "subc" => return add(d, first, w).map(Some),
        "mul" | "mad" | "madc" => return multiply(d, first, w).map(Some),
        "mul24" | "mad24" => {
            let (hi, _) = (w.take("hi"), w.take("lo"));
            let ty = w.next_ty()?;
            let f = match (first, ty, hi) {
                ("mul24", Ty::U32, false) => lift!(u32, |a, b| (a & 0xffffff).wrapping_mul(b & 0xffffff)),
                ("mul24", Ty::S32, false) => lift!(i32, |a, b| (a << 8 >> 8).wrapping_mul(b << 8 >> 8)),
                ("mad24", Ty::U32, false) => lift!(u32, |a, b, c| (a & 0xffffff).wrapping_mul(b & 0xffffff).wrapping_add(c)),
                ("mad24", Ty::S32, false) => lift!(i32, |a, b, c| (a << 8 >> 8).wrapping_mul(b << 8 >> 8).wrapping_add(c)),
                _ => return Err("this form of a 24-bit product is not known".into()),
            };
            let n = if first == "mul24" { 2 } else { 3 };
            alu(d, f, ty, &[ty; 3][..n])?
        }
        "div" => {
            let ty = w.next_ty()?;
            // By zero, the hardware gives all ones.
            alu(d, each!(ty, |a, b| a.checked_div(b).unwrap_or(if b == 0 { !0 } else { a })), ty, &[ty, ty])?
        }
        "rem" => {
            let ty = w.next_ty()?;
            alu(d, each!(ty, |a, b| a.checked_rem(b).unwrap_or(if b == 0 { a } else { 0 })), ty, &[ty, ty])?
        }
        "min" | "max" => {
            let relu = w.take("relu");
            let ty = w.next_ty()?;
            let three = d.all_args().len() == 4;
            let f = match (first, relu, three) {
                ("min", false, false) => each!(ty, |a, b| a.min(b)),
                ("max", false, false) => each!(ty, |a, b| a.max(b)),
                ("min", true, false) => signed!(ty, |a, b| a.min(b).max(0)),
                ("max", true, false) => signed!(ty, |a, b| a.max(b).max(0)),
                ("min", false, true) => each!(ty, |a, b, c| a.min(b).min(c)),
                ("max", false, true) => each!(ty, |a, b, c| a.max(b).max(c)),
                _ => return Err("this form is not known".into()),
            };
            alu(d, f, ty, &[ty; 3][..if three { 3 } else { 2 }])?
        }
        "abs" => {
            let ty = w.next_ty()?;
            alu(d, signed!(ty, |a| a.wrapping_abs()), ty, &[ty])?
        }
        "neg" => {
            let ty = w.next_ty()?;
            alu(d, signed!(ty, |a| a.wrapping_neg()), ty, &[ty])?
        }
        "sad" => {
            let ty = w.next_ty()?;
            let f = each!(ty, |a, b, c| c.wrapping_add(if a < b { b.wrapping_sub(a) } else { a.wrapping_sub(b) }));
            alu(d, f, ty, &[ty; 3])?
        }
        "dp4a" | "dp2a" => return dot(d, first, w).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(op))
}

fn add(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Op> {
    let (cc, sat) = (w.take("cc"), w.take("sat"));
    let ty = w.next_ty()?;
    if cc || first.ends_with('c') {
        let sub = first.starts_with("sub");
        let with = first.ends_with('c');
        // The flag holds the carry, or the borrow.
        let f: fn(u64, u64, u64, bool) -> (u64, bool) = match (ty.bits(), sub, with) {
            (32, false, false) => |a, b, _, _| ((a + b) & 0xffff_ffff, (a + b) >> 32 != 0),
            (32, false, true) => |a, b, _, k| ((a + b + k as u64) & 0xffff_ffff, (a + b + k as u64) >> 32 != 0),
            (32, true, false) => |a, b, _, _| (a.wrapping_sub(b) & 0xffff_ffff, a < b),
            (32, true, true) => |a, b, _, k| (a.wrapping_sub(b + k as u64) & 0xffff_ffff, a < b + k as u64),
            (64, false, false) => |a, b, _, _| a.overflowing_add(b),
            (64, false, true) => |a, b, _, k| {
                let s = a as u128 + b as u128 + k as u128;
                (s as u64, s >> 64 != 0)
            },
            (64, true, false) => |a, b, _, _| a.overflowing_sub(b),
            (64, true, true) => |a, b, _, k| (a.wrapping_sub(b).wrapping_sub(k as u64), (a as u128) < b as u128 + k as u128),
            _ => return Err("not for this type".into()),
        };
        if ty.float() || sat {
            return Err("not for this type".into());
        }
        let args = d.args(3)?;
        let (to, a, b) = (d.to(&args[0], ty.bits())?, d.from(&args[1], ty)?, d.from(&args[2], ty)?);
        let c = d.constant(0);
        return Ok(Op::Carry { f, to, a, b, c, keep: cc });
    }
    let f = match (first, sat, ty) {
        ("add", true, Ty::S32) => lift!(i32, |a, b| a.saturating_add(b)),
        ("sub", true, Ty::S32) => lift!(i32, |a, b| a.saturating_sub(b)),
        (_, true, _) => return Err("saturation is for s32".into()),
        ("add", ..) => each!(ty, |a, b| a.wrapping_add(b)),
        _ => each!(ty, |a, b| a.wrapping_sub(b)),
    };
    alu(d, f, ty, &[ty, ty])
}

fn multiply(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Op> {
    #[derive(Clone, Copy, PartialEq)]
    enum Part {
        Lo,
        Hi,
        Wide,
    }
    let part = w.one_of(&[("lo", Part::Lo), ("hi", Part::Hi), ("wide", Part::Wide)]).ok_or(".lo, .hi or .wide expected")?;
    let (cc, sat) = (w.take("cc"), w.take("sat"));
    let ty = w.next_ty()?;
    if cc || first == "madc" {
        let f: fn(u64, u64, u64, bool) -> (u64, bool) = match (ty, part, first) {
            (Ty::U32 | Ty::S32, Part::Lo, "mad") => |a, b, c, _| carry32((a as u32).wrapping_mul(b as u32) as u64, c, false),
            (Ty::U32 | Ty::S32, Part::Lo, _) => |a, b, c, k| carry32((a as u32).wrapping_mul(b as u32) as u64, c, k),
            (Ty::U32, Part::Hi, "mad") => |a, b, c, _| carry32((a * b) >> 32, c, false),
            (Ty::U32, Part::Hi, _) => |a, b, c, k| carry32((a * b) >> 32, c, k),
            (Ty::U64 | Ty::S64, Part::Lo, "mad") => |a, b, c, _| carry64(a.wrapping_mul(b), c, false),
            (Ty::U64 | Ty::S64, Part::Lo, _) => |a, b, c, k| carry64(a.wrapping_mul(b), c, k),
            (Ty::U64, Part::Hi, "mad") => |a, b, c, _| carry64(((a as u128 * b as u128) >> 64) as u64, c, false),
            (Ty::U64, Part::Hi, _) => |a, b, c, k| carry64(((a as u128 * b as u128) >> 64) as u64, c, k),
            _ => return Err("this product with carry is not known".into()),
        };
        let args = d.args(4)?;
        let (to, a, b, c) = (d.to(&args[0], ty.bits())?, d.from(&args[1], ty)?, d.from(&args[2], ty)?, d.from(&args[3], ty)?);
        return Ok(Op::Carry { f, to, a, b, c, keep: cc });
    }
    let mad = first == "mad";
    if sat {
        if !mad || part != Part::Hi || ty != Ty::S32 {
            return Err("saturation is for mad.hi.s32".into());
        }
        let f = lift!(i32, |a, b, c| (((a as i64 * b as i64) >> 32) as i32).saturating_add(c));
        return alu(d, f, ty, &[ty; 3]);
    }
    let (f, to) = match (part, mad) {
        (Part::Lo, false) => (each!(ty, |a, b| a.wrapping_mul(b)), ty),
        (Part::Lo, true) => (each!(ty, |a, b, c| a.wrapping_mul(b).wrapping_add(c)), ty),
        (Part::Hi, false) => (
            match ty {
                Ty::U16 => lift!(u16, |a, b| ((a as u32 * b as u32) >> 16) as u16),
                Ty::S16 => lift!(i16, |a, b| ((a as i32 * b as i32) >> 16) as i16),
                Ty::U32 => lift!(u32, |a, b| ((a as u64 * b as u64) >> 32) as u32),
                Ty::S32 => lift!(i32, |a, b| ((a as i64 * b as i64) >> 32) as i32),
                Ty::U64 => lift!(u64, |a, b| ((a as u128 * b as u128) >> 64) as u64),
                Ty::S64 => lift!(i64, |a, b| ((a as i128 * b as i128) >> 64) as i64),
                _ => return Err("not for this type".into()),
            },
            ty,
        ),
        (Part::Hi, true) => (
            match ty {
                Ty::U32 => lift!(u32, |a, b, c| (((a as u64 * b as u64) >> 32) as u32).wrapping_add(c)),
                Ty::S32 => lift!(i32, |a, b, c| (((a as i64 * b as i64) >> 32) as i32).wrapping_add(c)),
                Ty::U64 => lift!(u64, |a, b, c| (((a as u128 * b as u128) >> 64) as u64).wrapping_add(c)),
                Ty::S64 => lift!(i64, |a, b, c| (((a as i128 * b as i128) >> 64) as i64).wrapping_add(c)),
                _ => return Err("not for this type".into()),
            },
            ty,
        ),
        (Part::Wide, false) => match ty {
            Ty::U16 => (lift!(u16 => u32, |a, b| a as u32 * b as u32), Ty::U32),
            Ty::S16 => (lift!(i16 => i32, |a, b| a as i32 * b as i32), Ty::S32),
            Ty::U32 => (lift!(u32 => u64, |a, b| a as u64 * b as u64), Ty::U64),
            Ty::S32 => (lift!(i32 => i64, |a, b| a as i64 * b as i64), Ty::S64),
            _ => return Err("not for this type".into()),
        },
        // The third operand is wide: work on raw bits.
        (Part::Wide, true) => match ty {
            Ty::U16 => (lift!(u64, |a, b, c| (a * b).wrapping_add(c) & 0xffff_ffff), Ty::U32),
            Ty::S16 => {
                (lift!(u64, |a, b, c| ((a as i16 as i32 * b as i16 as i32).wrapping_add(c as i32)) as u32 as u64), Ty::S32)
            }
            Ty::U32 => (lift!(u64, |a, b, c| (a * b).wrapping_add(c)), Ty::U64),
            Ty::S32 => (lift!(u64, |a, b, c| (a as i32 as i64 * b as i32 as i64).wrapping_add(c as i64) as u64), Ty::S64),
            _ => return Err("not for this type".into()),
        },
    };
    if mad { alu(d, f, to, &[ty, ty, to]) } else { alu(d, f, to, &[ty, ty]) }
}

fn carry32(product: u64, c: u64, k: bool) -> (u64, bool) {
    let s = product + c + k as u64;
    (s & 0xffff_ffff, s >> 32 != 0)
}

fn carry64(product: u64, c: u64, k: bool) -> (u64, bool) {
    let s = product as u128 + c as u128 + k as u128;
    (s as u64, s >> 64 != 0)
}

fn dot(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Op> {
    fn byte(x: u32, i: u32, signed: bool) -> i64 {
        let b = (x >> (8 * i)) as u8;
        if signed { b as i8 as i64 } else { b as i64 }
    }
    fn dp4a(a: u32, b: u32, sa: bool, sb: bool) -> u32 {
        (0..4).map(|i| byte(a, i, sa) * byte(b, i, sb)).sum::<i64>() as u32
    }
    fn dp2a(a: u32, b: u32, sa: bool, sb: bool, from: u32) -> u32 {
        let half = |i: u32| if sa { (a >> (16 * i)) as i16 as i64 } else { (a >> (16 * i)) as u16 as i64 };
        (0..2).map(|i| half(i) * byte(b, from + i, sb)).sum::<i64>() as u32
    }
    let high = w.take("hi");
    let low = w.take("lo");
    let (ta, tb) = (w.next_ty()?, w.next_ty()?);
    if ta.bits() != 32 || tb.bits() != 32 || (first == "dp4a") == (high || low) {
        return Err("this form of a dot product is not known".into());
    }
    let f = match (first, ta.signed(), tb.signed(), high) {
        ("dp4a", true, true, _) => lift!(u32, |a, b, c| c.wrapping_add(dp4a(a, b, true, true))),
        ("dp4a", true, false, _) => lift!(u32, |a, b, c| c.wrapping_add(dp4a(a, b, true, false))),
        ("dp4a", false, true, _) => lift!(u32, |a, b, c| c.wrapping_add(dp4a(a, b, false, true))),
        ("dp4a", false, false, _) => lift!(u32, |a, b, c| c.wrapping_add(dp4a(a, b, false, false))),
        (_, true, true, false) => lift!(u32, |a, b, c| c.wrapping_add(dp2a(a, b, true, true, 0))),
        (_, true, true, true) => lift!(u32, |a, b, c| c.wrapping_add(dp2a(a, b, true, true, 2))),
        (_, false, false, false) => lift!(u32, |a, b, c| c.wrapping_add(dp2a(a, b, false, false, 0))),
        (_, false, false, true) => lift!(u32, |a, b, c| c.wrapping_add(dp2a(a, b, false, false, 2))),
        _ => return Err("this form of a dot product is not known".into()),
    };
    alu(d, f, Ty::B32, &[Ty::B32; 3])
}
