//! Meters, and the clock control values of a position in a bar (docs/reference/model-format.md, "Controls").

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// Positions in a bar that the `beat` control tells apart.
const POSITIONS: i128 = 48;
/// Ticks of 5 ms that the `tick` control tells apart on either side of a position.
const TICKS: i128 = 8;

/// The meters that the `beat` control has values for, in the order of its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum Meter {
    /// 4/4.
    #[default]
    #[serde(rename = "4/4")]
    FourFour,
    /// 3/4.
    #[serde(rename = "3/4")]
    ThreeFour,
    /// 6/8.
    #[serde(rename = "6/8")]
    SixEight,
    /// 12/8.
    #[serde(rename = "12/8")]
    TwelveEight,
}

impl Meter {
    /// Length of a bar in quarter notes.
    pub fn quarters(self) -> usize {
        match self {
            Meter::FourFour => 4,
            Meter::ThreeFour | Meter::SixEight => 3,
            Meter::TwelveEight => 6,
        }
    }
}

impl Meter {
    /// Beats of a bar: quarter notes, dotted ones in 6/8 and 12/8.
    pub fn beats(self) -> i64 {
        match self {
            Meter::FourFour | Meter::TwelveEight => 4,
            Meter::ThreeFour => 3,
            Meter::SixEight => 2,
        }
    }
}

impl FromStr for Meter {
    type Err = Error;

    /// Reads `4/4`, `3/4`, `6/8` or `12/8`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match text.trim() {
            "4/4" => Ok(Meter::FourFour),
            "3/4" => Ok(Meter::ThreeFour),
            "6/8" => Ok(Meter::SixEight),
            "12/8" => Ok(Meter::TwelveEight),
            other => Err(Error::Input(format!("meter {other:?}: it should be 4/4, 3/4, 6/8 or 12/8"))),
        }
    }
}

impl fmt::Display for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(["4/4", "3/4", "6/8", "12/8"][*self as usize])
    }
}

/// Values of the controls `beat` and `tick` for a frame whose middle is the fraction `num / den` of a bar
/// after its bar line.
///
/// * `micro`: the tempo in millionths of a quarter note per minute.
pub fn clock_values(meter: Meter, (num, den): (i128, i128), micro: i128) -> (i32, i32) {
    /// Ticks (5 ms) in a 48th of a quarter note at a tempo of one millionth of a quarter note per minute.
    const QUARTER: i128 = 60 * 1_000_000 * 200 / POSITIONS;
    let near = (2 * POSITIONS * num + den).div_euclid(2 * den);
    let (off, one) = ((POSITIONS * num - near * den) * meter.quarters() as i128 * QUARTER, den * micro);
    let steps = (2 * off + one).div_euclid(2 * one).clamp(-TICKS, TICKS);
    (meter as i32 * POSITIONS as i32 + (near % POSITIONS) as i32, (steps + TICKS) as i32)
}
