//! Norms, activations, softmax and LSTM gates over [`V16`]. The rest of a row that fills no vector goes through [`scalar`].

use super::scalar;
use super::simd::V16;
use crate::Act;

// SAFETY (all functions): the machine must have V's instructions; pointers are taken of whole vectors inside slices.

#[inline(always)]
unsafe fn exp<V: V16>(x: V) -> V {
    // SAFETY: see above.
    unsafe {
        let (min, max, round) = (V::splat(scalar::EXP_MIN), V::splat(scalar::EXP_MAX), V::splat(scalar::ROUND));
        let held = V::if_less(max, x, max, x);
        let held = V::if_less(held, min, min, held);
        let t = held.fma(V::splat(std::f32::consts::LOG2_E), round);
        let n = t.sub(round);
        let r = n.fma(V::splat(-scalar::LN2_LOW), n.fma(V::splat(-scalar::LN2_HIGH), held));
        let mut p = V::splat(scalar::EXP[0]);
        for c in &scalar::EXP[1..] {
            p = p.fma(r, V::splat(*c));
        }
        V::if_less(x, min, V::splat(0.0), p.power(t))
    }
}

#[inline(always)]
unsafe fn gelu<V: V16>(x: V) -> V {
    // SAFETY: see above.
    unsafe {
        let (one, a) = (V::splat(1.0), x.abs());
        let t = one.div(a.fma(V::splat(scalar::ERFC_P), one));
        let mut p = V::splat(scalar::HALF_ERFC[0]);
        for c in &scalar::HALF_ERFC[1..] {
            p = p.fma(t, V::splat(*c));
        }
        let tail = p.mul(t).mul(exp(a.mul(a.mul(V::splat(-0.5)))));
        x.mul(V::if_less(x, V::splat(0.0), tail, one.sub(tail)))
    }
}

#[inline(always)]
unsafe fn sigmoid<V: V16>(x: V) -> V {
    // SAFETY: see above.
    unsafe {
        let one = V::splat(1.0);
        one.div(one.add(exp(x.mul(V::splat(-1.0)))))
    }
}

#[inline(always)]
unsafe fn tanh<V: V16>(x: V) -> V {
    // SAFETY: see above.
    unsafe {
        let (one, two) = (V::splat(1.0), V::splat(2.0));
        let t = one.sub(two.div(exp(two.mul(x.abs())).add(one)));
        V::if_less(x, V::splat(0.0), t.mul(V::splat(-1.0)), t)
    }
}

/// Sixteen partial sums of a row: `f` for whole vectors, `tail` for the values after them.
#[inline(always)]
unsafe fn partial<V: V16>(x: &[f32], f: impl Fn(V, V) -> V, tail: impl Fn(f32, f32) -> f32) -> f32 {
    // SAFETY: see above.
    unsafe {
        let mut sums = V::splat(0.0);
        let whole = x.chunks_exact(16);
        let rest = whole.remainder();
        for x in whole {
            sums = f(V::load(x.as_ptr()), sums);
        }
        let mut out = [0.0; 16];
        sums.store(out.as_mut_ptr());
        for (out, x) in out.iter_mut().zip(rest) {
            *out = tail(*x, *out);
        }
        scalar::sum16(out)
    }
}

/// [`scalar::norm`].
#[inline(always)]
pub(super) unsafe fn norm<V: V16>(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32, y: &mut [f32]) {
    let len = x.len();
    assert!(weight.len() == len && bias.is_none_or(|b| b.len() == len) && y.len() == len, "norm: lengths differ");
    let whole = len - len % 16;
    // SAFETY: see above.
    unsafe {
        let count = len as f32;
        let mean = match bias {
            Some(_) => {
                partial::<V>(
                    x,
                    #[inline(always)]
                    |x, sum| sum.add(x),
                    |x, sum| sum + x,
                ) / count
            }
            None => 0.0,
        };
        let squares = partial::<V>(
            x,
            #[inline(always)]
            |x, sum| {
                let d = x.sub(V::splat(mean));
                d.fma(d, sum)
            },
            |x, sum| (x - mean).mul_add(x - mean, sum),
        );
        let rstd = 1.0 / (squares / count + eps).sqrt();
        for j in (0..whole).step_by(16) {
            let unit = V::load(x[j..].as_ptr()).sub(V::splat(mean)).mul(V::splat(rstd));
            let w = V::load(weight[j..].as_ptr());
            let out = match bias {
                Some(b) => unit.fma(w, V::load(b[j..].as_ptr())),
                None => unit.mul(w),
            };
            out.store(y[j..].as_mut_ptr());
        }
        for j in whole..len {
            let unit = (x[j] - mean) * rstd;
            y[j] = bias.map_or(unit * weight[j], |b| unit.mul_add(weight[j], b[j]));
        }
    }
}

