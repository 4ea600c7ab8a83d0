//! Speed of the codecs at full size, with random weights, as a multiple of real time: each stem's, and the three decoders of a
//! song together.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use sideman_engine::codec::Codec;
use sideman_engine::model::ModelDir;
use sideman_io::speed;

use crate::{Common, models};

#[derive(Args)]
pub struct Codecs {
    /// A model directory whose codecs are timed too
    #[arg(long)]
    model: Option<std::path::PathBuf>,
    /// Seconds of sound
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    #[command(flatten)]
    common: Common,
}

pub fn run(args: &Codecs) -> Result<()> {
    let mut machine = args.common.machine();
    let seconds = usize::from(args.seconds);
    let mut loaded = Vec::new();
    for (name, books, factorised) in [("seanet x 1, factorised", 1, true), ("seanet x 4, euclidean", 4, false)] {
        loaded.push((name.to_owned(), models::read_seanet(&mut machine.cpu, books, factorised)?));
    }
    if let Some(path) = &args.model {
        let dir = ModelDir::open(path)?;
        for stem in &dir.config.stems {
            loaded.push((format!("{} {stem}", dir.config.name), Codec::load(&mut machine.cpu, &dir, stem)?));
        }
    }
    let (mut rows, mut decoded) = (Vec::new(), Vec::new());
    for (name, codec) in &loaded {
        let (encode, decode) = speed::codec(&mut machine.cpu, codec, seconds)?;
        decoded.push(decode);
        if !args.common.json {
            println!("{name:28} encodes at {encode:7.2} x real time, decodes at {decode:7.2} x");
        }
        rows.push(json!({"codec": name, "seconds": seconds, "encode": encode, "decode": decode}));
    }
    // Bass and drums have the first kind of codec, other the second; one after the other, as a render decodes them.
    let three = 1.0 / (2.0 / decoded[0] + 1.0 / decoded[1]);
    rows.push(json!({"codec": "three full-size stems", "seconds": seconds, "decode": three}));
    match args.common.json {
        true => println!("{:#}", machine.document(rows)),
        false => println!("three full-size stems decode at {three:.2} x real time"),
    }
    Ok(())
}
