//! Where models are: `--model`, else `$SIDEMAN_MODEL`, else the house model in a folder `models` of the repository that the
//! program was built in, else of the user's data folder.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow};
use sideman_engine::model::ModelDir;

use crate::folders;

/// Name of the model that is played when none is named.
const HOUSE: &str = "house";

/// Places in the folders above the program: target/release/sideman → the repository; ~/.cargo/bin/sideman → nothing.
fn above(what: &str) -> Vec<PathBuf> {
    let program = std::env::current_exe().and_then(std::fs::canonicalize).unwrap_or_default();
    program.ancestors().skip(1).take(4).map(|dir| dir.join(what)).collect()
}

/// A file of the repository that the program was built in.
pub fn beside(what: &str) -> Option<PathBuf> {
    above(what).into_iter().find(|path| path.is_file())
}

/// Folders that may hold models, those that exist, first come first.
pub fn shelves() -> Vec<PathBuf> {
    let beside = above("models").into_iter();
    beside.chain(folders::models()).filter(|dir| dir.is_dir()).collect()
}

/// Model directories on the shelves, in order of shelf and name.
pub fn installed() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for shelf in shelves() {
        let mut here: Vec<PathBuf> = std::fs::read_dir(&shelf)
            .into_iter()
            .flatten()
            .flatten()
            .map(|e| e.path())
            .filter(|p| p.join("config.json").is_file())
            .collect();
        here.sort();
        all.extend(here);
    }
    all
}

/// The model to play.
///
/// # Errors
/// None is found (the sentence says what to do), or what is found isn't a model.
pub fn open(flag: Option<&Path>) -> Result<ModelDir> {
    let path = match (flag, std::env::var_os("SIDEMAN_MODEL")) {
        (Some(path), _) => path.to_owned(),
        (None, Some(path)) if !path.is_empty() => PathBuf::from(path),
        _ => shelves().into_iter().map(|shelf| shelf.join(HOUSE)).find(|dir| dir.join("config.json").is_file()).ok_or_else(|| {
            anyhow!("no model found: there is no models/house beside the program; name a model directory with --model DIR or $SIDEMAN_MODEL")
        })?,
    };
    Ok(ModelDir::open(&path)?)
}
