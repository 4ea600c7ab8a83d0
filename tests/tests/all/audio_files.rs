//! Reading audio files: formats, sample rates, channels, and damaged or invalid files.

use std::path::{Path, PathBuf};

use sideman_engine::Error;
use sideman_engine::audio::{RATE, Recording, level, read};

/// A file of tests/audio.
fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("audio").join(name)
}

/// Writes a float WAV file of interleaved samples to a temporary folder.
fn wav(rate: u32, channels: u16, samples: &[f32]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.wav");
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    samples.iter().for_each(|x| file.write_sample(*x).unwrap());
    file.finalize().unwrap();
    (dir, path)
}

/// A sine of 220 Hz at half scale, interleaved, the same on every channel.
fn tone(rate: u32, channels: u16, seconds: f64) -> Vec<f32> {
    let frames = (seconds * f64::from(rate)) as usize;
    let frame = |n: usize| (0.5 * (std::f64::consts::TAU * 220.0 * n as f64 / f64::from(rate)).sin()) as f32;
    (0..frames).flat_map(|n| std::iter::repeat_n(frame(n), usize::from(channels))).collect()
}

fn read_samples(rate: u32, channels: u16, samples: &[f32]) -> Recording {
    let (_dir, path) = wav(rate, channels, samples);
    read(&path).unwrap()
}

/// Asserts that a file of these bytes can't be read, and that the error names the file.
fn assert_unreadable(name: &str, bytes: &[u8]) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    assert_file_error(&read(&path).unwrap_err(), &path);
}

/// Asserts that the error is about the content of the file at `path`.
#[track_caller]
fn assert_file_error(error: &Error, path: &Path) {
    assert!(matches!(error, Error::File { path: found, .. } if found == path), "{error}");
}

#[test]
fn every_format_is_decoded_to_the_same_tone() {
    let want: Vec<f32> =
        (0..16_000).map(|n| (0.25 * (std::f64::consts::TAU * 440.0 * n as f64 / 32_000.0).sin()) as f32).collect();
    for (name, tolerance) in [("tone.flac", 5e-4), ("tone.ogg", 0.01), ("tone.mp3", 0.015)] {
        let got = read(&bundled(name)).unwrap();
        assert_eq!((got.rate, got.channels), (44_100, 2), "{name}");
        assert_eq!(got.samples.len(), 16_000, "{name}");
        assert_eq!((got.skipped, got.missing, got.not_finite, got.clipped), (0, 0, 0, 0), "{name}");
        // Between the fades: the same pitch, level and position. A shift by one sample would be an error of 0.022.
        let worst = (3_000..13_000).map(|n| (got.samples[n] - want[n]).abs()).fold(0.0, f32::max);
        assert!(worst < tolerance, "{name}: the largest error is {worst}");
    }
}

#[test]
fn files_of_any_sample_rate_and_channel_count_become_mono_at_32_khz() {
    let want = tone(RATE, 1, 0.5);
    for (rate, channels) in
        [(8_000, 1), (11_025, 1), (22_050, 2), (44_100, 2), (48_000, 6), (96_000, 1), (192_000, 2), (32_000, 1)]
    {
        let got = read_samples(rate, channels, &tone(rate, channels, 0.5));
        assert_eq!((got.rate, got.channels), (rate, usize::from(channels)));
        assert!(got.samples.len().abs_diff(want.len()) <= 1, "{rate} Hz: {} samples", got.samples.len());
        let worst = (2_000..14_000).map(|n| (got.samples[n] - want[n]).abs()).fold(0.0, f32::max);
        assert!(worst < 5e-4, "{rate} Hz, {channels} channels: the largest error is {worst}");
        assert!(got.warnings().is_empty());
    }
}

#[test]
fn channels_are_averaged() {
    let left_only: Vec<f32> = tone(RATE, 1, 0.1).into_iter().flat_map(|x| [x, 0.0]).collect();
    let got = read_samples(RATE, 2, &left_only);
    assert_eq!(got.samples, tone(RATE, 1, 0.1).iter().map(|x| x / 2.0).collect::<Vec<_>>());
}

#[test]
fn mono_files_at_32_khz_are_read_bit_for_bit() {
    let x = tone(RATE, 1, 0.3);
    assert_eq!(read_samples(RATE, 1, &x).samples, x);
}

#[test]
fn a_file_without_samples_is_an_error() {
    assert_unreadable("bass.wav", b"");
    let (_dir, path) = wav(44_100, 1, &[]);
    assert_file_error(&read(&path).unwrap_err(), &path);
}

