//! Matrix instructions and asynchronous copies against plain loops. The fragment layouts are those of the tables in
//! the PTX manual, element by element, not those that `program::matrix` computes.

use super::common::{Bench, Random, arg, options};
use half::{bf16, f16};
use sideman_fakecuda::machine::{FaultKind, Order};

const HEAD: &str = ".version 8.0\n.target sm_90\n.address_size 64\n";

/// Row and column of element `i` of A (16-bit: 8 or 4 a lane; 8-bit: 16, 8 or 4 a lane).
fn a_place(lane: usize, i: usize, m: usize, bytes: usize) -> (usize, usize) {
    let (group, quad) = (lane / 4, lane % 4);
    match (m, bytes) {
        (16, 2) => (if matches!(i, 0 | 1 | 4 | 5) { group } else { group + 8 }, quad * 2 + i % 2 + if i >= 4 { 8 } else { 0 }),
        (16, 1) => (if matches!(i, 0..4 | 8..12) { group } else { group + 8 }, quad * 4 + i % 4 + if i >= 8 { 16 } else { 0 }),
        _ => (group, quad * 4 + i),
    }
}

fn b_place(lane: usize, i: usize, bytes: usize) -> (usize, usize) {
    let (group, quad) = (lane / 4, lane % 4);
    match bytes {
        2 => (quad * 2 + i % 2 + if i >= 2 { 8 } else { 0 }, group),
        _ => (quad * 4 + i % 4 + if i >= 4 { 16 } else { 0 }, group),
    }
}

fn c_place(lane: usize, i: usize) -> (usize, usize) {
    (if i < 2 { lane / 4 } else { lane / 4 + 8 }, lane % 4 * 2 + i % 2)
}

