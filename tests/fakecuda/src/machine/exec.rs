//! Runs a warp until it waits, yields or is done.

use super::block::{Env, Stop};
use super::fault::{FaultKind, Run, Trouble};
use super::warp::{Group, State, Warp, ranges};
use super::{access, atomic, collective, matrix};
use crate::program::lane::V;
use crate::program::op::{Barrier, Op, Order, PredSrc};
use crate::program::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, WINDOW};
use crate::ptx::Space;

/// Continues `warp`.
pub fn run(warp: &mut Warp, env: &mut Env) -> Run<Stop> {
    let code = env.launch.code;
    loop {
        let Some(mut group) = warp.take_next() else { return idle(warp, env) };
        group.needs = 0;
        loop {
            if !warp.groups.is_empty() && warp.join(&mut group) < group.pc {
                warp.groups.push(group);
                break;
            }
            let inst = &code.insts[group.pc as usize];
            env.pc = group.pc;
            let active = match inst.guard {
                None => group.mask,
                Some(p) => group.mask & warp.pred(p),
            };
            warp.steps += 1;
            if warp.steps > env.launch.options.max_steps {
                let detail = format!("a warp ran {} instructions without an end in sight", warp.steps);
                return Err(Trouble::new(FaultKind::Deadlock, group.mask.trailing_zeros(), detail));
            }
            let count = &mut env.counts[group.pc as usize];
            count.warps += 1;
            count.lanes += active.count_ones() as u64;
            let pc = group.pc;
            group.pc += 1;
            match &inst.op {
                Op::Branch { to } => {
                    let stay = group.mask & !active;
                    if active == 0 {
                        continue;
                    }
                    let spins = *to <= pc && std::mem::take(&mut warp.polled);
                    if stay == 0 {
                        group.pc = *to;
                        if spins {
                            group.asleep = true;
                            warp.groups.push(group);
                            break;
                        }
                    } else {
                        warp.groups.push(Group { pc: *to, mask: active, needs: 0, asleep: spins });
                        group.mask = stay;
                    }
                }
                Op::BranchTable { targets, index } => {
                    let index = *warp.get(*index, &env.launch.constants);
                    for (i, target) in index.iter().enumerate().filter(|(i, _)| active >> i & 1 == 1) {
                        let Some(to) = targets.get(*target as usize) else {
                            let detail = format!("branch table of {} entries, index {target}", targets.len());
                            return Err(Trouble::new(FaultKind::OutOfBounds, i as u32, detail));
                        };
                        match warp.groups.iter_mut().find(|g| g.pc == *to) {
                            Some(g) => g.mask |= 1 << i,
                            None => warp.groups.push(Group { pc: *to, mask: 1 << i, needs: 0, asleep: false }),
                        }
                    }
                    group.mask &= !active;
                    if group.mask == 0 {
                        break;
                    }
                }
                Op::Exit => {
                    group.mask &= !active;
                    let result = warp.exit(active, |g| (kind_at(env, g.pc), waits(env, g)));
                    if let (Err(_), Some(g)) = (&result, warp.groups.iter().find(|g| g.needs & active != 0)) {
                        env.pc = g.pc;
                    }
                    result?;
                    if group.mask == 0 {
                        break;
                    }
                }
                Op::Barrier { kind, id, count, aligned } => {
                    if active == 0 {
                        continue;
                    }
                    if (*aligned || matches!(kind, Barrier::Sync)) && active != warp.live {
                        if park(warp, &mut group, pc, active, warp.live & !active) { continue } else { break }
                    }
                    let lane = active.trailing_zeros() as usize;
                    let id = warp.get(*id, &env.launch.constants)[lane] as u32;
                    let count = count.map(|c| warp.get(c, &env.launch.constants)[lane] as u32);
                    warp.groups.push(group);
                    return Ok(Stop::Barrier { kind: *kind, id, count, pc });
                }
                op if collective::needs_others(op) => {
                    if active == 0 {
                        continue;
                    }
                    let missing = collective::missing(op, warp, env, active)?;
                    if missing != 0 {
                        if park(warp, &mut group, pc, active, missing) { continue } else { break }
                    }
                    collective::run(op, warp, env, active)?;
                }
                op => one(op, warp, env, active)?,
            }
        }
    }
}

