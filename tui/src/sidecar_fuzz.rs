//! Fuzz targets for the files beside a recording: song.json, and a file of beats. `SIDEMAN_FUZZ=1000000 cargo test -p sideman
//! sidecar_fuzz` runs each a million times; SIDEMAN_FUZZ_SEED=5 gives other mutations.

use sideman_engine::limits;
use sideman_engine::task::{Chords, Meter};
use sideman_tests::fuzz::{self, MemoryLimit, Target};
use tempfile::TempDir;

use crate::song_info::SongInfo;
use crate::{beats_file, song_file, song_folder};

/// Executions without SIDEMAN_FUZZ.
const EXECUTIONS: u64 = 3000;

/// This program's allocator counts nothing; the readers limit a file's size.
const NO_LIMIT: MemoryLimit = MemoryLimit { per_byte: usize::MAX >> 17, constant: 0 };

/// A folder in memory where the system has one: a run writes a million small files.
fn folder() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn tokens(all: &[&str]) -> Vec<Vec<u8>> {
    all.iter().map(|token| token.as_bytes().to_vec()).collect()
}

fn run(name: &str, target: Target) {
    let executions = std::env::var("SIDEMAN_FUZZ").map_or(EXECUTIONS, |n| n.parse().expect("SIDEMAN_FUZZ: a number"));
    let seed = std::env::var("SIDEMAN_FUZZ_SEED").map_or(fuzz::SEED, |n| n.parse().expect("SIDEMAN_FUZZ_SEED: a number"));
    let stats = fuzz::run_target(name, target, executions, seed, &mut |_, _| {}).unwrap_or_else(|failure| panic!("{failure}"));
    eprintln!("{name}: {executions} executions, {} accepted, {} outcomes", stats.accepted, stats.outcomes);
    assert!(stats.outcomes > 5, "{name}: {stats:?}: the mutated inputs reach only few outcomes");
}

#[test]
fn a_song_file_gives_only_what_can_be_used() {
    let dir = folder();
    let seeds = [
        r#"{"bpm": 100.5, "meter": [4, 4], "bar1": 0.5, "chords": "Em7 Em7,A7 | D % |: Am :|", "text": "warm funk", "key": "Em"}"#,
        r#"{"bpm": "100", "meter": "6/8", "chords": ["Em7", ["Dm7", "G7"]], "text": ["a", "b"], "style": "jazz", "heard": 0.5}"#,
        r#"{"beats": {"times": [0.5, 1.0, 1.5, 2.01, 2.5, 3.0], "bar1": 1}, "chords": [{"time": 0.5, "chord": "Em"}]}"#,
    ];
    let target = Target {
        seeds: seeds.map(|seed| seed.as_bytes().to_vec()).to_vec(),
        tokens: tokens(&["null", "1e999", "-1", "[", "{}", "\u{feff}", "\"\\ud800\"", "[3,4]", "\"NC\"", ":| x64 ", "%"]),
        memory: NO_LIMIT,
        read: Box::new(move |bytes| {
            let path = dir.path().join("song.json");
            std::fs::write(&path, bytes).unwrap();
            let (info, notes) = song_file::read(&path);
            assert!(info.bpm.is_none_or(|bpm| limits::TEMPO.contains(bpm)), "{info:?}");
            assert!(info.bar1.is_none_or(|bar1| limits::BAR1.contains(bar1)), "{info:?}");
            let chords = info.chords.as_deref().filter(|chords| !chords.trim().is_empty());
            assert!(chords.is_none_or(|chords| chords.parse::<Chords>().is_ok()), "{info:?}");
            assert!(info.chart().is_ok(), "{info:?}");
            // What is written again is read as the same, but for the last digit of numbers.
            std::fs::write(&path, serde_json::to_vec(&info).unwrap()).unwrap();
            let (again, none) = song_file::read(&path);
            let rest =
                |info: &SongInfo| (info.meter, info.chords.clone(), info.text.clone(), info.style.clone(), info.key.clone());
            assert!(rest(&again) == rest(&info) && none.is_empty(), "{none:?}");
            let beats = |info: &SongInfo| info.beats.as_ref().map(|beats| (beats.times.len(), beats.bar1));
            assert_eq!(beats(&again), beats(&info));
            if notes.is_empty() { Ok(()) } else { Err(notes.join("; ")) }
        }),
    };
    run("song-file", target);
}

#[test]
fn a_file_of_beats_gives_a_song_or_an_error() {
    let dir = folder();
    let midi = song_folder::tempo_map(&[0.0, 0.5, 1.02, 1.5, 2.0, 2.6], Meter::ThreeFour, &[]);
    let labels = "# beats\n0.5\t1.4\n1.0\t1.0\t2.1\n1.5 2.2\n2.1 2.3\n2.6\t3.1\n3.1,1\n3.6;2\n";
    let target = Target {
        seeds: vec![midi, labels.as_bytes().to_vec()],
        tokens: tokens(&["MThd", "MTrk", "\0\0\0\u{6}", "\u{3}Q", "nan", "inf", "1e300", "-0.1", "\t1.1\n", "\n"]),
        memory: NO_LIMIT,
        read: Box::new(move |bytes| {
            let path = dir.path().join("beats.txt");
            std::fs::write(&path, bytes).unwrap();
            let beats = beats_file::read(&path).map_err(|e| e.to_string())?;
            let mut song = SongInfo::default();
            beats.apply(&mut song);
            song.chart().map(drop).map_err(|e| e.to_string())
        }),
    };
    run("beats-file", target);
}
