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

/// Offset of the first of the two block sizes in a FLAC header.
const BLOCK_SIZES: usize = 8;

#[test]
fn a_flac_file_whose_header_says_wrong_block_sizes_gives_all_of_its_samples() {
    let (right, file) = (read(&bundled("tone.flac")).unwrap(), std::fs::read(bundled("tone.flac")).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.flac");
    for sizes in [[0, 0], [0, 16], [16, 4096], [4608, 4608]] {
        let mut file = file.clone();
        file[BLOCK_SIZES..BLOCK_SIZES + 4].copy_from_slice(&sizes.map(u16::to_be_bytes).concat());
        // An ID3v2 tag of 10 bytes before it.
        for tag in [&b""[..], b"ID3\x04\0\0\0\0\0\x0aabcdefghij"] {
            std::fs::write(&path, [tag, &file].concat()).unwrap();
            let got = read(&path).unwrap();
            assert!(got.samples == right.samples && got.warnings().is_empty(), "{sizes:?}: {:?}", got.warnings());
        }
    }
}

#[test]
fn damage_in_the_middle_of_a_flac_file_is_silence_and_moves_nothing_after_it() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/funk.flac");
    let (right, mut file) = (read(&example).unwrap(), std::fs::read(&example).unwrap());
    file[20_000..20_016].fill(0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.flac");
    std::fs::write(&path, file).unwrap();
    let got = read(&path).unwrap();
    assert_eq!((got.samples.len(), got.missing), (right.samples.len(), 0));
    assert!(got.silenced > 0 && got.samples != right.samples);
    let half = right.samples.len() / 2;
    assert!(got.samples[half..] == right.samples[half..], "what comes after the damage has moved");
}

#[test]
fn damage_in_the_middle_of_an_mp3_file_is_silence_and_moves_nothing_after_it() {
    let (right, file) = (read(&bundled("tone.mp3")).unwrap(), std::fs::read(bundled("tone.mp3")).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.mp3");
    // 44.1 kHz at 128 kbit/s: a frame is 418 bytes and 836 samples at 32 kHz.
    for (from, bytes) in [(3000, 4), (3000, 500), (2500, 1700), (4000, 2500)] {
        for byte in [0, 0xff, 0x55] {
            let mut file = file.clone();
            file[from..from + bytes].fill(byte);
            std::fs::write(&path, &file).unwrap();
            let got = read(&path).unwrap();
            assert_eq!((got.samples.len(), got.missing), (right.samples.len(), 0), "{bytes} bytes of {byte}");
            // What a frame says may lie in the two before it.
            let after = (from + bytes) * 836 / 418 + 4 * 836;
            let worst = (after..right.samples.len()).map(|n| (got.samples[n] - right.samples[n]).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3, "{bytes} bytes of {byte}: what comes after the damage has moved: {worst}");
            assert!(bytes < 500 || got.silenced > 0, "{bytes} bytes of {byte}: it is not said");
        }
    }
}

/// A killed recorder has written 0 frames into the header, and a file of several has the number of the first one's.
#[test]
fn an_mp3_file_gives_all_of_its_samples_whatever_its_header_says() {
    let (right, file) = (read(&bundled("tone.mp3")).unwrap(), std::fs::read(bundled("tone.mp3")).unwrap());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.mp3");
    let info = file.windows(4).position(|name| name == b"Info").unwrap();
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        read(&path).unwrap().samples
    };
    // The checksum of what LAME says, and of all before it.
    let end = file.windows(4).position(|name| name == b"LAME").unwrap() + 34;
    let bit = |crc: u16| if crc & 1 == 1 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
    let checksum = |bytes: &[u8]| bytes.iter().fold(0u16, |crc, byte| (0..8).fold(crc ^ u16::from(*byte), |crc, _| bit(crc)));
    assert_eq!(checksum(&file[..end]).to_be_bytes(), file[end..end + 2]);
    for frames in [0u32, 1, 10] {
        let mut killed = file.clone();
        killed[info + 8..info + 12].copy_from_slice(&frames.to_be_bytes());
        let sum = checksum(&killed[..end]).to_be_bytes();
        killed[end..end + 2].copy_from_slice(&sum);
        let samples = read(&killed);
        assert!(samples.len() >= right.samples.len(), "{frames}: {} of {}", samples.len(), right.samples.len());
        let worst = samples.iter().zip(&right.samples).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-3, "{frames}: the samples have moved: {worst}");
    }
    let twice = read(&[&file[..], &file].concat()).len();
    assert!(twice >= 2 * right.samples.len(), "{twice} of {}", 2 * right.samples.len());
}

