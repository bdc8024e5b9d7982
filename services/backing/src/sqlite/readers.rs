//! Connections for reading. Reads run on the caller's thread: a point read there takes 3 us of CPU, on a pool of threads
//! 16 us (`examples/bench_store.rs`). So only bounded or indexed queries belong here.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::open_reader;
use crate::Error;

/// A few connections, one used at a time by each thread. None once closed.
pub(crate) struct Readers {
    connections: Vec<Mutex<Option<Connection>>>,
    next: AtomicUsize,
}

impl Readers {
    /// Opens `count` connections.
    pub(crate) fn open(path: &Path, count: usize) -> rusqlite::Result<Self> {
        let connection = |_| open_reader(path).map(|connection| Mutex::new(Some(connection)));
        let connections = (0..count.max(1)).map(connection).collect::<Result<_, _>>()?;
        Ok(Self { connections, next: AtomicUsize::new(0) })
    }

    /// Runs one query here and now.
    pub(crate) fn read<T>(
        &self,
        operation: &'static str,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        let connection = self.free();
        let connection = connection.as_ref().ok_or(Error::Closed { operation })?;
        query(connection).map_err(|error| Error::engine(operation, error))
    }

    /// Lets go of the file.
    pub(crate) fn close(&self) {
        for connection in &self.connections {
            *connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn free(&self) -> MutexGuard<'_, Option<Connection>> {
        if let Some(free) = self.connections.iter().find_map(|connection| connection.try_lock().ok()) {
            return free;
        }
        let turn = self.next.fetch_add(1, Ordering::Relaxed) % self.connections.len();
        self.connections[turn].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
