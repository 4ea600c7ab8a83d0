//! [`Overview`]: what the page and the DAW project of a take show, gathered while the take is written, in bounded memory.

use std::path::Path;

use sideman_engine::Result;
use sideman_engine::audio::RATE;
use sideman_engine::live::commands::CommandKind;
use sideman_engine::live::{Command, When, Which};
use sideman_engine::task::{Beat, Meter, SongMap};

use super::{Entry, TakeInfo, wav_names};
use crate::command_text;
use crate::dawproject::{self, DawProject, DawTrack};
use crate::page::{self, Load, Page, PageStem, Picture};

/// Most beats, and most chords and sections.
const MOST_BEATS: usize = 50_000;
/// Most events. The first ones are kept.
const MOST_EVENTS: usize = 4_000;
/// A beat between two samples may have been rounded to either side of a state, by less than these seconds.
const ROUNDING: f64 = 0.002;
/// Requests of the same kind that follow each other within this time, in seconds, are one event: a fader that moves.
const SAME: f64 = 0.5;

/// Where the music is after a hop, and how long the hop took.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HopState {
    /// Song time, in samples, at which the rest holds.
    pub at: i64,
    /// Quarter notes a minute.
    pub tempo: f64,
    /// Meter.
    pub meter: Meter,
    /// Whether there is a beat: the band plays, with a clock.
    pub beats: bool,
    /// Bar; 1 is the first.
    pub bar: i64,
    /// Beat in the bar, from 1.
    pub beat: u32,
    /// The part of the beat that has passed, 0 to 1.
    pub phase: f32,
    /// Chord; empty: none.
    pub chord: String,
    /// Section; empty: none.
    pub section: String,
    /// Computing time of the hop divided by its length.
    pub load: f32,
    /// Late hops since the session began.
    pub late: u64,
}

/// What is gathered.
pub(super) struct Overview {
    /// Song time of the take's first sample.
    from: i64,
    stems: Vec<String>,
    /// A picture of each stem; none where there is to be no page.
    pictures: Vec<Picture>,
    map: SongMap,
    /// Song time of the last state.
    before: i64,
    load: Load,
    events: Vec<(f64, String)>,
    /// The last event: when, and what of which stem.
    last_event: Option<(f64, CommandKind, Option<u8>)>,
}

impl Overview {
    /// Of a take that starts. `page`: it gets a page.
    pub(super) fn new(info: &TakeInfo, page: bool) -> Overview {
        Overview {
            from: info.from,
            stems: info.stems.clone(),
            pictures: info.stems.iter().filter(|_| page).map(|_| Picture::default()).collect(),
            map: SongMap::default(),
            before: info.from,
            load: Load::default(),
            events: Vec::new(),
            last_event: None,
        }
    }

    fn seconds(&self, at: i64) -> f64 {
        (at - self.from) as f64 / f64::from(RATE)
    }

    /// Adds a sample of a stem's file.
    pub(super) fn sample(&mut self, stem: usize, x: f32) {
        if let Some(picture) = self.pictures.get_mut(stem) {
            picture.push(x);
        }
    }

    /// Adds what was in force after a hop.
    pub(super) fn state(&mut self, state: &HopState) {
        let now = self.seconds(state.at);
        if state.beats && state.beat > 0 {
            self.beats(state, now);
        }
        // A chord that changed since the last hop did so on a beat, if there was one.
        let beat = self.map.beats.last().map(|beat| beat.seconds).filter(|beat| *beat >= self.seconds(self.before) - ROUNDING);
        let changed = beat.unwrap_or(now).max(0.0);
        for (list, text) in [(&mut self.map.chords, &state.chord), (&mut self.map.sections, &state.section)] {
            if list.last().map_or("", |last| &last.1) != text && list.len() < MOST_BEATS {
                list.push((changed, text.clone()));
            }
        }
        self.load.push(now.max(0.0), state.load, state.late);
        self.before = self.before.max(state.at);
    }

    /// Adds the beats since the last state.
    fn beats(&mut self, state: &HopState, now: f64) {
        let per_bar = state.meter.beats();
        let length = 60.0 / state.tempo.max(1.0) * state.meter.quarters() as f64 / per_bar as f64;
        let after = self.seconds(self.before) - ROUNDING;
        let passed = f64::from(state.phase) * length;
        let count = (((now - after - passed) / length).ceil().max(0.0) as i64).min(2 * per_bar);
        for k in (0..count).rev() {
            let beat = state.bar * per_bar + i64::from(state.beat) - 1 - k;
            let (bar, number) = (beat.div_euclid(per_bar), beat.rem_euclid(per_bar) as u32 + 1);
            let seconds = now - passed - k as f64 * length;
            let again =
                self.map.beats.last().is_some_and(|last| (last.bar, last.number) == (bar, number) || last.seconds >= seconds);
            if seconds > -ROUNDING && !again && self.map.beats.len() < MOST_BEATS {
                self.map.beats.push(Beat { seconds: seconds.max(0.0), bar, number, meter: state.meter, tempo: state.tempo });
            }
        }
    }

