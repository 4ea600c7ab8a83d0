//! Sampling against the probabilities that the reference computes for temperature, top-k and top-p (tests/golden/sampling.json).

use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Grid, Sampling, UNKNOWN};
use sideman_tests::golden;

#[test]
fn sampled_codes_have_the_probabilities_of_the_reference() {
    const SAMPLES: usize = 20_000;
    let all = golden::json("sampling.json");
    let floats = |v: &serde_json::Value| v.as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect::<Vec<f64>>();
    let logits: Vec<f32> = floats(&all["logits"]).into_iter().map(|l| l as f32).collect();
    let mut cpu = CpuBackend::new(1);
    let grid = Grid { songs: 1, branches: 1, cards: vec![logits.len()], delays: vec![0], cfg_scale: vec![1.0], steps: 2 };
    let mut sampler = cpu.sampler(&grid).unwrap();
    let mut buf = cpu.buf(logits.len()).unwrap();
    cpu.write(&mut buf, 0, &logits);
    let (mut pos, mut seq) = (cpu.ints(1).unwrap(), cpu.ints(2).unwrap());
    let cases = all["cases"].as_array().unwrap();
    assert!(cases.len() >= 8);
    for case in cases {
        let number = |key: &str| case[key].as_f64().unwrap();
        let expected = floats(&case["probabilities"]);
        let mut counts = vec![0usize; logits.len()];
        for frame in 0..SAMPLES {
            // The random number depends on seed and frame, so each sample uses another frame.
            let (temperature, top_k, top_p) = (number("temperature") as f32, number("top_k") as u32, number("top_p") as f32);
            cpu.set_sampling(&mut sampler, &Sampling { temperature, top_k, top_p, cfg: 1.0, seed: 1, frame_base: frame as i64 });
            cpu.write_ints(&mut pos, 0, &[0]);
            cpu.write_ints(&mut seq, 0, &[logits.len() as i32, UNKNOWN]);
            cpu.sample(&mut sampler, &buf, 1, &mut pos, &mut seq);
            let mut token = [0];
            cpu.read_ints(&seq, 1, &mut token);
            counts[token[0] as usize] += 1;
        }
        for (code, (&count, &p)) in counts.iter().zip(&expected).enumerate() {
            let share = count as f64 / SAMPLES as f64;
            // Five standard deviations. The seed is fixed, so the result is the same on every run.
            let tolerance = 5.0 * (p * (1.0 - p) / SAMPLES as f64).sqrt();
            assert!((share - p).abs() <= tolerance, "{case}: code {code} has the share {share}; it should be {p}");
        }
    }
    assert_eq!(cpu.nonfinite_samples(&sampler), 0);
}
