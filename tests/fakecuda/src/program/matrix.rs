//! The matrix instructions: shapes, types, and the position of each element of a tile.

use super::decoder::{Decoder, Result, Words};
use super::half::Format;
use super::op::Op;
use crate::ptx::{Space, Ty};

/// Type of an element of A and B.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Element {
    F16,
    Bf16,
    S8,
    U8,
}

/// Type of an element of C and D.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Sum {
    F32,
    F16,
    S32,
}

/// One form of `mma.sync`: D (m x n) = A (m x k) B (k x n) + C.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub struct Shape {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Element,
    pub b: Element,
    pub c: Sum,
    pub d: Sum,
    /// Integer sums saturate instead of wrapping.
    pub satfinite: bool,
}

impl Element {
    /// Elements in a 32-bit register.
    pub fn per_register(self) -> usize {
        if matches!(self, Element::F16 | Element::Bf16) { 2 } else { 4 }
    }

    /// The i-th element of a register.
    pub fn read(self, register: u64, i: usize) -> f64 {
        match self {
            Element::F16 => Format::F16.read((register >> (16 * i)) as u16),
            Element::Bf16 => Format::Bf16.read((register >> (16 * i)) as u16),
            Element::S8 => (register >> (8 * i)) as i8 as f64,
            Element::U8 => (register >> (8 * i)) as u8 as f64,
        }
    }
}

impl Shape {
    /// Row and column of element `i` of register `r` of A in a lane (PTX ISA, "Matrix Fragments for mma.m16n8k16" and related sections):
    /// registers go down 8 rows first, then right by half of k.
    pub fn a_place(&self, lane: usize, r: usize, i: usize) -> (usize, usize) {
        let per = self.a.per_register();
        let halves = self.m / 8;
        (lane / 4 + 8 * (r % halves), (lane % 4) * per + i + (r / halves) * 4 * per)
    }

    /// Row (along k) and column of element `i` of register `r` of B.
    pub fn b_place(&self, lane: usize, r: usize, i: usize) -> (usize, usize) {
        let per = self.b.per_register();
        ((lane % 4) * per + i + r * 4 * per, lane / 4)
    }

    /// Row and column of the i-th element of C or D in a lane.
    pub fn c_place(&self, lane: usize, i: usize) -> (usize, usize) {
        (lane / 4 + 8 * (i / 2), (lane % 4) * 2 + i % 2)
    }

    fn registers(&self) -> [usize; 4] {
        let sum = |s: Sum| self.m * self.n / 32 / if s == Sum::F16 { 2 } else { 1 };
        [sum(self.d), self.m * self.k / 32 / self.a.per_register(), self.k * self.n / 32 / self.b.per_register(), sum(self.c)]
    }
}

/// Decodes a matrix instruction; `None` for any other instruction.
pub fn decode(d: &mut Decoder, first: &str, w: &mut Words) -> Result<Option<Op>> {
    match first {
        "mma" => mma(d, w).map(Some),
        "ldmatrix" | "stmatrix" => {
            let n = w.one_of(&[("x1", 1), ("x2", 2), ("x4", 4)]).ok_or(".x1, .x2 or .x4 expected")?;
            let transposed = w.take("trans");
            if !w.take("sync") || !w.take("aligned") || !w.take("m8n8") || !(w.take("shared") || w.take("shared::cta")) {
                return Err("this form is not known".into());
            }
            if w.next_ty()? != Ty::B16 {
                return Err("not for this type".into());
            }
            let args = d.args(2)?;
            let (list, place) = if first == "ldmatrix" { (&args[0], &args[1]) } else { (&args[1], &args[0]) };
            let list = d.group(list);
            if list.len() != n {
                return Err(format!("{n} registers expected"));
            }
            let registers = list.iter().map(|a| d.to(a, 32)).collect::<Result<Vec<_>>>()?;
            let at = d.place(place, Space::Shared)?;
            let slot = d.slot();
            Ok(Some(if first == "ldmatrix" {
                Op::LoadMatrix { at, to: registers, transposed, slot }
            } else {
                Op::StoreMatrix { at, from: registers, transposed, slot }
            }))
        }
        "movmatrix" => {
            if !(w.take("sync") && w.take("aligned") && w.take("m8n8") && w.take("trans")) || w.next_ty()? != Ty::B16 {
                return Err("this form is not known".into());
            }
            let args = d.args(2)?;
            Ok(Some(Op::MoveMatrix { to: d.to(&args[0], 32)?, a: d.from(&args[1], Ty::B32)? }))
        }
        _ => Ok(None),
    }
}

fn mma(d: &mut Decoder, w: &mut Words) -> Result<Op> {
    if !w.take("sync") || !w.take("aligned") {
        return Err("only mma.sync.aligned is known".into());
    }
    let satfinite = w.take("satfinite");
    let size =
        w.one_of(&[("m16n8k8", (16, 8, 8)), ("m16n8k16", (16, 8, 16)), ("m16n8k32", (16, 8, 32)), ("m8n8k16", (8, 8, 16))]);
    let Some((m, n, k)) = size else { return Err("this shape is not known".into()) };
    if !w.take("row") || !w.take("col") {
        return Err("only .row.col is known".into());
    }
    let mut next = || w.front().ok_or_else(|| "four types expected".to_string());
    let [td, ta, tb, tc] = [next()?, next()?, next()?, next()?];
    let element = |t| match t {
        "f16" => Ok(Element::F16),
        "bf16" => Ok(Element::Bf16),
        "s8" => Ok(Element::S8),
        "u8" => Ok(Element::U8),
        _ => Err("this element type is not known".to_string()),
    };
    let sum = |t| match t {
        "f32" => Ok(Sum::F32),
        "f16" => Ok(Sum::F16),
        "s32" => Ok(Sum::S32),
        _ => Err("this sum type is not known".to_string()),
    };
    let shape = Shape { m, n, k, a: element(ta)?, b: element(tb)?, c: sum(tc)?, d: sum(td)?, satfinite };
    let halves = matches!(shape.a, Element::F16 | Element::Bf16);
    let known = if halves {
        shape.a == shape.b
            && m == 16
            && k <= 16
            && shape.d != Sum::S32
            && shape.c != Sum::S32
            && !satfinite
            && (shape.a == Element::F16 || shape.c == Sum::F32 && shape.d == Sum::F32)
    } else {
        matches!(shape.b, Element::S8 | Element::U8)
            && shape.c == Sum::S32
            && shape.d == Sum::S32
            && matches!((m, k), (16, 16) | (16, 32) | (8, 16))
    };
    if !known {
        return Err("these types do not go with this shape".into());
    }
    let args = d.args(4)?;
    let want = shape.registers();
    let lists = [0, 1, 2, 3].map(|i| d.group(&args[i]));
    if (0..4).any(|i| lists[i].len() != want[i]) {
        return Err(format!("{want:?} registers expected"));
    }
    let to = lists[0].iter().map(|a| d.to(a, 32)).collect::<Result<Vec<_>>>()?;
    let mut srcs = [Vec::new(), Vec::new(), Vec::new()];
    for (i, list) in srcs.iter_mut().enumerate() {
        *list = lists[i + 1].iter().map(|a| d.from(a, Ty::B32)).collect::<Result<Vec<_>>>()?;
    }
    let [a, b, c] = srcs;
    Ok(Op::Mma { shape, d: to, a, b, c })
}
