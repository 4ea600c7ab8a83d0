//! Every family of instructions against plain Rust, bit for bit, on random bits, ordinary numbers and edge values.

use super::common::{Bench, Random, arg, options};
use half::{bf16, f16};
use sideman_fakecuda::machine::Order;

/// One instruction: PTX with operands d a b c, the widths of their registers, and its expected result.
struct Case {
    text: String,
    widths: [u32; 4],
    want: Box<dyn Fn(u64, u64, u64) -> u64>,
}

fn case(text: &str, widths: [u32; 4], want: impl Fn(u64, u64, u64) -> u64 + 'static) -> Case {
    Case { text: text.into(), widths, want: Box::new(want) }
}

const N: usize = 1024;

/// Edge values of integers and floats of all widths, then random bits, then ordinary floats.
fn inputs(r: &mut Random) -> Vec<u64> {
    let mut edges: Vec<u64> =
        vec![0, 1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 63, 64, 65, 127, 128, 255, 256, 32767, 32768, 65535, 65536];
    edges.extend([1 << 31, (1 << 31) - 1, (1 << 32) - 1, 1 << 32, 1 << 63, (1 << 63) - 1, u64::MAX, u64::MAX - 1]);
    let floats = [
        0.0f32,
        -0.0,
        1.0,
        -1.0,
        0.5,
        1.5,
        2.5,
        -2.5,
        3.4e38,
        -3.4e38,
        1e-40,
        -1e-45,
        1.2e-38,
        f32::INFINITY,
        f32::NEG_INFINITY,
        f32::NAN,
        4.2949673e9,
        -2.1474836e9,
        65504.0,
        65520.0,
    ];
    edges.extend(floats.iter().map(|f| f.to_bits() as u64));
    edges.extend(floats.iter().map(|f| (*f as f64 * 1.0000001).to_bits()));
    edges.extend(floats.iter().map(|f| f16::from_f32(*f).to_bits() as u64 * 0x10001));
    edges.extend(floats.iter().map(|f| bf16::from_f32(*f).to_bits() as u64 * 0x10001));
    (0..N)
        .map(|_| match r.next() % 4 {
            0 | 1 => edges[r.next() as usize % edges.len()],
            2 => r.next(),
            _ => (r.unit() * 100.0).to_bits() as u64,
        })
        .collect()
}

fn mask(bits: u32) -> u64 {
    if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
}

/// Runs the cases, all in one kernel, and compares each lane.
fn check(cases: Vec<Case>) {
    let mut text = String::from(
        ".version 8.8\n.target sm_100\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 a, .param .u64 b, .param .u64 c)\n{\n\
         .reg .b64 %o, %a, %b, %c, %t;\n.reg .b32 %i, %n, %k;\n\
         mov.u32 %i, %tid.x;\nmov.u32 %n, %ntid.x;\nmov.u32 %k, %ctaid.x;\nmad.lo.u32 %i, %k, %n, %i;\nmul.wide.u32 %t, %i, 8;\n\
         ld.param.u64 %o, [out];\nld.param.u64 %a, [a];\nld.param.u64 %b, [b];\nld.param.u64 %c, [c];\n\
         add.s64 %o, %o, %t;\nadd.s64 %a, %a, %t;\nadd.s64 %b, %b, %t;\nadd.s64 %c, %c, %t;\n",
    );
    for (k, case) in cases.iter().enumerate() {
        let [d, a, b, c] = case.widths;
        text += &format!(
            "{{\n.reg .b{d} d;\n.reg .b{a} a;\n.reg .b{b} b;\n.reg .b{c} c;\n.reg .pred p, q;\n.reg .b16 h0, h1, h2, h3;\n.reg .b32 w0, w1;\n.reg .b64 wide;\n\
             ld.global.b{a} a, [%a];\nld.global.b{b} b, [%b];\nld.global.b{c} c, [%c];\n{}\n",
            case.text
        );
        text += &match d {
            64 => "mov.b64 wide, d;\n".to_string(),
            _ => format!("cvt.u64.u{d} wide, d;\n"),
        };
        text += &format!("st.global.b64 [%o+{}], wide;\n}}\n", k * N * 8);
    }
    text += "ret;\n}\n";
    let mut bench = Bench::new(&text, 100, options(Order::Random));
    let mut r = Random(99);
    let lists = [inputs(&mut r), inputs(&mut r), inputs(&mut r)];
    let out = bench.alloc(8 * N * cases.len());
    let at = lists.each_ref().map(|l| bench.put(l));
    let args = [arg(out), arg(at[0]), arg(at[1]), arg(at[2])];
    bench.launch("k", [8, 1, 1], [N as u32 / 8, 1, 1], 0, &args.each_ref().map(|a| &a[..])).unwrap_or_else(|f| panic!("{f}"));
    for (k, case) in cases.iter().enumerate() {
        let got = bench.get::<u64>(out + (k * N * 8) as u64, N);
        for i in 0..N {
            let [a, b, c] = [0, 1, 2].map(|j| lists[j][i] & mask(case.widths[j + 1]));
            let want = (case.want)(a, b, c) & mask(case.widths[0]);
            assert_eq!(got[i], want, "`{}` of {a:#x}, {b:#x}, {c:#x}: {:#x} against {want:#x}", case.text, got[i]);
        }
    }
}

const W32: [u32; 4] = [32; 4];
const W64: [u32; 4] = [64; 4];
const W16: [u32; 4] = [16; 4];

/// A signed value of that many bits.
fn s(v: u64, bits: u32) -> i128 {
    ((v << (64 - bits)) as i64 >> (64 - bits)) as i128
}

