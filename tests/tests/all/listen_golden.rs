//! The listener against the golden vectors of train/listen.py.

use serde_json::Value;
use sideman_engine::audio;
use sideman_engine::listen::Listener;
use sideman_tests::golden;

/// The largest difference of continuous values.
const NEAR: f64 = 1e-5;

#[test]
fn the_listener_equals_the_numpy_features() {
    let samples = audio::read_up_to(&golden::path("listen.wav"), 1).expect("the signal").samples;
    let golden = golden::json("listen.json");
    let frames = golden["frames"].as_array().expect("frames");
    let mut listener = Listener::new();
    let mut onsets = golden["onsets"].as_array().expect("onsets").iter();
    let (chunks, _) = samples.as_chunks();
    assert_eq!(chunks.len(), frames.len());
    for (n, (frame, want)) in chunks.iter().zip(frames).enumerate() {
        let found = listener.push(frame);
        let near = |found: f64, want: &Value| (found - want.as_f64().expect("a number")).abs() <= NEAR;
        assert!(near(found.pitch, &want["pitch"]), "frame {n}: pitch {} {want}", found.pitch);
        assert!(near(found.confidence, &want["confidence"]), "frame {n}: confidence {} {want}", found.confidence);
        assert!(near(found.level, &want["level"]), "frame {n}: level {} {want}", found.level);
        assert_eq!(want["sounding"], found.sounding, "frame {n}");
        // A value that lies between two whole numbers may be rounded either way.
        for (found, want) in found.chroma.iter().zip(golden::list(&want["chroma"])) {
            assert!((i32::from(*found) - want).abs() <= 1, "frame {n}: chroma");
        }
        if let Some(onset) = found.onset {
            let want = onsets.next().expect("an onset");
            assert_eq!((want["frame"].as_u64(), want["sample"].as_i64()), (Some(n as u64), Some(onset.sample)));
            assert!(near(onset.strength, &want["strength"]));
            assert!((0..3).all(|range| near(onset.ranges[range], &want["ranges"][range])));
        }
    }
    assert!(onsets.next().is_none());
}
