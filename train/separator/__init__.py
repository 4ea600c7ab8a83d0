"""The separator: a net that takes a song apart into drums, bass, other and voice."""
