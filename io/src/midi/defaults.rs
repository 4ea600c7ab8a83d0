//! The map that is used without a midi.toml.

use sideman_engine::live::commands::CommandKind;

use super::{Control, ControlMode, Map, Mapping};

/// The default map (docs/reference/midi.md): on channels 1 to 3, for the first three stems, CC7 is the level, CC64 freezes, CC11 dims and
/// CC1 is the temperature. Pads (notes 36 to 43 on channel 10) and programs 1 to 8 on channel 1 go to the sections of the chart.
pub fn default_map(stems: &[&str]) -> Map {
    let mut map = Map::default();
    for (channel, stem) in (1..).zip(stems.iter().take(3)) {
        let mut put = |number: u8, kind: CommandKind, mode: ControlMode| {
            map.put(mapping(Control::Cc { channel, number }, kind, stem, mode));
        };
        put(7, CommandKind::StemGain, ControlMode::Absolute);
        put(64, CommandKind::StemFreeze, ControlMode::Momentary);
        put(11, CommandKind::Dim, ControlMode::Absolute);
        put(1, CommandKind::Temperature, ControlMode::Absolute);
    }
    for section in 0..8u8 {
        let number = f32::from(section) + 1.0;
        for control in [Control::Note { channel: 10, key: 36 + section }, Control::Program { channel: 1, number: section }] {
            let go = mapping(control, CommandKind::GoToSection, "", ControlMode::Toggle);
            map.put(Mapping { from: number, to: number, ..go });
        }
    }
    map
}

fn mapping(control: Control, kind: CommandKind, stem: &str, mode: ControlMode) -> Mapping {
    let spec = kind.spec();
    let address = spec.address.map_or(String::new(), |a| a.path.replacen("/S", &format!("/{stem}"), 1));
    Mapping::new(control, &address, mode).with_target(spec.midi)
}
