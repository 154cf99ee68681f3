//! One thing that may be under way beside others, whose result is waited for among theirs.

use std::{future::Future, pin::Pin};

/// At most one future that runs while somebody waits for [`done`](Self::done). Giving up waiting loses nothing.
pub(crate) struct Job<T>(Option<Pin<Box<dyn Future<Output = T> + Send>>>);

impl<T> Job<T> {
    pub(crate) const fn none() -> Self {
        Self(None)
    }

    /// Begins with this. What was under way is dropped.
    pub(crate) fn start(&mut self, job: impl Future<Output = T> + Send + 'static) {
        self.0 = Some(Box::pin(job));
    }

    pub(crate) const fn is_running(&self) -> bool {
        self.0.is_some()
    }

    /// The result; never, while nothing is under way.
    pub(crate) async fn done(&mut self) -> T {
        let Some(job) = &mut self.0 else { return std::future::pending().await };
        let result = job.as_mut().await;
        self.0 = None;
        result
    }
}
