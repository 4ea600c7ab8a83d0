//! Block formats of weights.
