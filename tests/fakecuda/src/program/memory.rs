//! Loads, stores, atomics, asynchronous copies, and the conversion of addresses.

use super::decoder::{Decoder, Result, Words};
use super::lane::lift;
use super::op::{Atomic, Op, Order};
use super::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW};
use crate::ptx::{Arg, Space, Ty};

const SPACES: [(&str, Space); 8] = [
    ("global", Space::Global),
    ("const", Space::Const),
    ("shared", Space::Shared),
    ("shared::cta", Space::Shared),
    ("local", Space::Local),
    ("param", Space::Param),
    ("param::entry", Space::Param),
    ("param::func", Space::Local),
];

/// Decodes a memory instruction; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    match first {
        "ld" | "ldu" => load(d, w).map(Some),
        "st" => store(d, w).map(Some),
        "atom" | "red" => atomic(d, first == "red", w).map(Some),
        "cp" => copy_async(d, w).map(Some),
        "cvta" => window(d, w).map(Some),
        "isspacep" => {
            let space = w.one_of(&SPACES).ok_or("a state space is missing")?;
            let args = d.args(2)?;
            Ok(Some(Op::InWindow { to: d.to_pred(&args[0])?, a: d.from(&args[1], Ty::U64)?, space }))
        }
        // Hints: nothing to do.
        "prefetch" | "prefetchu" | "applypriority" => {
            while w.front().is_some() {}
            Ok(Some(Op::Nothing))
        }
        _ => Ok(None),
    }
}

/// Takes cache hints, which change no result.
fn hints(w: &mut Words) {
    for hint in ["ca", "cg", "cs", "lu", "cv", "wb", "wt"] {
        w.take(hint);
    }
    while w.prefixed("L1::").is_some() || w.prefixed("L2::").is_some() {}
}

fn order(w: &mut Words) -> Order {
    let order = w.one_of(&[
        ("volatile", Order::Relaxed),
        ("relaxed", Order::Relaxed),
        ("mmio", Order::Relaxed),
        ("acquire", Order::Acquire),
        ("release", Order::Release),
        ("acq_rel", Order::AcquireRelease),
        ("weak", Order::Weak),
    ]);
    for scope in ["cta", "cluster", "gpu", "sys"] {
        w.take(scope);
    }
    order.unwrap_or(Order::Weak)
}

fn vector(w: &mut Words) -> usize {
    w.one_of(&[("v2", 2), ("v4", 4), ("v8", 8)]).unwrap_or(1)
}

fn load(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let order = order(w);
    let read_only = w.take("nc");
    let space = w.one_of(&SPACES).unwrap_or(Space::Generic);
    hints(w);
    let n = vector(w);
    let ty = w.next_ty()?;
    if ty == Ty::Pred || read_only && space != Space::Global {
        return Err("this load is not known".into());
    }
    let args = d.args(2)?;
    let list = d.group(&args[0]);
    if list.len() != n || n as u32 * ty.bytes() > 32 {
        return Err(format!("{n} registers expected"));
    }
    let mut extend = 0;
    let mut to = Vec::new();
    for a in list {
        if *a == Arg::Sink {
            to.push(None);
            continue;
        }
        let (r, bits) = d.to_wide(a, ty.bits())?;
        extend = bits;
        to.push(Some(r));
    }
    let at = d.place(&args[1], space)?;
    if let (Space::Param, [Some(r)], Some(c)) = (space, &to[..], at.base.checked_sub(super::op::CONSTANT)) {
        let base = d.constant_value(c) as i64;
        d.note_param(*r, base + at.offset, ty.bytes());
    }
    if matches!(space, Space::Global | Space::Generic) {
        d.note_pointer(at.base);
    }
    let slot = d.slot();
    Ok(Op::Load { at, ty, to, order, read_only, extend, slot })
}

fn store(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let order = order(w);
    let mut space = w.one_of(&SPACES).unwrap_or(Space::Generic);
    hints(w);
    let n = vector(w);
    let ty = w.next_ty()?;
    if space == Space::Const || ty == Ty::Pred {
        return Err("this store is not known".into());
    }
    if space == Space::Param {
        space = Space::Local;
    }
    let args = d.args(2)?;
    let list = d.group(&args[1]);
    if list.len() != n || n as u32 * ty.bytes() > 32 {
        return Err(format!("{n} registers expected"));
    }
    let mut from = Vec::new();
    for a in list {
        from.push(match a {
            Arg::Reg(_) => d.to_wide(a, ty.bits())?.0,
            _ => d.from(a, ty)?,
        });
    }
    let at = d.place(&args[0], space)?;
    if matches!(space, Space::Global | Space::Generic) {
        d.note_pointer(at.base);
    }
    let slot = d.slot();
    Ok(Op::Store { at, ty, from, order, slot })
}

