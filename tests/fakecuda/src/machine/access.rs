//! Loads, stores and asynchronous copies of a warp: their addresses, whether they are allowed, and their counts.

use super::block::Env;
use super::count;
use super::exec::strong;
use super::fault::{FaultKind, Run, Trouble};
use super::race::{Clash, Record, Way};
use super::shared::Who;
use super::warp::{PendingCopy, Warp};
use crate::memory::{Region, describe};
use crate::program::lane::V;
use crate::program::op::{Op, Order, Place, Src};
use crate::program::{LOCAL_WINDOW, PARAM_WINDOW, SHARED_WINDOW, WINDOW};
use crate::ptx::{Space, Ty};

/// Lanes of a mask.
pub fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    (0..32).filter(move |i| mask >> i & 1 == 1)
}

/// The address of each lane, in its space, and the lanes of each space.
pub fn resolve(at: &Place, warp: &Warp, env: &Env, active: u32) -> (V, Vec<(Space, u32)>) {
    let base = warp.get(at.base, &env.launch.constants);
    let mut address: V = std::array::from_fn(|i| base[i].wrapping_add(at.offset as u64));
    match at.space {
        Space::Generic => {}
        Space::Shared | Space::Local => {
            // 32-bit registers hold such addresses too: wrap as they would.
            address.iter_mut().for_each(|a| *a &= 0xffff_ffff);
            return (address, vec![(at.space, active)]);
        }
        space => return (address, vec![(space, active)]),
    }
    let mut found: Vec<(Space, u32)> = Vec::with_capacity(1);
    for i in lanes(active) {
        let a = address[i];
        let (space, base) = match a {
            _ if a.wrapping_sub(SHARED_WINDOW) < WINDOW => (Space::Shared, SHARED_WINDOW),
            _ if a.wrapping_sub(LOCAL_WINDOW) < WINDOW => (Space::Local, LOCAL_WINDOW),
            _ if a.wrapping_sub(PARAM_WINDOW) < WINDOW => (Space::Param, PARAM_WINDOW),
            _ => (Space::Global, 0),
        };
        address[i] -= base;
        match found.iter_mut().find(|f| f.0 == space) {
            Some(f) => f.1 |= 1 << i,
            None => found.push((space, 1 << i)),
        }
    }
    (address, found)
}

/// The region of an address, if this access to it is allowed.
pub fn region<'a>(env: &mut Env<'a>, slot: u32, address: u64, bytes: u32, lane: usize) -> Run<&'a Region> {
    let launch = env.launch;
    let cached = env.cache[slot as usize] as usize;
    let hit = launch.regions.get(cached).filter(|r| r.holds(address, bytes as u64));
    let found = match hit {
        Some(r) => r,
        None => {
            let i = launch.regions.partition_point(|r| r.base <= address).wrapping_sub(1);
            match launch.regions.get(i).filter(|r| r.holds(address, bytes as u64)) {
                Some(r) => {
                    env.cache[slot as usize] = i as u32;
                    r
                }
                None => {
                    let what = describe(&launch.regions, &launch.freed, address);
                    return Err(Trouble::new(FaultKind::OutOfBounds, lane as u32, format!("{bytes} bytes: {what}")));
                }
            }
        }
    };
    if !address.is_multiple_of(bytes as u64) {
        let detail = format!("{bytes} bytes at {address:#x}, which is no multiple of {bytes}");
        return Err(Trouble::new(FaultKind::Misaligned, lane as u32, detail));
    }
    Ok(found)
}

/// Notes a global access and does it (`act`); a race is an error.
#[allow(clippy::too_many_arguments)]
pub fn note_global<T>(
    env: &Env,
    warp: usize,
    lane: usize,
    address: u64,
    bytes: u32,
    way: Way,
    strong: bool,
    same: bool,
    act: impl FnOnce() -> T,
) -> Run<T> {
    let Some(races) = &env.launch.races else { return Ok(act()) };
    let record = |mask| Record::new(env.block, warp as u32, lane as u32, env.clocks.now, strong, mask);
    let (done, clash) = races.access(address, bytes, way, same, record, |r| before(env, warp, r), act);
    clash.map_or(Ok(done), |clash| Err(race(env, lane, address, way, clash)))
}

