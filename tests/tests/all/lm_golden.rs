//! The language model against reference outputs (tests/golden): logits, greedy sampling and delay patterns.

use serde_json::Value;
use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::text::Hidden;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Activations, Format, Sampling, UNKNOWN};
use sideman_tests::golden::{self, ints, list, relative_error, rows, values};

const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 0, frame_base: 0 };

fn hidden(file: &mut sideman_engine::model::Tensors) -> Hidden {
    let (shape, data) = values(file, "lm.hidden");
    Hidden { len: shape[0], data }
}

/// A guided run in which all tokens are given: the golden tokens, already in the delay pattern, so the run itself has no delays.
fn forced(
    cpu: &mut CpuBackend,
    lm: &Lm<CpuBackend>,
    text: &Hidden,
    shape: &[usize],
    tokens: &[i32],
    block: usize,
) -> Run<CpuBackend> {
    let [streams, steps] = *shape else { panic!("tokens {shape:?}") };
    let spec = RunSpec {
        songs: 1,
        guided: true,
        delays: &vec![0; streams],
        frames: steps,
        texts: &[Some(text)],
        text_room: 0,
        kv: Format::F32,
        block,
        sampling: GREEDY,
    };
    let mut run = lm.run(cpu, &spec).unwrap();
    for k in 0..streams {
        // Column 0 has the special token in every pattern.
        assert_eq!(tokens[k * steps], lm.config().streams[k].card as i32);
        run.put(cpu, 0, k, 0, &tokens[k * steps + 1..(k + 1) * steps]).unwrap();
    }
    run
}

/// Steps a run to its end. Returns the logits [columns, lanes, Σ cards].
fn all_logits(cpu: &mut CpuBackend, lm: &Lm<CpuBackend>, run: &mut Run<CpuBackend>) -> Vec<f32> {
    let width = run.grid().branches * run.grid().cards.iter().sum::<usize>();
    let mut all = vec![];
    while run.step(cpu, lm) {
        let at = all.len();
        all.resize(at + width, 0.0);
        run.logits(cpu, &mut all[at..]);
    }
    all
}

/// The logits of one of the two lanes.
fn lane(all: &[f32], lane: usize, width: usize) -> Vec<f32> {
    all.chunks_exact(width).skip(lane).step_by(2).flatten().copied().collect()
}

#[test]
fn logits_of_every_column_are_those_of_the_reference() {
    for name in ["six", "mono", "seven", "house"] {
        let dir = golden::model(name);
        let mut file = golden::tensors(&format!("{name}.golden.safetensors"));
        let text = hidden(&mut file);
        let (shape, tokens) = ints(&mut file, "lm.tokens");
        let mut cpu = CpuBackend::new(1);
        let lm = Lm::load(&mut cpu, &dir, Format::F32).unwrap();
        let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 1);
        let all = all_logits(&mut cpu, &lm, &mut run);
        let width = run.grid().cards.iter().sum();
        let (cond, null) = (lane(&all, 0, width), lane(&all, 1, width));

        let (_, expected) = values(&mut file, "lm.logits");
        let error = relative_error(&cond, &expected);
        println!("{name}: text lane {error:.1e}");
        assert!(error < 1e-4, "{name}: text lane {error:.1e}");
        if name != "house" {
            let guided: Vec<f32> = cond.iter().zip(&null).map(|(c, n)| n + 3.0 * (c - n)).collect();
            for (what, ours) in [("lm.logits.null", &null), ("lm.logits.guided", &guided)] {
                let error = relative_error(ours, &values(&mut file, what).1);
                println!("{name}: {what} {error:.1e}");
                assert!(error < 1e-4, "{name}: {what} {error:.1e}");
            }
        }

        // A prefill of 16 columns in blocks of 5, then single steps: the same bits.
        let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 5);
        while run.next(&mut cpu, &lm, 16) > 0 {}
        assert_eq!(run.at(), 16);
        assert_eq!(all_logits(&mut cpu, &lm, &mut run), all[16 * 2 * width..], "{name}");
    }
}

#[test]
fn logits_in_other_weight_formats_are_close_to_the_reference() {
    let mut file = golden::tensors("house.golden.safetensors");
    let text = hidden(&mut file);
    let (shape, tokens) = ints(&mut file, "lm.tokens");
    let (_, expected) = values(&mut file, "lm.logits");
    let mut cpu = CpuBackend::new(1).with_activations(Activations::F32);
    // The file is in q8, so q8 is exact.
    for (format, min, max) in [(Format::Bf16, 1e-5, 0.02), (Format::Q8, 0.0, 1e-5), (Format::Q4, 0.01, 0.3)] {
        let lm = Lm::load(&mut cpu, &golden::model("house"), format).unwrap();
        let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 1);
        let all = all_logits(&mut cpu, &lm, &mut run);
        let error = relative_error(&lane(&all, 0, run.grid().cards.iter().sum()), &expected);
        println!("{format:?}: {error:.1e}");
        assert!((min..max).contains(&error), "{format:?}: {error:.1e}");
    }
}

#[test]
fn logits_with_controls_are_those_of_the_reference() {
    let mut file = golden::tensors("seven.golden.safetensors");
    let mut cpu = CpuBackend::new(1);
    let lm = Lm::load(&mut cpu, &golden::model("seven"), Format::F32).unwrap();
    let text = hidden(&mut file);
    let (shape, tokens) = ints(&mut file, "lm.tokens");
    let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 1);
    for (c, control) in lm.config().controls.iter().enumerate() {
        let (_, codes) = ints(&mut file, &format!("lm.control.{}", control.name));
        run.control(&mut cpu, &lm, c, 0, &codes);
    }
    let width = run.grid().cards.iter().sum();
    let cond = lane(&all_logits(&mut cpu, &lm, &mut run), 0, width);
    let error = relative_error(&cond, &values(&mut file, "lm.logits.controls").1);
    assert!(error < 1e-4, "{error:.1e}");
    // The controls change the logits.
    assert!(relative_error(&cond, &values(&mut file, "lm.logits").1) > 1e-2);
}