    /// Adds a request.
    pub(super) fn event(&mut self, entry: &Entry) {
        let command = &entry.request.command;
        let seconds = self.seconds(entry.at).max(0.0);
        let stem = match command {
            Command::Stem(Which::One(stem), _) => Some(*stem),
            _ => None,
        };
        let when = match entry.request.when.unwrap_or(command.when()) {
            When::Now | When::Sample(_) => String::new(),
            When::Beat => ", at the next beat".into(),
            When::Bar => ", at the next bar".into(),
            When::Section => ", at the next section".into(),
            When::AtBar(bar) => format!(", at bar {bar}"),
        };
        let text = command_text::whole(command, &self.stems) + &when;
        let key = (command.kind(), stem);
        if let (Some((last, kind, of)), Some(event)) = (&mut self.last_event, self.events.last_mut())
            && (*kind, *of) == key
            && seconds - *last < SAME
        {
            *last = seconds;
            event.1 = text;
        } else if self.events.len() < MOST_EVENTS {
            self.events.push((seconds, text));
            self.last_event = Some((seconds, key.0, key.1));
        }
    }

    /// Samples and names of sections and chords.
    pub(super) fn markers(&self) -> Vec<(i64, String)> {
        dawproject::markers(&self.map).into_iter().map(|(seconds, name)| ((seconds * f64::from(RATE)) as i64, name)).collect()
    }

    /// Writes both files into the folder of a take of `samples`.
    ///
    /// # Errors
    /// The disk is full, or gone.
    pub(super) fn write(mut self, dir: &Path, info: &TakeInfo, samples: u64) -> Result<()> {
        let end = samples as f64 / f64::from(RATE);
        // The band is decided ahead of the musician.
        self.map.beats.retain(|beat| beat.seconds < end);
        self.map.chords.retain(|chord| chord.0 < end);
        self.map.sections.retain(|section| section.0 < end);
        let names = wav_names(&info.stems);
        let click = names.len() - 2;
        let track = |name: &str, file: &str, muted| DawTrack { name: name.to_owned(), file: file.to_owned(), muted };
        let mut tracks: Vec<DawTrack> =
            info.stems.iter().zip(&names[1..click]).map(|(stem, file)| track(stem, file, false)).collect();
        tracks.push(track("click", &names[click], true));
        let project = DawProject { tracks: &tracks, samples, gain: 1.0, map: &self.map, comment: &info.config.text };
        dawproject::write(dir, &project)?;
        if self.pictures.is_empty() {
            return Ok(());
        }
        let loudest = self.pictures.iter().map(Picture::peak).fold(1.0, f32::max);
        let stem = |((n, name), (file, picture)): ((usize, &String), (&String, Picture))| PageStem {
            name: name.clone(),
            file: file.clone(),
            origin: if info.config.input_stem == Some(n as u8) { "you" } else { "the band" },
            picture,
        };
        let stems = info.stems.iter().enumerate().zip(names[1..click].iter().zip(self.pictures)).map(stem).collect();
        let page = Page {
            samples,
            stems,
            gain: 1.0 / loudest,
            map: &self.map,
            given: given(info),
            events: self.events,
            load: Some(self.load),
            files: vec!["input.wav", "click.wav", dawproject::FILE, "tempo.mid", "take.json", "events.jsonl"],
        };
        page::write(dir, page)
    }
}

/// Names and values of what the model was given at the start.
fn given(info: &TakeInfo) -> Vec<(&'static str, String)> {
    let config = &info.config;
    let ms = |samples: i64| format!("{:.0} ms", samples as f64 * 1e3 / f64::from(RATE));
    let stem = |stem: u8| info.stems.get(usize::from(stem)).cloned().unwrap_or_default();
    let mut given = Vec::new();
    let mut add = |name, value: String| {
        if !value.is_empty() {
            given.push((name, value));
        }
    };
    add("Tempo", format!("{} BPM", (config.tempo * 100.0).round() / 100.0));
    add("Meter", config.meter.to_string());
    add("Clock", command_text::source(config.clock).to_owned());
    add("Chords", config.chords.clone().unwrap_or_default());
    add("Text", config.text.clone());
    add("You play", config.input_stem.map_or("nothing: the band plays all stems".to_owned(), stem));
    add("Lag", format!("{} frames ({} ms)", config.lag, config.lag * 20));
    add("Lead", ms(info.lead));
    let latency = || format!("{:.1} ms in, {:.1} ms out", info.latency_in, info.latency_out);
    add("Latency", if info.latency_in + info.latency_out > 0.0 { latency() } else { String::new() });
    add("Seed", config.seed.to_string());
    add("Guidance", config.cfg_scale.to_string());
    add("Temperature", config.temperature.to_string());
    add("Top-k", if config.top_k > 0 && config.top_p == 0.0 { config.top_k.to_string() } else { String::new() });
    add("Top-p", if config.top_p > 0.0 { config.top_p.to_string() } else { String::new() });
    add("Devices", info.devices.clone());
    add("Model", info.model.file_name().unwrap_or_default().to_string_lossy().into_owned());
    given
}

