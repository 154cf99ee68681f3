//! How many connections this process may have: the system's limit of open descriptors, raised, and the relay's limits kept below it.

use tracing::{info, warn};

use crate::core::Limits;

/// Descriptors for all that is no client: listeners, their own connections, files, and the rest of the program.
const SPARE: usize = 256;

/// Raises the limit as far as the system allows, and lowers the numbers of `limits` that it cannot serve.
pub(crate) fn make_room(limits: &mut Limits) {
    let Some(descriptors) = raise_limit() else { return };
    let wanted = limits.clients.saturating_add(limits.pending);
    if clamp(limits, descriptors) {
        let Limits { clients, pending, .. } = limits;
        warn!(
            descriptors,
            wanted,
            clients,
            pending,
            "fewer clients than the limits say: raise the system's limit of open files"
        );
    } else {
        info!(descriptors, "limit of open files");
    }
}

/// Whether something had to be lowered. Those that are not logged in get at most half of what there is.
fn clamp(limits: &mut Limits, descriptors: usize) -> bool {
    let room = descriptors.saturating_sub(SPARE.min(descriptors / 2)).max(2);
    if limits.clients.saturating_add(limits.pending) <= room {
        return false;
    }
    limits.pending = limits.pending.min(room / 2);
    limits.clients = limits.clients.min(room - limits.pending);
    true
}

/// As far as the system allows. `None`: it has no such limit.
fn raise_limit() -> Option<usize> {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
        let holds = if raised.is_ok() { limit.maximum } else { limit.current };
        holds.map(|descriptors| usize::try_from(descriptors).unwrap_or(usize::MAX))
    }
    #[cfg(not(unix))]
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clamped(clients: usize, pending: usize, descriptors: usize) -> Option<(usize, usize)> {
        let mut limits = Limits { clients, pending, ..Limits::DEFAULT };
        clamp(&mut limits, descriptors).then_some((limits.clients, limits.pending))
    }

    #[test]
    fn limits_stay_below_what_the_system_allows() {
        assert_eq!(clamped(65_536, 4096, 1 << 20), None);
        assert_eq!(clamped(65_536, 4096, 20_000), Some((15_648, 4096)));
        assert_eq!(clamped(65_536, 4096, 1024), Some((384, 384)));
        assert_eq!(clamped(100, 4096, 1024), Some((100, 384)));
        assert_eq!(clamped(100, 100, 1024), None);
        assert_eq!(clamped(usize::MAX, usize::MAX, 64), Some((16, 16)));
        assert_eq!(clamped(10, 10, 0), Some((1, 1)));
    }
}