#[test]
fn integer_arithmetic_is_exact() {
    let mut cases = Vec::new();
    for bits in [16u32, 32, 64] {
        let w = [bits; 4];
        for signed in [false, true] {
            let t = if signed { 's' } else { 'u' };
            let v = move |x: u64| if signed { s(x, bits) } else { x as i128 };
            let mut add = |name: &str, operands: &str, f: fn(i128, i128, i128) -> i128| {
                cases.push(case(&format!("{name}.{t}{bits} {operands};"), w, move |a, b, c| f(v(a), v(b), v(c)) as u64));
            };
            add("add", "d, a, b", |a, b, _| a + b);
            add("sub", "d, a, b", |a, b, _| a - b);
            add("mul.lo", "d, a, b", |a, b, _| a.wrapping_mul(b));
            add("mad.lo", "d, a, b, c", |a, b, c| a.wrapping_mul(b).wrapping_add(c));
            add("min", "d, a, b", |a, b, _| a.min(b));
            add("max", "d, a, b", |a, b, _| a.max(b));
            add("sad", "d, a, b, c", |a, b, c| c + (a - b).abs());
            let most = if signed { -(1i128 << (bits - 1)) } else { -1 };
            let div = move |a: u64, b: u64, _| match (v(a), v(b)) {
                (_, 0) => u64::MAX,
                (a, -1) if a == most => a as u64,
                (a, b) => (a / b) as u64,
            };
            cases.push(case(&format!("div.{t}{bits} d, a, b;"), w, div));
            let rem = move |a: u64, b: u64, _| if b == 0 { a } else { (v(a) % v(b)) as u64 };
            cases.push(case(&format!("rem.{t}{bits} d, a, b;"), w, rem));
            let high = move |a: u64, b: u64, _| match bits {
                64 if !signed => ((a as u128 * b as u128) >> 64) as u64,
                _ => ((v(a) * v(b)) >> bits) as u64,
            };
            cases.push(case(&format!("mul.hi.{t}{bits} d, a, b;"), w, high));
            if bits < 64 {
                let wide = [2 * bits, bits, bits, 2 * bits];
                cases.push(case(&format!("mul.wide.{t}{bits} d, a, b;"), wide, move |a, b, _| (v(a) * v(b)) as u64));
                let mad = move |a: u64, b: u64, c: u64| (v(a) * v(b) + c as i128) as u64;
                cases.push(case(&format!("mad.wide.{t}{bits} d, a, b, c;"), wide, mad));
            }
        }
        cases.push(case(&format!("abs.s{bits} d, a;"), w, move |a, _, _| s(a, bits).unsigned_abs() as u64));
        cases.push(case(&format!("neg.s{bits} d, a;"), w, move |a, _, _| (-s(a, bits)) as u64));
    }
    let clamp = |v: i128| v.clamp(i32::MIN as i128, i32::MAX as i128) as u64;
    cases.push(case("add.sat.s32 d, a, b;", W32, move |a, b, _| clamp(s(a, 32) + s(b, 32))));
    cases.push(case("sub.sat.s32 d, a, b;", W32, move |a, b, _| clamp(s(a, 32) - s(b, 32))));
    cases.push(case("mad.hi.s32 d, a, b, c;", W32, |a, b, c| (((s(a, 32) * s(b, 32)) >> 32) + s(c, 32)) as u64));
    cases.push(case("mul24.lo.u32 d, a, b;", W32, |a, b, _| (a & 0xffffff).wrapping_mul(b & 0xffffff)));
    cases.push(case("dp4a.s32.s32 d, a, b, c;", W32, |a, b, c| {
        (0..4).fold(c as i128, |t, i| t + s(a >> (8 * i) & 255, 8) * s(b >> (8 * i) & 255, 8)) as u64
    }));
    cases.push(case("dp4a.u32.s32 d, a, b, c;", W32, |a, b, c| {
        (0..4).fold(c as i128, |t, i| t + (a >> (8 * i) & 255) as i128 * s(b >> (8 * i) & 255, 8)) as u64
    }));
    cases.push(case("dp2a.lo.s32.s32 d, a, b, c;", W32, |a, b, c| {
        (0..2).fold(c as i128, |t, i| t + s(a >> (16 * i) & 0xffff, 16) * s(b >> (8 * i) & 255, 8)) as u64
    }));
    // 128 bits through the carry: low halves here, the high half of the sum of three words there.
    cases.push(case("add.cc.u32 w0, a, b;\naddc.u32 d, c, 0;", W32, |a, b, c| c + ((a + b) >> 32)));
    cases.push(case("sub.cc.u32 w0, a, b;\nsubc.u32 d, c, 0;", W32, |a, b, c| c.wrapping_sub((a < b) as u64)));
    cases.push(case("mad.lo.cc.u32 w0, a, b, c;\nmadc.hi.u32 d, a, b, 0;", W32, |a, b, c| (a * b + c) >> 32));
    check(cases);
}

