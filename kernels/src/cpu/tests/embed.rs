//! Sums of embeddings.

use super::*;

#[test]
fn embed_sums_sinusoid_tokens_and_controls() {
    let (dim, steps, n, first) = (12, 9, 3, 4);
    let grid = Grid { songs: 2, branches: 2, cards: vec![5, 7], delays: vec![0, 1], cfg_scale: vec![1.0; 2], steps };
    let mut backend = CpuBackend::new(1);
    let (a, b, c) = (noise(1, 6 * dim), noise(2, 8 * dim), noise(3, 4 * dim));
    let tables = [backend.mat(6, dim, &a, Format::F32).unwrap(), backend.mat(8, dim, &b, Format::F32).unwrap()];
    let controls = [backend.mat(4, dim, &c, Format::F32).unwrap()];
    let tokens: Vec<i32> = (0..2 * 2 * steps as i32).map(|i| if i % 11 == 5 { UNKNOWN } else { i % 5 }).collect();
    // The second branch has other controls, and the first stream is masked for it.
    let values: Vec<i32> = (0..2 * steps as i32).map(|i| i % 4).collect();
    let [mut seq, mut ctl, mut masked, mut pos] = [tokens.len(), 2 * steps, 4, 1].map(|n| backend.ints(n).unwrap());
    backend.write_ints(&mut masked, 0, &[0, 0, 1, 0]);
    backend.write_ints(&mut seq, 0, &tokens);
    backend.write_ints(&mut ctl, 0, &values);
    backend.write_ints(&mut pos, 0, &[first]);
    let mut x = buf(&mut backend, &noise(9, 4 * n * dim));
    let input = EmbedInput { grid: &grid, tables: &tables, controls: &controls, seq: &seq, ctl: &ctl, masked: &masked };
    backend.embed(&input, &pos, n, &mut x);
    let mut want = Vec::new();
    for lane in 0..4 {
        for s in first as usize..first as usize + n {
            for j in 0..dim {
                let token = |k: usize| match tokens[(lane / 2 * 2 + k) * steps + s] {
                    UNKNOWN => grid.cards[k],
                    _ if lane % 2 == 1 && k == 0 => grid.cards[0],
                    token => token as usize,
                };
                let phase = s as f64 / 10_000f64.powf((j % 6) as f64 / 5.0);
                let place = if j < 6 { phase.cos() } else { phase.sin() };
                let table = |t: &[f32], r: usize| f64::from(t[r * dim + j]);
                want.push(place + table(&a, token(0)) + table(&b, token(1)) + table(&c, values[lane % 2 * steps + s] as usize));
            }
        }
    }
    close("embed", &x, &want, 1e-6);
}

#[test]
fn the_sinusoid_has_the_published_values() {
    let dim = 1536;
    let mut backend = CpuBackend::new(1);
    let table = [backend.mat(2, dim, &vec![0.0; 2 * dim], Format::F32).unwrap()];
    let grid = Grid { songs: 1, branches: 1, cards: vec![1], delays: vec![0], cfg_scale: vec![1.0], steps: 300 };
    let [seq, ctl, masked, mut pos] = [300, 300, 1, 1].map(|n| backend.ints(n).unwrap());
    let mut x = backend.buf(dim).unwrap();
    for (s, i, cos, sin) in [(1, 1, 0.550_307_757_465_196_6, 0.834_961_898_575_992_7), (251, 100, 0.990_347_404_774_645, 0.0)] {
        backend.write_ints(&mut pos, 0, &[s]);
        let input = EmbedInput { grid: &grid, tables: &table, controls: &[], seq: &seq, ctl: &ctl, masked: &masked };
        backend.embed(&input, &pos, 1, &mut x);
        assert!((f64::from(x[i]) - cos).abs() < 1e-7, "cos {s} {i}");
        assert!(sin == 0.0 || (f64::from(x[dim / 2 + i]) - sin).abs() < 1e-7, "sin {s} {i}");
    }
}
