//! Requests: the effect of each is seen in the snapshot, and in tokens, samples, levels or clicks.

use sideman_engine::limits::MAX_HOP;
use sideman_engine::live::{Action, Clock, Command, Mode, Notice, Request, Session, SessionConfig, Snapshot, When, Which};
use sideman_engine::task::Meter;
use sideman_kernels::cpu::CpuBackend;
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

/// A session with all that it has given so far. At 240 BPM a beat is 12.5 frames (8000 samples), a bar 50.
struct Stage {
    jam: Jam,
    session: Session<CpuBackend>,
    shown: Snapshot,
    input_stem: Vec<f32>,
    rows: Vec<Vec<i32>>,
    stems: Vec<Vec<f32>>,
    levels: Vec<Vec<[f32; 2]>>,
    click: Vec<f32>,
}

fn stage(change: impl FnOnce(&mut SessionConfig)) -> Stage {
    let mut jam = Jam::open(Fixture::short());
    let mut settings = SessionConfig { lag: 6, tempo: 240.0, seed: 1, ..SessionConfig::for_model(jam.model.config()) };
    change(&mut settings);
    let session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
    let mut stage = Stage {
        stems: (0..3).map(|s| session.stem(s).to_vec()).collect(),
        click: session.click().to_vec(),
        jam,
        session,
        shown: Snapshot::default(),
        input_stem: bass(2000 * 640),
        rows: vec![vec![]; 6],
        levels: vec![vec![]; 3],
    };
    stage.session.snapshot(&mut stage.shown);
    stage
}

impl Stage {
    /// Plays on until `frames` frames are heard.
    fn to(&mut self, frames: usize) -> &mut Self {
        while (self.session.heard_to() as usize) < frames * 640 {
            let at = self.session.heard_to() as usize;
            let n = (5 * 640).min(frames * 640 - at);
            let heard: Vec<f32> = (at..at + n).map(|i| self.input_stem[i % self.input_stem.len()]).collect();
            self.session.hop(&mut self.jam.cpu, &self.jam.model, &heard).unwrap();
            for s in 0..3 {
                assert_eq!(self.session.stem(s).len(), n);
                assert_eq!(self.session.levels(s).len(), n / 640);
                self.stems[s].extend_from_slice(self.session.stem(s));
                self.levels[s].extend_from_slice(self.session.levels(s));
            }
            assert_eq!(self.session.click().len(), n);
            self.click.extend_from_slice(self.session.click());
            for frame in self.session.tokens().1.chunks(6) {
                self.rows.iter_mut().zip(frame).for_each(|(row, token)| row.push(*token));
            }
        }
        self.session.snapshot(&mut self.shown);
        self
    }

    fn ask(&mut self, command: Command) -> &mut Self {
        self.session.request(Request { command, when: None, from: 0 });
        self.session.snapshot(&mut self.shown);
        self
    }

    /// Song times at which a click starts.
    fn clicks(&self) -> Vec<usize> {
        // A click starts at its peak; its cosine falls from there.
        let quiet = |i: usize| i == 0 || self.click[i.saturating_sub(20)..i].iter().all(|x| x.abs() < 0.02);
        (0..self.click.len()).filter(|&i| self.click[i] > 0.4 && quiet(i)).collect()
    }

    fn silent(&self, k: usize, frames: std::ops::Range<usize>) -> bool {
        self.rows[k][frames].iter().all(|&t| t == self.session.silence(k))
    }
}

fn stem(s: u8, action: Action) -> Command {
    Command::Stem(Which::One(s), action)
}

/// First frame at which two songs differ on a stream.
fn parts(a: &Stage, b: &Stage, k: usize) -> Option<usize> {
    a.rows[k].iter().zip(&b.rows[k]).position(|(x, y)| x != y)
}