/// Notes a warp's plain loads from global memory.
fn note_loads(env: &Env, warp: usize, address: &V, mask: u32, bytes: u32) -> Run<()> {
    let Some(races) = &env.launch.races else { return Ok(()) };
    let record = |lane, mask| Record::new(env.block, warp as u32, lane as u32, env.clocks.now, false, mask);
    let clash = races.reads(address, mask, bytes, record, |r| before(env, warp, r));
    clash.map_or(Ok(()), |(lane, clash)| Err(race(env, lane, address[lane], Way::Read, clash)))
}

/// Whether an access happened before what `warp` does now.
fn before(env: &Env, warp: usize, r: Record) -> bool {
    if r.block() == env.block & 0xf_ffff {
        env.clocks.before(warp, r.warp() as usize, r.time())
    } else {
        env.clocks.blocks.get(r.block() as usize).is_some_and(|t| *t > r.time())
    }
}

fn race(env: &Env, lane: usize, address: u64, way: Way, clash: Clash) -> Box<Trouble> {
    let verb = if way == Way::Write { "written" } else { "read" };
    let (r, wrote) = match clash {
        Clash::ReadOnly => return read_only_clash(env, lane, address, verb),
        Clash::With(r, wrote) => (r, wrote),
    };
    let what = describe(&env.launch.regions, &env.launch.freed, address);
    let was = if wrote { "written" } else { "read" };
    let who = if r.block() == env.block & 0xf_ffff {
        format!("thread {} of the same block", r.warp() * 32 + r.lane())
    } else {
        format!("block {} (thread {})", r.block(), r.warp() * 32 + r.lane())
    };
    let detail = format!("{what}, {verb} here, was {was} by {who} with nothing that orders the two");
    Trouble::new(FaultKind::GlobalRace, lane as u32, detail)
}

fn read_only_clash(env: &Env, lane: usize, address: u64, verb: &str) -> Box<Trouble> {
    let what = describe(&env.launch.regions, &env.launch.freed, address);
    let detail = format!("{what}, {verb} here; in one launch it is both written and read as read-only (const __restrict__)");
    Trouble::new(FaultKind::GlobalRace, lane as u32, detail)
}

/// What a strong write publishes; taken before the write.
pub fn release(env: &mut Env, warp: usize, space: Space, address: u64, order: Order) {
    if env.launch.races.is_none() {
        return;
    }
    let releases = matches!(order, Order::Release | Order::AcquireRelease);
    let Some((time, seen)) = env.clocks.release(warp, releases) else { return };
    if space == Space::Shared {
        env.shared.published.entry(address as u32).or_default().add(env.block, time, &seen, &[]);
    } else {
        let mut all = env.launch.published.lock().unwrap_or_else(|e| e.into_inner());
        all.entry(address).or_default().add(env.block, time, &seen, &env.clocks.blocks);
    }
}

/// What a strong read acquires; taken after the read. (A read without a fence counts as acquiring, as on hardware in practice.)
pub fn acquire(env: &mut Env, warp: usize, space: Space, address: u64) {
    if env.launch.races.is_none() {
        return;
    }
    if space == Space::Shared {
        if let Some(p) = env.shared.published.get(&(address as u32)) {
            p.learn(&mut env.clocks, env.block, warp);
        }
    } else {
        let all = env.launch.published.lock().unwrap_or_else(|e| e.into_inner());
        if let Some(p) = all.get(&address) {
            p.learn(&mut env.clocks, env.block, warp);
        }
    }
}

