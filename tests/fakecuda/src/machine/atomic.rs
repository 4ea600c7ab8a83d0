//! Atomics on global and shared memory.

use super::access::{acquire, lanes, note_global, region, release, resolve, tally};
use super::block::Env;
use super::fault::{FaultKind, Run, Trouble};
use super::race::Way;
use super::shared::Who;
use super::warp::Warp;
use crate::program::float::Round;
use crate::program::half::Format;
use crate::program::lane::Lane;
use crate::program::op::{Atomic, Op};
use crate::ptx::{Space, Ty};

/// The new value.
pub fn apply(op: Atomic, ty: Ty, old: u64, a: u64, b: u64) -> u64 {
    let bits = ty.bits();
    let keep = |v: u64| if bits == 64 { v } else { v & ((1 << bits) - 1) };
    let signed = |v: u64| ((v << (64 - bits)) as i64) >> (64 - bits);
    match op {
        Atomic::Add => match ty {
            Ty::F32 => (f32::of(old) + f32::of(a)).bits(),
            Ty::F64 => (f64::of(old) + f64::of(a)).bits(),
            Ty::F16 => half(old, a, Format::F16, 0),
            Ty::Bf16 => half(old, a, Format::Bf16, 0),
            Ty::F16x2 => half(old, a, Format::F16, 0) | half(old, a, Format::F16, 16),
            Ty::Bf16x2 => half(old, a, Format::Bf16, 0) | half(old, a, Format::Bf16, 16),
            _ => keep(old.wrapping_add(a)),
        },
        Atomic::Min | Atomic::Max => {
            let old_wins = if ty.signed() { signed(old) < signed(a) } else { old < a } == (op == Atomic::Min);
            if old_wins { old } else { a }
        }
        Atomic::And => old & a,
        Atomic::Or => old | a,
        Atomic::Xor => old ^ a,
        Atomic::Exchange => a,
        Atomic::CompareSwap => {
            if old == a {
                b
            } else {
                old
            }
        }
        Atomic::Inc => {
            if old >= a {
                0
            } else {
                old + 1
            }
        }
        Atomic::Dec => {
            if old == 0 || old > a {
                a
            } else {
                old - 1
            }
        }
    }
}

fn half(a: u64, b: u64, format: Format, shift: u32) -> u64 {
    let (a, b) = (format.read((a >> shift) as u16), format.read((b >> shift) as u16));
    (format.write(crate::program::float::add_odd(a, b), Round::Nearest) as u64) << shift
}

/// Runs an atomic, lane after lane.
pub fn run(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    let Op::Atomic { at, op, ty, to, a, b, order, slot } = op else { return Ok(()) };
    let (address, spaces) = resolve(at, warp, env, active);
    let bytes = ty.bytes();
    let (a, b) = (*warp.get(*a, &env.launch.constants), *warp.get(*b, &env.launch.constants));
    let mut out = [0; 32];
    warp.polled = true;
    for (space, mask) in spaces {
        tally(env, space, &address, mask, bytes, Way::Write);
        for i in lanes(mask) {
            let f = |old| apply(*op, *ty, old, a[i], b[i]);
            release(env, warp.index, space, address[i], *order);
            out[i] = match space {
                Space::Global | Space::Generic => {
                    let r = region(env, *slot, address[i], bytes, i)?;
                    note_global(env, warp.index, i, address[i], bytes, Way::Write, true, false, || {
                        r.update(address[i], bytes, f)
                    })?
                }
                Space::Shared => {
                    let who = Who { clocks: &env.clocks, warp: warp.index, lane: i as u32, pc: env.pc, strong: true };
                    env.shared.update(address[i], bytes, who, f)?
                }
                _ => return Err(Trouble::new(FaultKind::OutOfBounds, i as u32, "an atomic on local memory")),
            };
            env.progress += u64::from(f(out[i]) != out[i]);
            acquire(env, warp.index, space, address[i]);
        }
    }
    if let Some(to) = to {
        warp.set(*to, active, &out);
    }
    Ok(())
}