#[test]
fn bits_and_shifts_are_exact() {
    let mut cases = Vec::new();
    for bits in [16u32, 32, 64] {
        let w = [bits; 4];
        cases.push(case(&format!("and.b{bits} d, a, b;"), w, |a, b, _| a & b));
        cases.push(case(&format!("or.b{bits} d, a, b;"), w, |a, b, _| a | b));
        cases.push(case(&format!("xor.b{bits} d, a, b;"), w, |a, b, _| a ^ b));
        cases.push(case(&format!("not.b{bits} d, a;"), w, |a, _, _| !a));
        cases.push(case(&format!("cnot.b{bits} d, a;"), w, |a, _, _| (a == 0) as u64));
        let by = [bits, bits, 32, 32];
        cases.push(case(&format!("shl.b{bits} d, a, b;"), by, move |a, n, _| if n >= bits as u64 { 0 } else { a << n }));
        cases.push(case(&format!("shr.u{bits} d, a, b;"), by, move |a, n, _| if n >= bits as u64 { 0 } else { a >> n }));
        cases.push(case(&format!("shr.s{bits} d, a, b;"), by, move |a, n, _| (s(a, bits) >> n.min(bits as u64 - 1)) as u64));
    }
    for bits in [32u32, 64] {
        let narrow = [32, bits, 32, 32];
        cases.push(case(&format!("popc.b{bits} d, a;"), narrow, |a, _, _| a.count_ones() as u64));
        cases.push(case(&format!("clz.b{bits} d, a;"), narrow, move |a, _, _| (a.leading_zeros() - (64 - bits)) as u64));
        cases.push(case(&format!("brev.b{bits} d, a;"), [bits; 4], move |a, _, _| a.reverse_bits() >> (64 - bits)));
        let top = move |a: u64| (0..bits).rev().find(|i| a >> i & 1 == 1).map_or(u64::MAX, |i| i as u64);
        cases.push(case(&format!("bfind.u{bits} d, a;"), narrow, move |a, _, _| top(a)));
        cases.push(case(&format!("bfind.s{bits} d, a;"), narrow, move |a, _, _| {
            top(if s(a, bits) < 0 { !a & mask(bits) } else { a })
        }));
        cases.push(case(&format!("bfind.shiftamt.u{bits} d, a;"), narrow, move |a, _, _| {
            if a == 0 { u64::MAX } else { bits as u64 - 1 - top(a) }
        }));
        let field = [bits, bits, 32, 32];
        for signed in [false, true] {
            let t = if signed { 's' } else { 'u' };
            // Bit by bit, as the manual has it.
            let want = move |a: u64, p: u64, n: u64| {
                let (p, n, top) = (p & 255, n & 255, bits as u64 - 1);
                let fill = signed && n > 0 && a >> (p + n - 1).min(top) & 1 == 1;
                (0..bits as u64)
                    .fold(0, |r, i| r | u64::from(if i < n && p + i <= top { a >> (p + i) & 1 == 1 } else { fill }) << i)
            };
            cases.push(case(&format!("bfe.{t}{bits} d, a, b, c;"), field, want));
        }
        let put = move |a: u64, b: u64, c: u64| {
            let (p, n) = (c & 255, c >> 3 & 255);
            (0..bits as u64)
                .fold(b, |r, i| if i < n && p + i < bits as u64 { r & !(1 << (p + i)) | (a >> i & 1) << (p + i) } else { r })
        };
        cases.push(case(
            &format!("and.b32 w0, c, 255;\nshr.u32 w1, c, 3;\nand.b32 w1, w1, 255;\nbfi.b{bits} d, a, b, w0, w1;"),
            [bits, bits, bits, 32],
            put,
        ));
    }
    cases.push(case("lop3.b32 d, a, b, c, 0x96;", W32, |a, b, c| a ^ b ^ c));
    cases.push(case("lop3.b32 d, a, b, c, 0xe8;", W32, |a, b, c| a & b | b & c | a & c));
    cases.push(case("lop3.b32 d, a, b, c, 0x2a;", W32, |a, b, c| !(a & b) & c));
    cases.push(case("shf.l.wrap.b32 d, a, b, c;", W32, |a, b, n| (b << 32 | a) >> (32 - (n & 31))));
    cases.push(case("shf.l.clamp.b32 d, a, b, c;", W32, |a, b, n| (b << 32 | a) >> (32 - n.min(32))));
    cases.push(case("shf.r.wrap.b32 d, a, b, c;", W32, |a, b, n| (b << 32 | a) >> (n & 31)));
    cases.push(case("shf.r.clamp.b32 d, a, b, c;", W32, |a, b, n| (b << 32 | a) >> n.min(32)));
    cases.push(case("prmt.b32 d, a, b, c;", W32, |a, b, c| {
        let bytes: Vec<u8> = a.to_le_bytes()[..4].iter().chain(&b.to_le_bytes()[..4]).copied().collect();
        (0..4).fold(0, |r, i| {
            let k = (c >> (4 * i)) as usize & 15;
            let byte = bytes[k & 7];
            r | (if k > 7 { if byte > 127 { 255 } else { 0 } } else { byte as u64 }) << (8 * i)
        })
    }));
    cases.push(case("bmsk.clamp.b32 d, a, b;", W32, |a, b, _| {
        (0..32).filter(|i| *i >= a && *i < a + b).fold(0, |r, i| r | 1 << i)
    }));
    cases.push(case("szext.clamp.s32 d, a, b;", W32, |a, n, _| {
        if n == 0 {
            0
        } else if n >= 32 {
            a
        } else {
            s(a & mask(n as u32), n as u32) as u64
        }
    }));
    check(cases);
}

fn f(x: u64) -> f32 {
    f32::from_bits(x as u32)
}
fn fb(x: f32) -> u64 {
    if x.is_nan() { 0x7fff_ffff } else { x.to_bits() as u64 }
}
fn db(x: f64) -> u64 {
    if x.is_nan() { 0x7fff_ffff_ffff_ffff } else { x.to_bits() }
}
fn ftz(x: f32) -> f32 {
    if x != 0.0 && x.abs() < f32::MIN_POSITIVE { 0.0 * x } else { x }
}