/// Adds an access to the counts.
pub fn tally(env: &mut Env, space: Space, address: &V, mask: u32, bytes: u32, way: Way) {
    if let (Space::Global, Some(touched)) = (space, &env.launch.touched) {
        lanes(mask).for_each(|i| touched.mark(&env.launch.regions, address[i], u64::from(bytes), way == Way::Write));
    }
    let c = &mut env.counts[env.pc as usize];
    match space {
        Space::Global => {
            let (sectors, ideal) = count::sectors(address, mask, bytes);
            c.global_bytes += mask.count_ones() as u64 * bytes as u64;
            c.sectors += sectors;
            c.ideal_sectors += ideal;
        }
        Space::Shared => {
            let (waves, ideal) = count::waves(address, mask, bytes);
            c.waves += waves;
            c.ideal_waves += ideal;
        }
        _ => {}
    }
}

fn extend(value: u64, ty: Ty, bits: u32) -> u64 {
    let from = ty.bits();
    if ty.signed() && from < 64 {
        let wide = ((value << (64 - from)) as i64 >> (64 - from)) as u64;
        if bits >= 64 { wide } else { wide & ((1 << bits) - 1) }
    } else {
        value
    }
}

fn local_range(warp: &Warp, env: &Env, at: u64, bytes: u32, lane: usize) -> Run<usize> {
    let size = env.launch.code.local_bytes as u64;
    if at.checked_add(bytes as u64).is_none_or(|e| e > size) {
        let detail = format!("{bytes} bytes at local address {at:#x}, the thread has {size}");
        return Err(Trouble::new(FaultKind::OutOfBounds, lane as u32, detail));
    }
    if !at.is_multiple_of(bytes as u64) {
        return Err(Trouble::new(FaultKind::Misaligned, lane as u32, format!("{bytes} bytes at local address {at:#x}")));
    }
    debug_assert!(warp.local.len() as u64 == size * 32);
    Ok(lane * size as usize + at as usize)
}

fn little(bytes: &[u8]) -> u64 {
    let mut b = [0; 8];
    b[..bytes.len()].copy_from_slice(bytes);
    u64::from_le_bytes(b)
}

/// The lanes of a warp's load that need to be noted. Where all lanes read one address, three are enough: the first two (at
/// least one of them did not write there) and the last (which stays in the record).
fn witnesses(address: &V, mask: u32) -> u32 {
    let lowest = |mask: u32| mask & mask.wrapping_neg();
    let first = lowest(mask);
    let place = address[first.trailing_zeros() as usize % 32];
    if lanes(mask).any(|i| address[i] != place) {
        return mask;
    }
    first | lowest(mask & !first) | mask & 1u32.reverse_bits().wrapping_shr(mask.leading_zeros())
}

