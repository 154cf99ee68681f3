//! How the removal of the control socket is noticed: on Linux the directory is watched, elsewhere looked at.

use std::{path::Path, time::Duration};

use tidewire_clock as clock;

use super::listener::FileId;

/// How often the file is looked at where its directory cannot be watched.
const LOOK: Duration = Duration::from_secs(2);

/// Waits until `path` is no longer the file `id`.
pub(super) async fn gone(path: &Path, id: FileId) {
    #[cfg(target_os = "linux")]
    let changes = imp::Changes::of(path);
    while id.is_at(path) {
        #[cfg(target_os = "linux")]
        if let Some(changes) = &changes {
            changes.next().await;
            continue;
        }
        clock::sleep(LOOK).await;
    }
}

#[cfg(target_os = "linux")]
mod imp {
    //! On Linux: inotify.

    use std::{
        mem::MaybeUninit,
        os::fd::{AsFd, OwnedFd},
        path::Path,
    };

    use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
    use tokio::io::{Interest, unix::AsyncFd};

    /// Changes of names in a directory.
    pub(super) struct Changes(AsyncFd<OwnedFd>);

    impl Changes {
        /// Those of the directory in which `path` is; `None` if the system cannot watch.
        pub(super) fn of(path: &Path) -> Option<Self> {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).ok()?;
            let what =
                WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
            inotify::add_watch(&fd, path.parent()?, what).ok()?;
            // The safe constructor is deprecated because a type could lie about its descriptor; an `OwnedFd` cannot.
            #[allow(deprecated)]
            AsyncFd::with_interest(fd, Interest::READABLE).ok().map(Self)
        }

        /// Waits for one, and takes all that there are.
        pub(super) async fn next(&self) {
            let Ok(mut guard) = self.0.readable().await else { return std::future::pending().await };
            let mut buffer = [MaybeUninit::uninit(); 1024];
            let mut events = Reader::new(guard.get_inner().as_fd(), &mut buffer);
            while events.next().is_ok() {}
            guard.clear_ready();
        }
    }
}
