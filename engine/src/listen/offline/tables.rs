//! The counted tables that the analysis of whole recordings uses.

use std::sync::LazyLock;

use serde::Deserialize;

use super::harmony::HarmonyTables;
use super::patterns::Patterns;

/// Rhythm patterns and statistics of chords, counted on the project's own labelled songs by
/// `train/listen_tables.py`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Tables {
    pub rhythm: Patterns,
    pub harmony: HarmonyTables,
}

/// The tables that are compiled in.
pub(super) static TABLES: LazyLock<Tables> =
    LazyLock::new(|| serde_json::from_str(include_str!("tables.json")).unwrap_or_else(|e| panic!("tables.json: {e}")));
