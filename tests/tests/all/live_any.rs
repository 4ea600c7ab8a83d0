//! Random requests at random times: nothing breaks, nothing is late, and hops of one frame give what long
//! hops give.

use sideman_engine::live::{Action, Clock, Command, Mode, Request, Session, SessionConfig, Snapshot, When, Which};
use sideman_engine::task::Meter;
use sideman_tests::fixture::Fixture;
use sideman_tests::jam::{Jam, bass};

/// Pseudorandom numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % n as u64) as usize
    }

    fn of<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len())]
    }

    fn command(&mut self) -> Command {
        let which = if self.below(3) == 0 { Which::All } else { Which::One(self.below(3) as u8) };
        match self.below(24) {
            0..=2 => Command::Play,
            3 => Command::Stop,
            4 => Command::CountIn(self.below(5) as u32),
            5 => Command::Tempo(20.0 + self.below(380) as f64),
            6 => Command::Meter(self.of(&[Meter::FourFour, Meter::ThreeFour, Meter::SixEight, Meter::TwelveEight])),
            7 => Command::Clock(self.of(&[Clock::Free, Clock::Internal])),
            8 => Command::Chords("Em C,D".into()),
            9 => Command::InputStem(self.of(&[None, Some(0), Some(1), Some(2)])),
            10 => Command::Stem(which, Action::Regen),
            11 | 12 => Command::Stem(which, Action::Freeze(self.below(5) as u32)),
            13 => Command::Stem(which, Action::Undo),
            14 => Command::Stem(which, Action::Redo),
            15 | 16 => Command::Mode(self.of(&[Mode::Follow, Mode::Loop, Mode::Lead])),
            17 => Command::LoopBars(self.below(5) as u32),
            18 => Command::Lag(self.below(30) as u32),
            19 => Command::Fill,
            20 if self.below(2) == 0 => Command::Rest(self.below(2) == 0),
            20 => Command::Guided(self.below(2) == 0),
            21 => Command::Cancel(None),
            22 => self.of(&[Command::Panic, Command::Click(true), Command::Dim(-3.0), Command::Seed(7)].each_ref()).clone(),
            _ => Command::Section(String::new()),
        }
    }
}

#[test]
fn random_requests_give_the_same_music_whatever_the_hop() {
    let input_stem = bass(50 * 640);
    for seed in 0..4 {
        let mut random = Random(seed);
        let mut jam = Jam::open(Fixture { lagged: seed % 2 == 0, ..Fixture::short() });
        let (lag, bar1) = (5 + seed as usize, seed as i64 * 3333);
        let settings =
            SessionConfig { lag, bar1, tempo: 180.0, guided: seed > 1, ..SessionConfig::for_model(jam.model.config()) };
        let mut session = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        let mut frames = Session::new(&mut jam.cpu, &jam.model, &settings, None).unwrap();
        let mut shown = Snapshot::default();
        for round in 0..100 {
            if random.below(3) > 0 {
                let when = random.of(&[None, None, Some(When::Now), Some(When::Beat), Some(When::Bar), Some(When::Section)]);
                let request = Request { command: random.command(), when, from: 0 };
                session.request(request.clone());
                frames.request(request);
            }
            let n = 1 + random.below(25);
            let hop = &input_stem[random.below(25) * 640..][..n * 640];
            session.hop(&mut jam.cpu, &jam.model, hop).unwrap();
            let (mut stems, mut levels, mut click, mut tokens) = (vec![vec![]; 3], vec![vec![]; 3], vec![], vec![]);
            for frame in hop.chunks(640) {
                frames.hop(&mut jam.cpu, &jam.model, frame).unwrap();
                for s in 0..3 {
                    stems[s].extend_from_slice(frames.stem(s));
                    levels[s].extend_from_slice(frames.levels(s));
                }
                click.extend_from_slice(frames.click());
                tokens.extend_from_slice(frames.tokens().1);
            }
            session.snapshot(&mut shown);
            let here = format!("seed {seed}, round {round}: {shown:?}");
            for s in 0..3 {
                assert!(session.stem(s) == stems[s] && session.levels(s) == levels[s], "{here}");
                assert!(stems[s].len() == n * 640 && stems[s].iter().all(|x| x.is_finite()), "{here}");
            }
            assert!(session.click() == click && session.tokens().1 == tokens, "{here}");
            assert!(tokens.iter().all(|&t| (0..64).contains(&t)), "{here}");
            assert_eq!(shown.time, session.heard_to() + session.lead());
            assert!(shown.pending.iter().all(|p| p.at >= shown.time - 640), "{here}");
        }
    }
}
