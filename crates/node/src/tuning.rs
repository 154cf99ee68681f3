//! What an embedder may put between a node and its sockets.

use std::fmt;

use tidewire_transport::Underlay;

type Wrap = Box<dyn FnOnce(Box<dyn Underlay>) -> Box<dyn Underlay> + Send>;

/// Changes to a node's inside that a configuration has no words for. The default changes nothing.
#[derive(Default)]
pub struct Tuning {
    pub(crate) udp: Option<Wrap>,
}

impl Tuning {
    /// Puts a transport of the caller's around, or in the place of, the node's UDP sockets: to shape, to cut, to record.
    #[must_use]
    pub fn udp(mut self, wrap: impl FnOnce(Box<dyn Underlay>) -> Box<dyn Underlay> + Send + 'static) -> Self {
        self.udp = Some(Box::new(wrap));
        self
    }
}

impl fmt::Debug for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tuning").field("udp", &self.udp.is_some()).finish()
    }
}