/// Parks the active lanes of a group until the lanes `needs` have arrived; the others continue. False if none are left.
fn park(warp: &mut Warp, group: &mut Group, pc: u32, active: u32, needs: u32) -> bool {
    warp.groups.push(Group { pc, mask: active, needs, asleep: false });
    group.mask &= !active;
    group.mask != 0
}

fn kind_at(env: &Env, pc: u32) -> FaultKind {
    match env.launch.code.insts[pc as usize].op {
        Op::Barrier { .. } => FaultKind::DivergentBarrier,
        _ => FaultKind::DivergentCollective,
    }
}

fn waits(env: &Env, g: &Group) -> String {
    let line = env.launch.code.insts[g.pc as usize].line;
    format!("lanes {} wait at PTX line {line} for lanes {}", ranges(g.mask), ranges(g.needs))
}

/// No group can run: all yield, all wait for each other, or there is none.
fn idle(warp: &mut Warp, env: &mut Env) -> Run<Stop> {
    if warp.groups.is_empty() {
        if let Some(c) = warp.copies.first() {
            let (lane, detail) = (c.lane, "the thread exited with a cp.async under way".to_string());
            return Err(Trouble::new(FaultKind::CopyNotWaited, lane, detail));
        }
        warp.state = State::Done;
        return Ok(Stop::Done);
    }
    if warp.groups.iter().any(|g| g.asleep) {
        warp.groups.iter_mut().for_each(|g| g.asleep = false);
        return Ok(Stop::Yield);
    }
    let g = warp.groups[0];
    env.pc = g.pc;
    let elsewhere: Vec<String> = warp.groups[1..]
        .iter()
        .map(|o| format!("lanes {} at PTX line {}", ranges(o.mask), env.launch.code.insts[o.pc as usize].line))
        .collect();
    let detail = format!("{}, which are elsewhere: {}", waits(env, &g), elsewhere.join("; "));
    Err(Trouble::new(kind_at(env, g.pc), g.mask.trailing_zeros(), detail))
}