#[test]
fn gain_pan_mute_solo_and_dim_take_effect_at_once() {
    let mut s = stage(|_| ());
    s.to(20);
    assert_eq!(s.session.levels(1).last(), Some(&[1.0, 1.0]));
    assert_eq!(s.session.levels(0).last(), Some(&[0.0, 0.0]), "the player's own stem");
    s.ask(stem(1, Action::Gain(-6.0))).to(25);
    assert_eq!(s.shown.stems[1].gain, -6.0);
    let level = s.session.levels(1)[0];
    assert!((level[0] - 0.501).abs() < 1e-3 && level[0] == level[1], "{level:?}");
    s.ask(stem(1, Action::Gain(0.0))).ask(stem(1, Action::Pan(1.0))).to(30);
    let level = s.session.levels(1)[0];
    assert!(level[0] < 1e-6 && (level[1] - 2f32.sqrt()).abs() < 1e-5, "{level:?}");
    s.ask(stem(1, Action::Pan(0.0))).ask(stem(2, Action::Solo(true))).to(35);
    assert_eq!((s.session.levels(1)[0], s.session.levels(2)[0]), ([0.0; 2], [1.0; 2]));
    s.ask(stem(2, Action::Mute(true))).to(40);
    assert_eq!(s.session.levels(2)[0], [0.0; 2]);
    assert!(s.shown.stems[2].mute && s.shown.stems[2].solo && s.shown.stems[2].peak == 0.0);
    s.ask(Command::Stem(Which::All, Action::Mute(false))).ask(stem(2, Action::Solo(false))).ask(Command::Dim(-20.0)).to(45);
    assert_eq!(s.shown.dim, -20.0);
    assert!((s.session.levels(1)[0][0] - 0.1).abs() < 1e-6);
    // At a boundary, if requested: the next bar starts with frame 50, and samples are ahead of what is heard
    // by the lead.
    let lead = s.session.lead();
    s.session.request(Request { command: Command::Dim(0.0), when: Some(When::Bar), from: 0 });
    s.session.snapshot(&mut s.shown);
    assert_eq!(s.shown.pending.len(), 1);
    assert_eq!(s.shown.pending[0].at, 32_000);
    s.to(60);
    let opened = s.levels[1].iter().rposition(|l| l[0] < 0.5).unwrap() as i64 + 1;
    assert!((lead + opened * 640..lead + (opened + 1) * 640).contains(&32_000));
    // Values out of range are clamped and reported.
    s.ask(stem(1, Action::Gain(f32::NAN)));
    assert!(matches!(&s.shown.notice, Some(Notice::Clamped(c)) if c.name == "gain"), "{:?}", s.shown.notice);
    s.ask(stem(7, Action::Mute(true)));
    assert!(matches!(s.shown.notice, Some(Notice::NoSuchStem { stem: 7, .. })), "{:?}", s.shown.notice);
}

#[test]
fn a_count_in_is_exact_and_the_band_starts_at_bar_1() {
    let mut s = stage(|settings| settings.playing = false);
    s.to(90);
    assert!(!s.shown.playing && s.session.window().is_none());
    assert!((1..6).all(|k| s.silent(k, 0..80)));
    assert!(s.levels[1].iter().all(|l| *l == [0.0; 2]));
    assert!(s.clicks().is_empty());
    s.ask(Command::CountIn(2)).to(95).ask(Command::Play);
    let at = s.shown.pending[0].at;
    s.to(240);
    assert!(s.shown.playing && s.shown.bar >= 1);
    // Two bars of four, the first of each accented, on the sample; then no more.
    let clicks = s.clicks();
    assert_eq!(clicks, (0..8).map(|i| (at + i * 8000) as usize).collect::<Vec<_>>());
    assert!(s.click[clicks[0] + 5] != s.click[clicks[1] + 5] && s.click[clicks[1] + 5] == s.click[clicks[2] + 5]);
    let first = ((at + 64_000) / 640) as usize;
    assert!((1..6).all(|k| s.silent(k, 0..first)));
    assert!((1..6).all(|k| !s.silent(k, first..first + 10)));
    let lead = s.session.lead();
    let open = s.levels[1].iter().position(|l| l[0] > 0.0).unwrap() as i64;
    assert!((lead + open * 640..lead + (open + 2) * 640).contains(&(at + 64_000)), "{open}");
    // Again: stop at a bar, start without a count-in.
    s.ask(Command::Stop);
    let stop = s.shown.pending[0].at;
    s.to(340);
    assert!(!s.shown.playing && s.session.window().is_none());
    let stop = stop as usize / 640;
    assert!((1..6).all(|k| s.silent(k, stop..330) && !s.silent(k, stop - 10..stop)));
    assert_eq!(s.session.levels(1).last(), Some(&[0.0; 2]));
    s.ask(Command::CountIn(0)).ask(Command::Play).ask(Command::Click(true));
    let at = s.shown.pending.iter().find(|p| p.command == Command::Play).unwrap().at;
    s.to(420);
    assert!(s.shown.playing && !s.silent(1, at as usize / 640..400));
    assert!(s.clicks().contains(&(at as usize)) && s.clicks().contains(&(at as usize + 8000)));
    // With the click on from the start: it is silent before the count-in.
    let mut s = stage(|settings| (settings.click, settings.count_in, settings.bar1) = (true, 1, 16_000 + 4 * 8000 + 8000));
    s.to(120);
    assert_eq!(s.clicks()[..6], [24_000, 32_000, 40_000, 48_000, 56_000, 64_000]);
    // A stop for now also cancels a pending play.
    let mut s = stage(|settings| settings.playing = false);
    s.to(40).ask(Command::Play);
    s.session.request(Request { command: Command::Stop, when: Some(When::Now), from: 0 });
    s.to(200);
    assert!(!s.shown.playing && s.shown.pending.is_empty() && s.clicks().is_empty());
}

