//! `sideman edit SONG --replace` with tiny random networks: what is new is noise, but nothing else may change.

use crate::separate::{command, golden, names, read, separator, song, status};

/// The report of an edit of song.wav in `dir`.
fn edit(dir: &std::path::Path, more: &[&str]) -> serde_json::Value {
    let model = golden("golden/six");
    let first =
        ["edit", "song.wav", "--separator", "net", "--model", model.to_str().unwrap(), "--seed", "3", "--json", "--force"];
    let output = command(dir, &[&first[..], more].concat()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_rest_of_a_song_stays_as_it_is() {
    let tmp = separator();
    let dir = tmp.path();
    for (rate, channels, frames) in [(44_100, 2, 176_400), (48_000, 1, 200_001), (8000, 6, 40_000)] {
        song(&dir.join("song.wav"), rate, channels, frames);
        let report = edit(dir, &["--replace", "drums", "--room", "0", "--out", "out"]);
        assert_eq!(names(&dir.join("out")), ["drums.wav", "mix.wav", "remainder.wav", "removed-drums.wav", "song.json"]);
        let (_, song) = read(&dir.join("song.wav"));
        let [remainder, removed, new, mix] = ["remainder", "removed-drums", "drums", "mix"].map(|name| {
            let (spec, samples) = read(&dir.join(format!("out/{name}.wav")));
            assert_eq!((spec.sample_rate, spec.channels, samples.len()), (rate, channels, song.len()), "{name}");
            samples
        });
        let gain = report["edit"]["mix_gain"].as_f64().unwrap() as f32;
        for (i, x) in song.iter().enumerate() {
            assert!((remainder[i] + removed[i] - x).abs() < 1e-6, "sample {i} of {rate} Hz");
            assert!((gain * (remainder[i] + new[i]) - mix[i]).abs() < 1e-5, "sample {i} of {rate} Hz");
        }
        assert!(new.iter().any(|x| *x != 0.0));
        // The second half of the song is silent, and so is all that the separator finds there.
        let unchanged = song.iter().zip(&remainder).filter(|(a, b)| a == b).count() as f64 / song.len() as f64;
        let said = report["edit"]["unchanged_share"].as_f64().unwrap();
        assert!(unchanged > 0.1 && (said - unchanged).abs() < 1e-9, "{said} {unchanged}");
    }
}

#[test]
fn the_new_stem_is_where_the_old_one_was() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("song.wav"), 44_100, 2, 88_200);
    let report = edit(dir, &["--replace", "drums,other", "--room", "0", "--out", "out"]);
    let replaced = report["edit"]["replaced"].as_array().unwrap();
    assert_eq!(replaced.iter().map(|r| r["stem"].as_str().unwrap()).collect::<Vec<_>>(), ["drums", "other"]);
    for name in ["drums", "other"] {
        let [old, new] = [format!("removed-{name}"), name.to_owned()].map(|file| read(&dir.join(format!("out/{file}.wav"))).1);
        let power = |x: &[f32], side: usize| x.iter().skip(side).step_by(2).map(|x| f64::from(*x).powi(2)).sum::<f64>();
        let sides = [&old, &new].map(|x| power(x, 0) / power(x, 1));
        assert!((sides[0] / sides[1] - 1.0).abs() < 0.01, "{name}: {sides:?}");
        // Each as loud as the other where it plays: the song's second half is silent, the new stem is not.
        let loudest = |x: &[f32]| x.chunks(2 * 17_640).map(|x| power(x, 0) + power(x, 1)).fold(0.0, f64::max);
        assert!((loudest(&new) / loudest(&old)).log10().abs() < 0.6, "{name}");
    }
}

#[test]
fn what_cannot_be_replaced_is_an_error_and_leaves_nothing() {
    let tmp = separator();
    let dir = tmp.path();
    song(&dir.join("song.wav"), 8000, 1, 8000);
    std::fs::create_dir(dir.join("folder")).unwrap();
    let before = names(dir);
    let model = golden("golden/six");
    let more = ["--separator", "net", "--out", "out", "--model", model.to_str().unwrap()];
    for (args, code) in [
        (&["edit", "song.wav", "--replace", "vocals"][..], 2),
        (&["edit", "song.wav", "--replace", "drums,drums"], 2),
        (&["edit", "song.wav", "--replace", "drums", "--free"], 2),
        (&["edit", "folder", "--replace", "drums"], 2),
        (&["edit", "none.wav", "--replace", "drums"], 1),
    ] {
        assert_eq!(status(dir, &[args, &more[..]].concat()), code, "{args:?}");
        assert_eq!(names(dir), before, "{args:?}");
    }
    let without = ["--out", "out", "--model", model.to_str().unwrap()];
    assert_eq!(status(dir, &[&["edit", "song.wav", "--redo", "drums"][..], &without].concat()), 2, "a file, not a folder");
    assert_eq!(status(dir, &[&["edit", "song.wav"][..], &without].concat()), 2, "neither --redo nor --replace");
    std::fs::rename(dir.join("song.wav"), dir.join("mix.wav")).unwrap();
    let song = std::fs::read(dir.join("mix.wav")).unwrap();
    let over = [
        "edit",
        "mix.wav",
        "--replace",
        "drums",
        "--separator",
        "net",
        "--out",
        ".",
        "--force",
        "--model",
        model.to_str().unwrap(),
    ];
    assert_eq!(status(dir, &over), 2);
    assert!(std::fs::read(dir.join("mix.wav")).unwrap() == song);
}
