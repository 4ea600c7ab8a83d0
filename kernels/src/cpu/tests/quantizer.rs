//! Residual quantizers.

use super::*;

#[test]
fn quantize_takes_the_best_code_of_each_book_and_dequantize_sums_them() {
    let (dim, card, width, count) = (12, 40, 5, 60);
    let z = noise(1, count * dim);
    for factorised in [false, true] {
        let mut first: Option<Vec<i32>> = None;
        for mut backend in backends() {
            let mut codes_of = Vec::new();
            let mut books = Vec::new();
            for q in 0..3u64 {
                let codes = noise(10 + q, card * dim);
                let mat = backend.mat(card, dim, &codes, Format::F32).unwrap();
                if factorised {
                    let weight = backend.mat(width, dim, &noise(20 + q, width * dim), Format::F32).unwrap();
                    let bias = Some(buf(&mut backend, &noise(30 + q, width)));
                    let mut unit = noise(40 + q, card * width);
                    for c in unit.chunks_mut(width) {
                        let norm = dot(c, c).sqrt() as f32;
                        c.iter_mut().for_each(|c| *c /= norm);
                    }
                    let unit = backend.mat(card, width, &unit, Format::F32).unwrap();
                    let project_in = Linear { weight, bias, norm: None, act: Act::None, add: false };
                    books.push(Book::<CpuBackend>::Factorised { project_in, unit, codes: mat });
                } else {
                    let norms: Vec<f32> = codes.chunks(dim).map(|c| dot(c, c) as f32).collect();
                    let norms = buf(&mut backend, &norms);
                    books.push(Book::<CpuBackend>::Euclidean { codes: mat, norms });
                }
                codes_of.push(codes);
            }
            let (mut zb, mut codes) = (buf(&mut backend, &z), backend.ints(3 * 70).unwrap());
            let cr = Rows { count: 3, at: 4, stride: 70 };
            backend.quantize(&books, &mut zb, Rows::packed(count, dim), &mut codes, cr);
            let mut back = backend.buf(count * dim).unwrap();
            backend.dequantize(&books, &codes, cr, &mut back, Rows::packed(count, dim));
            for row in 0..count {
                let mut r: Vec<f64> = z[row * dim..][..dim].iter().map(|x| f64::from(*x)).collect();
                for (q, book) in books.iter().enumerate() {
                    let score = |c: usize| -> f64 {
                        match book {
                            Book::Euclidean { .. } => {
                                -r.iter().zip(&codes_of[q][c * dim..]).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>()
                            }
                            Book::Factorised { project_in, unit, .. } => {
                                let (w, unit) = (unpacked(&project_in.weight), unpacked(unit));
                                let e = |i: usize| -> f64 {
                                    let bias = f64::from(project_in.bias.as_ref().unwrap()[i]);
                                    r.iter().zip(&w[i * dim..]).map(|(a, b)| a * f64::from(*b)).sum::<f64>() + bias
                                };
                                (0..width).map(|i| e(i) * f64::from(unit[c * width + i])).sum()
                            }
                        }
                    };
                    let code = codes[q * 70 + 4 + row] as usize;
                    let best = (0..card).map(score).fold(f64::NEG_INFINITY, f64::max);
                    assert!(score(code) > best - 1e-5, "row {row}, book {q}: code {code} scores {} of {best}", score(code));
                    r.iter_mut().zip(&codes_of[q][code * dim..]).for_each(|(r, e)| *r -= f64::from(*e));
                }
                close("residual", &zb[row * dim..][..dim], &r, 1e-5);
                let sum: Vec<f64> = r.iter().zip(&z[row * dim..]).map(|(r, z)| f64::from(*z) - r).collect();
                close("dequantized", &back[row * dim..][..dim], &sum, 1e-5);
            }
            assert_eq!(&**first.get_or_insert_with(|| codes.to_vec()), &codes[..], "{}", backend.isa().name());
        }
    }
}

#[test]
fn the_first_of_equal_codes_wins() {
    let mut backend = CpuBackend::new(1);
    let codes = backend.mat(4, 2, &[5.0, 5.0, 1.0, 0.0, 1.0, 0.0, 1.0, 0.0], Format::F32).unwrap();
    let norms = buf(&mut backend, &[50.0, 1.0, 1.0, 1.0]);
    let (mut z, mut out) = (buf(&mut backend, &[0.9, 0.1]), backend.ints(1).unwrap());
    backend.quantize(&[Book::Euclidean { codes, norms }], &mut z, Rows::packed(1, 2), &mut out, Rows::packed(1, 1));
    assert_eq!(out[0], 1);
}