#[test]
fn a_file_of_one_sample_is_read() {
    assert_eq!(read_samples(RATE, 1, &[0.5]).samples, [0.5]);
    assert_eq!(read_samples(48_000, 1, &[0.5]).samples.len(), 1);
}

#[test]
fn a_silent_file_gives_a_warning() {
    let got = read_samples(48_000, 2, &vec![0.0; 48_000]);
    assert_eq!(level::peak(&got.samples), 0.0);
    assert_eq!(got.warnings().len(), 1, "{:?}", got.warnings());
}

#[test]
fn clipped_samples_are_counted_and_give_a_warning() {
    let x: Vec<f32> = tone(44_100, 1, 0.2).iter().map(|x| (x * 4.0).clamp(-1.0, 1.0)).collect();
    let got = read_samples(44_100, 1, &x);
    assert!(got.clipped > 1_000, "{}", got.clipped);
    assert_eq!(got.warnings().len(), 1, "{:?}", got.warnings());
}

#[test]
fn nan_and_infinite_samples_are_counted_and_read_as_silence() {
    let mut x = tone(44_100, 1, 0.2);
    (x[100], x[200], x[300]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let got = read_samples(44_100, 1, &x);
    assert_eq!(got.not_finite, 3);
    assert!(got.samples.iter().all(|x| x.is_finite()) && level::peak(&got.samples) < 1.0);
    assert!(!got.warnings().is_empty());
}

#[test]
fn integer_samples_in_a_float_file_are_an_error() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 0.1).iter().map(|x| x * 32_768.0).collect::<Vec<_>>());
    assert_file_error(&read(&path).unwrap_err(), &path);
}

#[test]
fn a_truncated_file_is_read_with_a_warning_or_is_an_error() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 2.0));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let got = read(&path).unwrap();
    assert!((got.seconds() - 1.0).abs() < 0.05, "{}", got.seconds());
    assert!((got.missing as f64 / 44_100.0 - 1.0).abs() < 0.05, "{} sample frames are missing", got.missing);
    assert!(!got.warnings().is_empty());
    assert_unreadable("header.wav", &bytes[..30]);
    for name in ["tone.flac", "tone.ogg", "tone.mp3"] {
        let bytes = std::fs::read(bundled(name)).unwrap();
        let path = path.with_file_name(name);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        match read(&path) {
            Ok(got) => assert!(!got.warnings().is_empty() && got.seconds() < 0.5, "{name}: {} s, no warning", got.seconds()),
            Err(e) => assert_file_error(&e, &path),
        }
    }
}

#[test]
fn text_a_missing_file_and_a_folder_are_errors() {
    assert_unreadable("notes.wav", b"This is not audio.");
    assert!(read(Path::new("/nowhere/bass.wav")).unwrap_err().to_string().contains("/nowhere/bass.wav"));
    assert_file_error(&read(&bundled("")).unwrap_err(), &bundled(""));
}

#[test]
fn impossible_sample_rates_and_channel_counts_are_errors() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 0.1));
    let good = std::fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut all = good.clone();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    // The header of a mono float file that hound writes has the sample rate at byte 24, the channel count at byte 22.
    for rate in [0u32, 1, u32::MAX] {
        assert_unreadable("rate.wav", &with(24, &rate.to_le_bytes()));
    }
    for channels in [0u16, 65_535] {
        assert_unreadable("channels.wav", &with(22, &channels.to_le_bytes()));
    }
}

#[test]
fn a_damaged_file_never_gives_invalid_or_huge_output() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 0.05));
    let mut seed = 7u64;
    let mut next = |below: usize| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as usize % below
    };
    for source in [path.clone(), bundled("tone.flac"), bundled("tone.ogg"), bundled("tone.mp3")] {
        let good = std::fs::read(&source).unwrap();
        for round in 0..300 {
            let mut bytes = good.clone();
            for _ in 0..1 + next(4) {
                // Half of the changes are in the header.
                let at = if next(2) == 0 { next(bytes.len().min(128)) } else { next(bytes.len()) };
                bytes[at] = next(256) as u8;
            }
            let damaged = path.with_file_name(source.file_name().unwrap());
            std::fs::write(&damaged, &bytes).unwrap();
            if let Ok(got) = read(&damaged) {
                assert!(got.samples.iter().all(|x| x.is_finite()), "{}: round {round}", source.display());
                assert!(got.samples.len() < 1_000_000, "{}: round {round}: {} samples", source.display(), got.samples.len());
            }
        }
    }
}