#[test]
fn floats_are_exact() {
    let d = f64::from_bits;
    let least = |a: f32, b: f32| {
        if a.is_nan() {
            b
        } else if b.is_nan() {
            a
        } else if a == b {
            f32::from_bits(a.to_bits() | b.to_bits())
        } else {
            a.min(b)
        }
    };
    let most = |a: f32, b: f32| {
        if a.is_nan() {
            b
        } else if b.is_nan() {
            a
        } else if a == b {
            f32::from_bits(a.to_bits() & b.to_bits())
        } else {
            a.max(b)
        }
    };
    let sat = |x: f32| if x > 0.0 { if x > 1.0 { 1.0 } else { x } } else { 0.0 };
    check(vec![
        case("add.f32 d, a, b;", W32, |a, b, _| fb(f(a) + f(b))),
        case("sub.rn.f32 d, a, b;", W32, |a, b, _| fb(f(a) - f(b))),
        case("mul.f32 d, a, b;", W32, |a, b, _| fb(f(a) * f(b))),
        case("add.ftz.f32 d, a, b;", W32, |a, b, _| fb(ftz(ftz(f(a)) + ftz(f(b))))),
        case("mul.ftz.f32 d, a, b;", W32, |a, b, _| fb(ftz(ftz(f(a)) * ftz(f(b))))),
        case("add.sat.f32 d, a, b;", W32, move |a, b, _| fb(sat(f(a) + f(b)))),
        case("fma.rn.f32 d, a, b, c;", W32, |a, b, c| fb(f(a).mul_add(f(b), f(c)))),
        case("fma.rn.sat.f32 d, a, b, c;", W32, move |a, b, c| fb(sat(f(a).mul_add(f(b), f(c))))),
        case("div.rn.f32 d, a, b;", W32, |a, b, _| fb(f(a) / f(b))),
        case("div.full.ftz.f32 d, a, b;", W32, |a, b, _| fb(ftz(ftz(f(a)) / ftz(f(b))))),
        case("rcp.rn.f32 d, a;", W32, |a, _, _| fb(1.0 / f(a))),
        case("sqrt.rn.f32 d, a;", W32, |a, _, _| fb(f(a).sqrt())),
        case("rsqrt.approx.f32 d, a;", W32, |a, _, _| fb((1.0 / (f(a) as f64).sqrt()) as f32)),
        case("ex2.approx.ftz.f32 d, a;", W32, |a, _, _| fb(ftz((ftz(f(a)) as f64).exp2() as f32))),
        case("lg2.approx.f32 d, a;", W32, |a, _, _| fb((f(a) as f64).log2() as f32)),
        case("tanh.approx.f32 d, a;", W32, |a, _, _| fb((f(a) as f64).tanh() as f32)),
        case("min.f32 d, a, b;", W32, move |a, b, _| fb(least(f(a), f(b)))),
        case("max.f32 d, a, b;", W32, move |a, b, _| fb(most(f(a), f(b)))),
        case("max.NaN.f32 d, a, b;", W32, move |a, b, _| {
            fb(if f(a).is_nan() || f(b).is_nan() { f32::NAN } else { most(f(a), f(b)) })
        }),
        case("abs.f32 d, a;", W32, |a, _, _| a & 0x7fff_ffff),
        case("neg.f32 d, a;", W32, |a, _, _| a ^ 0x8000_0000),
        case("copysign.f32 d, a, b;", W32, |a, b, _| a & 0x8000_0000 | b & 0x7fff_ffff),
        case("add.f64 d, a, b;", W64, move |a, b, _| db(d(a) + d(b))),
        case("mul.rn.f64 d, a, b;", W64, move |a, b, _| db(d(a) * d(b))),
        case("fma.rn.f64 d, a, b, c;", W64, move |a, b, c| db(d(a).mul_add(d(b), d(c)))),
        case("div.rn.f64 d, a, b;", W64, move |a, b, _| db(d(a) / d(b))),
        case("sqrt.rn.f64 d, a;", W64, move |a, _, _| db(d(a).sqrt())),
        case("add.rn.f32x2 d, a, b;", W64, |a, b, _| fb(f(a) + f(b)) | fb(f(a >> 32) + f(b >> 32)) << 32),
        case("fma.rn.f32x2 d, a, b, c;", W64, |a, b, c| {
            fb(f(a).mul_add(f(b), f(c))) | fb(f(a >> 32).mul_add(f(b >> 32), f(c >> 32))) << 32
        }),
    ]);
}

/// Directed rounding, on multiples of 2^-12 below 2^5, whose products and sums f64 holds exactly.
#[test]
fn directed_rounding_is_exact() {
    let small = |x: u64| ((x as i32 % (1 << 17)) as f64) / 4096.0;
    let toward = |x: f64, name: &str| {
        let r = x as f32;
        let (low, high) = if r as f64 > x {
            (r.next_down(), r)
        } else if (r as f64) < x {
            (r, r.next_up())
        } else {
            (r, r)
        };
        match name {
            "rm" => low,
            "rp" => high,
            _ => {
                if x > 0.0 {
                    low
                } else {
                    high
                }
            }
        }
    };
    // Operands by the same reduction in PTX.
    let reduce = "rem.s32 a, a, 131072;\ncvt.rn.f32.s32 a, a;\nmul.f32 a, a, 0f39800000;\nrem.s32 b, b, 131072;\ncvt.rn.f32.s32 b, b;\nmul.f32 b, b, 0f39800000;\nrem.s32 c, c, 131072;\ncvt.rn.f32.s32 c, c;\nmul.f32 c, c, 0f39800000;\n";
    let mut cases = Vec::new();
    for name in ["rz", "rm", "rp"] {
        let zero = move |x: f64, neg: bool| if x == 0.0 { if neg { 0x8000_0000 } else { 0 } } else { fb(toward(x, name)) };
        cases.push(case(&format!("{reduce}mul.{name}.f32 d, a, b;"), W32, move |a, b, _| {
            let (a, b) = (small(a), small(b));
            zero(a * b, (a < 0.0) != (b < 0.0) && (a * b).is_sign_negative())
        }));
        cases.push(case(&format!("{reduce}fma.{name}.f32 d, a, b, c;"), W32, move |a, b, c| {
            let x = small(a) * small(b) + small(c);
            let both = (small(a) * small(b)).is_sign_negative() && small(c).is_sign_negative();
            let down = name == "rm" && ((small(a) * small(b)).is_sign_negative() || small(c).is_sign_negative());
            zero(x, both || down)
        }));
    }
    check(cases);
}

/// The nearest value of a 16-bit format, found by search over its bit patterns.
fn nearest(x: f64, read: fn(u16) -> f64) -> u64 {
    if x.is_nan() {
        return 0x7fff;
    }
    let sign = if x.is_sign_negative() { 0x8000u16 } else { 0 };
    let infinity = (0..0x7fffu16).find(|b| read(*b).is_infinite()).unwrap();
    // The first pattern not below |x|, by bisection (patterns are in the order of their values).
    let (mut low, mut high) = (0u16, infinity);
    while low < high {
        let mid = (low + high) / 2;
        if read(mid) < x.abs() { low = mid + 1 } else { high = mid }
    }
    let size = |b: u16| if b == infinity { 2.0 * read(b - 1) - read(b - 2) } else { read(b) };
    let best = match low {
        0 => 0,
        n => {
            let (down, up) = (x.abs() - size(n - 1), size(n) - x.abs());
            if down < up || down == up && (n - 1) % 2 == 0 { n - 1 } else { n }
        }
    };
    (sign | best) as u64
}