/// [`scalar::finish`].
#[inline(always)]
pub(super) unsafe fn finish<V: V16>(acc: &[f32], bias: Option<&[f32]>, act: Act, add: bool, y: &mut [f32]) {
    let len = y.len();
    assert!(acc.len() >= len && bias.is_none_or(|b| b.len() >= len), "finish: lengths differ");
    let whole = len - len % 16;
    // SAFETY: see above.
    unsafe {
        for j in (0..whole).step_by(16) {
            let mut out = V::load(acc[j..].as_ptr());
            if let Some(bias) = bias {
                out = out.add(V::load(bias[j..].as_ptr()));
            }
            out = match act {
                Act::None => out,
                Act::Gelu => gelu(out),
                Act::Relu => V::if_less(V::splat(0.0), out, out, V::splat(0.0)),
            };
            if add {
                out = V::load(y[j..].as_ptr()).add(out);
            }
            out.store(y[j..].as_mut_ptr());
        }
    }
    scalar::finish(&acc[whole..], bias.map(|b| &b[whole..]), act, add, &mut y[whole..]);
}

/// [`scalar::softmax`].
#[inline(always)]
pub(super) unsafe fn softmax<V: V16>(scores: &mut [f32], scale: f32) -> f32 {
    // SAFETY: see above.
    unsafe {
        let mut largest = V::splat(f32::NEG_INFINITY);
        let whole = scores.len() - scores.len() % 16;
        for s in scores[..whole].chunks_exact(16) {
            let s = V::load(s.as_ptr()).mul(V::splat(scale));
            largest = V::if_less(largest, s, s, largest);
        }
        let mut lanes = [0.0; 16];
        largest.store(lanes.as_mut_ptr());
        let larger = |m: f32, s: f32| if s > m { s } else { m };
        let largest = lanes.into_iter().chain(scores[whole..].iter().map(|s| s * scale)).fold(f32::NEG_INFINITY, larger);
        for s in scores[..whole].chunks_exact_mut(16) {
            exp(V::load(s.as_ptr()).mul(V::splat(scale)).sub(V::splat(largest))).store(s.as_mut_ptr());
        }
        scores[whole..].iter_mut().for_each(|s| *s = scalar::exp(*s * scale - largest));
        partial::<V>(
            scores,
            #[inline(always)]
            |x, sum| sum.add(x),
            |x, sum| sum + x,
        )
    }
}

/// [`scalar::elu`].
#[inline(always)]
pub(super) unsafe fn elu<V: V16>(x: &[f32], y: &mut [f32]) {
    assert_eq!(x.len(), y.len(), "elu: lengths differ");
    let whole = x.len() - x.len() % 16;
    // SAFETY: see above.
    unsafe {
        for (x, y) in x[..whole].chunks_exact(16).zip(y[..whole].chunks_exact_mut(16)) {
            let x = V::load(x.as_ptr());
            V::if_less(V::splat(0.0), x, x, exp(x).sub(V::splat(1.0))).store(y.as_mut_ptr());
        }
    }
    x[whole..].iter().zip(&mut y[whole..]).for_each(|(x, y)| *y = scalar::elu1(*x));
}

/// [`scalar::glu`].
#[inline(always)]
pub(super) unsafe fn glu<V: V16>(a: &[f32], b: &[f32], y: &mut [f32]) {
    let len = y.len();
    assert!(a.len() == len && b.len() == len, "glu: lengths differ");
    let whole = len - len % 16;
    // SAFETY: see above.
    unsafe {
        for j in (0..whole).step_by(16) {
            V::load(a[j..].as_ptr()).mul(sigmoid(V::load(b[j..].as_ptr()))).store(y[j..].as_mut_ptr());
        }
    }
    scalar::glu(&a[whole..], &b[whole..], &mut y[whole..]);
}

/// [`scalar::depthwise`].
#[inline(always)]
pub(super) unsafe fn depthwise<V: V16>(w: &[f32], bias: &[f32], kernel: usize, x: &[f32], y: &mut [f32]) {
    let dim = bias.len();
    assert!(w.len() >= kernel * dim && x.len() >= kernel * dim && y.len() == dim, "depthwise: lengths differ");
    let whole = dim - dim % 16;
    // SAFETY: see above.
    unsafe {
        for c in (0..whole).step_by(16) {
            let mut sum = V::load(bias[c..].as_ptr());
            for i in 0..kernel {
                sum = V::load(w[i * dim + c..].as_ptr()).fma(V::load(x[i * dim + c..].as_ptr()), sum);
            }
            sum.store(y[c..].as_mut_ptr());
        }
    }
    for c in whole..dim {
        y[c] = (0..kernel).fold(bias[c], |acc, i| w[i * dim + c].mul_add(x[i * dim + c], acc));
    }
}

/// [`scalar::lstm_gates`].
#[inline(always)]
pub(super) unsafe fn lstm_gates<V: V16>(gates: &[f32], hidden: &[f32], c: &mut [f32], h: &mut [f32]) {
    let size = c.len();
    assert!(h.len() == size && gates.len() == 4 * size && hidden.len() == 4 * size, "lstm: lengths differ");
    let whole = size - size % 16;
    // SAFETY: see above.
    unsafe {
        for j in (0..whole).step_by(16) {
            let gate = |g: usize| {
                let at = g * size + j;
                V::load(gates[at..].as_ptr()).add(V::load(hidden[at..].as_ptr()))
            };
            let kept = sigmoid(gate(1)).mul(V::load(c[j..].as_ptr()));
            let cell = sigmoid(gate(0)).fma(tanh(gate(2)), kept);
            cell.store(c[j..].as_mut_ptr());
            sigmoid(gate(3)).mul(tanh(cell)).store(h[j..].as_mut_ptr());
        }
    }
    for j in whole..size {
        scalar::lstm_gate(gates, hidden, c, h, j);
    }
}