#[test]
fn the_band_starts_after_thirty_seconds_of_silence() {
    let mut jam = Jam::open(Fixture::short());
    let settings = SessionConfig { lag: 6, ..SessionConfig::for_model(jam.model.config()) };
    let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
    let silence = vec![0.0; MAX_HOP * 640];
    for _ in 0..30 * 50 / MAX_HOP {
        session.hop(&mut jam.cpu, &jam.model, &silence).unwrap();
    }
    let mut broken = bass(MAX_HOP * 640);
    broken[77] = f32::NAN;
    broken[78] = f32::INFINITY;
    session.hop(&mut jam.cpu, &jam.model, &broken).unwrap();
    session.hop(&mut jam.cpu, &jam.model, &bass(MAX_HOP * 640)).unwrap();
    assert!(session.stem(1).iter().all(|x| x.is_finite()) && session.stem(1).iter().any(|x| x.abs() > 1e-3));
    assert_eq!(session.faults(&mut jam.cpu), 0);
    assert!(session.hop(&mut jam.cpu, &jam.model, &[0.0; 641]).is_err());
    assert!(session.hop(&mut jam.cpu, &jam.model, &vec![0.0; 26 * 640]).is_err());
}

#[test]
fn tempo_meter_and_chords_change_at_their_boundaries() {
    let mut s = stage(|settings| {
        settings.click = true;
        settings.chords = Some("Em C".into());
    });
    s.to(30);
    assert_eq!((s.shown.bar, s.shown.tempo, s.shown.chord.as_str()), (1, 240.0, "Em"));
    // Frames up to 36 are decided: the next beat is the fourth, at 24 000.
    s.ask(Command::Tempo(120.0));
    assert_eq!(s.shown.pending[0].at, 24_000);
    s.ask(Command::Meter(Meter::ThreeFour));
    s.to(120);
    assert_eq!((s.shown.tempo, s.shown.meter), (120.0, Meter::ThreeFour));
    // The fourth beat is long; then bars of three.
    assert_eq!(s.clicks()[..6], [0, 8000, 16_000, 24_000, 40_000, 56_000]);
    assert_eq!(s.shown.chord, "C");
    s.ask(Command::Chords("G".into())).to(200);
    assert_eq!(s.shown.chord, "G");
    s.ask(Command::Chords("Gfoo".into()));
    assert!(matches!(s.shown.notice, Some(Notice::InvalidChords(_))), "{:?}", s.shown.notice);
    s.ask(Command::Chords("".into())).to(300);
    assert_eq!(s.shown.chord, "");
    // The model is given each from its boundary on.
    for (command, from) in [(Command::Tempo(100.0), 37), (Command::Chords("F".into()), 50), (Command::Clock(Clock::Free), 36)] {
        let (mut a, mut b) =
            (stage(|settings| settings.chords = Some("Em C".into())), stage(|settings| settings.chords = Some("Em C".into())));
        a.to(30).to(90);
        b.to(30).ask(command.clone()).to(90);
        let part = parts(&a, &b, 1).unwrap_or(usize::MAX);
        assert!((from..from + 15).contains(&part), "{command:?}: {part}");
    }
}

