//! `sideman-bench listen`: the time that the listener of live play takes for a frame.

use std::time::Instant;

use clap::Args;
use sideman_engine::listen::{BeatFollower, CountIn, Harmony, Listener, Part, TempoFinder};

use crate::Common;

/// Samples of a frame, and its length in ms.
const FRAME: (usize, f64) = (640, 20.0);

#[derive(Args)]
pub struct Listen {
    /// Seconds of music
    #[arg(long, value_name = "S", default_value_t = 20)]
    seconds: usize,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Listen) {
    let frames = args.seconds * 50;
    // A saw of 55 Hz that begins again twice a second: pitch and onsets have work to do.
    let sample = |i: usize| ((i * 55 % 32_000) as f32 / 32_000.0 - 0.5) * (1.0 - (i % 16_000) as f32 / 16_000.0);
    let (mut listener, mut harmony, mut count) = (Listener::new(), Harmony::new(Part::Bass), CountIn::new());
    let (mut follower, mut tempo) = (BeatFollower::new(0.0, 16_000.0), TempoFinder::new());
    let mut times: Vec<f64> = (0..frames)
        .map(|f| {
            let frame = std::array::from_fn(|i| sample(f * FRAME.0 + i));
            let began = Instant::now();
            let features = listener.push(&frame);
            harmony.push(&features, f as i64 / 100, (f / 25 % 4) as u32 + 1);
            std::hint::black_box(count.push(&features, 4));
            if let Some(onset) = features.onset {
                follower.push(onset);
                tempo.push(onset);
            }
            std::hint::black_box(tempo.length(((f + 1) * FRAME.0) as f64));
            began.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    std::hint::black_box(follower.length());
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    if args.common.json {
        let row = serde_json::json!({ "ms_p50": at(0.5), "ms_p99": at(0.99), "share_of_a_frame": at(0.5) / FRAME.1 });
        println!("{:#}", serde_json::json!({ "rows": [row] }));
    } else {
        println!("a frame: p50 {:.3} ms, p99 {:.3} ms, {:.1} % of its length", at(0.5), at(0.99), 100.0 * at(0.5) / FRAME.1);
    }
}