/// A load.
pub fn load(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    let Op::Load { at, ty, to, order, read_only, extend: bits, slot } = op else { return Ok(()) };
    let (address, spaces) = resolve(at, warp, env, active);
    let (each, n) = (ty.bytes(), to.len());
    let whole = each * n as u32;
    let mut out = [[0u64; 32]; 8];
    let strong = strong(*order);
    warp.polled |= strong;
    for (space, mask) in spaces {
        tally(env, space, &address, mask, whole, Way::Read);
        let heard = witnesses(&address, mask);
        for i in lanes(mask) {
            let a = address[i];
            match space {
                Space::Global | Space::Const | Space::Generic => {
                    let r = region(env, *slot, a, whole, i)?;
                    if space == Space::Global && strong && !read_only {
                        note_global(env, warp.index, i, a, whole, Way::Read, strong, false, || ())?;
                    }
                    for (k, out) in out[..n].iter_mut().enumerate() {
                        out[i] = r.load(a + (k as u32 * each) as u64, each);
                    }
                }
                Space::Shared if heard >> i & 1 == 0 => {
                    let first = mask.trailing_zeros() as usize;
                    out[..n].iter_mut().for_each(|out| out[i] = out[first]);
                }
                Space::Shared => {
                    env.shared.access(a, whole, i as u32)?;
                    let who = Who { clocks: &env.clocks, warp: warp.index, lane: i as u32, pc: env.pc, strong };
                    for (k, out) in out[..n].iter_mut().enumerate() {
                        out[i] = env.shared.load(a + (k as u32 * each) as u64, each, who)?;
                    }
                }
                Space::Local => {
                    let start = local_range(warp, env, a, whole, i)?;
                    for (k, out) in out[..n].iter_mut().enumerate() {
                        let s = start + k * each as usize;
                        out[i] = little(&warp.local[s..s + each as usize]);
                    }
                }
                Space::Param => {
                    let params = &env.launch.params;
                    if a.checked_add(whole as u64).is_none_or(|e| e > params.len() as u64) {
                        let detail = format!("{whole} bytes at parameter address {a:#x}, there are {}", params.len());
                        return Err(Trouble::new(FaultKind::OutOfBounds, i as u32, detail));
                    }
                    for (k, out) in out[..n].iter_mut().enumerate() {
                        let s = a as usize + k * each as usize;
                        out[i] = little(&params[s..s + each as usize]);
                    }
                }
            }
            if strong {
                acquire(env, warp.index, space, a);
            }
        }
        // After the bounds have been checked.
        if space == Space::Global && !strong && !read_only {
            note_loads(env, warp.index, &address, heard, whole)?;
        }
        if *read_only
            && let Some(races) = &env.launch.races
            && let Some(i) = races.read_only(&address, mask, whole)
        {
            return Err(read_only_clash(env, i, address[i], "read"));
        }
    }
    for (k, r) in to.iter().enumerate() {
        if let Some(r) = r {
            if *bits > ty.bits() && ty.signed() {
                out[k].iter_mut().for_each(|v| *v = extend(*v, *ty, *bits));
            }
            warp.set(*r, active, &out[k]);
        }
    }
    Ok(())
}

/// A store.
pub fn store(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    let Op::Store { at, ty, from, order, slot } = op else { return Ok(()) };
    let (address, spaces) = resolve(at, warp, env, active);
    let (each, n) = (ty.bytes(), from.len());
    let whole = each * n as u32;
    let strong = strong(*order);
    let keep = if each == 8 { u64::MAX } else { (1 << (8 * each)) - 1 };
    let mut values = [[0u64; 32]; 8];
    for (k, s) in from.iter().enumerate() {
        values[k] = *warp.get(*s, &env.launch.constants);
        values[k].iter_mut().for_each(|v| *v &= keep);
    }
    for (space, mask) in spaces {
        tally(env, space, &address, mask, whole, Way::Write);
        for i in lanes(mask) {
            let a = address[i];
            if strong {
                release(env, warp.index, space, a, *order);
            }
            let part = |k: usize| a + (k as u32 * each) as u64;
            match space {
                Space::Global | Space::Generic => {
                    let r = region(env, *slot, a, whole, i)?;
                    if env.launch.races.is_some() {
                        let same = (0..n).all(|k| r.load(part(k), each) == values[k][i]);
                        note_global(env, warp.index, i, a, whole, Way::Write, strong, same, || ())?;
                    }
                    for (k, v) in values[..n].iter().enumerate() {
                        env.progress += r.store(part(k), each, v[i]) as u64;
                    }
                }
                Space::Shared => {
                    env.shared.access(a, whole, i as u32)?;
                    let who = Who { clocks: &env.clocks, warp: warp.index, lane: i as u32, pc: env.pc, strong };
                    for (k, v) in values[..n].iter().enumerate() {
                        env.progress += env.shared.store(part(k), each, v[i], who)? as u64;
                    }
                }
                Space::Local => {
                    let start = local_range(warp, env, a, whole, i)?;
                    for (k, v) in values[..n].iter().enumerate() {
                        let s = start + k * each as usize;
                        warp.local[s..s + each as usize].copy_from_slice(&v[i].to_le_bytes()[..each as usize]);
                    }
                }
                Space::Const | Space::Param => {
                    return Err(Trouble::new(FaultKind::OutOfBounds, i as u32, "a store to read-only memory"));
                }
            }
        }
    }
    Ok(())
}