#[test]
fn a_section_request_goes_to_the_section_of_that_name() {
    const CHART: &str = "[A] Em C G [B] Am F [coda] D";
    // Frames of the bars as they are played: 50 each, bar 1 is frame 0. The snapshot is the lead ahead of
    // what is heard.
    let mut s = stage(|settings| settings.chords = Some(CHART.into()));
    let seen = |s: &Stage| (s.shown.bar, s.shown.section.clone(), s.shown.section_bars, s.shown.chord.clone());
    s.to(20);
    assert_eq!((seen(&s), s.shown.chords.as_str()), ((1, "A".into(), 3, "Em".into()), CHART));
    // Without a request the chart is played in its order.
    s.to(160);
    assert_eq!(seen(&s), (4, "B".into(), 2, "Am".into()));
    // By name: at the next bar line, from the section's first bar on.
    s.ask(Command::Section("coda".into()));
    assert_eq!((s.shown.pending[0].at, s.shown.section.as_str()), (4 * 32_000, "B"));
    s.to(210);
    assert_eq!(seen(&s), (5, "coda".into(), 1, "D".into()));
    s.to(260);
    assert_eq!(seen(&s), (6, "A".into(), 3, "Em".into()));
    // The next section: from the middle of one, and from its last bar, where it is the one that comes anyway.
    s.ask(Command::Section(String::new())).to(310);
    assert_eq!(seen(&s), (7, "B".into(), 2, "Am".into()));
    s.to(360).ask(Command::Section(String::new())).to(410);
    assert_eq!(seen(&s), (9, "coda".into(), 1, "D".into()));
    // At the end of the section: A is played to its end first.
    s.to(460);
    assert_eq!(seen(&s), (10, "A".into(), 3, "Em".into()));
    s.session.request(Request { command: Command::Section("a".into()), when: Some(When::Section), from: 0 });
    s.session.request(Request { command: Command::Dim(-3.0), when: Some(When::Section), from: 0 });
    s.session.snapshot(&mut s.shown);
    assert_eq!(s.shown.pending.iter().map(|p| p.at).collect::<Vec<_>>(), [12 * 32_000; 2]);
    // Requests that wait for a section wait for the one that comes sooner now.
    s.ask(Command::Section("3".into())).to(510);
    assert_eq!(seen(&s), (11, "coda".into(), 1, "D".into()));
    assert_eq!(s.shown.pending.iter().map(|p| p.at).collect::<Vec<_>>(), [11 * 32_000; 2]);
    s.to(570);
    assert_eq!((seen(&s), s.shown.dim), ((12, "A".into(), 3, "Em".into()), -3.0));
    // An unknown name is refused at once; a name of a pending chart is known.
    s.ask(Command::Section("verse".into()));
    assert!(s.shown.pending.is_empty());
    let sections = ["A", "B", "coda"].map(str::to_owned).to_vec();
    assert_eq!(s.shown.notice, Some(Notice::UnknownSection { name: "verse".into(), sections }));
    s.ask(Command::Chords("[verse] F [chorus] G".into())).ask(Command::Section("chorus".into())).to(620);
    assert_eq!(seen(&s), (13, "chorus".into(), 1, "G".into()));
    s.ask(Command::Chords("C".into())).to(670).ask(Command::Section("chorus".into()));
    assert_eq!(s.shown.notice, Some(Notice::ChartWithoutSections));
    assert_eq!((s.shown.section_bars, s.shown.chords.as_str()), (0, "C"));
    // The model is given it from the bar line on, and not before.
    let (mut a, mut b) =
        (stage(|settings| settings.chords = Some(CHART.into())), stage(|settings| settings.chords = Some(CHART.into())));
    a.to(30).to(90);
    b.to(30).ask(Command::Section("B".into())).to(90);
    let part = parts(&a, &b, 1).unwrap_or(usize::MAX);
    assert!((50..65).contains(&part), "{part}");
}

