//! What the errors of a device mean.

use std::io;

#[cfg(unix)]
mod codes {
    //! By their numbers.

    use rustix::io::Errno;

    /// The interface was deleted: nothing will ever pass again.
    pub(super) const GONE: &[i32] = &[
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Errno::BADFD.raw_os_error(),
        Errno::BADF.raw_os_error(),
        Errno::NODEV.raw_os_error(),
        Errno::NXIO.raw_os_error(),
    ];
    pub(super) const DOWN: &[i32] = &[Errno::IO.raw_os_error(), Errno::NETDOWN.raw_os_error()];
    pub(super) const REFUSAL: &[i32] =
        &[Errno::INVAL.raw_os_error(), Errno::MSGSIZE.raw_os_error(), Errno::OPNOTSUPP.raw_os_error()];
}

#[cfg(not(unix))]
mod codes {
    //! Nothing is known of devices elsewhere.

    pub(super) const GONE: &[i32] = &[];
    pub(super) const DOWN: &[i32] = &[];
    pub(super) const REFUSAL: &[i32] = &[];
}

/// Whether an error says that the interface was deleted.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    is_one_of(error, codes::GONE)
}

/// Whether an error of a write says that the interface is down.
pub(crate) fn is_down(error: &io::Error) -> bool {
    is_one_of(error, codes::DOWN)
}

/// Whether an error of a write may be about a super-packet's being one.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    is_one_of(error, codes::REFUSAL)
}

fn is_one_of(error: &io::Error, codes: &[i32]) -> bool {
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}
