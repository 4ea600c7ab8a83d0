//! The language model against the reference implementations' numbers (tests/golden).

use serde_json::Value;
use sideman_engine::lm::{Lm, Pattern, Run, RunSpec};
use sideman_engine::text::Hidden;
use sideman_kernels::cpu::CpuBackend;
use sideman_kernels::{Format, Sampling, UNKNOWN};
use sideman_tests::golden::{self, ints, list, relative_error, rows, values};

const GREEDY: Sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 0.0, cfg: 3.0, seed: 0, frame_base: 0 };

fn hidden(file: &mut sideman_engine::model::Tensors) -> Hidden {
    let (shape, data) = values(file, "lm.hidden");
    Hidden { len: shape[0], data }
}

/// A run of two lanes that is fed the golden tokens as they stand: no delay, and one frame more, so that every column has a next one.
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
        // Column 0 is special in every pattern.
        assert_eq!(tokens[k * steps], lm.config().streams[k].card as i32);
        run.put(cpu, 0, k, 0, &tokens[k * steps + 1..(k + 1) * steps]).unwrap();
    }
    run
}

/// Steps a run to its end: the logits of every column, [columns, lanes, Σ cards].
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

/// Every other half row: one lane of two.
fn lane(all: &[f32], lane: usize, width: usize) -> Vec<f32> {
    all.chunks_exact(width).skip(lane).step_by(2).flatten().copied().collect()
}

#[test]
fn logits_of_every_column() {
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
        let off = relative_error(&cond, &expected);
        println!("{name}: text lane {off:.1e}");
        assert!(off < 1e-4, "{name}: text lane {off:.1e}");
        if name != "house" {
            let guided: Vec<f32> = cond.iter().zip(&null).map(|(c, n)| n + 3.0 * (c - n)).collect();
            for (what, ours) in [("lm.logits.null", &null), ("lm.logits.guided", &guided)] {
                let off = relative_error(ours, &values(&mut file, what).1);
                println!("{name}: {what} {off:.1e}");
                assert!(off < 1e-4, "{name}: {what} {off:.1e}");
            }
        }

        // A prefill of 16 (in blocks of 5), then cached steps: the same bits.
        let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 5);
        while run.next(&mut cpu, &lm, 16) > 0 {}
        assert_eq!(run.at(), 16);
        assert_eq!(all_logits(&mut cpu, &lm, &mut run), all[16 * 2 * width..], "{name}");
    }
}

#[test]
fn other_formats_are_near() {
    let mut file = golden::tensors("house.golden.safetensors");
    let text = hidden(&mut file);
    let (shape, tokens) = ints(&mut file, "lm.tokens");
    let (_, expected) = values(&mut file, "lm.logits");
    let mut cpu = CpuBackend::new(1);
    // The file is stored in q8: played so, it loses nothing.
    for (format, least, most) in [(Format::Bf16, 1e-5, 0.02), (Format::Q8, 0.0, 1e-5), (Format::Q4, 0.01, 0.3)] {
        let lm = Lm::load(&mut cpu, &golden::model("house"), format).unwrap();
        let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 1);
        let all = all_logits(&mut cpu, &lm, &mut run);
        let off = relative_error(&lane(&all, 0, run.grid().cards.iter().sum()), &expected);
        println!("{format:?}: {off:.1e}");
        assert!((least..most).contains(&off), "{format:?}: {off:.1e}");
    }
}

#[test]
fn logits_with_controls() {
    let mut file = golden::tensors("seven.golden.safetensors");
    let mut cpu = CpuBackend::new(1);
    let lm = Lm::load(&mut cpu, &golden::model("seven"), Format::F32).unwrap();
    let text = hidden(&mut file);
    let (shape, tokens) = ints(&mut file, "lm.tokens");
    let mut run = forced(&mut cpu, &lm, &text, &shape, &tokens, 1);
    for (c, control) in lm.config().controls.iter().enumerate() {
        let (_, line) = ints(&mut file, &format!("lm.control.{}", control.name));
        run.control(&mut cpu, &lm, c, 0, &line);
    }
    let width = run.grid().cards.iter().sum();
    let cond = lane(&all_logits(&mut cpu, &lm, &mut run), 0, width);
    let off = relative_error(&cond, &values(&mut file, "lm.logits.controls").1);
    assert!(off < 1e-4, "{off:.1e}");
    // And they matter: without them the logits are others.
    assert!(relative_error(&cond, &values(&mut file, "lm.logits").1) > 1e-2);
}

/// One greedy run of runs.json.
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

    // Up to the last unknown slot, and known columns in one block: never more forwards than the reference's loop needs.
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
fn greedy_runs() {
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
fn patterns_and_counters() {
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
        let [frame, stream, step, foretold] = row[..] else { panic!("{row:?}") };
        assert_eq!(pattern.step(stream as usize, frame as usize), step as usize);
        assert_eq!(pattern.frame(stream as usize, step as usize), Some(frame as usize));
        assert_eq!(foretold, step - 1);
    }
}