/// An instruction that each lane runs on its own.
fn one(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    let constants = &env.launch.constants;
    match op {
        Op::Alu { f, to, a, b, c } => {
            let mut out = [0; 32];
            f.apply(warp.get(*a, constants), warp.get(*b, constants), warp.get(*c, constants), &mut out);
            warp.set(*to, active, &out);
        }
        Op::Carry { f, to, a, b, c, keep } => {
            let (a, b, c) = (warp.get(*a, constants), warp.get(*b, constants), warp.get(*c, constants));
            let (mut out, mut carry) = ([0; 32], 0);
            for i in 0..32 {
                let (r, k) = f(a[i], b[i], c[i], warp.carry >> i & 1 == 1);
                out[i] = r;
                carry |= (k as u32) << i;
            }
            warp.set(*to, active, &out);
            if *keep {
                warp.carry = warp.carry & !active | carry & active;
            }
        }
        Op::Insert { to, a, b, at, length, width } => {
            let (a, b) = (warp.get(*a, constants), warp.get(*b, constants));
            let (at, length) = (warp.get(*at, constants), warp.get(*length, constants));
            let out: V = std::array::from_fn(|i| crate::program::bits::insert_bits(a[i], b[i], at[i], length[i], *width));
            warp.set(*to, active, &out);
        }
        Op::Compare { f, p, q, a, b, with } => {
            let hit = f(warp.get(*a, constants), warp.get(*b, constants));
            let (mut yes, mut no) = (hit, !hit);
            if let Some((op, r)) = with {
                let r = warp.pred(*r);
                (yes, no) = (op.apply(yes, r), op.apply(no, r));
            }
            if let Some(p) = p {
                warp.set_pred(*p, active, yes);
            }
            if let Some(q) = q {
                warp.set_pred(*q, active, no);
            }
        }
        Op::Set { f, to, a, b, yes, with } => {
            let mut hit = f(warp.get(*a, constants), warp.get(*b, constants));
            if let Some((op, r)) = with {
                hit = op.apply(hit, warp.pred(*r));
            }
            let out: V = std::array::from_fn(|i| if hit >> i & 1 == 1 { *yes } else { 0 });
            warp.set(*to, active, &out);
        }
        Op::Select { to, a, b, p } => {
            let p = warp.pred(*p);
            let (a, b) = (warp.get(*a, constants), warp.get(*b, constants));
            let out: V = std::array::from_fn(|i| if p >> i & 1 == 1 { a[i] } else { b[i] });
            warp.set(*to, active, &out);
        }
        Op::PredLogic { f, to, a, b } => {
            let read = |s: &PredSrc| match s {
                PredSrc::Reg(p) => warp.pred(*p),
                PredSrc::Const(c) => {
                    if *c {
                        u32::MAX
                    } else {
                        0
                    }
                }
            };
            let r = f.apply(read(a), read(b));
            warp.set_pred(*to, active, r);
        }
        Op::Pack { to, parts, bits } => {
            let mut out = [0; 32];
            let mask = (1u64 << bits) - 1;
            for (k, p) in parts.iter().enumerate() {
                let v = warp.get(*p, constants);
                for i in 0..32 {
                    out[i] |= (v[i] & mask) << (k as u32 * bits);
                }
            }
            warp.set(*to, active, &out);
        }
        Op::Unpack { to, a, bits } => {
            let v = *warp.get(*a, constants);
            let mask = (1u64 << bits) - 1;
            for (k, r) in to.iter().enumerate() {
                if let Some(r) = r {
                    let out: V = std::array::from_fn(|i| v[i] >> (k as u32 * bits) & mask);
                    warp.set(*r, active, &out);
                }
            }
        }
        Op::Load { .. } => access::load(op, warp, env, active)?,
        Op::Store { .. } => access::store(op, warp, env, active)?,
        Op::Atomic { .. } => atomic::run(op, warp, env, active)?,
        Op::CopyAsync { .. } => access::copy_async(op, warp, env, active)?,
        Op::CopyCommit => {
            for i in (0..32).filter(|i| active >> i & 1 == 1) {
                let group = warp.commits[i];
                for c in warp.copies.iter_mut().filter(|c| c.lane == i as u32 && c.group == u32::MAX) {
                    c.group = group;
                }
                warp.commits[i] += 1;
            }
        }
        Op::CopyWait { left } => access::land(warp, env, active, Some(*left))?,
        Op::CopyWaitAll => access::land(warp, env, active, None)?,
        Op::ActiveMask { to } => warp.set(*to, active, &[active as u64; 32]),
        Op::Fence { grid } => env.clocks.fence(warp.index, *grid),
        Op::Window { to, a, add } => {
            let a = warp.get(*a, constants);
            let out: V = std::array::from_fn(|i| a[i].wrapping_add(*add));
            warp.set(*to, active, &out);
        }
        Op::InWindow { to, a, space } => {
            let a = warp.get(*a, constants);
            let inside = |x: u64, base: u64| x >= base && x - base < WINDOW;
            let hit = (0..32).fold(0, |m, i| {
                let yes = match space {
                    Space::Shared => inside(a[i], SHARED_WINDOW),
                    Space::Local => inside(a[i], LOCAL_WINDOW),
                    Space::Param => inside(a[i], PARAM_WINDOW),
                    _ => ![SHARED_WINDOW, LOCAL_WINDOW, PARAM_WINDOW].iter().any(|w| inside(a[i], *w)),
                };
                m | u32::from(yes) << i
            });
            warp.set_pred(*to, active, hit);
        }
        Op::Clock { to, bits } => {
            let now = if *bits == 64 { warp.steps } else { warp.steps & 0xffff_ffff };
            warp.set(*to, active, &[now; 32]);
            // A loop on the clock is a wait loop too.
            warp.polled = true;
        }
        Op::Trap if active != 0 => {
            return Err(Trouble::new(FaultKind::Trap, active.trailing_zeros(), "the kernel ran into `trap`"));
        }
        Op::Assert { args } if active != 0 => {
            let lane = active.trailing_zeros();
            return Err(Trouble::new(FaultKind::Assertion, lane, access::assertion(args, warp, env, lane)));
        }
        _ => {}
    }
    Ok(())
}

/// Whether an access of this order is strong.
pub fn strong(order: Order) -> bool {
    order != Order::Weak
}

pub use matrix::load_matrix;
