use std::sync::atomic::Ordering;

use super::*;

/// Slots of two channels that hold their position: (n, -n) / 2^20.
fn slots(from: usize, n: usize) -> Vec<f32> {
    (from..from + n).flat_map(|i| [i as f32 / 1048576.0, -(i as f32) / 1048576.0]).collect()
}

fn places(block: &[f32]) -> Vec<i64> {
    block.chunks(2).map(|f| (f[0] * 1048576.0).round() as i64).collect()
}

#[test]
fn slots_are_played_in_order_whatever_the_block_sizes() {
    let (mut writer, mut reader) = ring(32_000, 2, 0).unwrap();
    assert_eq!(writer.write(&slots(0, 10_000)), 0);
    let mut got = Vec::new();
    for n in [1, 64, 7, 4096, 1000, 333] {
        got.extend_from_slice(reader.play(n));
    }
    assert_eq!(got, slots(0, 5501));
    assert_eq!(writer.state().underrun.load(Ordering::Relaxed), 0);
    assert!((writer.ahead() - 4499.0 / 32_000.0).abs() < 1e-9);
}

#[test]
fn a_stall_repeats_the_last_bar_in_phase_and_the_band_returns_in_phase() {
    let (mut writer, mut reader) = ring(32_000, 2, 0).unwrap();
    let bar = 4_000.5;
    writer.set_bar(bar);
    assert_eq!(writer.write(&slots(0, 20_000)), 0);
    let mut played: Vec<i64> = Vec::new();
    for _ in 0..100 {
        let block = reader.play(400).to_vec();
        assert!(block.chunks(2).all(|f| f[0] == -f[1]), "channels stay together");
        played.extend(places(&block));
    }
    // 20000 real ones, then bars of the last one; the 160 frames after each seam fade.
    for (at, place) in played.iter().enumerate() {
        let bars = (((at + 1).saturating_sub(20_000)) as f64 / bar).ceil();
        let want = (at as f64 - bars * bar).round().min(19_999.0) as i64;
        let since_seam = if at < 20_000 { usize::MAX } else { ((at + 1 - 20_000) as f64 % bar) as usize };
        if since_seam > 162 {
            assert!((place - want).abs() <= 1, "at {at}: {place}, not {want}");
        }
    }
    assert_eq!(writer.state().underrun.load(Ordering::Relaxed), 20_000);
    assert!(writer.state().repeating.load(Ordering::Relaxed));
    // The engine catches up: all that it missed comes in order, the late part is never heard.
    assert_eq!(writer.write(&slots(20_000, 30_000)), 0);
    let back = places(reader.play(2000));
    assert_eq!(back[160..], (40_160..42_000).collect::<Vec<i64>>());
    assert_eq!(writer.state().late.load(Ordering::Relaxed), 20_000);
    assert!(!writer.state().repeating.load(Ordering::Relaxed));
}

#[test]
fn a_repeated_bar_starts_without_a_click() {
    let (mut writer, mut reader) = ring(48_000, 1, 0).unwrap();
    writer.set_bar(16_000.0);
    let tone: Vec<f32> = (0..20_000).map(|n| 0.5 * (n as f32 * 0.02).sin()).collect();
    assert_eq!(writer.write(&tone), 0);
    let mut last = 0.0f32;
    for _ in 0..300 {
        for x in reader.play(256) {
            assert!((x - last).abs() < 0.02, "a jump of {}", (x - last).abs());
            last = *x;
        }
    }
}

#[test]
fn without_a_bar_to_repeat_the_output_fades_to_silence() {
    let (mut writer, mut reader) = ring(32_000, 1, 0).unwrap();
    assert_eq!(writer.write(&[0.5; 1000]), 0);
    reader.play(1000);
    let block = reader.play(400);
    assert!(block[0] < 0.51 && block[..160].windows(2).all(|w| w[1] < w[0]), "{:?}", &block[..10]);
    assert!(block[160..].iter().all(|x| *x == 0.0));
}

#[test]
fn a_hop_of_which_a_part_came_too_late_is_late_by_what_was_missing() {
    let (mut writer, mut reader) = ring(32_000, 1, 0).unwrap();
    assert_eq!(writer.write(&[0.5; 2560]), 0);
    reader.play(2000);
    assert_eq!(writer.write(&[0.5; 2560]), 0);
    assert!(writer.late() < 0.0, "560 were left");
    // 40 ms of the next 80 are missing, then 40 ms of every hop: its last sample is always in time.
    reader.play(3120 + 1280);
    for _ in 0..10 {
        assert_eq!(writer.write(&[0.5; 2560]), 0);
        assert!((writer.late() - 0.04).abs() < 1e-9 && writer.ahead() > 0.0, "{}", writer.late());
        reader.play(2560);
    }
}

#[test]
fn a_bar_that_is_longer_than_what_is_kept_is_repeated_in_part() {
    let (mut writer, mut reader) = ring(8000, 1, 0).unwrap();
    // A bar of 18 s: 12/8 at 20 BPM.
    writer.set_bar(18.0 * 32_000.0);
    for _ in 0..13 {
        assert_eq!(writer.write(&[0.5; 32_000]), 0);
        reader.play(8000);
    }
    assert!(reader.play(4000)[100..].iter().all(|x| (*x - 0.5).abs() < 0.01), "it is silent");
}

#[test]
fn a_device_that_stalls_loses_music_but_stays_in_phase() {
    let (mut writer, mut reader) = ring(32_000, 1, 0).unwrap();
    let second = vec![0.25; 32_000];
    let lost: usize = (0..10).map(|_| writer.write(&second)).sum();
    assert_eq!(lost, 2 * 32_000);
    (0..4 * CAPACITY).for_each(|_| assert_eq!(reader.play(8000).len(), 8000));
    assert_eq!(writer.write(&second), 0);
    assert_eq!(reader.play(8000)[200..], [0.0; 7800], "the lost second is silent");
    (0..7).for_each(|_| assert_eq!(reader.play(8000).len(), 8000));
    assert_eq!(reader.play(8000)[200..], [0.25; 7800]);
}

#[test]
fn a_ring_can_begin_in_mid_song() {
    let (mut writer, mut reader) = ring(48_000, 1, 64_000).unwrap();
    assert_eq!(writer.write(&[0.5; 32_000]), 0);
    reader.seek(96_000 + 24_000);
    assert!(reader.play(400)[300..].iter().all(|x| (*x - 0.5).abs() < 0.01));
    assert_eq!(writer.state().late.load(Ordering::Relaxed), 24_000);
}
