//! `sideman edit SONG --replace`: takes stems out of a finished song and puts new ones in their place. What is left of the
//! song stays at its own sample rate and with its own channels, and is heard through no codec.

mod apart;
mod placed;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde_json::{Value, json};
use sideman_engine::separate::{Choice, Separator};
use sideman_engine::task::{self, SongMap};
use sideman_kernels::cpu::CpuBackend;

use crate::cli::Edit;
use crate::offline_task::OfflineTask;
use crate::output_folder::OutputFolder;
use crate::progress::Progress;
use crate::render_job::RenderJob;
use crate::render_report::RenderReport;
use crate::song_folder::{self, Stem};
use crate::song_info::{self, SongInfo};
use crate::{backend, hearing, interrupt, model_path, separate, stdout, usage};
use apart::{Apart, REMAINDER, levels, removed_file};
use placed::{MIX, NewStem, place};

/// Runs the command.
///
/// # Errors
/// The error names the file or flag.
pub fn run(args: &Edit) -> Result<ExitCode> {
    if args.song.is_dir() {
        return Err(usage(format!(
            "{}: is a folder; --replace needs a song, such as song.mp3. To generate a stem of a folder again: --redo STEM",
            args.song.display()
        )));
    }
    let model = model_path::open(args.run.model.as_deref())?;
    let separator_dir = separate::open(args.separator.as_deref())?;
    let (stems, sources) = (&model.config.stems, &separator_dir.config.sources);
    for (n, name) in args.replace.iter().enumerate() {
        if !stems.contains(name) || !sources.contains(name) {
            let both: Vec<&str> = stems.iter().filter(|stem| sources.contains(stem)).map(String::as_str).collect();
            return Err(usage(format!("--replace {name}: model and separator have the stems {}", both.join(", "))));
        }
        if args.replace[..n].contains(name) {
            return Err(usage(format!("--replace: {name} is given twice")));
        }
    }
    let output = OutputFolder::new("--out", &args.out, args.force).reads("SONG", &args.song);
    output.check(&file_names(&args.replace), 1)?;
    let mut song = SongInfo::offline(&args.chart, Some(&args.song))?;
    interrupt::watch()?;
    let folder = output.begin()?;
    let at = folder.temporary();

    // The processor separates; the model gets the backend that was asked for.
    let mut cpu = CpuBackend::new(backend::threads(args.run.threads));
    let choice = Choice::new(&separator_dir.config, &[])?;
    let separator = Separator::load(&mut cpu, &separator_dir, &choice.estimated)?;
    let mut progress = Progress::new("separating", args.run.json);
    let apart = Apart::new(&mut cpu, &separator, &choice, &args.song, &args.replace, stems)?;
    let apart = apart.run(at, &args.out, &mut progress)?;
    progress.finish();

    let heard: Vec<Stem> = (stems.iter().zip(&apart.stems))
        .filter_map(|(name, samples)| Some(Stem { name: name.clone(), samples: samples.clone()?, kept: true }))
        .collect();
    hearing::fill(&mut song, &heard, None, &args.chart, &model.config)?;
    drop(heard);
    let mut job = RenderJob::with(model, &args.run, &args.sampling, &song, 1)?;
    let rows =
        job.stems().iter().zip(&apart.stems).map(|(name, x)| x.as_deref().filter(|_| !args.replace.contains(name))).collect();
    let edit = task::Edit::new(job.config(), rows);
    let task = OfflineTask::Edit(task::Edit { settings: job.settings.clone(), ..edit });
    let mut progress = Progress::new("rendering", args.run.json);
    let made = job.render(&task, &mut progress)?.swap_remove(0);
    progress.finish();

    let new: Vec<NewStem> = (apart.removed.iter())
        .filter_map(|removed| {
            let index = job.stems().iter().position(|stem| *stem == removed.name)?;
            Some(NewStem { removed, samples: &made.stems[index] })
        })
        .collect();
    let placed = place(&apart, &new, args.mix.room, at, &args.out)?;
    let mut report = RenderReport::new(args.run.json, job.settings.seed, job.dir()).song_json(&song, 0)?;
    let mut separated = |file: &str| levels(&mut cpu, &separator, &choice, &at.join(file));
    let left = separated(REMAINDER)?;
    let mut lost = Vec::new();
    for (removed, gain) in apart.removed.iter().zip(&placed.gains) {
        let took = separated(&removed_file(&removed.name))?;
        let took: f64 = took.iter().filter(|(name, _)| *name != removed.name).map(|(_, power)| power).sum();
        let own = removed.power();
        lost.push(json!({
            "stem": removed.name, "removed_db": db(own.sqrt()), "gain_db": db(f64::from(*gain)),
            "left_db": ratio_db(power_of(&left, &removed.name), own), "took_along_db": ratio_db(took, own),
        }));
    }
    report["edit"] = json!({
        "song": args.song.file_name().map(|n| n.to_string_lossy()), "sample_rate": apart.rate, "channels": apart.channels,
        "frames": apart.frames, "unchanged_share": apart.unchanged as f64 / (apart.frames * apart.channels as u64).max(1) as f64,
        "mix_gain": placed.mix_gain, "replaced": lost,
        "separator": {"name": separator_dir.config.name, "licence": separator_dir.config.licence},
    });
    std::fs::write(at.join(song_info::FILE), format!("{report:#}\n")).with_context(|| format!("--out {}", args.out.display()))?;
    let seconds = apart.frames as f64 / f64::from(apart.rate);
    let map = job.settings.chart.as_ref().map(|chart| SongMap::of_chart(chart, seconds)).unwrap_or_default();
    song_folder::write_tempo_map(at, &song, &map)?;
    folder.commit()?;
    print(args, &report);
    Ok(ExitCode::SUCCESS)
}