/// Compares one greedy run with a case of runs.json.
fn greedy(cpu: &mut CpuBackend, lm: &Lm<CpuBackend>, case: &Value, delays: &[usize], text: &Hidden) {
    let name = case["name"].as_str().unwrap();
    let count = |key: &str| case[key].as_u64().unwrap() as usize;
    let guidance = case["guidance"].as_f64().unwrap() as f32;
    let (frames, prompt) = (count("frames"), count("prompt_frames"));
    let spec = RunSpec {
        songs: 1,
        guided: guidance != 0.0 && guidance != 1.0,
        delays,
        frames,
        texts: &[(guidance != 0.0).then_some(text)],
        text_room: 0,
        kv: Format::F32,
        block: 64,
        sampling: Sampling { cfg: guidance, ..GREEDY },
    };
    let mut run = lm.run(cpu, &spec).unwrap();
    for (k, row) in rows(&case["prompt"]).iter().enumerate() {
        run.put(cpu, 0, k, 0, row).unwrap();
    }
    let forced = rows(&case["forced"]);
    for k in list(&case["forced_streams"]) {
        run.put(cpu, 0, k as usize, prompt, &forced[k as usize]).unwrap();
    }
    assert_eq!(run.grid().steps, count("steps"), "{name}");
    assert_eq!(run.grid().steps - run.pattern().first_step(prompt), count("forwards"), "{name}");

    // Known columns go in one block, and the run stops after the last unknown token: at most as many forward passes as in the reference.
    let (mut forwards, needed) = (0, run.needed());
    assert_eq!(needed + 1 - count("prefill"), count("needed_forwards"), "{name}");
    while run.next(cpu, lm, needed) > 0 {
        forwards += 1;
        assert!(forwards > 1 || run.at() >= count("prefill"), "{name}: prefill of {}", run.at());
    }
    assert!(forwards <= count("needed_forwards"), "{name}: {forwards} forwards");
    let (codes, sequence) = (rows(&case["codes"]), rows(&case["sequence"]));
    for (k, expected) in codes.iter().enumerate() {
        let mut row = vec![UNKNOWN; frames];
        run.codes(cpu, 0, k, 0, &mut row);
        assert_eq!(row, *expected, "{name}: stream {k}");
    }
    for step in 0..run.grid().steps {
        let mut column = vec![UNKNOWN; delays.len()];
        run.column(cpu, step, &mut column);
        assert_eq!(column, sequence.iter().map(|row| row[step]).collect::<Vec<_>>(), "{name}: column {step}");
    }
    assert_eq!(run.nonfinite_samples(cpu), 0);
}

#[test]
fn greedy_runs_give_the_tokens_of_the_reference() {
    for name in ["six", "mono", "seven"] {
        let runs = golden::json(&format!("{name}.runs.json"));
        let delays: Vec<usize> = list(&runs["delays"]).into_iter().map(|d| d as usize).collect();
        let text = hidden(&mut golden::tensors(&format!("{name}.golden.safetensors")));
        let mut cpu = CpuBackend::new(1);
        let lm = Lm::load(&mut cpu, &golden::model(name), Format::F32).unwrap();
        let cases = runs["cases"].as_array().unwrap();
        assert_eq!(cases.len(), 8);
        for case in cases {
            greedy(&mut cpu, &lm, case, &delays, &text);
        }
    }
}

#[test]
fn delay_patterns_and_step_counts_are_those_of_the_reference() {
    let all = golden::json("pattern.json");
    let delays = |v: &Value| list(&v["delays"]).into_iter().map(|d| d as usize).collect::<Vec<_>>();
    let layouts = all["layouts"].as_array().unwrap();
    assert!(layouts.len() >= 6);
    for case in layouts.iter().chain([&all["edit"]]) {
        let pattern = Pattern::new(&delays(case), case["frames"].as_u64().unwrap() as usize);
        let special = vec![case["special"].as_i64().unwrap() as i32; pattern.streams()];
        let grid = rows(&case["grid"]).concat();
        assert_eq!(pattern.lay_out(&grid, &special), rows(&case["sequence"]).concat(), "{}", case["name"]);
        assert_eq!(pattern.revert(&rows(&case["sequence"]).concat()), grid);
    }
    for case in all["runs"].as_array().unwrap() {
        let count = |key: &str| case[key].as_u64().unwrap() as usize;
        let pattern = Pattern::new(&delays(case), count("frames"));
        let prefill = pattern.first_step(count("prompt"));
        assert_eq!((pattern.steps(), prefill, pattern.steps() - prefill), (count("steps"), count("prefill"), count("forwards")));
    }
    let pattern = Pattern::new(&[0, 0, 0, 1, 2, 3], 1500);
    for row in rows(&all["edit_30s_where"]) {
        let [frame, stream, step, predicting_step] = row[..] else { panic!("{row:?}") };
        assert_eq!(pattern.step(stream as usize, frame as usize), step as usize);
        assert_eq!(pattern.frame(stream as usize, step as usize), Some(frame as usize));
        assert_eq!(predicting_step, step - 1);
    }
}
