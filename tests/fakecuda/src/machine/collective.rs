//! Instructions that the lanes of a warp run together: shuffles, votes, matches, reductions, warp barriers, matrices.

use super::access::lanes;
use super::block::Env;
use super::fault::{FaultKind, Run, Trouble};
use super::matrix;
use super::warp::{Warp, ranges};
use crate::program::lane::V;
use crate::program::op::{Atomic, Op, Shuffle, Src, Vote};

/// Whether the instruction needs other lanes of the warp.
pub fn needs_others(op: &Op) -> bool {
    membership(op).is_some()
        || matches!(op, Op::LoadMatrix { .. } | Op::StoreMatrix { .. } | Op::MoveMatrix { .. } | Op::Mma { .. })
}

/// The operand that names the lanes that take part.
fn membership(op: &Op) -> Option<Src> {
    match op {
        Op::Shuffle { mask, .. }
        | Op::Vote { mask, .. }
        | Op::Ballot { mask, .. }
        | Op::Match { mask, .. }
        | Op::Reduce { mask, .. }
        | Op::Elect { mask, .. }
        | Op::WarpSync { mask } => Some(*mask),
        _ => None,
    }
}

/// Lanes of the mask that have not arrived. A lane outside its own mask is an error.
pub fn missing(op: &Op, warp: &Warp, env: &Env, active: u32) -> Run<u32> {
    let Some(mask) = membership(op) else {
        if warp.live != u32::MAX {
            let detail = format!("a matrix instruction needs all 32 lanes, only {} are alive", ranges(warp.live));
            return Err(Trouble::new(FaultKind::DivergentCollective, active.trailing_zeros(), detail));
        }
        return Ok(!active);
    };
    let masks = warp.get(mask, &env.launch.constants);
    let mut missing = 0;
    for i in lanes(active) {
        let m = masks[i] as u32;
        if m >> i & 1 == 0 {
            let detail = format!("lane {i} is not in its own mask {m:#x}");
            return Err(Trouble::new(FaultKind::DivergentCollective, i as u32, detail));
        }
        missing |= m & warp.live & !active;
        // Lanes of one mask must agree on it.
        for j in lanes(m & active) {
            if masks[j] as u32 != m {
                let detail = format!("lanes {i} and {j} name different masks, {m:#x} and {:#x}", masks[j]);
                return Err(Trouble::new(FaultKind::DivergentCollective, i as u32, detail));
            }
        }
    }
    Ok(missing)
}

/// Splits the active lanes by mask and runs each set.
pub fn run(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    match op {
        Op::LoadMatrix { .. } => return matrix::load_matrix(op, warp, env),
        Op::StoreMatrix { .. } => return matrix::store_matrix(op, warp, env),
        Op::MoveMatrix { .. } => {
            matrix::move_matrix(op, warp, env);
            return Ok(());
        }
        Op::Mma { .. } => {
            matrix::mma(op, warp, env);
            return Ok(());
        }
        Op::WarpSync { .. } => {
            env.clocks.sync_warp(warp.index);
            return Ok(());
        }
        _ => {}
    }
    let Some(mask) = membership(op) else { return Ok(()) };
    let masks = *warp.get(mask, &env.launch.constants);
    let mut left = active;
    while left != 0 {
        let m = masks[left.trailing_zeros() as usize] as u32;
        set(op, warp, env, m & left, m)?;
        left &= !m;
    }
    Ok(())
}

fn set(op: &Op, warp: &mut Warp, env: &mut Env, here: u32, mask: u32) -> Run<()> {
    let constants = &env.launch.constants;
    match op {
        Op::Shuffle { kind, to, ok, a, b, clamp, .. } => {
            let (a, b, c) = (*warp.get(*a, constants), *warp.get(*b, constants), *warp.get(*clamp, constants));
            let (mut out, mut valid) = ([0; 32], 0u32);
            for i in lanes(here) {
                let (lane, b, c) = (i as u32, b[i] as u32 & 31, c[i] as u32);
                let (segment, bound) = (c >> 8 & 31, c & 31);
                let max = lane & segment | bound & !segment;
                let min = lane & segment;
                let (j, inside) = match kind {
                    Shuffle::Up => (lane.wrapping_sub(b), lane as i32 - b as i32 >= max as i32),
                    Shuffle::Down => (lane + b, lane + b <= max),
                    Shuffle::Butterfly => (lane ^ b, (lane ^ b) <= max),
                    Shuffle::Index => (min | b & !segment, (min | b & !segment) <= max),
                };
                let from = if inside { j as usize } else { i };
                if inside && mask >> from & 1 == 0 {
                    let detail = format!("lane {i} takes from lane {from}, which is not in the mask {mask:#x}");
                    return Err(Trouble::new(FaultKind::DivergentCollective, lane, detail));
                }
                if inside && warp.live >> from & 1 == 0 {
                    let detail = format!("lane {i} takes from lane {from}, which has exited");
                    return Err(Trouble::new(FaultKind::DivergentCollective, lane, detail));
                }
                out[i] = a[from];
                valid |= u32::from(inside) << i;
            }
            if let Some(to) = to {
                warp.set(*to, here, &out);
            }
            if let Some(ok) = ok {
                warp.set_pred(*ok, here, valid);
            }
        }
        Op::Vote { kind, to, pred, .. } => {
            let votes = warp.pred(*pred) & here;
            let yes = match kind {
                Vote::All => votes == here,
                Vote::Any => votes != 0,
                Vote::Uniform => votes == 0 || votes == here,
            };
            warp.set_pred(*to, here, if yes { u32::MAX } else { 0 });
        }
        Op::Ballot { to, pred, .. } => {
            let votes = warp.pred(*pred) & here;
            warp.set(*to, here, &[votes as u64; 32]);
        }
        Op::Match { to, all, a, .. } => {
            let a = *warp.get(*a, constants);
            let same = |i: usize| lanes(here).filter(|j| a[*j] == a[i]).fold(0u32, |m, j| m | 1 << j);
            let mut out: V = std::array::from_fn(|i| if here >> i & 1 == 1 { same(i) as u64 } else { 0 });
            if let Some(p) = all {
                let first = here.trailing_zeros() as usize;
                let agreed = same(first) == here;
                out = [if agreed { here as u64 } else { 0 }; 32];
                if let Some(p) = p {
                    warp.set_pred(*p, here, if agreed { u32::MAX } else { 0 });
                }
            }
            if let Some(to) = to {
                warp.set(*to, here, &out);
            }
        }
        Op::Reduce { op, signed, to, a, .. } => {
            let a = *warp.get(*a, constants);
            let r = lanes(here).map(|i| a[i] as u32).reduce(|x, y| match (op, signed) {
                (Atomic::Add, _) => x.wrapping_add(y),
                (Atomic::Min, true) => (x as i32).min(y as i32) as u32,
                (Atomic::Max, true) => (x as i32).max(y as i32) as u32,
                (Atomic::Min, false) => x.min(y),
                (Atomic::Max, false) => x.max(y),
                (Atomic::And, _) => x & y,
                (Atomic::Or, _) => x | y,
                _ => x ^ y,
            });
            warp.set(*to, here, &[r.unwrap_or(0) as u64; 32]);
        }
        Op::Elect { to, leader, .. } => {
            let first = here.trailing_zeros();
            if let Some(to) = to {
                warp.set(*to, here, &[first as u64; 32]);
            }
            warp.set_pred(*leader, here, 1 << first);
        }
        _ => {}
    }
    Ok(())
}