#[test]
fn a_frozen_stem_repeats_its_bars_in_phase() {
    // 97 BPM: a bar is 123.71 frames. Windows of two seconds change meanwhile.
    let mut s = stage(|settings| settings.tempo = 97.0);
    s.to(200).ask(stem(1, Action::Freeze(1)));
    let at = s.shown.pending[0].at;
    let from = (at / 640) as usize;
    s.to(1700);
    assert_eq!(s.shown.stems[1].frozen, 1);
    let bar = 4.0 * 60.0 / 97.0 * 50.0;
    for n in 1..11 {
        let to = from + ((n as f64 - 1.0) * bar).round() as usize;
        // Passes are 123 or 124 frames long, none more than half a frame off.
        assert_eq!(s.rows[1][to..to + 123], s.rows[1][from - 124..from - 1], "pass {n}");
    }
    // The other stem plays on.
    assert_ne!(s.rows[2][from..from + 123], s.rows[2][from - 124..from - 1]);
    s.ask(stem(1, Action::Freeze(0)));
    let end = (s.shown.pending[0].at / 640) as usize;
    s.to(end + 150);
    assert_eq!((s.shown.stems[1].frozen, s.shown.stems[1].undo), (0, 2));
    let next = from + (((end - from) as f64 / bar).round() * bar).round() as usize;
    assert_ne!(s.rows[1][next..next + 100], s.rows[1][from - 124..from - 24]);
    // Undo brings the bars back.
    s.ask(stem(1, Action::Undo));
    let back = (s.shown.pending[0].at / 640) as usize;
    s.to(back + 140);
    assert_eq!(s.rows[1][back..back + 123], s.rows[1][from - 124..from - 1]);
    assert_eq!((s.shown.stems[1].frozen, s.shown.stems[1].redo), (1, 1));
    s.ask(stem(0, Action::Freeze(1)));
    assert_eq!(s.shown.notice, Some(Notice::StemIsInput));
}

#[test]
fn a_frozen_stem_follows_a_clock_that_drifts() {
    let mut s = stage(|_| ());
    s.to(120).ask(stem(1, Action::Freeze(1)));
    let from = (s.shown.pending[0].at / 640) as usize;
    s.to(from + 10);
    let mut bars = vec![];
    for i in 0..30 {
        s.ask(Command::Tempo(240.0 + f64::from(i % 5) * 0.4)).to(from + 20 + 10 * i as usize);
        bars.push(s.shown.bar);
    }
    assert_eq!(s.shown.stems[1].frozen, 1);
    // The loop's first frames are at a bar of the clock, as the snapshot shows it.
    s.session.request(Request { command: Command::CountIn(0), when: Some(When::Bar), from: 0 });
    s.session.snapshot(&mut s.shown);
    let bar = (s.shown.pending.last().unwrap().at / 640) as usize;
    s.to(bar + 40);
    assert_eq!(s.rows[1][bar..bar + 25], s.rows[1][from - 50..from - 25]);
    assert!(bar > from + 300 && bars.last() > bars.first());
    s.ask(Command::Tempo(200.0)).to(bar + 80);
    assert_eq!(s.shown.stems[1].frozen, 0);
    assert_eq!(s.shown.notice, Some(Notice::LoopReleased));
}

#[test]
fn a_regenerated_stem_can_be_undone_and_redone() {
    let (mut a, mut b) = (stage(|_| ()), stage(|_| ()));
    a.to(120).to(600);
    b.to(120).ask(Command::LoopBars(2)).ask(stem(1, Action::Regen)).to(121);
    let at = (b.shown.pending[0].at / 640) as usize;
    assert_eq!(at % 50, 0);
    b.to(at + 30);
    assert!(b.shown.pending.is_empty());
    assert_eq!(b.shown.stems[1].undo, 1);
    let part = parts(&a, &b, 1).unwrap();
    assert!((at..at + 20).contains(&part), "{at} {part}");
    // Undo repeats what it played before; redo ends that.
    b.ask(stem(1, Action::Undo));
    let back = (b.shown.pending[0].at / 640) as usize;
    b.to(back + 120);
    assert_eq!(b.rows[1][back..back + 100], b.rows[1][at - 100..at]);
    assert_eq!((b.shown.stems[1].frozen, b.shown.stems[1].undo, b.shown.stems[1].redo), (2, 0, 1));
    b.ask(stem(1, Action::Redo));
    let away = (b.shown.pending[0].at / 640) as usize;
    b.to(away + 120);
    assert_eq!(b.shown.stems[1].frozen, 0);
    assert_ne!(b.rows[1][away..away + 100], b.rows[1][at - 100..at]);
    b.ask(stem(1, Action::Redo)).to(away + 200);
    assert_eq!(b.shown.notice, Some(Notice::NothingToRedo));
}