#[test]
fn products_of_tiles_equal_plain_loops() {
    let forms: [(&str, usize, usize, &str, &str); 9] = [
        ("m16n8k8", 16, 8, "f16", "f32"),
        ("m16n8k8", 16, 8, "bf16", "f32"),
        ("m16n8k16", 16, 16, "f16", "f32"),
        ("m16n8k16", 16, 16, "bf16", "f32"),
        ("m16n8k16", 16, 16, "f16", "f16"),
        ("m8n8k16", 8, 16, "s8", "s32"),
        ("m16n8k16", 16, 16, "s8", "s32"),
        ("m16n8k32", 16, 32, "u8", "s32"),
        ("m16n8k32", 16, 32, "s8", "s32"),
    ];
    for (shape, m, k, element, sum) in forms {
        let bytes = if element.ends_with('8') { 1 } else { 2 };
        let (na, nb, nc) = (m * k / 32, k * 8 / 32, m * 8 / 32);
        let (ra, rb) = (na * bytes / 4, nb * bytes / 4);
        let rc = if sum == "f16" { nc / 2 } else { nc };
        let list = |p: char, n: usize| (0..n).map(|i| format!("%{p}{i}")).collect::<Vec<_>>().join(", ");
        let mut text = format!(
            "{HEAD}.visible .entry k(.param .u64 pa, .param .u64 pb, .param .u64 pc)\n{{\n.reg .b64 %x, %y, %z;\n.reg .b32 %t, %a<4>, %b<2>, %c<4>;\n\
             ld.param.u64 %x, [pa];\nld.param.u64 %y, [pb];\nld.param.u64 %z, [pc];\nmov.u32 %t, %tid.x;\n\
             mad.wide.u32 %x, %t, {}, %x;\nmad.wide.u32 %y, %t, {}, %y;\nmad.wide.u32 %z, %t, {}, %z;\n",
            4 * ra,
            4 * rb,
            4 * rc
        );
        for (p, base, n) in [('a', 'x', ra), ('b', 'y', rb), ('c', 'z', rc)] {
            (0..n).for_each(|i| text += &format!("ld.global.b32 %{p}{i}, [%{base}+{}];\n", 4 * i));
        }
        text += &format!(
            "mma.sync.aligned.{shape}.row.col.{sum}.{element}.{element}.{sum} {{{}}}, {{{}}}, {{{}}}, {{{}}};\n",
            list('c', rc),
            list('a', ra),
            list('b', rb),
            list('c', rc)
        );
        (0..rc).for_each(|i| text += &format!("st.global.b32 [%z+{}], %c{i};\n", 4 * i));
        text += "ret;\n}\n";

        // Whole matrices of small numbers: every sum is exact in every sum type.
        let mut r = Random(31);
        let mut number = |unsigned: bool| (r.next() % 8) as i32 - if unsigned { 0 } else { 3 };
        let a: Vec<i32> = (0..m * k).map(|_| number(element == "u8")).collect();
        let b: Vec<i32> = (0..k * 8).map(|_| number(element == "u8")).collect();
        let c: Vec<i32> = (0..m * 8).map(|_| number(false)).collect();
        let pack = |v: i32| match element {
            "f16" => f16::from_f32(v as f32).to_bits().to_le_bytes().to_vec(),
            "bf16" => bf16::from_f32(v as f32).to_bits().to_le_bytes().to_vec(),
            _ => vec![v as u8],
        };
        let pack_sum = |v: i32| match sum {
            "f32" => (v as f32).to_le_bytes().to_vec(),
            "f16" => f16::from_f32(v as f32).to_bits().to_le_bytes().to_vec(),
            _ => v.to_le_bytes().to_vec(),
        };
        let each = |n: usize, f: &dyn Fn(usize, usize) -> Vec<u8>| -> Vec<u8> {
            (0..32).flat_map(|lane| (0..n).map(move |i| (lane, i))).flat_map(|(lane, i)| f(lane, i)).collect()
        };
        let at = |(row, column): (usize, usize), width: usize| row * width + column;
        let fa = each(na, &|l, i| pack(a[at(a_place(l, i, m, bytes), k)]));
        let fb = each(nb, &|l, i| pack(b[at(b_place(l, i, bytes), 8)]));
        let fc = each(nc, &|l, i| pack_sum(c[at(c_place(l, i), 8)]));
        let product =
            |row: usize, column: usize| c[row * 8 + column] + (0..k).map(|t| a[row * k + t] * b[t * 8 + column]).sum::<i32>();
        let want = each(nc, &|l, i| {
            let (row, column) = c_place(l, i);
            pack_sum(product(row, column))
        });
        let mut bench = Bench::new(&text, 90, options(Order::Forward));
        let (pa, pb, pc) = (bench.put(&fa), bench.put(&fb), bench.put(&fc));
        bench.launch("k", [1, 1, 1], [32, 1, 1], 0, &[&arg(pa), &arg(pb), &arg(pc)]).unwrap_or_else(|f| panic!("{f}"));
        assert_eq!(bench.get::<u8>(pc, want.len()), want, "{shape} {element} {sum}");
    }
}

#[test]
fn tiles_move_through_shared_memory() {
    // stmatrix plain, ldmatrix transposed; and movmatrix, which must give the same.
    let text = format!(
        "{HEAD}.visible .entry k(.param .u64 out)\n{{\n.shared .align 16 .b8 s[128];\n.reg .b64 %o;\n.reg .b32 %t, %v, %w, %x, %y, %s;\n\
         ld.param.u64 %o, [out];\nmov.u32 %t, %tid.x;\nmul.lo.u32 %v, %t, 131074;\nadd.u32 %v, %v, 65536;\n\
         and.b32 %s, %t, 7;\nshl.b32 %s, %s, 4;\nmov.u32 %w, s;\nadd.u32 %s, %s, %w;\n\
         stmatrix.sync.aligned.m8n8.x1.shared.b16 [%s], {{%v}};\nbar.warp.sync -1;\n\
         ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16 {{%x}}, [%s];\nmovmatrix.sync.aligned.m8n8.trans.b16 %y, %v;\n\
         mad.wide.u32 %o, %t, 8, %o;\nst.global.v2.b32 [%o], {{%x, %y}};\nret;\n}}\n"
    );
    let mut b = Bench::new(&text, 90, options(Order::Forward));
    let out = b.alloc(256);
    b.launch("k", [1, 1, 1], [32, 1, 1], 0, &[&arg(out)]).unwrap_or_else(|f| panic!("{f}"));
    // Element (row, column) is 8 * row + column.
    let got = b.get::<u16>(out, 128);
    for lane in 0..32 {
        let (row, column) = (lane / 4, lane % 4 * 2);
        let want = [8 * column + row, 8 * (column + 1) + row].map(|v| v as u16);
        assert_eq!(got[lane * 4..lane * 4 + 2], want);
        assert_eq!(got[lane * 4 + 2..lane * 4 + 4], want);
    }
}

