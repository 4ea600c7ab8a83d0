//! Writes the model directory of a [`Plan`], and compares its hashes and codecs with the published ones.

use std::fs;
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use sideman_kernels::cpu::CpuBackend;

use super::needed::NeededTensor;
use super::recipe::{self, Recipe};
use super::source::{Source, Stored};
use super::writer::{Quant, Writer};
use super::{Imported, Plan, Progress, Report, published};
use crate::atomic::AtomicDir;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::model::{CodecConfig, ModelDir, SAMPLE_RATE};
use crate::text::Tokenizer;

impl Plan {
    /// Writes the model directory `to`, which must not exist or be empty. It appears when it is complete.
    ///
    /// # Errors
    /// `to` exists or can't be written, a file can't be read or has a value that is not finite, or `report`
    /// returned `Break`. Nothing is left behind.
    pub fn write(mut self, to: &Path, quant: Quant, report: Report<'_>) -> Result<Imported> {
        let dir = AtomicDir::create(to)?;
        let folder = dir.temporary();
        let paths: Vec<PathBuf> = self.sources.iter().flat_map(|s| s.paths().map(Path::to_owned)).collect();
        let sizes = paths.iter().map(|p| fs::metadata(p).map(|m| m.len()).map_err(Error::io(p))).collect::<Result<Vec<u64>>>()?;
        let total = 2 * sizes.iter().sum::<u64>();
        let mut done = 0;
        let mut doubts = Vec::new();
        let mut hashes = Vec::new();
        for (path, size) in paths.iter().zip(&sizes) {
            let hash = published::sha256(path, &mut |n| {
                done += n;
                report(Progress { done, total })
            })?;
            let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let (what, doubt) = published::known(*size, &hash);
            if doubt { &mut doubts } else { &mut self.notes }.push(format!("{name}: {what}"));
            hashes.push(format!("{name} {hash}"));
        }
        self.config.provenance = format!("{}, by `sideman model import` from (SHA-256) {}", self.config.name, hashes.join(", "));

        for file in &self.files {
            let source = &mut self.sources[file.source];
            let types: Vec<(&NeededTensor, Dtype)> = file.tensors.iter().map(|(t, recipe)| (t, dtype(source, recipe))).collect();
            let mut writer = Writer::create(&folder.join(&file.name), &types, quant)?;
            for (tensor, recipe) in &file.tensors {
                let values = recipe::read(source, recipe)?;
                writer.put(&tensor.name, &values)?;
                done += recipe.parts().iter().filter_map(|n| source.get(n)).map(Stored::bytes).sum::<u64>();
                if report(Progress { done: done.min(total), total }).is_break() {
                    return Err(Error::Cancelled);
                }
            }
            writer.finish()?;
        }
        if let (Some(text), Some(config)) = (&self.tokenizer, &self.config.text) {
            let path = folder.join("tokenizer.json");
            fs::write(&path, text).map_err(Error::io(&path))?;
            // Check that it can be read, and that the model has its ids.
            Tokenizer::open(&path, config)?.ids("a bass line")?;
        }
        let path = folder.join("config.json");
        let mut json = serde_json::to_vec_pretty(&self.config).map_err(|e| Error::file(&path, e.to_string()))?;
        json.push(b'\n');
        fs::write(&path, json).map_err(Error::io(&path))?;
        let written = ModelDir::open(folder)?;
        self.check_silence(&written, &mut doubts)?;
        dir.commit()?;
        report(Progress { done: total, total }).is_break();
        Ok(Imported { config: self.config, notes: self.notes, doubts })
    }

    /// Compares the codes of silence with the published ones (section 3.10), for codecs of the published
    /// sizes.
    fn check_silence(&mut self, dir: &ModelDir, doubts: &mut Vec<String>) -> Result<()> {
        for (stem, codec) in &self.config.codecs {
            let CodecConfig::Seanet(codec) = codec else { continue };
            let Some(want) = published::silence(stem, codec) else { continue };
            let mut cpu = CpuBackend::new(1);
            let codec = Codec::load(&mut cpu, dir, stem)?;
            let codes = codec.encode(&mut cpu, &vec![0.0; 2 * SAMPLE_RATE])?;
            // A frame in the middle, which the edges don't affect.
            let frame = codes.chunks_exact(want.len()).nth(75).unwrap_or_default();
            if frame == want {
                self.notes.push(format!("codec of {stem}: the codes of silence are {want:?}, as published"));
            } else {
                doubts.push(format!(
                    "codec of {stem}: the codes of silence are {frame:?}; those of the published codec are {want:?}"
                ));
            }
        }
        Ok(())
    }
}

/// Type of the values that a tensor is made of; F32 where they are computed or of different types.
fn dtype(source: &Source, recipe: &Recipe) -> Dtype {
    let mut found = recipe.parts().into_iter().filter_map(|n| source.get(n)).map(|t| t.dtype);
    match (recipe, found.next()) {
        (Recipe::WeightNorm { .. }, _) | (_, None) => Dtype::F32,
        (_, Some(first)) => {
            if found.all(|d| d == first) {
                first
            } else {
                Dtype::F32
            }
        }
    }
}
