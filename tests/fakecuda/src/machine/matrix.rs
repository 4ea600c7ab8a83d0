//! Matrix instructions of a warp: 8 x 8 tiles to and from shared memory, and products of tiles.

use super::access::{resolve, tally};
use super::block::Env;
use super::fault::Run;
use super::race::Way;
use super::shared::Who;
use super::warp::Warp;
use crate::program::float::Round;
use crate::program::half::Format;
use crate::program::lane::{Lane, V};
use crate::program::matrix::{Shape, Sum};
use crate::program::op::{Op, Place};
use crate::ptx::Space;

/// Row addresses of matrix `m`: lanes 8m to 8m + 7 hold them.
fn rows(at: &Place, warp: &Warp, env: &mut Env, matrices: usize) -> V {
    let lanes = if matrices == 4 { u32::MAX } else { (1 << (8 * matrices)) - 1 };
    let (address, _) = resolve(at, warp, env, lanes);
    tally(env, Space::Shared, &address, lanes, 16, Way::Read);
    address
}

/// `ldmatrix`: lane 4r + q gets elements 2q and 2q + 1 of row r (of column r, transposed).
pub fn load_matrix(op: &Op, warp: &mut Warp, env: &mut Env) -> Run<()> {
    let Op::LoadMatrix { at, to, transposed, .. } = op else { return Ok(()) };
    let address = rows(at, warp, env, to.len());
    for (m, to) in to.iter().enumerate() {
        let mut tile = [[0u64; 8]; 8];
        for (r, row) in tile.iter_mut().enumerate() {
            let lane = 8 * m + r;
            env.shared.access(address[lane], 16, lane as u32)?;
            let who = Who { clocks: &env.clocks, warp: warp.index, lane: lane as u32, pc: env.pc, strong: false };
            for (k, v) in row.iter_mut().enumerate() {
                *v = env.shared.load(address[lane] + 2 * k as u64, 2, who)?;
            }
        }
        let out: V = std::array::from_fn(|lane| {
            let (r, q) = (lane / 4, lane % 4 * 2);
            if *transposed { tile[q][r] | tile[q + 1][r] << 16 } else { tile[r][q] | tile[r][q + 1] << 16 }
        });
        warp.set(*to, u32::MAX, &out);
    }
    Ok(())
}

/// `stmatrix`: the inverse.
pub fn store_matrix(op: &Op, warp: &mut Warp, env: &mut Env) -> Run<()> {
    let Op::StoreMatrix { at, from, transposed, .. } = op else { return Ok(()) };
    let address = rows(at, warp, env, from.len());
    for (m, from) in from.iter().enumerate() {
        let v = *warp.get(*from, &env.launch.constants);
        for r in 0..8 {
            let lane = 8 * m + r;
            env.shared.access(address[lane], 16, lane as u32)?;
            let who = Who { clocks: &env.clocks, warp: warp.index, lane: lane as u32, pc: env.pc, strong: false };
            for c in 0..8 {
                let (r, q) = if *transposed { (c, r) } else { (r, c) };
                let element = v[r * 4 + q / 2] >> (16 * (q % 2)) & 0xffff;
                env.progress += env.shared.store(address[lane] + 2 * c as u64, 2, element, who)? as u64;
            }
        }
    }
    Ok(())
}

/// `movmatrix.trans`: one tile, transposed among the lanes.
pub fn move_matrix(op: &Op, warp: &mut Warp, env: &Env) {
    let Op::MoveMatrix { to, a } = op else { return };
    let v = *warp.get(*a, &env.launch.constants);
    let element = |r: usize, c: usize| v[r * 4 + c / 2] >> (16 * (c % 2)) & 0xffff;
    let out: V = std::array::from_fn(|lane| {
        let (r, q) = (lane / 4, lane % 4 * 2);
        element(q, r) | element(q + 1, r) << 16
    });
    warp.set(*to, u32::MAX, &out);
}

fn read_sum(s: Sum, registers: &[V], lane: usize, i: usize) -> f64 {
    match s {
        Sum::F32 => f32::of(registers[i][lane]) as f64,
        Sum::F16 => Format::F16.read((registers[i / 2][lane] >> (16 * (i % 2))) as u16),
        Sum::S32 => registers[i][lane] as i32 as f64,
    }
}

/// `mma.sync`: products are exact, sums are in f64 and rounded once. (The hardware's last bits differ.)
pub fn mma(op: &Op, warp: &mut Warp, env: &Env) {
    let Op::Mma { shape, d, a, b, c } = op else { return };
    let constants = &env.launch.constants;
    let read = |list: &[u32]| list.iter().map(|s| *warp.get(*s, constants)).collect::<Vec<V>>();
    let (ra, rb, rc) = (read(a), read(b), read(c));
    let (mut ta, mut tb) = ([[0f64; 32]; 16], [[0f64; 8]; 32]);
    for lane in 0..32 {
        for (r, v) in ra.iter().enumerate() {
            for i in 0..shape.a.per_register() {
                let (row, column) = shape.a_place(lane, r, i);
                ta[row][column] = shape.a.read(v[lane], i);
            }
        }
        for (r, v) in rb.iter().enumerate() {
            for i in 0..shape.b.per_register() {
                let (row, column) = shape.b_place(lane, r, i);
                tb[row][column] = shape.b.read(v[lane], i);
            }
        }
    }
    let mut out = vec![[0u64; 32]; d.len()];
    let per_lane = shape.m * shape.n / 32;
    for lane in 0..32 {
        for i in 0..per_lane {
            let (row, column) = shape.c_place(lane, i);
            let mut sum = read_sum(shape.c, &rc, lane, i);
            for k in 0..shape.k {
                sum += ta[row][k] * tb[k][column];
            }
            write_sum(shape, &mut out, lane, i, sum);
        }
    }
    for (to, v) in d.iter().zip(&out) {
        warp.set(*to, u32::MAX, v);
    }
}

fn write_sum(shape: &Shape, out: &mut [V], lane: usize, i: usize, sum: f64) {
    match shape.d {
        Sum::F32 => out[i][lane] = (sum as f32).bits(),
        Sum::F16 => out[i / 2][lane] |= (Format::F16.write(sum, Round::Nearest) as u64) << (16 * (i % 2)),
        // Sums of products of bytes are exact in f64; beyond s32 they wrap or saturate.
        Sum::S32 if shape.satfinite => out[i][lane] = (sum as i32).bits(),
        Sum::S32 => out[i][lane] = (sum as i64 as i32).bits(),
    }
}
