//! Instructions on bits: logic, shifts, fields, counts, permutations.

use super::decoder::{Decoder, Result, Words, alu};
use super::lane::{Alu, lift};
use super::op::Op;
use crate::ptx::Ty;

macro_rules! bits {
    ($ty:expr, |$($x:ident),+| $e:expr) => {
        match $ty {
            Ty::B16 => lift!(u16, |$($x),+| $e),
            Ty::B32 => lift!(u32, |$($x),+| $e),
            Ty::B64 => lift!(u64, |$($x),+| $e),
            _ => return Err("not for this type".into()),
        }
    };
}
/// Decodes an instruction on bits; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    let op = match first {
        "and" | "or" | "xor" => {
            let ty = w.next_ty()?;
            let f = match first {
                "and" => bits!(ty, |a, b| a & b),
                "or" => bits!(ty, |a, b| a | b),
                _ => bits!(ty, |a, b| a ^ b),
            };
            alu(d, f, ty, &[ty, ty])?
        }
        "not" => {
            let ty = w.next_ty()?;
            alu(d, bits!(ty, |a| !a), ty, &[ty])?
        }
        "cnot" => {
            let ty = w.next_ty()?;
            alu(d, bits!(ty, |a| (a == 0).into()), ty, &[ty])?
        }
        "shl" | "shr" => return shift(d, first, w).map(Some),
        "shf" => return funnel(d, w).map(Some),
        "lop3" => {
            if w.next_ty()? != Ty::B32 {
                return Err("lop3 is for b32".into());
            }
            let args = d.args(5)?;
            let table = d.literal(&args[4])?;
            let to = d.to(&args[0], 32)?;
            let [a, b, c] = [d.from(&args[1], Ty::B32)?, d.from(&args[2], Ty::B32)?, d.from(&args[3], Ty::B32)?];
            Op::Alu { f: Alu::Lop3(u8::try_from(table).map_err(|_| "a table of 8 bits expected")?), to, a, b, c }
        }
        "prmt" => return permute(d, w).map(Some),
        "popc" | "clz" => {
            let ty = w.next_ty()?;
            let f = match (first, ty) {
                ("popc", Ty::B32) => lift!(u32, |a| a.count_ones()),
                ("popc", Ty::B64) => lift!(u64 => u32, |a| a.count_ones()),
                ("clz", Ty::B32) => lift!(u32, |a| a.leading_zeros()),
                ("clz", Ty::B64) => lift!(u64 => u32, |a| a.leading_zeros()),
                _ => return Err("not for this type".into()),
            };
            alu(d, f, Ty::U32, &[ty])?
        }
        "brev" => {
            let ty = w.next_ty()?;
            alu(d, bits!(ty, |a| a.reverse_bits()), ty, &[ty])?
        }
        "bfind" => {
            let shift = w.take("shiftamt");
            let ty = w.next_ty()?;
            alu(d, find(ty, shift)?, Ty::U32, &[ty])?
        }
        "bfe" => {
            let ty = w.next_ty()?;
            let f = match ty {
                Ty::U32 => lift!(u32, |a, p, n| extract(a as u64, p, n, 32, false) as u32),
                Ty::S32 => lift!(u32, |a, p, n| extract(a as u64, p, n, 32, true) as u32),
                Ty::U64 => lift!(u64, |a, p, n| extract(a, p as u32, n as u32, 64, false)),
                Ty::S64 => lift!(u64, |a, p, n| extract(a, p as u32, n as u32, 64, true)),
                _ => return Err("not for this type".into()),
            };
            alu(d, f, ty, &[ty, Ty::U32, Ty::U32])?
        }
        "bfi" => return insert(d, w).map(Some),
        "bmsk" => {
            let wrap = w.take("wrap");
            if !wrap && !w.take("clamp") {
                return Err(".clamp or .wrap expected".into());
            }
            let ty = w.next_ty()?;
            let f = if wrap {
                lift!(u32, |a, b| mask(b & 31).checked_shl(a & 31).unwrap_or(0))
            } else {
                lift!(u32, |a, b| mask(b).checked_shl(a).unwrap_or(0))
            };
            alu(d, f, ty, &[Ty::U32, Ty::U32])?
        }
        "szext" => {
            let wrap = w.take("wrap");
            if !wrap && !w.take("clamp") {
                return Err(".clamp or .wrap expected".into());
            }
            let ty = w.next_ty()?;
            let f = match (ty, wrap) {
                (Ty::U32, true) => lift!(u32, |a, n| a & mask(n & 31)),
                (Ty::U32, false) => lift!(u32, |a, n| a & mask(n)),
                (Ty::S32, true) => lift!(u32, |a, n| extend(a, n & 31)),
                (Ty::S32, false) => lift!(u32, |a, n| extend(a, n)),
                _ => return Err("not for this type".into()),
            };
            alu(d, f, ty, &[ty, Ty::U32])?
        }
        _ => return Ok(None),
    };
    Ok(Some(op))
}

