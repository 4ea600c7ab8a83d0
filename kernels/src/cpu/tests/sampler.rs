//! Sampling against a plain search, code by code, and with equal tokens on every backend.

use super::*;
use crate::cpu::scalar::{exp, ln};

/// Philox4x32-10 of one counter.
fn philox(mut c: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
        }
        let (a, b) = (u64::from(c[0]) * 0xD251_1F53, u64::from(c[2]) * 0xCD9E_8D57);
        c = [(b >> 32) as u32 ^ c[1] ^ key[0], b as u32, (a >> 32) as u32 ^ c[3] ^ key[1], a as u32];
    }
    c
}

/// The code that `cpu/sample.rs` describes, of guided logits; `None` where none is finite.
fn reference(logits: &[f32], s: &Sampling, [frame, stream, song]: [u32; 3]) -> Option<usize> {
    let mut l: Vec<f32> = logits.iter().map(|l| if l.is_finite() { *l } else { f32::NEG_INFINITY }).collect();
    let mut order: Vec<usize> = (0..l.len()).collect();
    order.sort_by(|a, b| l[*b].total_cmp(&l[*a]).then(a.cmp(b)));
    let best = (0..l.len()).fold(0, |best, i| if l[i] > l[best] { i } else { best });
    let largest = l[best];
    if largest == f32::NEG_INFINITY {
        return None;
    }
    if s.temperature <= 0.0 {
        return Some(best);
    }
    if s.top_p > 0.0 {
        let weights: Vec<f32> = order.iter().map(|i| exp((l[*i] - largest) / s.temperature)).collect();
        let (total, mut before): (f32, f32) = (weights.iter().sum(), 0.0);
        for (i, weight) in order.iter().zip(weights) {
            l[*i] = if before > s.top_p * total { f32::NEG_INFINITY } else { l[*i] };
            before += weight;
        }
    } else if s.top_k > 0 && (s.top_k as usize) < l.len() {
        let kth = l[order[s.top_k as usize - 1]];
        l.iter_mut().filter(|l| **l < kth).for_each(|l| *l = f32::NEG_INFINITY);
    }
    let (mut highest, mut code) = (f32::NEG_INFINITY, best);
    for (i, l) in l.iter().enumerate() {
        let word = philox([i as u32 / 4, frame, stream, song], [s.seed as u32, (s.seed >> 32) as u32])[i % 4];
        let u = ((word >> 9) as f32 + 0.5) * (1.0 / 8_388_608.0);
        let value = l / s.temperature - ln(-ln(u));
        if value > highest {
            (highest, code) = (value, i);
        }
    }
    Some(code)
}

/// Logits with ties, values that are not finite, and very large ones.
fn logits() -> impl Strategy<Value = f32> {
    prop_oneof![
        12 => -12.0f32..12.0,
        4 => (-3i8..4).prop_map(f32::from),
        1 => prop_oneof![Just(f32::NAN), Just(f32::INFINITY), Just(f32::NEG_INFINITY), Just(-0.0f32), Just(3e38), Just(-3e38)],
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..config() })]

    #[test]
    fn tokens_are_those_of_a_plain_search_on_every_backend(
        cards in proptest::collection::vec(1usize..400, 1..6), songs in 1usize..3, guided: bool, delay in 0usize..4,
        temperature in prop_oneof![Just(0.0f32), Just(1e-38), Just(0.8), 0.1f32..3.0, Just(f32::INFINITY)],
        top_k in prop_oneof![Just(0u32), 1u32..120, Just(1000)], top_p in prop_oneof![3 => Just(0.0f32), 1 => 0.05f32..1.2],
        cfg in -1.0f32..4.0, seed: u64, frame_base: i64,
        pool in proptest::collection::vec(logits(), 400),
    ) {
        let branches = if guided { 2 } else { 1 };
        let (streams, steps, s) = (cards.len(), 5, 3);
        let scale = |stream: usize| [1.0, 0.5, 0.0][stream % 3];
        let grid = Grid {
            songs, branches, cards: cards.clone(), delays: (0..streams).map(|k| k * delay).collect(),
            cfg_scale: (0..streams).map(scale).collect(), steps,
        };
        let sampling = Sampling { temperature, top_k, top_p, cfg, seed, frame_base };
        let width: usize = cards.iter().sum();
        let all: Vec<f32> = (0..songs * branches * width).map(|i| pool[i * 7919 % 400] * (1.0 + (i % 3) as f32 * 0.25)).collect();
        let (mut want, mut faults) = (vec![UNKNOWN; songs * streams * steps], 0);
        want[s + 1] = 0;
        for (song, stream) in (0..songs).flat_map(|song| (0..streams).map(move |stream| (song, stream))) {
            let slot = &mut want[(song * streams + stream) * steps + s + 1];
            if *slot == UNKNOWN {
                *slot = match s.checked_sub(stream * delay) {
                    None => cards[stream] as i32,
                    Some(frame) => {
                        let at = |lane: usize| (song * branches + lane) * width + cards[..stream].iter().sum::<usize>();
                        let g = scale(stream).mul_add(cfg, 1.0 - scale(stream));
                        let guided = |i: usize| match branches {
                            2 => (all[at(0) + i] - all[at(1) + i]).mul_add(g, all[at(1) + i]),
                            _ => all[at(0) + i],
                        };
                        let guided: Vec<f32> = (0..cards[stream]).map(guided).collect();
                        let frame = frame_base.wrapping_add(frame as i64) as u32;
                        let code = reference(&guided, &sampling, [frame, stream as u32, song as u32]);
                        faults += u32::from(code.is_none());
                        code.unwrap_or(0) as i32
                    }
                };
            }
        }
        for mut backend in backends() {
            let mut sampler = backend.sampler(&grid).unwrap();
            backend.set_sampling(&mut sampler, &sampling);
            let (logits, mut pos) = (buf(&mut backend, &all), vec![s as i32]);
            let mut seq = vec![UNKNOWN; songs * streams * steps];
            seq[s + 1] = 0;
            backend.sample(&mut sampler, &logits, 1, &mut pos, &mut seq);
            prop_assert_eq!((&seq, pos[0]), (&want, s as i32 + 1), "{} with {} threads", backend.isa().name(), backend.work.pool.threads());
            prop_assert_eq!(backend.nonfinite_samples(&sampler), faults);
        }
    }
}
