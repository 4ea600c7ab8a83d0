//! Branches, barriers, fences, and instructions that the lanes of a warp run together.

use super::decoder::{Decoder, Result, Words};
use super::op::{Atomic, Barrier, Op, Shuffle, Vote};
use crate::ptx::{Arg, Ty};

/// Decodes control and warp instructions; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    let op = match first {
        "bra" => {
            w.take("uni");
            Op::Branch { to: d.label(&d.args(1)?[0])? }
        }
        "brx" => {
            if !w.take("idx") {
                return Err("only brx.idx is known".into());
            }
            w.take("uni");
            let args = d.args(2)?;
            let targets = d.table(&args[1])?;
            Op::BranchTable { targets, index: d.from(&args[0], Ty::U32)? }
        }
        "ret" | "exit" => {
            w.take("uni");
            d.args(0)?;
            Op::Exit
        }
        "trap" | "brkpt" => Op::Trap,
        "nanosleep" | "griddepcontrol" => {
            while w.front().is_some() {}
            Op::Nothing
        }
        "call" => call(d, w)?,
        "bar" | "barrier" => barrier(d, first, w)?,
        "membar" => {
            let scope = w.front();
            match scope {
                Some("cta") => Op::Fence { grid: false },
                Some("gl" | "sys") => Op::Fence { grid: true },
                _ => return Err("this fence is not known".into()),
            }
        }
        "fence" => {
            if !(w.take("acq_rel") || w.take("sc") || w.take("acquire") || w.take("release")) {
                return Err("this fence is not known".into());
            }
            match w.front() {
                Some("cta" | "cluster") => Op::Fence { grid: false },
                Some("gpu" | "sys") => Op::Fence { grid: true },
                _ => return Err("this fence is not known".into()),
            }
        }
        "shfl" => shuffle(d, w)?,
        "vote" => vote(d, w)?,
        "match" => {
            let all = w.take("all");
            if !(all || w.take("any")) || !w.take("sync") {
                return Err("this match is not known".into());
            }
            let ty = w.next_ty()?;
            let args = d.args(3)?;
            let (to, p) = match &args[0] {
                Arg::Pair(to, p) if all => (d.to_or_sink(to, 32)?, d.to_pred_or_sink(p)?),
                to => (d.to_or_sink(to, 32)?, None),
            };
            Op::Match { to, all: all.then_some(p), a: d.from(&args[1], ty)?, mask: d.from(&args[2], Ty::B32)? }
        }
        "redux" => {
            if !w.take("sync") {
                return Err("this reduction is not known".into());
            }
            let op = w
                .one_of(&[
                    ("add", Atomic::Add),
                    ("min", Atomic::Min),
                    ("max", Atomic::Max),
                    ("and", Atomic::And),
                    ("or", Atomic::Or),
                    ("xor", Atomic::Xor),
                ])
                .ok_or("this reduction is not known")?;
            let ty = w.next_ty()?;
            if ty.bits() != 32 || ty.float() {
                return Err("not for this type".into());
            }
            let args = d.args(3)?;
            let (to, a) = (d.to(&args[0], 32)?, d.from(&args[1], ty)?);
            Op::Reduce { op, signed: ty.signed(), to, a, mask: d.from(&args[2], Ty::B32)? }
        }
        "activemask" => {
            w.next_ty()?;
            Op::ActiveMask { to: d.to(&d.args(1)?[0], 32)? }
        }
        "elect" => {
            if !w.take("sync") {
                return Err("this election is not known".into());
            }
            let args = d.args(2)?;
            let Arg::Pair(to, p) = &args[0] else { return Err("`d|p` expected".into()) };
            Op::Elect { to: d.to_or_sink(to, 32)?, leader: d.to_pred(p)?, mask: d.from(&args[1], Ty::B32)? }
        }
        _ => return Ok(None),
    };
    Ok(Some(op))
}