fn h16(b: u16) -> f64 {
    f16::from_bits(b).to_f64()
}
fn b16(b: u16) -> f64 {
    bf16::from_bits(b).to_f64()
}

#[test]
fn halves_are_exact() {
    let mut cases = Vec::new();
    for (t, read) in [("f16", h16 as fn(u16) -> f64), ("bf16", b16)] {
        let r = move |x: u64| read(x as u16);
        let n = move |x: f64| nearest(x, read);
        cases.push(case(&format!("mul.{t} d, a, b;"), W16, move |a, b, _| n(r(a) * r(b))));
        cases.push(case(&format!("neg.{t} d, a;"), W16, |a, _, _| a ^ 0x8000));
        cases.push(case(&format!("abs.{t} d, a;"), W16, |a, _, _| a & 0x7fff));
        let max = move |a: u64, b: u64, _| match (r(a).is_nan(), r(b).is_nan()) {
            (true, true) => 0x7fff,
            (true, _) => b,
            (_, true) => a,
            _ if r(a) == r(b) => a & b,
            _ => {
                if r(a) > r(b) {
                    a
                } else {
                    b
                }
            }
        };
        cases.push(case(&format!("max.{t} d, a, b;"), W16, max));
        cases.push(case(&format!("mul.{t}x2 d, a, b;"), W32, move |a, b, _| n(r(a) * r(b)) | n(r(a >> 16) * r(b >> 16)) << 16));
        // Sums that f64 holds: f16 always, bf16 where the exponents are near.
        let exact =
            move |a: f64, b: f64| a == 0.0 || b == 0.0 || !(a.is_finite() && b.is_finite()) || (a / b).abs().log2().abs() < 40.0;
        let add = move |a: u64, b: u64, _| {
            if exact(r(a), r(b)) {
                n(r(a) + r(b))
            } else if r(a).abs() > r(b).abs() {
                a
            } else {
                b
            }
        };
        cases.push(case(&format!("add.{t} d, a, b;"), W16, add));
        cases.push(case(&format!("setp.lt.{t} p, a, b;\nselp.b16 d, 1, 0, p;"), W16, move |a, b, _| (r(a) < r(b)) as u64));
        cases.push(case(&format!("cvt.rn.{t}.f32 d, a;"), [16, 32, 32, 32], move |a, _, _| n(f(a) as f64)));
        cases.push(case(&format!("cvt.f32.{t} d, a;"), [32, 16, 16, 16], move |a, _, _| fb(r(a) as f32)));
        cases.push(case(&format!("cvt.rn.{t}x2.f32 d, a, b;"), W32, move |a, b, _| n(f(a) as f64) << 16 | n(f(b) as f64)));
    }
    // f16 products and sums as integers of 2^-48: exact.
    cases.push(case("fma.rn.f16 d, a, b, c;", W16, |a, b, c| {
        let (x, y, z) = (h16(a as u16), h16(b as u16), h16(c as u16));
        let sum = x * y + z;
        if !sum.is_finite() || sum == 0.0 {
            return nearest(sum, h16);
        }
        let whole = (x * y * 2f64.powi(48)) as i128 + (z * 2f64.powi(48)) as i128;
        let up = whole.unsigned_abs();
        // Rounded to odd at 50 bits, so that the f64 keeps all that rounding depends on.
        let shift = (128 - up.leading_zeros()).saturating_sub(50);
        let odd = up >> shift | u128::from(up & ((1 << shift) - 1) != 0);
        let v = odd as f64 * 2f64.powi(shift as i32 - 48);
        nearest(if whole < 0 { -v } else { v }, h16)
    }));
    check(cases);
}

