//! How a peer is named in the log: enough of its key to know it by.

use std::fmt;

use tidewire_keys::NodePublic;

/// A peer's key as logs show it: the ends of its base64 form, as WireGuard's users know it.
pub(crate) struct Label(pub(crate) NodePublic);

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_base64();
        write!(f, "{}…{}", text.get(..4).unwrap_or_default(), text.get(39..43).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_are_shown() {
        let key = NodePublic::from_base64("xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=").unwrap();
        assert_eq!(Label(key).to_string(), "xTIB…p8Dg");
    }
}
