//! A fault run: `sideman live` under JACK with the house model, while faults of all kinds happen to it.
//!
//! A random seed, which is printed, chooses the faults. The test checks that the clicks stay on their grid, that each take can be read and
//! replayed, that memory stays flat, that the program ends in bounded time, and that no file of anybody else changes.
//!
//! In `make test` it takes less than a minute of music. `make soak` runs it for 30 minutes (`SOAK_MINUTES=`) with a new seed (`SOAK_SEED=`).

mod clicks;
mod disk;
mod fault;
mod files;
mod program;
mod rig;
mod takes;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use sideman_tests::jackd::{deadline, jackd, turn};
use sideman_tests::rng::Rng;

use disk::Disk;
use fault::Fault;
use files::Tree;
use program::Program;
use rig::Rig;

/// The longest session. Its take is replayed, which takes about as long.
const LONGEST_SESSION: f64 = 480.0;
/// Time without a fault after the start of a session.
const QUIET: Duration = Duration::from_secs(3);

/// A number from the environment.
fn number(name: &str) -> Option<f64> {
    std::env::var(name)
        .ok()
        .filter(|text| !text.is_empty())
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: a number")))
}

fn model() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/house").canonicalize().unwrap()
}

/// What a session may use and change.
struct Place {
    /// The user's home, with files of the user.
    home: PathBuf,
    /// The working directory, with files that have the names of a take's.
    cwd: PathBuf,
    /// Temporary files.
    tmp: PathBuf,
    /// A replay's output.
    replay: PathBuf,
    /// Where takes and the last ten minutes go.
    disk: Disk,
}

impl Place {
    fn new(dir: &Path, short: bool) -> Place {
        let [home, cwd, tmp, replay, disk] = ["home", "cwd", "tmp", "replay", "disk"].map(|name| dir.join(name));
        for dir in [&home, &cwd, &tmp, &disk] {
            std::fs::create_dir(dir).unwrap();
        }
        for name in ["bass.wav", "mix.wav", "take.json", "events.jsonl", ".sideman-mine"] {
            std::fs::write(cwd.join(name), format!("mine: {name}")).unwrap();
            std::fs::write(home.join(name), format!("mine: {name}")).unwrap();
        }
        Place { home, cwd, tmp, replay, disk: Disk::new(&disk, if short { 200 } else { 1500 }) }
    }

    /// What no session may change.
    fn tree(&self) -> Tree {
        Tree::of(&[&self.home, &self.cwd, &self.tmp, &model()])
    }

    fn takes(&self) -> PathBuf {
        self.disk.path().join("takes")
    }

    fn roll(&self) -> PathBuf {
        self.disk.path().join("roll")
    }
}

#[test]
fn nothing_is_lost_in_a_run_of_faults() {
    let _turn = turn();
    let seconds = number("SIDEMAN_SOAK_SECONDS").unwrap_or(50.0);
    let _deadline = deadline(600 + 2 * seconds as u64);
    if !jackd("soak::nothing_is_lost_in_a_run_of_faults") {
        return;
    }
    let short = number("SIDEMAN_SOAK_SECONDS").is_none();
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let seed = number("SIDEMAN_SOAK_SEED").map_or(if short { 3 } else { time }, |seed| seed as u64);
    eprintln!("fault run of {seconds} s, SIDEMAN_SOAK_SEED={seed}");
    let dir = tempfile::tempdir().unwrap();
    let mut place = Place::new(dir.path(), short);
    let before = place.tree();
    let (mut rng, mut rig) = (Rng(seed), Rig::start());
    // Each kind of fault comes once before one comes again.
    let mut faults = Vec::new();
    let began = Instant::now();
    for n in 0.. {
        let left = seconds - began.elapsed().as_secs_f64();
        if n >= 2 && left < 20.0 {
            break;
        }
        // A session and its replay share the time.
        // The first session of a long run is the longest: its memory says most.
        let share = if n == 0 { 1.0 } else { 0.3 + 0.7 * f64::from(rng.uniform()) };
        let length = if short { [22.0, 6.0][n.min(1)] } else { (left / 2.0).min(LONGEST_SESSION) * share };
        // Sessions end in both ways.
        session(&mut place, &mut rig, &mut rng, &mut faults, length, n % 2 == 1, short);
    }
    rig.end();
    assert_eq!(before, place.tree(), "a session changed files that are not its own");
    // A session that ran after the last killed one removes what that one left.
    let mut last = Rig::start();
    last.plug_pedal();
    let program = Program::start(&place);
    last.connect();
    program.end(false);
    let left = Tree::of(&[&place.roll()]);
    assert_eq!(left, Tree::default(), "the last ten minutes of a session that is gone are still there");
}

/// A session: faults for `seconds`, then its end, by SIGKILL if `killed`. Checks it and its takes.
fn session(place: &mut Place, rig: &mut Rig, rng: &mut Rng, faults: &mut Vec<Fault>, seconds: f64, killed: bool, short: bool) {
    eprintln!("session of {seconds:.0} s, {}", if killed { "killed at its end" } else { "ended by SIGTERM" });
    rig.plug_pedal();
    let mut program = Program::start(place);
    rig.connect();
    program.answers(rig);
    std::thread::sleep(QUIET);
    let began = Instant::now();
    let mut disk_was_full = false;
    while began.elapsed().as_secs_f64() < seconds {
        if faults.is_empty() {
            faults.extend(Fault::ALL);
        }
        let fault = faults.swap_remove(rng.below(faults.len()));
        disk_was_full |= fault == Fault::FullDisk;
        fault.happens(place, rig, &mut program, rng, short);
        program.answers(rig);
        let pause = Duration::from_secs_f32(0.5 + if short { 0.5 } else { 4.0 } * rng.uniform());
        std::thread::sleep(pause);
        program.measure();
    }
    let grid = rig.clicks();
    eprintln!("  {grid}");
    grid.check();
    program.check_memory();
    if killed {
        program.kill();
    } else {
        program.end(disk_was_full);
    }
    takes::check(place);
}