#[test]
fn conversions_are_exact() {
    let d = f64::from_bits;
    let even = |x: f64| x.round_ties_even();
    check(vec![
        case("cvt.rzi.s32.f32 d, a;", W32, |a, _, _| f(a) as i32 as u64),
        case("cvt.rzi.u32.f32 d, a;", W32, |a, _, _| f(a) as u32 as u64),
        case("cvt.rni.s32.f32 d, a;", W32, move |a, _, _| even(f(a) as f64) as i32 as u64),
        case("cvt.rmi.s32.f32 d, a;", W32, |a, _, _| f(a).floor() as i32 as u64),
        case("cvt.rpi.s32.f32 d, a;", W32, |a, _, _| f(a).ceil() as i32 as u64),
        case("cvt.rzi.s8.f32 w0, a;\nmov.b32 d, w0;", W32, |a, _, _| f(a) as i8 as i32 as u64),
        case("cvt.rzi.s64.f32 d, a;", [64, 32, 32, 32], |a, _, _| if f(a).is_nan() { 1 << 63 } else { f(a) as i64 as u64 }),
        case("cvt.rzi.u64.f64 d, a;", W64, move |a, _, _| if d(a).is_nan() { 1 << 63 } else { d(a) as u64 }),
        case("cvt.rni.f32.f32 d, a;", W32, move |a, _, _| fb(even(f(a) as f64) as f32)),
        case("cvt.sat.f32.f32 d, a;", W32, |a, _, _| fb(if f(a) > 0.0 { f(a).min(1.0) } else { 0.0 })),
        case("cvt.ftz.f32.f32 d, a;", W32, |a, _, _| fb(ftz(f(a)))),
        case("cvt.rn.f32.s32 d, a;", W32, |a, _, _| fb(a as i32 as f32)),
        case("cvt.rn.f32.u32 d, a;", W32, |a, _, _| fb(a as u32 as f32)),
        case("cvt.rn.f32.s64 d, a;", [32, 64, 64, 64], |a, _, _| fb(a as i64 as f32)),
        case("cvt.rz.f32.u32 d, a;", W32, |a, _, _| {
            let r = a as f32;
            fb(if r as u64 > a { r.next_down() } else { r })
        }),
        case("cvt.rn.f64.s64 d, a;", W64, |a, _, _| db(a as i64 as f64)),
        case("cvt.f64.f32 d, a;", [64, 32, 32, 32], |a, _, _| db(f(a) as f64)),
        case("cvt.rn.f32.f64 d, a;", [32, 64, 64, 64], move |a, _, _| fb(d(a) as f32)),
        case("cvt.rz.f32.f64 d, a;", [32, 64, 64, 64], move |a, _, _| {
            let r = d(a) as f32;
            fb(if (r as f64).abs() > d(a).abs() { if r > 0.0 { r.next_down() } else { r.next_up() } } else { r })
        }),
        case("cvt.s64.s32 d, a;", [64, 32, 32, 32], |a, _, _| a as i32 as i64 as u64),
        case("cvt.u64.u32 d, a;", [64, 32, 32, 32], |a, _, _| a),
        case("cvt.u32.u64 d, a;", [32, 64, 64, 64], |a, _, _| a),
        case("cvt.s32.s8 d, a;", W32, |a, _, _| a as i8 as i32 as u64),
        case("cvt.u32.u8 d, a;", W32, |a, _, _| a & 255),
        case("cvt.s16.s32 h0, a;\ncvt.s32.s16 d, h0;", W32, |a, _, _| a as i16 as i32 as u64),
        case("cvt.sat.s8.s32 w0, a;\nmov.b32 d, w0;", W32, |a, _, _| (a as i32).clamp(-128, 127) as u64),
        case("cvt.sat.u8.s32 d, a;", W32, |a, _, _| (a as i32).clamp(0, 255) as u64),
        case("mov.b32 {h0, h1}, a;\nmov.b32 d, {h1, h0};", W32, |a, _, _| a << 16 | a >> 16),
        case("mov.b64 {w0, w1}, a;\nmov.b64 d, {w1, w0};", W64, |a, _, _| a.rotate_left(32)),
        case("mov.b64 {h0, h1, h2, h3}, a;\nmov.b64 d, {h3, h2, h1, h0};", W64, |a, _, _| {
            (0..4).fold(0, |r, i| r | (a >> (16 * i) & 0xffff) << (48 - 16 * i))
        }),
    ]);
}

#[test]
fn comparisons_and_predicates_are_exact() {
    let mut cases = Vec::new();
    type Order = fn(std::cmp::Ordering) -> bool;
    let orders: [(&str, Order); 6] = [
        ("eq", |o| o.is_eq()),
        ("ne", |o| o.is_ne()),
        ("lt", |o| o.is_lt()),
        ("le", |o| o.is_le()),
        ("gt", |o| o.is_gt()),
        ("ge", |o| o.is_ge()),
    ];
    for (name, test) in orders {
        cases.push(case(&format!("setp.{name}.s32 p, a, b;\nselp.b32 d, a, b, p;"), W32, move |a, b, _| {
            if test((a as i32).cmp(&(b as i32))) { a } else { b }
        }));
        cases.push(case(
            &format!("setp.{name}.u64 p, a, b;\nselp.b64 d, a, b, p;"),
            W64,
            move |a, b, _| if test(a.cmp(&b)) { a } else { b },
        ));
        cases.push(case(&format!("setp.{name}.s16 p, a, b;\nselp.b16 d, a, b, !p;"), W16, move |a, b, _| {
            if test((a as i16).cmp(&(b as i16))) { b } else { a }
        }));
        cases.push(case(&format!("setp.{name}.f32 p, a, b;\nselp.b32 d, 1, 0, p;"), W32, move |a, b, _| {
            f(a).partial_cmp(&f(b)).is_some_and(test) as u64
        }));
        cases.push(case(&format!("setp.{name}u.f32 p, a, b;\nselp.b32 d, 1, 0, p;"), W32, move |a, b, _| {
            f(a).partial_cmp(&f(b)).is_none_or(test) as u64
        }));
        cases.push(case(&format!("set.{name}.u32.f32 d, a, b;"), W32, move |a, b, _| {
            if f(a).partial_cmp(&f(b)).is_some_and(test) { u64::MAX } else { 0 }
        }));
    }
    cases.push(case(
        "setp.ne.u32 q, c, 0;\nsetp.lt.or.u32 p|q, a, b, q;\nselp.b32 w0, 1, 0, p;\nselp.b32 w1, 2, 0, q;\nor.b32 d, w0, w1;",
        W32,
        move |a, b, c| ((a < b) || c != 0) as u64 | (((a >= b) || c != 0) as u64) << 1,
    ));
    cases.push(case("setp.nan.f32 p, a, b;\nselp.b32 d, 1, 0, p;", W32, |a, b, _| (f(a).is_nan() || f(b).is_nan()) as u64));
    cases.push(case(
        "setp.lt.u32 p, a, b;\nsetp.lt.u32 q, b, c;\nxor.pred p, p, q;\nnot.pred q, p;\n@p mov.b32 d, a;\n@q mov.b32 d, c;",
        W32,
        |a, b, c| if (a < b) != (b < c) { a } else { c },
    ));
    cases.push(case("slct.s32.f32 d, a, b, c;", W32, |a, b, c| if f(c) >= 0.0 { a } else { b }));
    cases.push(case("testp.subnormal.f32 p, a;\nselp.b32 d, 1, 0, p;", W32, |a, _, _| f(a).is_subnormal() as u64));
    check(cases);
}