/// The only function that a kernel may call is `__assertfail`.
fn call(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    w.take("uni");
    let args = d.all_args();
    let name = args.iter().find_map(|a| match a {
        Arg::Name(n, _) => Some(n.as_str()),
        _ => None,
    });
    match name {
        Some("__assertfail") if d.is_function("__assertfail") => {
            let mut list = Vec::new();
            if let Some(Arg::Group(params)) = args.last() {
                for p in params {
                    list.push(d.from(p, Ty::U64)?);
                }
            }
            Ok(Op::Assert { args: list })
        }
        Some(n) => Err(format!("a call to {n}: device functions that are not inlined are not known")),
        None => Err("a call to what?".into()),
    }
}

fn barrier(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Op> {
    w.take("cta");
    if first == "bar" && w.take("warp") {
        if !w.take("sync") {
            return Err("this barrier is not known".into());
        }
        let args = d.args(1)?;
        return Ok(Op::WarpSync { mask: d.from(&args[0], Ty::B32)? });
    }
    let args = d.all_args();
    let number = |d: &mut Decoder, a: &Arg| d.from(a, Ty::U32);
    let arrive = w.take("arrive");
    let (kind, id, rest) = if w.take("red") {
        let f = w.one_of(&[("popc", 0), ("and", 1), ("or", 2)]).ok_or("this reduction is not known")?;
        if w.next_ty()? != if f == 0 { Ty::U32 } else { Ty::Pred } || args.len() < 3 {
            return Err("this reduction is not known".into());
        }
        let pred = d.pred(&args[args.len() - 1])?;
        let kind = match f {
            0 => Barrier::Count { into: d.to(&args[0], 32)?, pred },
            _ => Barrier::Reduce { into: d.to_pred(&args[0])?, pred, any: f == 2 },
        };
        (kind, &args[1], &args[2..args.len() - 1])
    } else {
        let [id, rest @ ..] = args else { return Err("the barrier's number is missing".into()) };
        let kind = match (w.take("sync"), arrive) {
            (true, false) => Barrier::Sync,
            (false, true) => Barrier::Arrive,
            _ => return Err("this barrier is not known".into()),
        };
        (kind, id, rest)
    };
    let aligned = w.take("aligned") || first == "bar";
    let id = number(d, id)?;
    let count = match rest {
        [] if arrive => return Err("the count of threads is missing".into()),
        [] => None,
        [n] => Some(number(d, n)?),
        _ => return Err("wrong number of operands".into()),
    };
    Ok(Op::Barrier { kind, id, count, aligned })
}

fn shuffle(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    if !w.take("sync") {
        return Err("only shfl.sync is known".into());
    }
    let kind = w
        .one_of(&[("up", Shuffle::Up), ("down", Shuffle::Down), ("bfly", Shuffle::Butterfly), ("idx", Shuffle::Index)])
        .ok_or("this shuffle is not known")?;
    if w.next_ty()? != Ty::B32 {
        return Err("shfl is for b32".into());
    }
    let args = d.args(5)?;
    let (to, ok) = match &args[0] {
        Arg::Pair(to, p) => (d.to_or_sink(to, 32)?, d.to_pred_or_sink(p)?),
        to => (d.to_or_sink(to, 32)?, None),
    };
    let mut src = |i: usize| d.from(&args[i], Ty::B32);
    Ok(Op::Shuffle { kind, to, ok, a: src(1)?, b: src(2)?, clamp: src(3)?, mask: src(4)? })
}

fn vote(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    if !w.take("sync") {
        return Err("only vote.sync is known".into());
    }
    let args = d.args(3)?;
    let pred = d.pred(&args[1])?;
    let mask = d.from(&args[2], Ty::B32)?;
    if w.take("ballot") {
        w.next_ty()?;
        return Ok(Op::Ballot { to: d.to(&args[0], 32)?, pred, mask });
    }
    let kind = w.one_of(&[("all", Vote::All), ("any", Vote::Any), ("uni", Vote::Uniform)]).ok_or("this vote is not known")?;
    w.take("pred");
    Ok(Op::Vote { kind, to: d.to_pred(&args[0])?, pred, mask })
}
