//! Chooses the tempo, meter and chords of a song that has no recording, where the flags don't give them: the
//! form that suits the text, from the model's table of styles.

use std::path::Path;

use anyhow::Result;
use sideman_engine::task::{Meter, Styles, by_ear};

use crate::cli::{ChartArgs, ClockSource, Live, SamplingArgs};
use crate::song_info::SongInfo;
use crate::{model_path, usage};

/// The flags with what they leave open chosen for `--text` and `seed`, and printed on stderr as flags. They stay
/// as they are with `--no-chart` or `--no-listen`, where they say all, and where the model has no table of styles.
///
/// * `bar1`: where bar 1 begins if the flags don't say.
///
/// # Errors
/// There is no model, its table is damaged, or `--meter` is impossible.
pub fn choose(args: &ChartArgs, model: Option<&Path>, bar1: Option<f64>, seed: u64) -> Result<ChartArgs> {
    // There is nothing to hear chords from.
    let chords = args.chords.clone().filter(|chords| !by_ear(chords));
    let complete = args.tempo.is_some() && args.meter.is_some() && chords.is_some();
    if args.no_chart || args.no_listen || complete {
        return Ok(args.clone());
    }
    let Some(styles) = Styles::open(&model_path::open(model)?)? else { return Ok(args.clone()) };
    let meter = args.meter.as_deref().map(str::parse::<Meter>).transpose().map_err(|e| usage(format!("--meter: {e}")))?;
    let form = styles.form(args.text.as_deref().unwrap_or_default(), meter, seed);
    let chosen = ChartArgs {
        tempo: args.tempo.or(Some(form.tempo)),
        meter: args.meter.clone().or_else(|| Some(form.meter.to_string())),
        bar1: args.bar1.or(bar1),
        chords: chords.or(Some(form.chords)),
        ..args.clone()
    };
    let named = if form.named { "" } else { "the text names no style that the model knows: " };
    eprintln!("{named}{}: {}", form.style, flags(&chosen));
    Ok(chosen)
}

/// The arguments of `live` with tempo, meter and chords chosen, if the band plays alone (`--instrument none`) and has
/// none of them from the flags or from a file beside the recording.
///
/// # Errors
/// Those of [`choose`].
pub fn choose_for_live(args: &Live) -> Result<Option<Live>> {
    let file = args.from.as_deref().and_then(SongInfo::file_of);
    let told = args.chart.tempo.is_some() || args.chart.chords.is_some() || file.is_some();
    // No clock is wanted, or a count gives the tempo.
    let no_tempo = matches!(args.surfaces.clock, Some(ClockSource::Free | ClockSource::Ear));
    if told || no_tempo || args.input_stem().is_some() {
        return Ok(None);
    }
    let seed = args.sampling.seed_or_new();
    let sampling = SamplingArgs { seed: Some(seed), ..args.sampling.clone() };
    let chart = choose(&args.chart, args.run.model.as_deref(), None, seed)?;
    Ok(Some(Live { chart, sampling, ..args.clone() }))
}

/// Tempo, meter, bar 1 and chords as they are typed.
fn flags(args: &ChartArgs) -> String {
    let flag = |name: &str, value: Option<String>| value.map(|value| format!("--{name} {value}"));
    let parts = [
        flag("tempo", args.tempo.map(|tempo| tempo.to_string())),
        flag("meter", args.meter.clone()),
        flag("bar1", args.bar1.map(|bar1| bar1.to_string())),
        flag("chords", args.chords.as_ref().map(|chords| format!("\"{chords}\""))),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}