/// Divergence: nested branches, a loop of uneven length, and a branch table, against the same in Rust.
#[test]
fn divergent_control_flow_runs_every_lane() {
    let mut cases = vec![case(
        "and.b32 w0, a, 15;\nmov.u32 d, 0;\nLOOP: setp.eq.u32 p, w0, 0;\n@p bra DONE;\nand.b32 w1, w0, 1;\nsetp.eq.u32 q, w1, 0;\n@q bra EVEN;\nadd.u32 d, d, b;\nbra.uni NEXT;\nEVEN: xor.b32 d, d, c;\nNEXT: sub.u32 w0, w0, 1;\nbra LOOP;\nDONE:",
        W32,
        |a, b, c| (1..=a & 15).rev().fold(0u32, |d, i| if i % 2 == 0 { d ^ c as u32 } else { d.wrapping_add(b as u32) }) as u64,
    )];
    cases.push(case(
        "and.b32 w0, a, 3;\nbrx.idx w0, T;\nT: .branchtargets A, B, C, B;\nA: mov.b32 d, 10;\nbra E;\nB: mov.b32 d, 20;\nbra E;\nC: mov.b32 d, 30;\nE:",
        W32,
        |a, _, _| [10, 20, 30, 20][a as usize & 3],
    ));
    check(cases);
}

#[test]
fn shuffles_votes_and_reductions_are_exact() {
    let lane = |i: usize| i % 32;
    let text = ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 a)\n{\n.reg .b64 %o, %a, %t;\n.reg .b32 %i, %v, %d<24>;\n.reg .pred %p<8>;\n\
        mov.u32 %i, %tid.x;\nmul.wide.u32 %t, %i, 4;\nld.param.u64 %a, [a];\nadd.s64 %a, %a, %t;\nld.global.u32 %v, [%a];\n\
        shfl.sync.up.b32 %d0|%p0, %v, 3, 0, -1;\nselp.b32 %d1, 1, 0, %p0;\n\
        shfl.sync.down.b32 %d2|%p0, %v, 5, 31, -1;\nselp.b32 %d3, 1, 0, %p0;\n\
        shfl.sync.bfly.b32 %d4, %v, 7, 31, -1;\n\
        shfl.sync.idx.b32 %d5, %v, %v, 31, -1;\n\
        shfl.sync.down.b32 %d6, %v, 2, 0x181f, -1;\n\
        setp.gt.s32 %p1, %v, 0;\nvote.sync.ballot.b32 %d7, %p1, -1;\nvote.sync.all.pred %p2, %p1, -1;\nselp.b32 %d8, 1, 0, %p2;\nvote.sync.any.pred %p2, !%p1, -1;\nselp.b32 %d9, 1, 0, %p2;\n\
        redux.sync.add.s32 %d10, %v, -1;\nredux.sync.min.s32 %d11, %v, -1;\nredux.sync.max.u32 %d12, %v, -1;\nredux.sync.xor.b32 %d13, %v, -1;\n\
        match.any.sync.b32 %d14, %v, -1;\nmatch.all.sync.b32 %d15|%p3, %v, -1;\nactivemask.b32 %d16;\n\
        ld.param.u64 %o, [out];\nmad.wide.u32 %o, %i, 68, %o;\n";
    let stores: String = (0..17).map(|k| format!("st.global.u32 [%o+{}], %d{k};\n", 4 * k)).collect();
    let mut b = Bench::new(&format!("{text}{stores}ret;\n}}\n"), 80, options(Order::Reverse));
    let mut r = Random(21);
    let v: Vec<u32> = (0..64).map(|_| if r.next().is_multiple_of(3) { 5 } else { r.next() as u32 }).collect();
    let (out, a) = (b.alloc(64 * 68), b.put(&v));
    b.launch("k", [1, 1, 1], [64, 1, 1], 0, &[&arg(out), &arg(a)]).unwrap_or_else(|f| panic!("{f}"));
    let got = b.get::<u32>(out, 64 * 17);
    for i in 0..64 {
        let (l, warp) = (lane(i), &v[i / 32 * 32..i / 32 * 32 + 32]);
        let ballot = (0..32).fold(0u32, |m, j| m | (((warp[j] as i32) > 0) as u32) << j);
        let want = [
            if l >= 3 { warp[l - 3] } else { warp[l] },
            (l >= 3) as u32,
            if l + 5 < 32 { warp[l + 5] } else { warp[l] },
            (l + 5 < 32) as u32,
            warp[l ^ 7],
            warp[warp[l] as usize & 31],
            if l % 8 + 2 < 8 { warp[l + 2] } else { warp[l] },
            ballot,
            (ballot == u32::MAX) as u32,
            (ballot != u32::MAX) as u32,
            warp.iter().fold(0, |s, x| s.wrapping_add(*x)),
            warp.iter().map(|x| *x as i32).min().unwrap() as u32,
            *warp.iter().max().unwrap(),
            warp.iter().fold(0, |s, x| s ^ x),
            (0..32).fold(0, |m, j| m | ((warp[j] == warp[l]) as u32) << j),
            0,
            u32::MAX,
        ];
        assert_eq!(got[i * 17..i * 17 + 17], want, "thread {i}");
    }
}