#[test]
fn a_tag_between_two_mp3_files_in_one_is_no_damage() {
    let file = std::fs::read(bundled("tone.mp3")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bass.mp3");
    let read = |between: &[u8]| {
        std::fs::write(&path, [&file, between, &file].concat()).unwrap();
        read(&path).unwrap()
    };
    let tag = [&b"ID3\x04\0\0\0\0\x4e\x10"[..], &[7; 10_000]].concat();
    let (without, with) = (read(&[]), read(&tag));
    assert!(with.samples == without.samples && with.silenced == 0);
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

/// A chunk of a RIFF file: its name, its bytes, and its size where that is not theirs.
fn chunk(name: &[u8; 4], body: &[u8], size: Option<u32>) -> Vec<u8> {
    let pad = vec![0; body.len() % 2];
    [&name[..], &size.unwrap_or(body.len() as u32).to_le_bytes(), body, &pad].concat()
}

fn riff(form: &[u8; 4], size: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    [&form[..], &size.to_le_bytes(), b"WAVE", &chunks.concat()].concat()
}

/// A chunk `fmt `: format tag, channels and bits, at 32 kHz.
fn fmt(tag: u16, channels: u16, bits: u16) -> Vec<u8> {
    let align = channels * bits / 8;
    let mut body = Vec::new();
    [tag, channels].iter().for_each(|x| body.extend(x.to_le_bytes()));
    [32_000, 32_000 * u32::from(align)].iter().for_each(|x| body.extend(x.to_le_bytes()));
    [align, bits].iter().for_each(|x| body.extend(x.to_le_bytes()));
    chunk(b"fmt ", &body, None)
}

/// As pipes, killed recorders, samplers and field recorders leave them: all hold the same music.
#[test]
fn a_wav_whose_header_is_not_right_still_gives_all_of_its_samples() {
    let x: Vec<i16> = tone(RATE, 1, 0.3).iter().map(|x| (x * 32_768.0) as i16).collect();
    let want: Vec<f32> = x.iter().map(|x| f32::from(*x) / 32_768.0).collect();
    let pcm: Vec<u8> = x.iter().flat_map(|x| x.to_le_bytes()).collect();
    let pcm24: Vec<u8> = x.iter().flat_map(|x| (i32::from(*x) << 8).to_le_bytes()[..3].to_vec()).collect();
    let pcm32: Vec<u8> = x.iter().flat_map(|x| (i32::from(*x) << 16).to_le_bytes()).collect();
    let floats: Vec<u8> = want.iter().flat_map(|x| x.to_le_bytes()).collect();
    let doubles: Vec<u8> = want.iter().flat_map(|x| f64::from(*x).to_le_bytes()).collect();
    let (all, zero) = (Some(u32::MAX), Some(0));
    let size = pcm.len() as u32 + 36;
    let sizes = [u64::from(size) + 36, pcm.len() as u64, x.len() as u64].map(u64::to_le_bytes).concat();
    let (f16, data) = (fmt(1, 1, 16), |size| chunk(b"data", &pcm, size));
    let mut extensible = fmt(0xfffe, 1, 32);
    extensible[4..8].copy_from_slice(&40u32.to_le_bytes());
    let guid = [1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71];
    extensible.extend([&[22, 0, 24, 0, 4, 0, 0, 0][..], &guid].concat());
    // Extensible: valid bits and speakers.
    let said = |valid: u8, speakers: u8| {
        let mut head = fmt(0xfffe, 1, 16);
        head[4..8].copy_from_slice(&40u32.to_le_bytes());
        head.extend([&[22, 0, valid, 0, speakers, 0, 0, 0][..], &guid].concat());
        head
    };
    let mut no_align = f16.clone();
    no_align[20..22].fill(0);
    let mut no_subformat = fmt(3, 1, 32);
    no_subformat[4..8].copy_from_slice(&40u32.to_le_bytes());
    no_subformat.extend([0; 24]);
    let mut odd = chunk(b"bext", &[7; 603], None);
    odd.pop();
    let mut unknown = chunk(b"SAUR", b"1234567", None);
    unknown.pop();
    for (name, file) in [
        ("plain", riff(b"RIFF", size, &[f16.clone(), data(None)])),
        ("ffmpeg's pipe", riff(b"RIFF", u32::MAX, &[f16.clone(), chunk(b"LIST", b"INFO", None), data(all)])),
        ("a pipe that says 0", riff(b"RIFF", 0, &[f16.clone(), data(zero)])),
        ("arecord's pipe", riff(b"RIFF", 0x7fff_f024, &[f16.clone(), data(Some(0x7fff_f000))])),
        ("a killed recorder", riff(b"RIFF", 4088, &[chunk(b"JUNK", &[0; 4044], None), f16.clone(), data(zero)])),
        ("a RIFF size that is too small", riff(b"RIFF", size - 16, &[f16.clone(), data(None)])),
        ("an odd chunk without padding", riff(b"RIFF", size + 611, &[odd, f16.clone(), data(None)])),
        (
            "an odd chunk without padding between chunks of other programs",
            riff(b"RIFF", size, &[f16.clone(), unknown, chunk(b"LGWV", b"12345678", None), data(None)]),
        ),
        ("an odd chunk with padding", riff(b"RIFF", size + 504, &[chunk(b"axml", &[7; 495], None), f16.clone(), data(None)])),
        ("no valid bits", riff(b"RIFF", size + 24, &[said(0, 4), data(None)])),
        ("no speaker", riff(b"RIFF", size + 24, &[said(16, 0), data(None)])),
        ("more speakers than channels", riff(b"RIFF", size + 24, &[said(16, 0xff), data(None)])),
        ("no block size", riff(b"RIFF", size, &[no_align, data(None)])),
        ("floats with an empty sub-format", riff(b"RIFF", size, &[no_subformat, chunk(b"data", &floats, None)])),
        (
            "an odd byte behind the samples",
            riff(b"RIFF", size + 2, &[f16.clone(), chunk(b"data", &[&pcm[..], &[1]].concat(), None)]),
        ),
        ("RF64", riff(b"RF64", u32::MAX, &[chunk(b"ds64", &[&sizes[..], &[0; 4]].concat(), None), f16.clone(), data(all)])),
        ("chunks behind", riff(b"RIFF", size + 20, &[f16.clone(), data(None), chunk(b"iXML", b"<BWFXML/>", None)])),
        ("24 bits", riff(b"RIFF", size, &[fmt(1, 1, 24), chunk(b"data", &pcm24, None)])),
        ("24 bits in 32", riff(b"RIFF", size, &[extensible, chunk(b"data", &pcm32, None)])),
        ("32-bit floats", riff(b"RIFF", size, &[fmt(3, 1, 32), chunk(b"data", &floats, None)])),
        ("64-bit floats", riff(b"RIFF", size, &[fmt(3, 1, 64), chunk(b"data", &doubles, None)])),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bass.wav");
        std::fs::write(&path, file).unwrap();
        let got = read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(got.samples == want, "{name}: {} samples of {}", got.samples.len(), want.len());
        assert!(got.warnings().is_empty(), "{name}: {:?}", got.warnings());
    }
}

#[test]
fn a_damaged_header_is_an_error_and_not_silence() {
    let pcm = [1u8; 64];
    for (name, file) in [
        ("no format", riff(b"RIFF", 100, &[chunk(b"data", &pcm, None)])),
        ("no samples", riff(b"RIFF", 100, &[fmt(1, 1, 16)])),
        ("no channels", riff(b"RIFF", 100, &[fmt(1, 0, 16), chunk(b"data", &pcm, None)])),
        ("bits that no sample has", riff(b"RIFF", 100, &[fmt(1, 1, 64), chunk(b"data", &pcm, None)])),
        (
            "a chunk that is longer than the file",
            riff(b"RIFF", 100, &[fmt(1, 1, 16), chunk(b"LIST", b"INFO", Some(u32::MAX - 16)), chunk(b"data", &pcm, None)]),
        ),
        ("a half-precision float", riff(b"RIFF", 100, &[fmt(3, 1, 16), chunk(b"data", &pcm, None)])),
    ] {
        println!("{name}");
        assert_unreadable("bass.wav", &file);
    }
}

#[test]
fn opposite_channels_give_the_music_and_a_warning() {
    let x = tone(RATE, 1, 0.5);
    let of = |right: f32| -> Recording { read_samples(RATE, 2, &x.iter().flat_map(|x| [*x, right * x]).collect::<Vec<_>>()) };
    for right in [-1.0, -0.98, -1.02] {
        let got = of(right);
        assert!(got.cancelled && got.warnings().len() == 1, "{right}: {:?}", got.warnings());
        let worst = got.samples.iter().zip(&x).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.01, "{right}: {worst}");
    }
    // Four channels: the loudest is taken.
    let four = read_samples(RATE, 4, &x.iter().flat_map(|x| [0.5 * x, *x, -x, -0.5 * x]).collect::<Vec<_>>());
    assert!(four.cancelled && level::peak(&four.samples) > 0.49);
    // A wide stereo sound, one channel alone, and silence are no such case.
    for right in [-0.5, 0.0, 0.3, 1.0] {
        assert!(!of(right).cancelled, "{right}");
    }
    assert!(!read_samples(RATE, 2, &[0.0; 6400]).cancelled);
}

#[test]
fn a_loud_float_file_is_not_clipped() {
    let x: Vec<f32> = tone(RATE, 1, 0.2).iter().map(|x| x * 6.0).collect();
    let got = read_samples(RATE, 1, &x);
    assert_eq!((got.clipped, got.samples == x), (0, true));
}

#[test]
fn tags_around_a_file_cost_no_sample() {
    let flac = std::fs::read(bundled("tone.flac")).unwrap();
    let want = read(&bundled("tone.flac")).unwrap().samples;
    let before = [&b"ID3\x03\0\0\0\0\x02\0"[..], &[0; 256]].concat();
    let after = [&b"TAG"[..], &[b'x'; 125]].concat();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tone.flac");
    for file in [[&before[..], &flac].concat(), [&flac[..], &after].concat(), [&before[..], &flac, &after].concat()] {
        std::fs::write(&path, file).unwrap();
        let got = read(&path).unwrap();
        assert!(got.samples == want && got.warnings().is_empty(), "{:?}", got.warnings());
    }
}
