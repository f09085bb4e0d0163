//! reward.
/// x
pub struct Registry;
impl Default for Registry {
    fn default() -> Self {
        Self
    }
}
