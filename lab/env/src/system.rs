//! Turning refusals of the operating system into errors that say what was tried.

use std::io;

use crate::EnvError;

/// Says what an I/O result was for.
pub(crate) trait Doing<T> {
    /// `what` completes the sentence "cannot …", with its object.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, EnvError>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, EnvError> {
        self.map_err(|source| EnvError::System { doing: what(), source })
    }
}

/// Runs work to its end even when its caller does not wait for it: half of an `up` or `down` is of no use to anybody.
///
/// # Errors
/// Those of the work, or that it panicked.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, EnvError>> + Send + 'static,
) -> Result<T, EnvError> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)).doing(|| "finish a step of the environment".to_owned()),
    }
}

/// Runs blocking work off the runtime's threads.
///
/// # Errors
/// Those of the work, or that it panicked.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EnvError> + Send + 'static,
) -> Result<T, EnvError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)).doing(|| "finish a step of the environment".to_owned()),
    }
}

/// Runs calls of `whom` for code that blocks, wherever that runs.
///
/// # Errors
/// Those of the calls, or that they could not be made.
pub(crate) fn on_a_runtime<T: Send>(
    whom: &str,
    work: impl Future<Output = Result<T, EnvError>> + Send,
) -> Result<T, EnvError> {
    let thread = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map(|runtime| runtime.block_on(work))
    };
    let done = std::thread::scope(|scope| scope.spawn(thread).join());
    let done = done.unwrap_or_else(|_| Err(io::Error::other("the thread that does panicked")));
    done.doing(|| format!("speak to {whom}"))?
}
