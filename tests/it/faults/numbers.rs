//! Numbers that are none: NaN and infinity.
