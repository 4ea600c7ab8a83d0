//! The draw against the probabilities that temperature, top-k and top-p leave (tests/golden/sampling.json).

use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Backend, Grid, Sampling, UNKNOWN};
use sideman_tests::golden;

#[test]
fn draws_follow_the_probabilities() {
    const DRAWS: usize = 20_000;
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
        let mut drawn = vec![0usize; logits.len()];
        for frame in 0..DRAWS {
            // Each draw is another frame's: that is how dice are keyed.
            let (temperature, top_k, top_p) = (number("temperature") as f32, number("top_k") as u32, number("top_p") as f32);
            cpu.set_sampling(&mut sampler, &Sampling { temperature, top_k, top_p, cfg: 1.0, seed: 1, frame_base: frame as i64 });
            cpu.write_ints(&mut pos, 0, &[0]);
            cpu.write_ints(&mut seq, 0, &[logits.len() as i32, UNKNOWN]);
            cpu.sample(&mut sampler, &buf, 1, &mut pos, &mut seq);
            let mut token = [0];
            cpu.read_ints(&seq, 1, &mut token);
            drawn[token[0] as usize] += 1;
        }
        for (code, (&drawn, &p)) in drawn.iter().zip(&expected).enumerate() {
            let share = drawn as f64 / DRAWS as f64;
            // Dice are fixed, so this is no gamble; five standard deviations say that they are fair.
            let room = 5.0 * (p * (1.0 - p) / DRAWS as f64).sqrt();
            assert!((share - p).abs() <= room, "{case}: code {code} drawn {share}, should be {p}");
        }
    }
    assert_eq!(cpu.nonfinite_samples(&sampler), 0);
}
