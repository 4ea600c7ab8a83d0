//! Recordings as musicians have them, good and bad: what is read is right, and what can't be is told in a sentence.

use std::path::{Path, PathBuf};

use sideman_engine::audio::{RATE, Recording, level, read};

/// A file of the folder `audio`.
fn bundled(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("audio").join(name)
}

/// A float WAV of `channels` interleaved channels, in a folder of its own.
fn wav(rate: u32, channels: u16, samples: &[f32]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.wav");
    let spec = hound::WavSpec { channels, sample_rate: rate, bits_per_sample: 32, sample_format: hound::SampleFormat::Float };
    let mut file = hound::WavWriter::create(&path, spec).unwrap();
    samples.iter().for_each(|x| file.write_sample(*x).unwrap());
    file.finalize().unwrap();
    (dir, path)
}

/// `seconds` of 220 Hz at half scale, on every channel.
fn tone(rate: u32, channels: u16, seconds: f64) -> Vec<f32> {
    let frames = (seconds * f64::from(rate)) as usize;
    let frame = |n: usize| (0.5 * (std::f64::consts::TAU * 220.0 * n as f64 / f64::from(rate)).sin()) as f32;
    (0..frames).flat_map(|n| std::iter::repeat_n(frame(n), usize::from(channels))).collect()
}

fn read_samples(rate: u32, channels: u16, samples: &[f32]) -> Recording {
    let (_dir, path) = wav(rate, channels, samples);
    read(&path).unwrap()
}

/// The error of a file of these bytes: one sentence with the file's name in it.
fn error_of(name: &str, bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    let error = read(&path).unwrap_err().to_string();
    assert!(error.contains(name) && !error.contains('\n'), "{error}");
    error
}

#[test]
fn every_format_gives_the_same_tone() {
    let want: Vec<f32> =
        (0..16_000).map(|n| (0.25 * (std::f64::consts::TAU * 440.0 * n as f64 / 32_000.0).sin()) as f32).collect();
    for (name, off) in [("tone.flac", 5e-4), ("tone.ogg", 0.01), ("tone.mp3", 0.015)] {
        let got = read(&bundled(name)).unwrap();
        assert_eq!((got.rate, got.channels), (44_100, 2), "{name}");
        assert_eq!(got.samples.len(), 16_000, "{name}");
        assert_eq!((got.skipped, got.missing, got.not_finite, got.clipped), (0, 0, 0, 0), "{name}");
        // In the middle, past the fades: same pitch, level and place in time. One sample beside it would be off by 0.022.
        let worst = (3_000..13_000).map(|n| (got.samples[n] - want[n]).abs()).fold(0.0, f32::max);
        assert!(worst < off, "{name}: off by {worst}");
    }
}

#[test]
fn any_rate_and_channel_count() {
    let want = tone(RATE, 1, 0.5);
    for (rate, channels) in
        [(8_000, 1), (11_025, 1), (22_050, 2), (44_100, 2), (48_000, 6), (96_000, 1), (192_000, 2), (32_000, 1)]
    {
        let got = read_samples(rate, channels, &tone(rate, channels, 0.5));
        assert_eq!((got.rate, got.channels), (rate, usize::from(channels)));
        assert!(got.samples.len().abs_diff(want.len()) <= 1, "{rate} Hz: {} samples", got.samples.len());
        let worst = (2_000..14_000).map(|n| (got.samples[n] - want[n]).abs()).fold(0.0, f32::max);
        assert!(worst < 5e-4, "{rate} Hz, {channels} channels: off by {worst}");
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
fn at_32_khz_nothing_is_touched() {
    let x = tone(RATE, 1, 0.3);
    assert_eq!(read_samples(RATE, 1, &x).samples, x);
}

#[test]
fn empty_files() {
    assert!(error_of("bass.wav", b"").contains("empty"));
    let (_dir, path) = wav(44_100, 1, &[]);
    assert!(read(&path).unwrap_err().to_string().contains("no samples"));
}

#[test]
fn one_sample() {
    assert_eq!(read_samples(RATE, 1, &[0.5]).samples, [0.5]);
    assert_eq!(read_samples(48_000, 1, &[0.5]).samples.len(), 1);
}

#[test]
fn silent() {
    let got = read_samples(48_000, 2, &vec![0.0; 48_000]);
    assert_eq!(level::peak(&got.samples), 0.0);
    assert!(got.warnings()[0].contains("silent"), "{:?}", got.warnings());
}

#[test]
fn clipped() {
    let x: Vec<f32> = tone(44_100, 1, 0.2).iter().map(|x| (x * 4.0).clamp(-1.0, 1.0)).collect();
    let got = read_samples(44_100, 1, &x);
    assert!(got.clipped > 1_000 && got.warnings()[0].contains("clipped"));
}

#[test]
fn not_numbers() {
    let mut x = tone(44_100, 1, 0.2);
    (x[100], x[200], x[300]) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let got = read_samples(44_100, 1, &x);
    assert_eq!(got.not_finite, 3);
    assert!(got.samples.iter().all(|x| x.is_finite()) && level::peak(&got.samples) < 1.0);
    assert!(got.warnings()[0].contains("3 samples"));
}

#[test]
fn integers_labelled_float() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 0.1).iter().map(|x| x * 32_768.0).collect::<Vec<_>>());
    assert!(read(&path).unwrap_err().to_string().contains("full scale"));
}

#[test]
fn truncated() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 2.0));
    let bytes = std::fs::read(&path).unwrap();
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let got = read(&path).unwrap();
    assert!((got.seconds() - 1.0).abs() < 0.05, "{}", got.seconds());
    assert!(got.warnings()[0].contains("ends 1.0"), "{:?}", got.warnings());
    assert!(error_of("header.wav", &bytes[..30]).contains("WAV, FLAC, MP3"));
    for name in ["tone.flac", "tone.ogg", "tone.mp3"] {
        let bytes = std::fs::read(bundled(name)).unwrap();
        let path = path.with_file_name(name);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        match read(&path) {
            Ok(got) => assert!(!got.warnings().is_empty() && got.seconds() < 0.5, "{name}: {} s, no warning", got.seconds()),
            Err(e) => assert!(e.to_string().contains(name), "{e}"),
        }
    }
}

#[test]
fn not_audio_at_all() {
    assert!(error_of("notes.wav", b"Dear drummer, please play quietly.").contains("WAV, FLAC, MP3"));
    assert!(read(Path::new("/nowhere/bass.wav")).unwrap_err().to_string().contains("/nowhere/bass.wav"));
    assert!(read(&bundled("")).unwrap_err().to_string().contains("folder"));
}

#[test]
fn hostile_headers() {
    let (_dir, path) = wav(44_100, 1, &tone(44_100, 1, 0.1));
    let good = std::fs::read(&path).unwrap();
    let with = |at: usize, bytes: &[u8]| {
        let mut all = good.clone();
        all[at..at + bytes.len()].copy_from_slice(bytes);
        all
    };
    // Rates: 0, 1 Hz and 4 GHz. (hound's header of a mono float file: rate at 24.)
    for rate in [0u32, 1, u32::MAX] {
        error_of("rate.wav", &with(24, &rate.to_le_bytes()));
    }
    // No channels, and far too many.
    for channels in [0u16, 65_535] {
        error_of("channels.wav", &with(22, &channels.to_le_bytes()));
    }
}

/// Any change of any few bytes gives a recording or an error: no panic, no endless loop, no result out of proportion.
#[test]
fn damaged_bytes() {
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
                // Half of the damage in the header.
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