#[cfg(test)]
mod tests {
    use sideman_engine::live::{Action, Request};

    use super::super::tests::info;
    use super::*;

    /// The states that hops of 80 ms leave, which lead by 340 ms: bar 1 at `bar1` s, and chords of a bar.
    fn states(bar1: f64, tempo: f64, hops: i64) -> impl Iterator<Item = HopState> {
        (1..=hops).map(move |hop| {
            let at = hop * 2560 + 10_880;
            let beats = (at as f64 / 32e3 - bar1) * tempo / 60.0;
            let (beat, bar) = (beats.floor() as i64, (beats / 4.0).floor() as i64 + 1);
            HopState {
                at,
                tempo,
                beats: bar > -1,
                bar,
                beat: beat.rem_euclid(4) as u32 + 1,
                phase: beats.fract().rem_euclid(1.0) as f32,
                chord: if bar > -1 { ["Em", "A7"][bar.rem_euclid(2) as usize] } else { "" }.to_owned(),
                section: if bar < 3 { String::new() } else { "Chorus".into() },
                ..HopState::default()
            }
        })
    }

    #[test]
    fn every_beat_is_found_once_at_its_time_and_chords_change_on_beats() {
        for (bar1, tempo, from) in [(0.5, 100.0, 0), (2.0, 400.0, 0), (0.0, 61.7, 0), (0.25, 97.3, 500_000)] {
            let mut overview = Overview::new(&TakeInfo { from, ..info() }, false);
            states(bar1, tempo, 1000).filter(|s| s.at >= from).for_each(|state| overview.state(&state));
            let offset = from as f64 / 32e3;
            // The count-in is bar 0.
            let first = ((offset - bar1) * tempo / 60.0 - 1e-6).ceil().max(-4.0);
            for (n, beat) in overview.map.beats.iter().enumerate() {
                let number = first as i64 + n as i64;
                assert_eq!((beat.bar, i64::from(beat.number)), (number.div_euclid(4) + 1, number.rem_euclid(4) + 1));
                let seconds = bar1 + number as f64 * 60.0 / tempo - offset;
                assert!((beat.seconds - seconds.max(0.0)).abs() < 1e-4, "{tempo}: {} instead of {seconds}", beat.seconds);
            }
            let end = (1000.0 * 2560.0 + 10_880.0) / 32e3 - bar1;
            assert_eq!(overview.map.beats.len() as i64, (end * tempo / 60.0).floor() as i64 + 1 - first as i64);
            let on_a_beat = |t: &f64| *t == 0.0 || overview.map.beats.iter().any(|beat| beat.seconds == *t && beat.number == 1);
            assert!(overview.map.chords.len() > 10 && overview.map.chords[1..].iter().all(|chord| on_a_beat(&chord.0)));
            assert!(overview.map.sections.iter().all(|s| s.1 == "Chorus") && overview.map.sections.len() == 1);
        }
    }

    #[test]
    fn a_fader_that_moves_is_one_event() {
        let mut overview = Overview::new(&info(), false);
        let mut event = |at: i64, command| overview.event(&Entry { at, request: Request { command, when: None, from: 0 } });
        let gain = |stem, db| Command::Stem(Which::One(stem), Action::Gain(db));
        (0..20).for_each(|n| event(n * 3200, gain(1, n as f32)));
        event(65_000, gain(0, -3.0));
        event(96_000, Command::Stem(Which::One(1), Action::Mute(true)));
        let times: Vec<f64> = overview.events.iter().map(|event| event.0).collect();
        assert_eq!(times, [0.0, 65_000.0 / 32e3, 3.0]);
        assert!(overview.events[0].1.contains("+19") && overview.events[2].1.contains("drums"));
    }

    #[test]
    fn a_session_of_two_hours_has_a_page_of_a_few_megabytes() {
        let mut overview = Overview::new(&info(), true);
        for state in states(0.5, 140.0, 90_000) {
            overview.state(&HopState { late: state.at as u64 / 100_000, load: 0.4, ..state });
        }
        for n in 0..20_000i64 {
            overview.event(&Entry { at: n * 11_520, request: Request { command: Command::Seed(n as u64), when: None, from: 0 } });
        }
        // A few minutes of sound are enough: the pictures have all their columns then.
        (0..32_000 * 420).for_each(|n| overview.sample(n % 2, (n % 977) as f32 / 977.0));
        let dir = tempfile::tempdir().unwrap();
        overview.write(dir.path(), &info(), 7200 * 32_000).unwrap();
        let size = |name: &str| std::fs::metadata(dir.path().join(name)).unwrap().len();
        assert!(size(page::FILE) < 3_000_000 && size(dawproject::FILE) < 1_000_000);
    }
}
