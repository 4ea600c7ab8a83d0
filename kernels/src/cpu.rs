//! The CPU player.