/// Two groups in flight; a wait for all but one completes only the first. `wait` and `size` are varied.
fn copies(wait: &str, size: &str) -> String {
    format!(
        "{HEAD}.visible .entry k(.param .u64 out, .param .u64 a)\n{{\n.shared .align 16 .b8 s[32];\n.reg .b64 %o, %a;\n.reg .b32 %v<8>;\n.reg .b32 %n;\n\
         ld.param.u64 %o, [out];\nld.param.u64 %a, [a];\nmov.u32 %n, 4;\n\
         cp.async.ca.shared.global [s], [%a], 16{size};\ncp.async.commit_group;\n\
         cp.async.cg.shared.global [s+16], [%a+16], 16;\ncp.async.commit_group;\n{wait}\n\
         ld.shared.v4.b32 {{%v0, %v1, %v2, %v3}}, [s];\nst.global.v4.b32 [%o], {{%v0, %v1, %v2, %v3}};\ncp.async.wait_all;\n\
         ld.shared.v4.b32 {{%v4, %v5, %v6, %v7}}, [s+16];\nst.global.v4.b32 [%o+16], {{%v4, %v5, %v6, %v7}};\nret;\n}}\n"
    )
}

#[test]
fn asynchronous_copies_are_complete_after_their_wait() {
    let data: Vec<u32> = (1..9).collect();
    let run = |wait: &str, size: &str| {
        let mut b = Bench::new(&copies(wait, size), 90, options(Order::Forward));
        let (out, a) = (b.alloc(32), b.put(&data));
        b.launch("k", [1, 1, 1], [1, 1, 1], 0, &[&arg(out), &arg(a)]).map(|()| b.get::<u32>(out, 8))
    };
    assert_eq!(run("cp.async.wait_group 1;", "").unwrap(), data);
    assert_eq!(run("cp.async.wait_group 0;", "").unwrap(), data);
    // Four bytes are read, the rest is zero.
    assert_eq!(run("cp.async.wait_group 1;", ", %n").unwrap(), [1, 0, 0, 0, 5, 6, 7, 8]);
    assert_eq!(run("cp.async.wait_group 2;", "").unwrap_err().kind, FaultKind::CopyNotWaited);
    assert_eq!(run("", "").unwrap_err().kind, FaultKind::CopyNotWaited);
}

#[test]
fn barriers_reduce_predicates() {
    let text = format!(
        "{HEAD}.visible .entry k(.param .u64 out)\n{{\n.reg .b64 %o;\n.reg .b32 %t, %n, %x, %y;\n.reg .pred %p, %q;\n\
         ld.param.u64 %o, [out];\nmov.u32 %t, %tid.x;\nsetp.lt.u32 %p, %t, 40;\n\
         bar.red.popc.u32 %n, 0, %p;\nbar.red.and.pred %q, 0, %p;\nselp.b32 %x, 1, 0, %q;\nbar.red.or.pred %q, 1, %p;\nselp.b32 %y, 1, 0, %q;\n\
         mad.wide.u32 %o, %t, 16, %o;\nst.global.v4.b32 [%o], {{%n, %x, %y, %t}};\nret;\n}}\n"
    );
    let mut b = Bench::new(&text, 90, options(Order::Random));
    let out = b.alloc(64 * 16);
    b.launch("k", [1, 1, 1], [64, 1, 1], 0, &[&arg(out)]).unwrap_or_else(|f| panic!("{f}"));
    let want: Vec<u32> = (0..64).flat_map(|t| [40, 0, 1, t]).collect();
    assert_eq!(b.get::<u32>(out, 256), want);
}