fn atomic(d: &mut Decoder, reduce: bool, w: &mut Words) -> Result<Op> {
    let mut order = order(w);
    if order == Order::Weak {
        order = Order::Relaxed;
    }
    let space = w.one_of(&SPACES).unwrap_or(Space::Generic);
    let op = w
        .one_of(&[
            ("add", Atomic::Add),
            ("min", Atomic::Min),
            ("max", Atomic::Max),
            ("and", Atomic::And),
            ("or", Atomic::Or),
            ("xor", Atomic::Xor),
            ("exch", Atomic::Exchange),
            ("cas", Atomic::CompareSwap),
            ("inc", Atomic::Inc),
            ("dec", Atomic::Dec),
        ])
        .ok_or("this atomic is not known")?;
    w.take("noftz");
    while w.prefixed("L2::").is_some() {}
    let ty = w.next_ty()?;
    use Ty::*;
    let known = match op {
        Atomic::Add => matches!(ty, U32 | S32 | U64 | S64 | F32 | F64 | F16 | F16x2 | Bf16 | Bf16x2),
        Atomic::Min | Atomic::Max => matches!(ty, U32 | S32 | U64 | S64),
        Atomic::And | Atomic::Or | Atomic::Xor | Atomic::Exchange => matches!(ty, B32 | B64),
        Atomic::CompareSwap => matches!(ty, B16 | B32 | B64),
        Atomic::Inc | Atomic::Dec => ty == U32,
    };
    if !known || !matches!(space, Space::Global | Space::Shared | Space::Generic) {
        return Err("this atomic is not known for this type or space".into());
    }
    let values = if op == Atomic::CompareSwap { 2 } else { 1 };
    let args = d.args(values + 1 + !reduce as usize)?;
    let (to, args) = if reduce { (None, args) } else { (d.to_or_sink(&args[0], ty.bits())?, &args[1..]) };
    let at = d.place(&args[0], space)?;
    d.note_pointer(at.base);
    let a = d.from(&args[1], ty)?;
    let b = if values == 2 { d.from(&args[2], ty)? } else { a };
    let slot = d.slot();
    Ok(Op::Atomic { at, op, ty, to, a, b, order, slot })
}

fn copy_async(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    if !w.take("async") {
        return Err("only cp.async is known".into());
    }
    if w.take("commit_group") {
        d.args(0)?;
        return Ok(Op::CopyCommit);
    }
    if w.take("wait_all") {
        d.args(0)?;
        return Ok(Op::CopyWaitAll);
    }
    if w.take("wait_group") {
        let args = d.args(1)?;
        return Ok(Op::CopyWait { left: d.literal(&args[0])?.min(1 << 20) as u32 });
    }
    let all = w.take("cg");
    if !all && !w.take("ca") {
        return Err("this form of cp.async is not known".into());
    }
    if !(w.take("shared") || w.take("shared::cta")) || !w.take("global") {
        return Err("only cp.async from global to shared is known".into());
    }
    hints(w);
    let args = d.all_args();
    let [to, from, size, rest @ ..] = args else { return Err("wrong number of operands".into()) };
    let bytes = d.literal(size)? as u32;
    if !matches!(bytes, 4 | 8 | 16) || all && bytes != 16 {
        return Err("a size of 4, 8 or 16 expected (16 for .cg)".into());
    }
    let read = match rest {
        [] => None,
        [n] => Some(d.from(n, Ty::U32)?),
        _ => return Err("wrong number of operands".into()),
    };
    let to = d.place(to, Space::Shared)?;
    let from = d.place(from, Space::Global)?;
    d.note_pointer(from.base);
    let slot = d.slot();
    Ok(Op::CopyAsync { to: to.base, to_offset: to.offset, from, bytes, read, slot })
}

fn window(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    let back = w.take("to");
    let space = w.one_of(&SPACES).ok_or("a state space is missing")?;
    if w.next_ty()?.bits() != 64 {
        return Err("only 64-bit addresses are known".into());
    }
    let args = d.args(2)?;
    let (to, a) = (d.to(&args[0], 64)?, d.from(&args[1], Ty::U64)?);
    let base = match space {
        Space::Shared => SHARED_WINDOW,
        Space::Local => LOCAL_WINDOW,
        Space::Param => PARAM_WINDOW,
        _ => 0,
    };
    if base == 0 {
        d.note_copy(to, a);
        if back {
            d.note_pointer(a);
        }
        let zero = d.constant(0);
        return Ok(Op::Alu { f: lift!(u64, |a| a), to, a, b: zero, c: zero });
    }
    Ok(Op::Window { to, a, add: if back { base.wrapping_neg() } else { base } })
}
