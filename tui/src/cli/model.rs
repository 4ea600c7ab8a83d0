//! Arguments of the `model` commands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::BackendChoice;

/// `sideman model`.
#[derive(Subcommand)]
pub enum ModelCommand {
    /// List the installed models
    #[command(after_help = "Example:\n  sideman model list")]
    List(ModelList),
    /// Describe one model: stems, sizes, licence, what it was trained for
    #[command(after_help = "Example:\n  sideman model info models/house")]
    Info(ModelInfo),
    /// Convert a published checkpoint to a model directory: MusicGen-Stem, MusicGen, or the separator HTDemucs
    #[command(after_help = "Examples:\n  \
        sideman model import musicgen-stem-6cb --t5 t5-base --to models/stem6 --quant q8\n  \
        sideman model import musicgen-small --to models/small\n  \
        sideman model import HTDemucs-ft --to models/htdemucs_ft\n  \
        sideman model import 955717e8-8726e21a.th --to models/htdemucs")]
    Import(ModelImport),
    /// Compare a model's numbers with those of a reference implementation
    ///
    /// Exits with 1 if a relative error is above 1e-4 or a codec code differs.
    #[command(after_help = "Example:\n  sideman model verify models/house --golden reference.safetensors")]
    Verify(Verify),
}

/// `sideman model list`.
#[derive(Args)]
pub struct ModelList {
    /// Print a JSON report on stdout
    #[arg(long)]
    pub json: bool,
}

/// `sideman model info`.
#[derive(Args)]
pub struct ModelInfo {
    /// Model directory [default: $SIDEMAN_MODEL, else the house model]
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print a JSON report on stdout
    #[arg(long)]
    pub json: bool,
}

/// Precision of the weights on disk.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StoredAs {
    /// 2 bytes per weight
    Bf16,
    /// 1.125 bytes per weight
    Q8,
    /// 0.625 bytes per weight
    Q4,
}

/// `sideman model import`.
#[derive(Args)]
pub struct ModelImport {
    /// Folder of the downloaded checkpoint: state_dict.bin and compression_state_dict*.bin, or config.json
    /// and model.safetensors; of a separator, its folder or its .th or .safetensors file
    #[arg(value_name = "SRC")]
    pub src: PathBuf,
    /// Model directory to create; it must not exist yet
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,
    /// Folder of the T5 text encoder [default: the one in SRC]
    ///
    /// It has config.json, model.safetensors, and tokenizer.json or spiece.model. audiocraft's checkpoints
    /// (state_dict.bin) contain no T5: without this flag the imported model takes no text.
    #[arg(long, value_name = "DIR")]
    pub t5: Option<PathBuf>,
    /// Store the transformer's matrices in this precision [default: as they are in SRC]
    #[arg(long, value_enum, value_name = "PRECISION")]
    pub quant: Option<StoredAs>,
    /// Print a JSON report on stdout, and no progress
    #[arg(long)]
    pub json: bool,
}

/// `sideman model verify`.
#[derive(Args)]
pub struct Verify {
    /// Model directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
    /// File with the reference's inputs and outputs (safetensors)
    #[arg(long, value_name = "FILE")]
    pub golden: PathBuf,
    /// Backend that computes; the text encoder always runs on the processor
    #[arg(long, value_enum, default_value = "cpu")]
    pub backend: BackendChoice,
    /// Processor threads, 1 to 256 [default: one per core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
    pub threads: Option<u16>,
    /// Print a JSON report on stdout
    #[arg(long)]
    pub json: bool,
}
