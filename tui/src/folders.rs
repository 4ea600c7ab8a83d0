//! The user's folders for Sideman's settings, models and temporary files: by default ~/.config/sideman,
//! ~/.local/share/sideman and ~/.cache/sideman.

use std::path::PathBuf;

use etcetera::{BaseStrategy, choose_base_strategy};

/// A file in the configuration folder, which need not exist. `None`: the user has no home folder.
pub fn config_file(name: &str) -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.config_dir().join("sideman").join(name))
}

/// The folder of temporary files that can be large, which need not exist.
pub fn cache() -> PathBuf {
    choose_base_strategy().map_or_else(|_| std::env::temp_dir(), |base| base.cache_dir()).join("sideman")
}

/// The folder of the user's models, which need not exist. `None`: the user has no home folder.
pub fn models() -> Option<PathBuf> {
    Some(choose_base_strategy().ok()?.data_dir().join("sideman/models"))
}
