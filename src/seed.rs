//! Where every random number of a run comes from: a seed derived from what it is for, never from a shared stream.

/// Mixes `parts` into one seed. Equal parts give equal seeds on every machine; any change of any part, or of
/// their order, gives an unrelated one (SplitMix64's finaliser over a running state).
///
/// ```
/// use rationale::seed::derive;
/// assert_eq!(derive(&[1, 2]), derive(&[1, 2]));
/// assert_ne!(derive(&[1, 2]), derive(&[2, 1]));
/// ```
pub fn derive(parts: &[u64]) -> u64 {
    parts
        .iter()
        .fold(0x9E37_79B9_7F4A_7C15, |state, part| mix(state ^ mix(part.wrapping_add(0x9E37_79B9_7F4A_7C15))))
}

/// A seed part from a text, such as a stage's name or an example's id (FNV-1a, then mixed).
pub fn of_text(text: &str) -> u64 {
    mix(text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01B3)))
}

/// A number from [0, 1) from a seed, with all the bits that an f64 has room for.
///
/// ```
/// use rationale::seed::uniform;
/// assert_eq!([uniform(0), uniform(1 << 63)], [0.0, 0.5]);
/// assert!(uniform(u64::MAX) < 1.0);
/// ```
pub fn uniform(seed: u64) -> f64 {
    (seed >> 11) as f64 / (1u64 << 53) as f64
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}