/// Starts an asynchronous copy.
pub fn copy_async(op: &Op, warp: &mut Warp, env: &mut Env, active: u32) -> Run<()> {
    let Op::CopyAsync { to, to_offset, from, bytes, read, slot } = op else { return Ok(()) };
    let to = *warp.get(*to, &env.launch.constants);
    let to: V = std::array::from_fn(|i| to[i].wrapping_add(*to_offset as u64) & 0xffff_ffff);
    let (address, _) = resolve(from, warp, env, active);
    let read = read.map(|r| *warp.get(r, &env.launch.constants));
    tally(env, Space::Global, &address, active, *bytes, Way::Read);
    tally(env, Space::Shared, &to, active, *bytes, Way::Write);
    for i in lanes(active) {
        let mut data = vec![0; *bytes as usize];
        let wanted = read.map_or(*bytes, |r| (r[i] as u32).min(*bytes));
        if wanted > 0 {
            if !address[i].is_multiple_of(*bytes as u64) {
                let detail = format!("{bytes} bytes at {:#x}, which is no multiple of {bytes}", address[i]);
                return Err(Trouble::new(FaultKind::Misaligned, i as u32, detail));
            }
            for k in 0..wanted as u64 {
                let r = region(env, *slot, address[i] + k, 1, i)?;
                data[k as usize] = r.load(address[i] + k, 1) as u8;
            }
            note_global(env, warp.index, i, address[i], wanted, Way::Read, false, false, || ())?;
        }
        let who = Who { clocks: &env.clocks, warp: warp.index, lane: i as u32, pc: env.pc, strong: false };
        env.shared.promise(to[i], *bytes, who)?;
        warp.copies.push(PendingCopy { lane: i as u32, to: to[i], data, group: u32::MAX });
    }
    Ok(())
}

/// Completes the copies that a wait waits for: all but the newest `left` groups, or all.
pub fn land(warp: &mut Warp, env: &mut Env, active: u32, left: Option<u32>) -> Run<()> {
    let mut rest = Vec::new();
    for c in std::mem::take(&mut warp.copies) {
        let due = active >> c.lane & 1 == 1
            && match left {
                None => true,
                Some(left) => c.group != u32::MAX && c.group + left < warp.commits[c.lane as usize],
            };
        if due {
            let who = Who { clocks: &env.clocks, warp: warp.index, lane: c.lane, pc: env.pc, strong: false };
            env.shared.keep(c.to, &c.data, who)?;
        } else {
            rest.push(c);
        }
    }
    warp.copies = rest;
    Ok(())
}

/// The message of a failed `assert`.
pub fn assertion(args: &[Src], warp: &Warp, env: &Env, lane: u32) -> String {
    // The operands are addresses in local memory of: message, file, line, function, size of a char.
    let word = |s: &Src, bytes: usize| {
        let at = warp.get(*s, &env.launch.constants)[lane as usize] as usize;
        let start = lane as usize * env.launch.code.local_bytes as usize + at;
        warp.local.get(start..start + bytes).map_or(0, little)
    };
    let text = |address: u64| {
        let i = env.launch.regions.partition_point(|r| r.base <= address).wrapping_sub(1);
        let Some(r) = env.launch.regions.get(i) else { return "?".to_string() };
        let end = r.base + r.bytes;
        let bytes: Vec<u8> = (address..end).map(|a| r.load(a, 1) as u8).take_while(|b| *b != 0).take(200).collect();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    match args {
        [message, file, line, ..] => format!("`{}` at {}:{}", text(word(message, 8)), text(word(file, 8)), word(line, 4)),
        _ => "assert".into(),
    }
}
