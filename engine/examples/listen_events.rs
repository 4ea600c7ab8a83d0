//! Prints the events and the chroma of a training corpus, one JSON object per song, for `train/listen_tables.py`.
//!
//! ```sh
//! cargo run --release -p sideman-engine --example listen_events -- CORPUS > events.jsonl
//! ```

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;

use serde_json::{Value, json};
use sideman_engine::listen::{Recording, Voice, notes};

/// Frames between two chromas that are printed.
const CHROMA_STEP: usize = 5;

fn main() -> Result<(), Box<dyn Error>> {
    let corpus = std::env::args_os().nth(1).ok_or("usage: listen_events CORPUS")?;
    let mut shards: Vec<PathBuf> = fs::read_dir(corpus)?.map(|entry| entry.map(|e| e.path())).collect::<Result<_, _>>()?;
    shards.retain(|path| path.join("songs.jsonl").is_file());
    shards.sort();
    // The engine itself prints nothing; this program does.
    #[allow(clippy::disallowed_methods)]
    let mut out = std::io::stdout().lock();
    for shard in shards {
        for line in BufReader::new(File::open(shard.join("songs.jsonl"))?).lines() {
            let song: Value = serde_json::from_str(&line?)?;
            let number = |key: &str| song[key].as_u64().ok_or(format!("songs.jsonl: {key} should be a number"));
            let (start, len) = (number("start")?, number("len")? as usize);
            let mut printed = json!({"song": song});
            for (stem, voice) in [("bass", Voice::Single), ("drums", Voice::Drums), ("other", Voice::Chords)] {
                let mut file = File::open(shard.join(format!("{stem}.i16")))?;
                file.seek(SeekFrom::Start(2 * start))?;
                let mut bytes = vec![0; 2 * len];
                file.read_exact(&mut bytes)?;
                let samples: Vec<f32> = bytes.as_chunks().0.iter().map(|b| f32::from(i16::from_le_bytes(*b)) / 32768.0).collect();
                let heard = notes(&Recording { voice, samples: &samples });
                let events = heard.events.iter().map(|e| json!([e.time, e.kind, e.note]));
                printed[stem] = json!({"events": events.collect::<Vec<_>>()});
                if voice == Voice::Chords {
                    printed[stem]["chroma"] = heard.features.iter().step_by(CHROMA_STEP).map(|f| f.chroma.to_vec()).collect();
                }
            }
            writeln!(out, "{printed}")?;
        }
    }
    Ok(())
}