fn mask(n: u32) -> u32 {
    if n >= 32 { !0 } else { (1 << n) - 1 }
}

fn extend(a: u32, n: u32) -> u32 {
    match n {
        0 => 0,
        1..32 => ((a << (32 - n)) as i32 >> (32 - n)) as u32,
        _ => a,
    }
}

fn extract(a: u64, p: u32, n: u32, width: u32, signed: bool) -> u64 {
    let (p, n) = (p & 255, n & 255);
    let a = if signed && width == 32 { a as i32 as i64 as u64 } else { a };
    let sign = signed && n > 0 && (a >> (p.saturating_add(n) - 1).min(width - 1)) & 1 == 1;
    let fill = if sign { u64::MAX } else { 0 };
    let field = if p >= width {
        fill
    } else if sign && width == 64 {
        ((a as i64) >> p) as u64
    } else {
        shifted(a, p, width, sign)
    };
    let keep = if n >= 64 { u64::MAX } else { (1 << n) - 1 };
    field & keep | fill & !keep
}

fn shifted(a: u64, p: u32, width: u32, sign: bool) -> u64 {
    let a = if width == 32 && !sign { a & 0xffff_ffff } else { a };
    if sign { ((a as i64) >> p) as u64 } else { a >> p }
}

fn find(ty: Ty, shift: bool) -> Result<Alu> {
    fn at(a: u64, width: u32, shift: bool) -> u32 {
        if a == 0 {
            return !0;
        }
        let top = 63 - a.leading_zeros();
        if shift { width - 1 - top } else { top }
    }
    Ok(match (ty, shift) {
        (Ty::U32, false) => lift!(u32, |a| at(a as u64, 32, false)),
        (Ty::U32, true) => lift!(u32, |a| at(a as u64, 32, true)),
        (Ty::S32, false) => lift!(i32 => u32, |a| at((if a < 0 { !a } else { a }) as u64, 32, false)),
        (Ty::S32, true) => lift!(i32 => u32, |a| at((if a < 0 { !a } else { a }) as u64, 32, true)),
        (Ty::U64, false) => lift!(u64 => u32, |a| at(a, 64, false)),
        (Ty::U64, true) => lift!(u64 => u32, |a| at(a, 64, true)),
        (Ty::S64, false) => lift!(i64 => u32, |a| at((if a < 0 { !a } else { a }) as u64, 64, false)),
        (Ty::S64, true) => lift!(i64 => u32, |a| at((if a < 0 { !a } else { a }) as u64, 64, true)),
        _ => return Err("not for this type".into()),
    })
}

fn insert(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let ty = w.next_ty()?;
    if !matches!(ty, Ty::B32 | Ty::B64) {
        return Err("not for this type".into());
    }
    let args = d.args(5)?;
    let to = d.to(&args[0], ty.bits())?;
    let (a, b) = (d.from(&args[1], ty)?, d.from(&args[2], ty)?);
    let (at, length) = (d.from(&args[3], Ty::U32)?, d.from(&args[4], Ty::U32)?);
    Ok(Op::Insert { to, a, b, at, length, width: ty.bits() })
}

/// Puts the low `length` bits of `a` into `b` from bit `at` on.
pub fn insert_bits(a: u64, b: u64, at: u64, length: u64, width: u32) -> u64 {
    let (at, length) = (at & 255, length & 255);
    if at >= width as u64 || length == 0 {
        return b;
    }
    let m = (if length >= 64 { u64::MAX } else { (1 << length) - 1 }) << at;
    let m = if width == 32 { m & 0xffff_ffff } else { m };
    a << at & m | b & !m
}