/// Names of the files that are written.
fn file_names(replaced: &[String]) -> Vec<String> {
    let stems = replaced.iter().flat_map(|name| [removed_file(name), format!("{name}.wav")]);
    stems.chain([REMAINDER, MIX, song_info::FILE, song_folder::TEMPO_MAP].map(str::to_owned)).collect()
}

fn power_of(levels: &[(String, f64)], name: &str) -> f64 {
    levels.iter().find(|(stem, _)| stem == name).map_or(0.0, |(_, power)| *power)
}

/// Level in dB with one decimal; none for silence.
fn db(level: f64) -> Option<f64> {
    (level > 0.0).then(|| (200.0 * level.log10()).round() / 10.0)
}

/// A power over another in dB; none where one of them is 0.
fn ratio_db(power: f64, over: f64) -> Option<f64> {
    if over > 0.0 { db((power / over).sqrt()) } else { None }
}

/// Prints what was done and what was lost, or the JSON report.
fn print(args: &Edit, report: &Value) {
    if args.run.json {
        let mut report = report.clone();
        report["out"] = json!(args.out.display().to_string());
        stdout::json(&report);
        return;
    }
    let out = |file: &str| args.out.join(Path::new(file)).display().to_string();
    let level = |value: &Value| value.as_f64().map_or("nothing".to_owned(), |db| format!("{db:.1} dB"));
    stdout::line(format!("{}: the song with the new {}", out(MIX), args.replace.join(" and ")));
    for lost in report["edit"]["replaced"].as_array().into_iter().flatten() {
        let name = lost["stem"].as_str().unwrap_or_default();
        stdout::line(format!("{}: the new {name}, as loud and as far left or right as the old", out(&format!("{name}.wav"))));
        stdout::line(format!(
            "{}: the old {name}, {} RMS; left of it in the remainder: {}; other stems in it: {}, both against its level",
            out(&removed_file(name)),
            level(&lost["removed_db"]),
            level(&lost["left_db"]),
            level(&lost["took_along_db"])
        ));
    }
    let unchanged = 100.0 * report["edit"]["unchanged_share"].as_f64().unwrap_or(0.0);
    stdout::line(format!("{}: the song without it; {unchanged:.0} % of its samples are the song's, bit for bit", out(REMAINDER)));
    stdout::line(format!("seed {}", report["seed"]));
}