#[test]
fn modes_and_input_stems_change_at_bar_lines() {
    let (mut a, mut b) = (stage(|_| ()), stage(|_| ()));
    a.to(700);
    b.to(120).ask(Command::LoopBars(1)).ask(Command::Mode(Mode::Loop));
    let at = (b.shown.pending[0].at / 640) as usize;
    b.to(at + 130);
    assert_eq!(b.shown.mode, Mode::Loop);
    for k in 1..6 {
        assert_eq!(b.rows[k][at..at + 50], b.rows[k][at - 50..at]);
        assert_eq!(b.rows[k][at + 50..at + 100], b.rows[k][at - 50..at]);
    }
    b.ask(Command::Mode(Mode::Follow));
    let free = (b.shown.pending[0].at / 640) as usize;
    b.to(free + 60);
    assert_eq!((b.shown.mode, b.shown.stems[1].frozen), (Mode::Follow, 0));
    assert_ne!(b.rows[1][free..free + 50], b.rows[1][at - 50..at]);

    // In lead mode the model plays the input stem from the bar on, and it is audible.
    b.ask(Command::Mode(Mode::Lead)).to(free + 61);
    let lead = b.shown.pending[0].at;
    assert_eq!(lead % 32_000, 0);
    let frame = (lead / 640) as usize;
    b.to(frame + 60);
    assert_eq!((b.shown.mode, b.shown.input_stem), (Mode::Lead, Some(0)));
    assert_eq!(b.session.levels(0).last(), Some(&[1.0, 1.0]));
    let heard = a.to(frame + 80).rows[0].clone();
    assert_eq!(b.rows[0][..frame - 10], heard[..frame - 10]);
    assert_ne!(b.rows[0][frame..frame + 40], heard[frame..frame + 40]);
    b.ask(Command::Mode(Mode::Follow)).to(frame + 200);
    assert_eq!(b.session.levels(0).last(), Some(&[0.0, 0.0]));
    let n = b.rows[0].len();
    assert_eq!(b.rows[0][n - 20..n], a.to(frame + 200).rows[0][n - 20..n]);

    // Another input stem: its tokens are the musician's, and the model plays the bass.
    b.ask(Command::InputStem(Some(1))).to(frame + 350);
    assert_eq!(
        (b.shown.input_stem, b.session.levels(0).last(), b.session.levels(1).last()),
        (Some(1), Some(&[1.0; 2]), Some(&[0.0; 2]))
    );
    let input_stem: Vec<f32> = (0..(frame + 350) * 640).map(|i| b.input_stem[i % b.input_stem.len()]).collect();
    let codes = b.jam.model.encode(&mut b.jam.cpu, 1, &input_stem).unwrap();
    let n = b.rows[1].len();
    assert_eq!(b.rows[1][n - 20..n], codes[0][n - 20..n]);
    b.ask(Command::InputStem(None)).to(frame + 500);
    assert_eq!((b.shown.input_stem, b.session.levels(1).last()), (None, Some(&[1.0; 2])));
}

#[test]
fn cancelled_requests_change_nothing() {
    let (mut a, mut b) = (stage(|_| ()), stage(|_| ()));
    a.to(400);
    b.to(110).ask(stem(1, Action::Regen)).ask(stem(2, Action::Freeze(1))).ask(Command::Mode(Mode::Lead)).ask(Command::Stop);
    assert_eq!(b.shown.pending.len(), 4);
    assert!(b.shown.pending.is_sorted_by_key(|p| p.at));
    b.ask(Command::Cancel(Some(2)));
    assert_eq!(b.shown.pending.len(), 3);
    b.ask(Command::Cancel(None));
    assert!(b.shown.pending.is_empty());
    b.to(400);
    assert_eq!(a.rows, b.rows);
    assert!(a.stems == b.stems);
    for _ in 0..300 {
        b.ask(Command::Stop);
    }
    assert_eq!(b.shown.pending.len(), 256);
    assert_eq!(b.shown.notice, Some(Notice::TooManyRequests));
}

