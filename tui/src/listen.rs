//! `sideman listen`: shows what is heard in a recording: notes, beats, bars, chords and key.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde_json::{Value, json};
use sideman_engine::listen::{Heard, Known, Notes, Recording, Voice, listen_to, notes};

use crate::cli::{Heard as HeardAs, Listen};
use crate::song_folder::Stem;
use crate::{listen_midi, listen_picture, recordings, stdout, usage};

/// Runs the command.
///
/// # Errors
/// A file can't be read or written, or no beat is heard.
pub fn run(args: &Listen) -> Result<ExitCode> {
    let stems = if args.file.is_dir() { folder(&args.file)? } else { recordings::read(&[("recording", &args.file)], None)? };
    let parts: Vec<(Voice, Notes)> = (stems.iter())
        .map(|stem| {
            let voice = voice(stem, args.instrument);
            (voice, notes(&Recording { voice, samples: &stem.samples }))
        })
        .collect();
    let heard = listen_to(&parts, &Known::default(), &[])
        .ok_or_else(|| usage(format!("{}: no beat is heard: too few notes begin clearly", args.file.display())))?;
    if let Some(path) = &args.svg {
        sideman_engine::atomic::write(path, listen_picture::svg(&heard, &parts).as_bytes())?;
    }
    if let Some(path) = &args.midi {
        sideman_engine::atomic::write(path, &listen_midi::file(&heard, &parts))?;
    }
    // A chart that can't be made is an error here and not later.
    heard.chart()?;
    if args.json {
        stdout::json(&report(&heard, &parts));
        return Ok(ExitCode::SUCCESS);
    }
    let changes = if heard.constant { "" } else { ", which changes" };
    stdout::line(format!("tempo   {:.2} BPM{changes}", heard.tempo));
    stdout::line(format!("meter   {}, bar 1 at {:.2} s", heard.meter, heard.bar1_seconds()));
    stdout::line(format!(
        "sure    {:.0} % of the beats, {:.0} % of the bar lines",
        100.0 * heard.beat_confidence,
        100.0 * heard.bar_confidence
    ));
    if !heard.chords.is_empty() {
        stdout::line(format!("key     {}", heard.key));
        stdout::line(format!("chords  {}", heard.chords));
    }
    Ok(ExitCode::SUCCESS)
}

/// The stems of a song's folder: those of bass.wav, drums.wav and other.wav that exist.
fn folder(dir: &Path) -> Result<Vec<Stem>> {
    let files: Vec<(&str, std::path::PathBuf)> = ["bass", "drums", "other"]
        .map(|name| (name, dir.join(format!("{name}.wav"))))
        .into_iter()
        .filter(|f| f.1.is_file())
        .collect();
    if files.is_empty() {
        return Err(usage(format!("{}: the folder contains no bass.wav, drums.wav or other.wav", dir.display())));
    }
    recordings::read(&files.iter().map(|(name, path)| (*name, path.as_path())).collect::<Vec<_>>(), None)
}

/// How a stem is heard: as the flag says, else by its name, else by how much of it has a pitch.
fn voice(stem: &Stem, instrument: Option<HeardAs>) -> Voice {
    match (instrument, stem.name.as_str()) {
        (Some(HeardAs::Bass | HeardAs::Voice), _) | (None, "bass") => Voice::Single,
        (Some(HeardAs::Drums), _) | (None, "drums") => Voice::Drums,
        (Some(HeardAs::Guitar | HeardAs::Keys), _) | (None, "other") => Voice::Chords,
        (None, _) => sideman_engine::listen::voice_of(&stem.samples),
    }
}

fn report(heard: &Heard, parts: &[(Voice, Notes)]) -> Value {
    let per_bar = heard.meter.beats();
    let beats = heard.beats.iter().enumerate().map(|(k, time)| {
        let since = k as i64 - heard.bar1 as i64;
        json!({"time": round(*time), "bar": since.div_euclid(per_bar) + 1, "beat": since.rem_euclid(per_bar) + 1})
    });
    let symbols: Vec<&str> = heard.chords.split(' ').filter(|bar| !bar.is_empty()).collect();
    let mut chords = Vec::new();
    let mut before = "NC";
    for (bar, text) in symbols.iter().enumerate() {
        let inside: Vec<&str> = if *text == "%" { vec![before] } else { text.split(',').collect() };
        for (n, name) in inside.iter().enumerate() {
            let beat = heard.bar1 + bar * per_bar as usize + n * per_bar as usize / inside.len();
            chords.push(json!({"time": heard.beats.get(beat).map(|t| round(*t)), "name": name}));
            before = name;
        }
    }
    let events = parts.iter().flat_map(|(_, notes)| &notes.events);
    let onsets = events.map(|e| json!({"time": round(e.time), "note": e.note, "strength": round(e.accent)}));
    json!({
        "tempo": round(heard.tempo), "constant": heard.constant, "meter": heard.meter.to_string(), "bar1": round(heard.bar1_seconds()),
        "beat_confidence": round(heard.beat_confidence), "bar_confidence": round(heard.bar_confidence), "key": heard.key,
        "chart": heard.chords, "beats": beats.collect::<Vec<_>>(), "chords": chords, "onsets": onsets.collect::<Vec<_>>(),
    })
}

fn round(x: f64) -> f64 {
    (x * 1e4).round() / 1e4
}