fn shift(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Op> {
    let ty = w.next_ty()?;
    // Shifts of the width or more give zero, or the sign.
    let f = match (first, ty) {
        ("shl", Ty::B16) => lift!(u64, |a, n| if n > 15 { 0 } else { a << n & 0xffff }),
        ("shl", Ty::B32) => lift!(u64, |a, n| if n > 31 { 0 } else { a << n & 0xffff_ffff }),
        ("shl", Ty::B64) => lift!(u64, |a, n| if n > 63 { 0 } else { a << n }),
        ("shr", Ty::B16 | Ty::U16 | Ty::B32 | Ty::U32 | Ty::B64 | Ty::U64) => lift!(u64, |a, n| if n > 63 { 0 } else { a >> n }),
        ("shr", Ty::S16) => lift!(u64, |a, n| (a as i16 >> n.min(15)) as u16 as u64),
        ("shr", Ty::S32) => lift!(u64, |a, n| (a as i32 >> n.min(31)) as u32 as u64),
        ("shr", Ty::S64) => lift!(u64, |a, n| (a as i64 >> n.min(63)) as u64),
        _ => return Err("not for this type".into()),
    };
    alu(d, f, ty, &[ty, Ty::U32])
}

fn funnel(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let left = w.take("l");
    if !left && !w.take("r") {
        return Err(".l or .r expected".into());
    }
    let wrap = w.take("wrap");
    if !wrap && !w.take("clamp") {
        return Err(".wrap or .clamp expected".into());
    }
    if w.next_ty()? != Ty::B32 {
        return Err("shf is for b32".into());
    }
    let f = match (left, wrap) {
        (true, true) => lift!(u32, |a, b, n| ((((b as u64) << 32 | a as u64) << (n & 31)) >> 32) as u32),
        (true, false) => lift!(u32, |a, b, n| ((((b as u64) << 32 | a as u64) << n.min(32)) >> 32) as u32),
        (false, true) => lift!(u32, |a, b, n| (((b as u64) << 32 | a as u64) >> (n & 31)) as u32),
        (false, false) => lift!(u32, |a, b, n| (((b as u64) << 32 | a as u64) >> n.min(32)) as u32),
    };
    alu(d, f, Ty::B32, &[Ty::B32; 3])
}

fn permute(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    fn pick(a: u32, b: u32, order: [u32; 4]) -> u32 {
        let all = (b as u64) << 32 | a as u64;
        (0..4).fold(0, |r, i| r | ((all >> (order[i] * 8)) as u32 & 255) << (8 * i))
    }
    let f = if w.take("f4e") {
        lift!(u32, |a, b, s| pick(a, b, [s & 3, (s & 3) + 1, (s & 3) + 2, (s & 3) + 3]))
    } else if w.take("b4e") {
        lift!(u32, |a, b, s| pick(a, b, [s & 3, ((s & 3) + 7) & 7, ((s & 3) + 6) & 7, ((s & 3) + 5) & 7]))
    } else if w.take("rc8") {
        lift!(u32, |a, b, s| pick(a, b, [s & 3; 4]))
    } else if w.take("ecl") {
        lift!(u32, |a, b, s| pick(a, b, [s & 3, 1.max(s & 3), 2.max(s & 3), 3]))
    } else if w.take("ecr") {
        lift!(u32, |a, b, s| pick(a, b, [0, 1.min(s & 3), 2.min(s & 3), s & 3]))
    } else if w.take("rc16") {
        lift!(u32, |a, b, s| pick(a, b, [(s & 1) * 2, (s & 1) * 2 + 1, (s & 1) * 2, (s & 1) * 2 + 1]))
    } else {
        lift!(u32, |a, b, s| {
            let all = (b as u64) << 32 | a as u64;
            (0..4).fold(0, |r, i| {
                let k = s >> (4 * i);
                let byte = (all >> ((k & 7) * 8)) as u8;
                let byte = if k & 8 != 0 { (byte as i8 >> 7) as u8 } else { byte };
                r | (byte as u32) << (8 * i)
            })
        })
    };
    if w.next_ty()? != Ty::B32 {
        return Err("prmt is for b32".into());
    }
    alu(d, f, Ty::B32, &[Ty::B32; 3])
}