#[test]
fn sampling_seed_lag_and_input_stem_change_the_music() {
    let mut a = stage(|_| ());
    a.to(100);
    for command in [
        Command::Temperature(0.2),
        Command::TopK(2),
        Command::TopP(0.3),
        Command::Seed(99),
        Command::Fill,
        Command::Lag(12),
        Command::InputStem(Some(2)),
    ] {
        let mut b = stage(|_| ());
        b.to(30).ask(command.clone()).to(31);
        // Frames up to 36 were decided.
        b.to(140);
        let mut a = stage(|_| ());
        a.to(140);
        let part = parts(&a, &b, 1).unwrap_or(usize::MAX);
        assert!((35..135).contains(&part), "{command:?}: {part}");
        assert!(b.shown.pending.is_empty(), "{command:?}");
    }
    a.ask(Command::Lag(2));
    assert!(matches!(&a.shown.notice, Some(Notice::Clamped(c)) if c.name == "lag"), "{:?}", a.shown.notice);
}

#[test]
fn panic_silences_the_band_at_once() {
    let mut s = stage(|_| ());
    s.to(120).ask(Command::Stem(Which::All, Action::Freeze(1))).to(160).ask(Command::Stop).ask(Command::Panic).to(165);
    assert!(s.session.levels(1).iter().all(|l| *l == [0.0; 2]));
    assert!(s.shown.pending.is_empty() && !s.shown.playing && s.shown.stems[1].frozen == 0);
    let bar = s.shown.bar;
    s.to(300);
    assert!(s.shown.bar > bar && s.silent(1, 200..280));
    s.ask(Command::Play).to(420);
    assert!(s.shown.playing && s.session.levels(1).last() == Some(&[1.0; 2]));
}

#[test]
fn the_lead_follows_from_the_lag() {
    let mut jam = Jam::open(Fixture::short());
    let mut last = i64::MIN;
    for lag in 4..=12 {
        let settings = SessionConfig { lag, ..SessionConfig::for_model(jam.model.config()) };
        let session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        assert_eq!(session.lead(), Session::lead_of(&jam.model, lag));
        // The encoder looks one frame ahead, `other` is delayed by three frames, the decoder holds 480
        // samples back.
        assert_eq!(session.lead(), (lag as i64 + 1 - 1 - 3) * 640 - 480);
        assert_eq!(session.stem(1).len() as i64, session.lead().max(0));
        assert!(session.lead() > last);
        last = session.lead();
    }
    assert_eq!(Session::lag_for(&jam.model, 800), Some(5));
    assert_eq!(Session::lag_for(&jam.model, 801), Some(6));
    assert_eq!(Session::lag_for(&jam.model, 1_000_000), None);
    // Settings out of range are errors.
    for settings in [
        SessionConfig { lag: 18, ..SessionConfig::for_model(jam.model.config()) },
        SessionConfig { tempo: 500.0, ..SessionConfig::for_model(jam.model.config()) },
        SessionConfig { chords: Some("H".into()), ..SessionConfig::for_model(jam.model.config()) },
        SessionConfig { input_stem: Some(3), ..SessionConfig::for_model(jam.model.config()) },
    ] {
        assert!(Session::new(&mut jam.cpu, &jam.model, &settings, None).is_err());
    }
}

#[test]
fn guidance_switched_off_equals_a_run_without_it() {
    let mut rows = vec![];
    for guided in [true, false] {
        let mut jam = Jam::open(Fixture::short());
        let text = jam.model.text.as_mut().unwrap().encode("funk drums").unwrap();
        let settings = SessionConfig { lag: 6, playing: false, guided, ..SessionConfig::for_model(jam.model.config()) };
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, Some(&text)).unwrap();
        for command in [Command::Guided(false), Command::Play] {
            session.request(Request { command, when: None, from: 0 });
        }
        let mut tokens = vec![];
        for i in 0..28 {
            session.hop(&mut jam.cpu, &jam.model, &bass(10 * 640)).unwrap();
            tokens.extend_from_slice(session.tokens().1);
            if i == 10 && guided {
                session.request(Request { command: Command::Guided(true), when: None, from: 0 });
            }
        }
        rows.push(tokens);
    }
    // Guidance comes back with the first window that is primed after the request.
    assert!(rows[0][..180 * 6] == rows[1][..180 * 6]);
    assert!(rows[0][..180 * 6].chunks(6).any(|frame| frame != &rows[0][..6]));
    assert!(rows[0] != rows[1]);
}