#[test]
fn atomics_on_global_and_shared_memory_are_exact() {
    type Apply = fn(u64, u64) -> u64;
    let ops: [(&str, &str, Apply, u64); 9] = [
        ("add.u32", "b32", |a, b| (a + b) & 0xffff_ffff, 7),
        ("min.s32", "b32", |a, b| (a as i32).min(b as i32) as u32 as u64, 100),
        ("max.u32", "b32", |a, b| a.max(b), 3),
        ("and.b32", "b32", |a, b| a & b, 0xffff_ffff),
        ("or.b32", "b32", |a, b| a | b, 0),
        ("xor.b32", "b32", |a, b| a ^ b, 0),
        ("add.u64", "b64", |a, b| a.wrapping_add(b), 1 << 40),
        ("max.s64", "b64", |a, b| (a as i64).max(b as i64) as u64, 0),
        ("add.f32", "b32", |a, b| fb(f(a) + f(b)), 0),
    ];
    for (op, width, apply, start) in ops {
        for space in ["global", "shared"] {
            let load = if op == "add.f32" { "cvt.rn.f32.u32 %v, %i;" } else { "mul.lo.u32 %v, %i, 2654435;" };
            let (value, register) = if width == "b64" { ("cvt.u64.u32 %w, %v;", "%w") } else { ("", "%v") };
            let bytes = if width == "b64" { 8 } else { 4 };
            let inner = match space {
                "global" => format!("atom.global.{op} {old}, [%o], {register};", old = if bytes == 8 { "%w2" } else { "%v2" }),
                _ => format!(
                    "setp.eq.u32 %p, %i, 0;\nld.global.{width} {t}, [%o];\n@%p st.shared.{width} [s], {t};\nbar.sync 0;\n\
                     red.shared.{op} [s], {register};\nbar.sync 0;\nld.shared.{width} {t}, [s];\n@%p st.global.{width} [%o], {t};",
                    t = if bytes == 8 { "%w2" } else { "%v2" }
                ),
            };
            let text = format!(
                ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry k(.param .u64 out)\n{{\n.shared .align 8 .b8 s[8];\n.reg .b64 %o, %w, %w2;\n.reg .b32 %i, %v, %v2;\n.reg .pred %p;\n\
                 mov.u32 %i, %tid.x;\n{load}\n{value}\nld.param.u64 %o, [out];\n{inner}\nret;\n}}\n"
            );
            let mut b = Bench::new(&text, 80, options(Order::Random));
            let out = b.put(&[start]);
            b.launch("k", [1, 1, 1], [96, 1, 1], 0, &[&arg(out)]).unwrap_or_else(|f| panic!("{op} {space}: {f}"));
            let value = |i: u64| if op == "add.f32" { (i as f32).to_bits() as u64 } else { (i * 2654435) & 0xffff_ffff };
            let want = (0..96).fold(start, |s, i| apply(s, value(i)));
            assert_eq!(b.get::<u64>(out, 1)[0] & mask(bytes * 8), want & mask(bytes * 8), "{op} {space}");
        }
    }
}

#[test]
fn loads_and_stores_of_every_width_are_exact() {
    // Bytes out of one buffer into another by every type; narrow signed loads extend their sign.
    let mut text = String::from(
        ".version 8.8\n.target sm_100\n.address_size 64\n.visible .entry k(.param .u64 out, .param .u64 a)\n{\n.reg .b64 %o, %a, %d<4>;\n.reg .b32 %r<8>;\n.reg .b16 %h;\nld.param.u64 %o, [out];\nld.param.u64 %a, [a];\n",
    );
    text += "ld.global.s8 %r0, [%a+1];\nst.global.b32 [%o], %r0;\nld.global.u8 %r0, [%a+1];\nst.global.b32 [%o+4], %r0;\n";
    text += "ld.global.s16 %r0, [%a+2];\nst.global.b32 [%o+8], %r0;\nld.global.s32 %d0, [%a+4];\nst.global.u64 [%o+16], %d0;\n";
    text += "ld.global.v2.u16 {%h, _}, [%a+8];\nst.global.u16 [%o+24], %h;\nld.global.v4.u8 {%r0, %r1, %r2, %r3}, [%a+12];\nst.global.v4.b32 [%o+32], {%r3, %r2, %r1, %r0};\n";
    text += "ld.global.v2.u64 {%d0, %d1}, [%a+16];\nst.global.v2.b64 [%o+48], {%d1, %d0};\n";
    text += "ld.global.v8.b32 {%r0, %r1, %r2, %r3, %r4, %r5, %r6, %r7}, [%a+32];\nst.global.v8.b32 [%o+64], {%r7, %r6, %r5, %r4, %r3, %r2, %r1, %r0};\nret;\n}\n";
    let mut b = Bench::new(&text, 100, options(Order::Forward));
    let data: Vec<u8> = (0..64).map(|i| (i * 37 + 150) as u8).collect();
    let (a, out) = (b.put(&data), b.put(&[0u8; 96]));
    b.launch("k", [1, 1, 1], [1, 1, 1], 0, &[&arg(out), &arg(a)]).unwrap_or_else(|f| panic!("{f}"));
    let got = b.get::<u32>(out, 24);
    let word = |at: usize| u32::from_le_bytes(data[at..at + 4].try_into().unwrap());
    assert_eq!(got[0], data[1] as i8 as i32 as u32);
    assert_eq!(got[1], data[1] as u32);
    assert_eq!(got[2], word(2) as i16 as i32 as u32);
    assert_eq!(got[4..6], [word(4), if (word(4) as i32) < 0 { u32::MAX } else { 0 }]);
    assert_eq!(got[6], word(8) & 0xffff);
    assert_eq!(got[8..12], [15, 14, 13, 12].map(|i| data[i] as u32));
    assert_eq!(got[12..16], [24, 28, 16, 20].map(word));
    assert_eq!(got[16..24], [60, 56, 52, 48, 44, 40, 36, 32].map(word));
}

#[test]
fn unknown_instructions_are_refused_with_their_line() {
    let cases = [
        ("frobnicate.f32 %r0, %r1;", "not known"),
        ("add.q31 %r0, %r1, %r1;", "type"),
        ("add.f32 %d0, %r1, %r1;", "32 bits"),
        ("add.s32.wow %r0, %r1, %r1;", ".wow"),
        ("mov.u32 %r0, %nowhere;", "special register"),
        ("bra NOWHERE;", "label"),
        ("mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32 {%r0,%r0,%r0,%r0}, {%r0,%r0}, {%r0}, {%r0,%r0,%r0,%r0};", "shape"),
        ("wgmma.fence.sync.aligned;", "not known"),
        ("call.uni somewhere;", "somewhere"),
        ("ld.global.u32 %r0, [%r1];", "64 bits"),
    ];
    for (line, words) in cases {
        let text = format!(
            ".version 8.0\n.target sm_80\n.address_size 64\n.visible .entry bad()\n{{\n.reg .b32 %r<4>;\n.reg .b64 %d<4>;\n{line}\n}}\n"
        );
        let mut device = sideman_fakecuda::device::Device::new(80, options(Order::Forward));
        let e = device.load(&text).err().unwrap_or_else(|| panic!("accepted: {line}"));
        assert_eq!((e.kernel.as_str(), e.line), ("bad", 8), "{e}");
        assert!(e.to_string().contains(words), "{e}");
    }
}
